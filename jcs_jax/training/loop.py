"""The training run, top to bottom."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import optax

import jcs_jax
from jcs_jax.checkpoints import save_model
from jcs_jax.data.examples import Source
from jcs_jax.data.pipeline import TrainingBatches
from jcs_jax.errors import InputError
from jcs_jax.memory import release_freed_memory
from jcs_jax.models.presets import Preset
from jcs_jax.training import setup
from jcs_jax.training.board import Board
from jcs_jax.training.checkpoints import RunCheckpoints
from jcs_jax.training.config import check
from jcs_jax.training.initial_weights import model_folders
from jcs_jax.training.interruption import StopRequest
from jcs_jax.training.objective import Metrics
from jcs_jax.training.pictures import ExampleSlices
from jcs_jax.training.progress import Progress
from jcs_jax.training.sharding import Layout, check_divisible, make_layout
from jcs_jax.training.state import NEVER, TrainState
from jcs_jax.training.steps import TrainStep, make_train_step
from jcs_jax.training.validation import Validation
from jcs_jax.training.workdir import Workdir, explain_storage

FAILED_BATCH, MODEL, TENSORBOARD = "failed_batch.json", "model", "tensorboard"


FirstState = tuple[TrainState, list[str]]  # and the parts of the network that start at random


class Outcome(NamedTuple):
    """How a call of `train` ended.

    Attributes:
      state: after the last step taken.
      preset: of the trained network.
      finished: False if the run was asked to stop before its last step; the same call goes on from there.
      validation: the numbers of the validation that chose the model, and its `step`; empty without validation.
    """

    state: TrainState
    preset: Preset
    finished: bool
    validation: dict[str, float]


def train(
    config: ml_collections.ConfigDict,
    folder: Path,
    source: Source,
    *,
    validation_source: Source | None = None,
    leakage: Mapping[str, int] | None = None,
) -> Outcome:
    """Trains a network and leaves it in `folder/model`; goes on where an earlier call with this folder ended.

    Args:
      config: as `default_config`.
      folder: the run's: gets config.json, metrics.jsonl, checkpoints and, at the end, the model.
      source: training examples; a prepared data set or an `ArraySource`.
      validation_source: slices to choose the best checkpoint on; None keeps the last one.
      leakage: what the training data share with the evaluation split, where that was allowed; it is written into
        metrics.jsonl and the model's provenance.

    Returns:
      How it ended.

    Raises:
      InputError: a config that can't be run, a folder of another run, a full disk, or a loss that is no longer
        finite; what had been saved stays.
    """
    parts = _assemble(config, folder, source, validation_source)
    first = None if parts.workdir.has_checkpoints() else parts.first_state()
    with (
        parts.workdir.claim(config),
        StopRequest() as stop,
        contextlib.closing(RunCheckpoints(parts.workdir.checkpoints, keep=config.checkpoint.keep)) as checkpoints,
    ):
        run = _Run(parts, checkpoints)
        resumed = run.start(first)
        silent = jax.process_index() != 0
        step, examples = parts.batches.step, len(source)
        with Progress(
            config.steps, config.batch_size, first_step=step, examples=examples, silent=silent
        ) as run.progress:
            if not resumed:
                run.introduce(first[1] if first else [], leakage)
            del first  # the run has a state of its own
            with contextlib.closing(run.open_board()):
                finished = run.take_steps(stop)
                validation = run.export(leakage) if finished else {}
    return Outcome(run.state, parts.preset, finished, validation)


@dataclasses.dataclass(frozen=True)
class _Parts:
    """What a run is made of; nothing of it changes while it goes."""

    config: ml_collections.ConfigDict
    workdir: Workdir
    source: Source
    preset: Preset
    layout: Layout
    batches: TrainingBatches
    schedule: optax.Schedule
    step: TrainStep
    validation: Validation | None
    slices: ExampleSlices | None
    shapes: TrainState
    first_state: Callable[[], FirstState]


def _assemble(
    config: ml_collections.ConfigDict, folder: Path, source: Source, validation_source: Source | None
) -> _Parts:
    """Builds everything and checks it; writes nothing."""
    check(config)
    workdir = Workdir(folder, writes=jax.process_index() == 0)
    workdir.check(config)
    layout = make_layout(config.mesh.data, config.mesh.fsdp)
    check_divisible(config.batch_size, config.accumulate, layout, fixed_parts=config.fixed_parts)
    preset = setup.preset_of(config)
    batches = setup.training_batches(config, preset, source)
    schedule = setup.create_schedule(config, steps_per_epoch=max(1, len(source) // config.batch_size))
    model, optimizer = setup.network_of(config, preset), setup.create_optimizer(config, schedule)
    setup.check_learnable(config, preset, source)
    objective = setup.objective_of(config, source)
    shapes = setup.state_shapes(config, preset, model, optimizer)
    setup.check_accepted(preset, model, shapes, source)
    model_folders(config.init_from)
    validation = None
    if validation_source is not None:
        validation = Validation(config, preset, model, objective=objective, layout=layout, source=validation_source)
    slices, shown = None, source if validation_source is None else validation_source
    if config.tensorboard and config.pictures_every and shown[0].image is not None:
        slices = ExampleSlices(preset, model, layout, shown)
    step = make_train_step(
        model,
        optimizer,
        objective,
        ema_decay=config.optimizer.ema_decay,
        accumulate=config.accumulate,
        fixed_parts=config.fixed_parts,
        frozen=setup.frozen_parts(config),
        layout=layout,
        teacher=setup.teacher_of(config, preset, source),
    )
    first_state = functools.partial(setup.initial_state, config, preset, model, optimizer)
    return _Parts(
        config, workdir, source, preset, layout, batches, schedule, step, validation, slices, shapes, first_state
    )


class _Run:
    """A run that goes: its state, and where it is reported and saved."""

    state: TrainState
    progress: Progress
    board: Board

    def __init__(self, parts: _Parts, checkpoints: RunCheckpoints):
        self._parts, self._checkpoints = parts, checkpoints
        self._config, self._batches = parts.config, parts.batches
        self._started, self._seconds_before = time.monotonic(), 0.0
        self._measured: dict[str, float] = {}

    def start(self, first: FirstState | None) -> bool:
        """Goes to the newest saved position, else to the beginning; whether there was one."""
        parts = self._parts
        found = self._checkpoints.restore_newest(parts.layout.described(parts.shapes))
        if found is not None:
            self._batches.restore(found.run["data"])
            self.state, self._seconds_before = found.state, found.run["seconds"]
        else:
            self.state = parts.layout.place_state((first or parts.first_state())[0])
        parts.workdir.rewind_log(self._batches.step if found is not None else -1)
        return found is not None

    def introduce(self, random_parts: list[str], leakage: Mapping[str, int] | None) -> None:
        """Says what is going to be trained."""
        parts = self._parts
        millions = sum(leaf.size for leaf in jax.tree.leaves(parts.shapes.params)) / 1e6
        self.progress.say(f"{parts.preset.name}: {millions:.2f} M parameters, {len(parts.source)} examples to train on")
        if self._config.init_from and random_parts:
            self.progress.say(f"not in {self._config.init_from}, so random at first: {', '.join(random_parts)}")
        if leakage:
            parts.workdir.log(0, {"leakage": dict(leakage)})

    def open_board(self) -> Board:
        """Starts to write for TensorBoard, from the step that the run is at."""
        silent = jax.process_index() != 0 or not self._config.tensorboard
        folder = self._parts.workdir.folder / TENSORBOARD
        self.board = Board(folder, first_step=self._batches.step, say=self.progress.say, silent=silent)
        return self.board

    def take_steps(self, stop: StopRequest) -> bool:
        """Takes the steps that are left; False if asked to stop before the last."""
        if self._batches.step:
            self.progress.say(f"going on from step {self._batches.step} of {self._config.steps}")
        config, save_every = self._config, -(-self._config.checkpoint.every // 2)
        first = self._batches.step + 1
        for batch in self._batches:
            self.state, metrics = self._parts.step(self.state, self._parts.layout.place_batch(batch))
            step, last = self._batches.step, self._batches.step == config.steps
            if step == first:
                release_freed_memory()  # that compiling the step took
            stopping = stop.asked(step)
            if step % config.log_every == 0 or last:
                self._report(step, metrics)
            score = None
            if self._parts.validation is not None and (step % config.validation.every == 0 or last):
                score = self._validate(step, metrics)
            if self._parts.slices is not None and (step % config.pictures_every == 0 or last):
                self.board.pictures(step, self._parts.slices.draw(self.state))
            if score is not None or stopping or last or step % save_every == 0:
                self._save(step, metrics, score)
            if self._checkpoints.unsaved(step) >= config.checkpoint.every:
                self._checkpoints.wait()
            if stopping and not last:
                self._checkpoints.wait()
                return False
        return True

    def export(self, leakage: Mapping[str, int] | None) -> dict[str, float]:
        """Writes the model folder, of the best step where steps were validated, else of the last one."""
        parts, state, validation = self._parts, self.state, {}
        self._checkpoints.wait()
        best = self._checkpoints.best() if parts.validation is not None else None
        if best is not None:
            found = self._checkpoints.restore(best, parts.layout.described(parts.shapes))
            if found is None:
                raise InputError(
                    f"{parts.workdir.checkpoints / str(best)}: the best step is damaged; delete that folder and "
                    "run the same command again for the best of the others"
                )
            state, validation = found.state, {**found.run["validation"], "step": best}
        variables = parts.layout.gather(state.inference_variables())
        description = provenance(self._config, parts.source, self._seconds() / 60, leakage)
        if validation:
            description["validation"] = {"split": self._config.validation.split, **validation}
        if jax.process_index() == 0:
            with explain_storage(parts.workdir.folder):
                save_model(parts.workdir.folder / MODEL, variables, parts.preset, provenance=description)
        return validation

    def _report(self, step: int, metrics: Metrics) -> None:
        self._check_finite(metrics)
        values = {name: float(value) for name, value in metrics.items() if name != "failed_step"}
        values |= {"learning_rate": float(self._parts.schedule(step - 1)), "seconds": self._seconds()}
        self._parts.workdir.log(step, values)
        self.board.scalars(step, {f"train/{name}": value for name, value in values.items()})
        self.progress.report(step, values)

    def _validate(self, step: int, metrics: Metrics) -> float:
        """Measures the averaged parameters and returns what to choose the best step by."""
        validation = self._parts.validation
        if validation is None:
            raise RuntimeError("no validation was configured")
        self._check_finite(metrics)
        self._measured = validation(self.state)
        self._parts.workdir.log(step, {f"validation_{name}": value for name, value in self._measured.items()})
        self.board.scalars(step, {f"validation/{name}": value for name, value in self._measured.items()})
        shown = "  ".join(f"{name} {value:.4f}" for name, value in self._measured.items())
        self.progress.say(f"step {step}: validation {shown}")
        return validation.score(self._measured)

    def _save(self, step: int, metrics: Metrics, score: float | None) -> None:
        self._check_finite(metrics)
        self._checkpoints.save(step, self.state, self._beside_state(step, score is not None), score=score)

    def _beside_state(self, step: int, validated: bool) -> dict[str, Any]:
        """What a checkpoint holds beside the state."""
        return {
            "data": {**self._batches.state(), "step": step},
            "seconds": self._seconds(),
            "version": jcs_jax.__version__,
            "config": json.loads(self._config.to_json_best_effort()),
            "validation": self._measured if validated else {},
        }

    def _check_finite(self, metrics: Metrics) -> None:
        """Stops the run where a loss or gradient was not finite; the state is still the one before that step."""
        taken = int(metrics["failed_step"])
        if taken == NEVER:
            return
        slices = self._batches.names(taken)
        file = self._parts.workdir.write(FAILED_BATCH, {"step": taken + 1, "slices": slices})
        self._checkpoints.wait()
        if taken and self._checkpoints.unsaved(taken) > 0:
            good = self.state.replace(failed_step=jnp.full_like(self.state.failed_step, NEVER))  # type: ignore[attr-defined]
            self._checkpoints.save(taken, good, self._beside_state(taken, False))
        self._checkpoints.wait()
        raise InputError(
            f"step {taken + 1}: the loss or its gradient is not finite; the slices of that batch are named in {file} "
            f"and the state after step {taken} is kept; lower config.optimizer.learning_rate or check those slices"
        )

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started


def provenance(
    config: ml_collections.ConfigDict, source: Source, minutes: float, leakage: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """What a model folder says about how it was trained."""
    options = json.loads(config.to_json_best_effort())
    del options["data"]["data_dir"], options["init_from"]  # paths of somebody's machine
    return {
        "trained_by": f"jcs_jax {jcs_jax.__version__}",
        "config": options,
        "examples": len(source),
        "data": dict(source.info),
        "minutes": round(minutes, 2),
        **({"leakage": dict(leakage)} if leakage else {}),
    }
