"""The training run, top to bottom."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax
import jax
import ml_collections
import numpy as np
import optax

import jcs_jax
from jcs_jax.checkpoints import check_shapes, load_model, save_model
from jcs_jax.data.examples import Source
from jcs_jax.data.inputs import network_example, stack
from jcs_jax.data.mixing import Mixing
from jcs_jax.data.pipeline import HostShard, TrainingBatches
from jcs_jax.data.transforms import AUGMENTATIONS
from jcs_jax.errors import InputError
from jcs_jax.files import require_folder
from jcs_jax.models.inputs import network_arguments
from jcs_jax.models.presets import Preset, build, get_preset
from jcs_jax.training.config import check, create_optimizer, create_schedule
from jcs_jax.training.progress import Progress
from jcs_jax.training.state import TrainState, create_state
from jcs_jax.training.steps import Objective, TrainStep, make_train_step


def preset_of(config: ml_collections.ConfigDict) -> Preset:
    """The preset that a config trains, with its options and input size."""
    try:
        preset = get_preset(config.model.name)
        options = {**preset.options, **dict(config.model.options)}
        size = config.model.input_size
        preprocessing = preset.preprocessing
        if size:
            preprocessing = dataclasses.replace(preprocessing, size=(size, size))
        source = f"trained on {config.data.dataset}, split {config.data.train_split}"
        preset = dataclasses.replace(preset, options=options, preprocessing=preprocessing, source=source)
        build(preset)
    except ValueError as error:
        raise InputError(f"config.model: {error}") from error
    return preset


def train(
    config: ml_collections.ConfigDict, workdir: Path, source: Source, *, leakage: Mapping[str, int] | None = None
) -> tuple[TrainState, Preset]:
    """Trains a network and leaves it in `workdir/model`.

    Args:
      config: as `default_config`.
      workdir: gets config.json, metrics.jsonl and, at the end, the model folder.
      source: training examples; a prepared data set or an `ArraySource`.
      leakage: what the training split shares with the evaluation split, where that was allowed; it is written
        into metrics.jsonl and the model's provenance.

    Returns:
      Final state, and the preset of the trained network.

    Raises:
      InputError: for a config that can't be run.
      FloatingPointError: when the loss is no longer finite; the message says at which step.
    """
    check(config)
    require_folder(workdir, purpose="the run")
    preset = preset_of(config)
    batches = _batches(config, preset, source)
    schedule = create_schedule(config, steps_per_epoch=max(1, len(source) // config.batch_size))
    try:
        step_fn, state = _prepare(config, preset, schedule)
        _check_accepted(preset, state, source)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"config: {error}") from error

    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "config.json").write_text(config.to_json_best_effort(indent=2) + "\n", encoding="utf-8")
    started = time.monotonic()
    with (
        (workdir / "metrics.jsonl").open("w", encoding="utf-8") as log,
        Progress(config.steps, config.batch_size) as progress,
    ):
        millions = sum(leaf.size for leaf in jax.tree.leaves(state.params)) / 1e6
        progress.say(f"{preset.name}: {millions:.2f} M parameters, {len(source)} examples to train on")
        if leakage:
            log.write(json.dumps({"step": 0, "leakage": dict(leakage)}) + "\n")
        for step, batch in enumerate(batches, start=1):
            state, metrics = step_fn(state, batch)
            if step % config.log_every == 0 or step == config.steps:
                values = {key: float(value) for key, value in metrics.items()}
                _check_finite(values, step)
                values |= {"learning_rate": float(schedule(step - 1)), "seconds": time.monotonic() - started}
                log.write(json.dumps({"step": step, **values}) + "\n")
                log.flush()
                progress.report(step, values)
    minutes = (time.monotonic() - started) / 60
    description = provenance(config, source, minutes, leakage)
    save_model(workdir / "model", state.inference_variables(), preset, provenance=description)
    return state, preset


def _batches(config: ml_collections.ConfigDict, preset: Preset, source: Source) -> TrainingBatches:
    """This process's part of the batches that the config asks for."""
    return TrainingBatches(
        source,
        preset.preprocessing,
        augment=config.data.augment,
        batch_size=config.batch_size,
        seed=config.seed,
        steps=config.steps,
        mixing=Mixing(**config.data.mixing),
        stage_features=preset.stage_features,
        host=HostShard(jax.process_index(), jax.process_count()),
        threads=config.data.threads,
    )


def _prepare(
    config: ml_collections.ConfigDict, preset: Preset, schedule: optax.Schedule
) -> tuple[TrainStep, TrainState]:
    """The jitted step and the state that it starts from."""
    model = build(preset)
    optimizer = create_optimizer(config, schedule)
    step_fn = make_train_step(model, optimizer, Objective(**config.loss), ema_decay=config.optimizer.ema_decay)
    state = create_state(model, optimizer, seed=config.seed, input_size=preset.preprocessing.size)
    if config.model.init_from:
        _, variables, _ = load_model(config.model.init_from)
        check_shapes(config.model.init_from, state.inference_variables(), variables)
        state = state.starting_from(variables)
    return step_fn, state


def _check_accepted(preset: Preset, state: TrainState, source: Source) -> None:
    """Refuses stored features of another network before anything is compiled; pictures fit every network."""
    example = source[0]
    if example.image is not None:
        return
    unused = np.random.default_rng(0)
    arrays = network_example(example, preset.preprocessing, AUGMENTATIONS["none"], unused, preset.stage_features)
    features = network_arguments(stack([arrays]))
    try:
        jax.eval_shape(lambda: build(preset).apply(state.inference_variables(), **features))
    except flax.errors.FlaxError as error:
        shapes = ", ".join(f"{name} of {array.shape[-1]} channels" for name, array in features.items())
        raise InputError(f"{preset.name}: was not made for {shapes}; take a network of the reference's size") from error


def provenance(
    config: ml_collections.ConfigDict, source: Source, minutes: float, leakage: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """What a model folder says about how it was trained."""
    options = json.loads(config.to_json_best_effort())
    del options["data"]["data_dir"]  # a path of somebody's machine
    return {
        "trained_by": f"jcs_jax {jcs_jax.__version__}",
        "config": options,
        "examples": len(source),
        "data": dict(source.info),
        "minutes": round(minutes, 2),
        **({"leakage": dict(leakage)} if leakage else {}),
    }


def _check_finite(values: dict[str, float], step: int) -> None:
    bad = [key for key, value in values.items() if not np.isfinite(value)]
    if bad:
        raise FloatingPointError(
            f"{', '.join(bad)} not finite at step {step}; lower config.optimizer.learning_rate or check the data"
        )
