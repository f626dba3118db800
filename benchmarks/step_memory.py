"""Memory of a training step: what the compiler plans, and what a process that takes the steps really holds.

Run from the project's folder, once for each setting, since a process has only one peak:

    .venv/bin/python benchmarks/step_memory.py --name joint --size 512 --batch 1 [--remat] [--dtype bfloat16] [--trim]

The step is the one that `jcs train` takes with the reference's recipe: forward, backward, Adam with coupled L2 and the
guard against values that are not finite; no moving average. Weights and images are random, and no data are read.

One line of JSON goes to stdout; sizes are in MB (10^6 bytes):

- parameters: their number. state_mb: parameters, statistics, both moments, and the batch.
- temporaries_mb: activations, gradients and work space, by XLA's plan. step_mb: state and temporaries, the peak of the
  step. Neither depends on the machine's load.
- peak_rss_mb: the largest resident memory of the whole process: Python, JAX, the compiler, and the step.
  compiled_rss_mb: what was resident after compilation. glibc keeps most of that, some 1.1 GB, for a program that does
  not ask for it again; with --trim it is given back before the state is made.
- seconds: median of a step after the first. teraflops: what it computes, by XLA's count.

Measured: `joint`, 512, batch 1, float32: state_mb 1418; step_mb 4114, with --remat 2467.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jcs_jax.models import create_model
from jcs_jax.training.objective import Objective
from jcs_jax.training.optimizers import reference_optimizer, reference_schedule
from jcs_jax.training.state import NEVER, TrainState, create_state
from jcs_jax.training.steps import make_train_step

MEGABYTE = 1e6


def random_batch(batch: int, size: int) -> dict[str, np.ndarray]:
    """Images of normal noise with masks; everything is valid and labelled."""
    rng = np.random.default_rng(0)
    known = {key: np.ones(batch, np.float32) for key in ("valid", "mask_valid", "label_valid", "label")}
    image = rng.standard_normal((batch, size, size, 3), np.float32)
    return {"image": image, "mask": (image[..., 0] > 1).astype(np.float32), **known}


def random_state(shapes: TrainState) -> TrainState:
    """A state to start from: kernels by He's rule, moments of zero.

    It is made with NumPy, since each of JAX's own initialisers would be compiled, in this process.
    """
    rng = np.random.default_rng(0)

    def fill(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.Array:
        value = np.full(leaf.shape, path[-1].key in ("scale", "var"), leaf.dtype)
        if path[-1].key == "kernel":
            value = rng.standard_normal(leaf.shape, np.float32) * np.float32(math.sqrt(2 / math.prod(leaf.shape[:-1])))
        return jax.device_put(value, may_alias=False)

    def zeros(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        return jax.device_put(np.zeros(leaf.shape, leaf.dtype), may_alias=False)

    variables = jax.tree_util.tree_map_with_path(fill, {"params": shapes.params, "batch_stats": shapes.batch_stats})
    rest = jax.tree.map(zeros, shapes.replace(params={}, batch_stats={}))
    return rest.replace(**variables, failed_step=jax.device_put(np.int32(NEVER), may_alias=False))


def give_back_freed_memory() -> None:
    """Makes glibc return to the system what has been freed."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def resident_mb() -> float:
    """This process's resident memory now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / MEGABYTE


def peak_resident_mb() -> float:
    """The largest resident memory of this process until now (Linux: ru_maxrss is in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Compiles the step, takes a few, and returns what goes into the line of JSON."""
    model = create_model(options.name, remat=options.remat, dtype=jnp.dtype(options.dtype))
    optimizer = reference_optimizer(reference_schedule(2.5e-5, total_steps=100, steps_per_epoch=10))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, options.size, options.size, 3))))

    state_shapes = jax.eval_shape(lambda variables: create_state(variables, optimizer, seed=0, average=False), shapes)
    batch = random_batch(options.batch, options.size)
    train_step = make_train_step(model, optimizer, Objective(segmentation="reference"), ema_decay=0.0)
    begun = time.perf_counter()
    step = train_step.lower(state_shapes, batch).compile()  # type: ignore[attr-defined]
    compile_seconds = time.perf_counter() - begun
    if options.trim:
        give_back_freed_memory()
    compiled_rss = resident_mb()
    state = random_state(state_shapes)
    seconds, processor_seconds = [], []
    for _ in range(options.steps):
        begun, processor_begun = time.perf_counter(), time.process_time()
        state, metrics = step(state, batch)
        jax.block_until_ready(state)
        seconds.append(time.perf_counter() - begun)
        processor_seconds.append(time.process_time() - processor_begun)
    plan = step.memory_analysis()
    step_bytes = (
        plan.argument_size_in_bytes + plan.temp_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes
    )
    return {
        "benchmark": "step_memory",
        **{key: getattr(options, key) for key in ("name", "size", "batch", "remat", "dtype", "trim", "steps")},
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])),
        "state_mb": round(plan.argument_size_in_bytes / MEGABYTE),
        "temporaries_mb": round(plan.temp_size_in_bytes / MEGABYTE),
        "step_mb": round(step_bytes / MEGABYTE),
        "compiled_rss_mb": round(compiled_rss),
        "peak_rss_mb": round(peak_resident_mb()),
        "seconds": round(statistics.median(seconds[1:]), 2),
        "processor_seconds": round(statistics.median(processor_seconds[1:]), 2),
        "teraflops": round(step.cost_analysis()["flops"] / 1e12, 3),
        "compile_seconds": round(compile_seconds),
        "failed_step": int(metrics["failed_step"]),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Reads the flags, measures, writes the line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="joint", help="of the network")
    parser.add_argument("--size", type=int, default=512, help="side of the images")
    parser.add_argument("--batch", type=int, default=1, help="images of a step")
    parser.add_argument("--remat", action="store_true", help="compute activations again in the backward pass")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the computation")
    parser.add_argument("--trim", action="store_true", help="give the compiler's freed memory back first (glibc)")
    parser.add_argument("--steps", type=int, default=2, help="at least 2; the first is not timed")
    options = parser.parse_args()
    sys.stdout.write(json.dumps(measure(options)) + "\n")


if __name__ == "__main__":
    main()
