"""Does a run depend on the devices that share it? Losses and parameters of several topologies against one device.

Run from the project's folder:

    .venv/bin/python benchmarks/topology.py [--name=classifier_tiny] [--learning_rate=R] [--float64] [--fixed_parts=8]

Every topology trains the same network on the same slices in processes of its own, through `jcs_jax.training.loop`:
devices are simulated on the CPU, and the two processes meet on localhost. One line of JSON per topology: the largest
relative deviation of a step's loss from that of one device, the largest absolute deviation of a parameter after the
last step, and the bytes of parameters and optimiser state on all devices' average against one device's, by the arrays'
own shards.

Beside them stands what one device makes of a perturbation of its initial weights by a quarter of the precision: no
order of summation can be asked to deviate less. At a learning rate at which that alone passes 1e-5, training is
chaotic in float32, and --float64 shows whether the topologies compute the same thing: the deviations must shrink by
the ratio of the precisions. With --fixed_parts=8 every topology must have the bits of one device: 0.0 at any rate.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax
import ml_collections
import numpy as np

from jcs_datasets.chest_phantom import Builder
from jcs_jax.checkpoints import save_model
from jcs_jax.data.preparation import prepare
from jcs_jax.data.sources import open_source
from jcs_jax.training.config import default_config
from jcs_jax.training.distributed import join_processes
from jcs_jax.training.loop import train
from jcs_jax.training.setup import network_of, preset_of
from jcs_jax.training.sharding import make_layout
from jcs_jax.training.state import initial_variables


class Topology(NamedTuple):
    """Processes, devices of each, and their mesh."""

    processes: int
    devices: int
    data: int
    fsdp: int
    perturbed: bool = False

    def __str__(self) -> str:
        shared = f"data {self.data} x fsdp {self.fsdp}" if self.fsdp > 1 else f"data {self.data}"
        kind = f"{self.processes} x {self.devices} devices: {shared}"
        return f"{kind}, weights perturbed" if self.perturbed else kind


ONE = Topology(1, 1, 1, 1)
OTHERS = (
    Topology(1, 1, 1, 1, perturbed=True),
    Topology(1, 8, 8, 1),
    Topology(1, 8, 4, 2),
    Topology(2, 2, 2, 2),
)


def main() -> None:
    """Trains on every topology and prints the lines; or is one process of one topology."""
    options = _options()
    if options.process is not None:
        _train_one(options)
        return
    with tempfile.TemporaryDirectory() as scratch:
        if not options.data_dir:
            options.data_dir = _phantom(Path(scratch) / "data")
        expected = _run(ONE, options, Path(scratch))
        for topology in OTHERS:
            found = _run(topology, options, Path(scratch))
            _report(topology, found, expected, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="classifier_tiny", help="preset")
    parser.add_argument("--size", type=int, default=64, help="side of the network's input")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--fixed_parts", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--learning_rate", type=float, default=2.5e-5)
    parser.add_argument("--norm", default="", help="of the network instead of the preset's")
    parser.add_argument("--float64", action="store_true", help="train in double precision")
    parser.add_argument("--data_dir", default="", help="prepared data; default: the phantom, prepared for this")
    parser.add_argument("--dataset", default="chest_phantom/small")
    parser.add_argument("--split", default="train")
    # What follows is told to the processes of a topology.
    parser.add_argument("--process", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--topology", type=lambda text: Topology(*json.loads(text)), help=argparse.SUPPRESS)
    parser.add_argument("--coordinator", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _phantom(folder: Path) -> str:
    prepare(Builder, data_dir=folder, config="small")
    return str(folder)


def _run(topology: Topology, options: argparse.Namespace, scratch: Path) -> dict[str, np.ndarray]:
    """Starts the processes of a topology and reads what the first of them has left."""
    folder = scratch / f"{topology}".replace(" ", "_").replace(":", "")
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": str(int(options.float64)),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={topology.devices}",
    }
    told = ["--folder", str(folder), "--topology", json.dumps(topology), "--data_dir", options.data_dir]
    if topology.processes > 1:
        told += ["--coordinator", f"localhost:{_free_port()}"]
    started = [
        subprocess.Popen(
            [sys.executable, __file__, *sys.argv[1:], *told, "--process", str(process)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(topology.processes)
    ]
    errors = [process.communicate()[1] for process in started]
    for process, said in zip(started, errors, strict=True):
        if process.returncode:
            raise SystemExit(f"{topology}: exit code {process.returncode}\n{said[-3000:]}")
    losses = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    with np.load(folder / "state.npz") as arrays:
        return {**arrays, "losses": np.array(losses)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def _train_one(options: argparse.Namespace) -> None:
    """One process of a topology; the first leaves parameters and bytes per device beside the run."""
    topology = options.topology
    if topology.processes > 1:
        join_processes(options.coordinator, topology.processes, options.process)
    config = _config(options)
    source = open_source(options.data_dir, options.dataset, options.split)
    state = train(config, options.folder, source).state
    held = jax.tree.leaves((state.params, state.opt_state))
    wide = {leaf.dtype.name for leaf in held if jax.dtypes.issubdtype(leaf.dtype, np.floating)}
    if wide != {"float64" if options.float64 else "float32"}:
        raise SystemExit(f"parameters and optimiser state are {', '.join(sorted(wide))}")
    bytes_here = sum(leaf.addressable_shards[0].data.nbytes for leaf in held)
    params = make_layout(topology.data, topology.fsdp).gather(state.params)
    if jax.process_index() == 0:
        names = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
        np.savez(options.folder / "state.npz", bytes=bytes_here, **names)


def _config(options: argparse.Namespace) -> ml_collections.ConfigDict:
    """Of the run; weights that are to be perturbed are written to a model folder that it starts from."""
    config = default_config()
    config.steps, config.batch_size = options.steps, options.batch_size
    config.accumulate, config.fixed_parts = options.accumulate, options.fixed_parts
    config.log_every, config.tensorboard, config.checkpoint.every = 1, False, 2 * options.steps
    config.model.name, config.model.input_size = options.name, options.size
    if options.norm:
        config.model.options.norm = options.norm
    if options.float64:
        config.model.options.dtype = config.model.options.param_dtype = "float64"
    config.mesh.data, config.mesh.fsdp = options.topology.data, options.topology.fsdp
    config.optimizer.learning_rate = options.learning_rate
    if options.topology.perturbed:
        config.init_from = str(_perturbed(config, options.folder.with_name("perturbed")))
    return config


def _perturbed(config: ml_collections.ConfigDict, folder: Path) -> Path:
    """A model folder with the run's own first weights, each off by rounding."""
    preset, rng = preset_of(config), np.random.default_rng(0)
    variables = initial_variables(network_of(config, preset), seed=config.seed, input_size=preset.preprocessing.size)

    def perturb(leaf: jax.Array) -> np.ndarray:
        factor = 1 + np.finfo(leaf.dtype).eps / 4 * rng.standard_normal(leaf.shape)
        return (np.asarray(leaf, np.longdouble) * factor).astype(leaf.dtype)

    return save_model(
        folder, {**variables, "params": jax.tree.map(perturb, variables["params"])}, preset, provenance={}
    )


def _report(
    topology: Topology, found: dict[str, np.ndarray], expected: dict[str, np.ndarray], options: argparse.Namespace
) -> None:
    losses, others = expected["losses"], found["losses"]
    names = [name for name in expected if name not in ("losses", "bytes")]
    line = {
        **{"name": options.name, "learning_rate": options.learning_rate, "float64": options.float64},
        "fixed_parts": options.fixed_parts,
        **{"steps": len(losses), "topology": str(topology)},
        "loss": float(np.max(np.abs(others - losses) / np.abs(losses))),
        "parameters": max(float(np.abs(found[name] - expected[name]).max()) for name in names),
        "bytes_ratio": round(float(expected["bytes"] / found["bytes"]), 3),
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
