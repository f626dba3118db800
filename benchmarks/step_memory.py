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
import os
import resource
import statistics
import sys
import time
from pathlib import Path

import jax

from jcs_jax.benchmark.workload import Workload, random_batch, random_state, training_step

MEGABYTE = 1e6


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
    work = Workload(options.name, "training", options.size, options.batch, options.dtype, options.remat)
    train_step, state_shapes = training_step(work)
    batch = random_batch(options.batch, options.size)
    begun = time.perf_counter()
    step = train_step.lower(state_shapes, batch).compile()
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
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state_shapes.params)),
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
