"""All checks of a training run, in order: data, first batch, network, a batch learned by heart."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import ml_collections
from PIL import Image

from jcs_jax.data.examples import SliceRecord, Source
from jcs_jax.doctor.alignment import check_alignment
from jcs_jax.doctor.features import check_features
from jcs_jax.doctor.findings import Checkup, Finding, Severity
from jcs_jax.doctor.first_batch import check_first_batch, draw_batch
from jcs_jax.doctor.hounsfield import check_hounsfield
from jcs_jax.doctor.labels import check_agreement, check_labels
from jcs_jax.doctor.learning import check_learning
from jcs_jax.doctor.masks import check_masks
from jcs_jax.doctor.network import check_gradients, check_losses, check_untrained, check_weights
from jcs_jax.doctor.pictures import check_pictures
from jcs_jax.doctor.sample import Sample, look_at_data
from jcs_jax.doctor.splits import check_splits
from jcs_jax.doctor.trial import Trial, choose_trial
from jcs_jax.doctor.trivial import check_baselines
from jcs_jax.errors import InputError
from jcs_jax.models.presets import Preset
from jcs_jax.training import setup
from jcs_jax.training.config import check
from jcs_jax.training.objective import Objective
from jcs_jax.training.sharding import check_divisible, make_layout
from jcs_jax.training.validation import Validation

TRAINING, VALIDATION, EVALUATION = "training", "validation", "evaluation"


@dataclasses.dataclass(frozen=True)
class _Goal:
    """What a config trains.

    Attributes:
      segments: a mask, with a weight above 0.
      classifies: a label, with a weight above 0.
      aligns: an activation map, with masks.
    """

    segments: bool
    classifies: bool
    aligns: bool


def examine(
    config: ml_collections.ConfigDict,
    sources: Mapping[str, Source],
    *,
    steps: int,
    say: Callable[[str], None] = lambda text: None,
) -> Checkup:
    """Finds out what is wrong with a training run before it is started.

    Args:
      config: as of `jcs train`.
      sources: `training`, and as far as the config names them `validation` and `evaluation`.
      steps: of training on one batch, at most; 0 takes a single one, to see the gradient, and judges no learning.
      say: is told what is being done.

    Returns:
      What was found.

    Raises:
      InputError: the config names no network or has an option that no run can have; no training data, or some that
        can't be decoded.
    """
    check(config)
    preset, source = setup.preset_of(config), sources[TRAINING]
    if not len(source):
        raise InputError("the training split is empty; name a split that has examples")
    say("looking at the data")
    records = {role: list(part.records()) for role, part in sources.items()}
    sample = look_at_data(source, records[TRAINING], preset.preprocessing)
    findings = check_splits(records, allow_leakage=config.data.allow_leakage)
    findings += check_data(config, preset, sample, records[TRAINING], source)
    findings += _check_run(config, preset, sources)
    say("drawing the first batch")
    picture = _look_at_batch(config, preset, source, findings)
    say(f"compiling {preset.name}, which takes longest, and training it on a few slices")
    positions = choose_trial(sample.members, config.batch_size, classifies=_goal(config, preset).classifies)
    try:
        trial = Trial(config, preset, source, positions)
        findings += _check_network(trial, config, preset, steps, _errors(findings))
    except (InputError, ValueError) as error:
        findings.append(_from_error("network", error))
    except jax.errors.JaxRuntimeError as error:  # out of memory, as a rule
        cure = "lower config.batch_size or config.model.input_size, set config.remat=True, or take a larger device"
        findings.append(Finding("network", "error", f"it can't be run here: {str(error).splitlines()[0][:200]}", cure))
    return Checkup(tuple(findings), picture, _described(config))


def check_data(
    config: ml_collections.ConfigDict, preset: Preset, sample: Sample, records: Sequence[SliceRecord], source: Source
) -> list[Finding]:
    """Labels, masks, pictures or stored features, how they lie on each other, and what needs no training.

    Args:
      config: of the run.
      preset: of its network.
      sample: slices that were looked at.
      records: of all training slices.
      source: for what the data set says of itself.

    Returns:
      What was found, in the order of the report.
    """
    goal = _goal(config, preset)
    everywhere = goal.segments and config.loss.segmentation == "reference"
    return [
        check_labels(records, classifies=goal.classifies, segments=goal.segments),
        *check_masks(sample.masks, len(sample.members), needed=goal.segments or goal.aligns, everywhere=everywhere),
        *check_agreement(sample.masks),
        *check_pictures(sample.pictures),
        *check_hounsfield(sample.histograms),
        *check_alignment(sample.alignments),
        *check_features(sample.features, source.info, pictures=len(sample.pictures)),
        *check_baselines(sample.baselines, records),
    ]


def _goal(config: ml_collections.ConfigDict, preset: Preset) -> _Goal:
    loss, restores = config.loss, _restores(config)
    classifies = preset.architecture == "classifier" or bool(preset.options.get("classes"))
    return _Goal(
        segments=preset.architecture != "classifier" and loss.segmentation_weight > 0 and not restores,
        classifies=classifies and loss.classification_weight > 0 and not restores,
        aligns=classifies and loss.map_weight > 0,
    )


def _restores(config: ml_collections.ConfigDict) -> bool:
    """Whether damaged slices are to be given back, for which no mask and no label is asked."""
    return config.loss.segmentation == "restoration"


def _check_run(config: ml_collections.ConfigDict, preset: Preset, sources: Mapping[str, Source]) -> list[Finding]:
    """Devices and validation, as far as this machine can tell."""
    try:
        layout = make_layout(config.mesh.data, config.mesh.fsdp)
        check_divisible(config.batch_size, config.accumulate, layout, fixed_parts=config.fixed_parts)
    except InputError as error:
        return [_from_error("devices", error, severity="warning")]
    if VALIDATION not in sources:
        return []
    try:
        model, held_out = setup.network_of(config, preset), sources[VALIDATION]
        validation = Validation(config, preset, model, objective=Objective(), layout=layout, source=held_out)
    except InputError as error:
        return [_from_error("validation", error)]
    return [Finding("validation", "ok", f"the best step is chosen by {validation.metric}")]


def _look_at_batch(
    config: ml_collections.ConfigDict, preset: Preset, source: Source, findings: list[Finding]
) -> Image.Image | None:
    """Adds what is found of the first batch; its picture, or None where none can be made."""
    try:
        batch = next(setup.training_batches(config, preset, source))
    except (InputError, ValueError, KeyError) as error:
        findings.append(_from_error("first batch", error))
        return None
    findings.append(check_first_batch(batch, restores=_restores(config)))
    mixing = f", mixed with alpha {config.data.mixing.alpha:g}" if config.data.mixing.alpha else ""
    if config.data.paste_opacities:
        mixing = f", opacities of others with probability {config.data.paste_opacities:g}{mixing}"
    caption = (
        f"{config.data.dataset} {config.data.train_split} for {preset.name}; augmentation {config.data.augment}{mixing}"
    )
    return draw_batch(batch, preset.preprocessing, caption=caption)


def _check_network(
    trial: Trial, config: ml_collections.ConfigDict, preset: Preset, steps: int, doubts: Sequence[str]
) -> list[Finding]:
    """Weights, output, losses and gradients before training, and whether a few slices are learned by heart."""
    findings = [
        check_weights(preset, trial.parts, trial.random_parts, trial.frozen, given=bool(config.init_from)),
        *check_untrained(trial.untrained()),
    ]
    attempt = trial.train(1 if trial.restores else max(steps, 1))
    losses = check_losses(attempt.parts, trial.weights)
    findings += [losses, check_gradients(attempt, trial.frozen)]
    reasons = {
        "there is nothing to learn": losses.severity == "error",
        "slices are damaged anew at every step, and what covered them is lost": trial.restores,
        "--steps 0": not steps,
    }
    if any(reasons.values()):
        why = next(reason for reason, holds in reasons.items() if holds)
        return [*findings, Finding("learns a batch", "ok", f"not tried: {why}")]
    learned = check_learning(
        trial,
        attempt,
        steps,
        learning_rate=config.optimizer.learning_rate,
        preset=preset,
        doubts=[*doubts, *_errors(findings)],
    )
    return [*findings, learned]


def _errors(findings: Sequence[Finding]) -> list[str]:
    """The checks that found an error, each once."""
    return list(dict.fromkeys(finding.check for finding in findings if finding.severity == "error"))


def _from_error(check_name: str, error: Exception, *, severity: Severity = "error") -> Finding:
    """An error that the run would end with, whose message names its cure after the last semicolon."""
    found, _, cure = " ".join(str(error).split()).rpartition("; ")
    return Finding(check_name, severity, found or cure, cure if found else "")


def _described(config: ml_collections.ConfigDict) -> dict[str, Any]:
    options = json.loads(config.to_json_best_effort())
    del options["data"]["data_dir"], options["init_from"]  # paths of somebody's machine
    return options
