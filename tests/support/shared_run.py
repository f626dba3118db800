"""A run that several processes share, or one takes alone: six steps of a narrow classifier on slices in memory.

Run as a program it is one of two processes with two simulated devices each, and prints JSON:

usage: shared_run.py PORT PROCESS FOLDER, with XLA_FLAGS=--xla_force_host_platform_device_count=2 in the environment.
It stops a run in FOLDER/stopped_by_two after step 3, and finishes, as `jcs train` does, the one in FOLDER/begun_by_one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import tiny

from jcs_jax.checkpoints import load_model
from jcs_jax.commands import evaluate, train
from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.training import data, distributed, loop, setup
from jcs_jax.training.config import default_config

STEPS, HALF = 6, 3
SIDE = 32
BEGUN_BY_ONE, STOPPED_BY_TWO = "begun_by_one", "stopped_by_two"


def config() -> ml_collections.ConfigDict:
    """Of the run, on all devices there are."""
    options = default_config()
    options.model.name, options.model.input_size = "classifier_tiny", SIDE
    options.model.options = {**tiny.OPTIONS["classifier"], "norm": "none"}
    options.steps, options.batch_size, options.log_every, options.tensorboard = STEPS, 8, 1, False
    options.checkpoint.every, options.optimizer.learning_rate = 2, 1e-4
    options.validation.split, options.validation.every = "validation", HALF
    options.data.eval_split = "test"
    return options


def source(seed: int = 0, count: int = 13) -> ArraySource:
    """Noise, brighter where infected."""
    rng = np.random.default_rng(seed)
    images = [rng.random((SIDE, SIDE), np.float32) * (0.5 + index % 2 / 2) for index in range(count)]
    return ArraySource([Example(image, label=index % 2, name=f"{seed}/{index}") for index, image in enumerate(images)])


def take_steps(options: ml_collections.ConfigDict, folder: Path) -> loop.Outcome:
    """Trains, validated on five slices: no multiple of the devices."""
    return loop.train(options, folder, source(), validation_source=source(1, 5))


class StopAtHalf:
    """Asks a run to stop after step 3, as SIGTERM would."""

    def __enter__(self) -> StopAtHalf:
        return self

    def __exit__(self, *unused: object) -> None:
        return None

    def asked(self, step: int) -> bool:
        return step == HALF


def quicken(replace: Callable[[Any, str, Any], None]) -> None:
    """Lets the runs of a process compile what they have in common once, and start without compiling.

    Args:
      replace: as `setattr`.
    """

    def initial_variables(model: nn.Module, *, seed: int, input_size: tuple[int, int]) -> dict[str, Any]:
        return tiny.random_variables(model, jnp.zeros((1, *input_size, 3)), seed=seed)

    replace(setup, "initial_variables", initial_variables)
    for name in ("make_train_step", "Validation"):
        replace(loop, name, _made_once(getattr(loop, name)))


def _made_once(make: Callable[..., Any]) -> Callable[..., Any]:
    """Gives what `make` made at first again, to runs that would make the same."""
    made: list[Any] = []

    def make_or_give(*parts: Any, **named: Any) -> Any:
        if not made:
            made.append(make(*parts, **named))
        return made[0]

    return make_or_give


def _main(port: str, process: int, folder: Path) -> None:
    distributed.join_processes(f"localhost:{port}", 2, process, timeout=120)
    options, measured, stop = config(), [], loop.StopRequest
    options.mesh.fsdp = 2

    def measure(task: Any, output: Path) -> None:
        measured.append(float(sum(abs(leaf).sum() for leaf in jax.tree.leaves(load_model(task.checkpoint)[1]))))

    quicken(setattr)
    evaluate.measure = measure
    data.open_data = lambda _: data.RunData(source(), source(1, 5), None, [])
    loop.StopRequest = StopAtHalf
    stopped = take_steps(options, folder / STOPPED_BY_TWO)
    loop.StopRequest = stop
    train.launch(options, folder / BEGUN_BY_ONE)
    sharded = [leaf for leaf in jax.tree.leaves(stopped.state.params) if not leaf.is_fully_replicated]
    told = {
        "devices": [len(jax.local_devices()), len(jax.devices())],
        "stopped": [stopped.finished, int(stopped.state.step)],
        "shared_out": len(sharded),
        "measured": measured,
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
