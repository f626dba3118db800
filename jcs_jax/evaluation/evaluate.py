"""Measures a model on a data set, slice by slice, at the slices' own resolution."""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import numpy as np
from jaxtyping import Float, PyTree

from jcs_jax.data.examples import Source
from jcs_jax.data.splits import find_overlap
from jcs_jax.errors import InputError
from jcs_jax.evaluation.baselines import choose_brightness_threshold
from jcs_jax.evaluation.columns import Columns
from jcs_jax.evaluation.measuring import measure
from jcs_jax.evaluation.patients import judge_patients, summarise_patients
from jcs_jax.evaluation.predictions import predictions
from jcs_jax.evaluation.results import Case, Evaluation
from jcs_jax.evaluation.showcase import Showcase
from jcs_jax.evaluation.summary import summarise
from jcs_jax.metrics import LEVELS, Measurement, dice_curve, min_max_scale
from jcs_jax.models.presets import Preset


class Fold(NamedTuple):
    """A model and the slices that it is measured on.

    Attributes:
      model: the network.
      variables: its parameters and statistics.
      preset: its preprocessing and operating points (a probability that reaches a threshold is positive).
      source: the slices to evaluate; none is dropped.
      train_source: what the model was trained on, to look for leaks and to choose the brightness baseline's threshold;
        slices that are evaluated as well (by name) are left out there. None: that baseline is left out.
    """

    model: nn.Module
    variables: Mapping[str, PyTree]
    preset: Preset
    source: Source
    train_source: Source | None = None


def evaluate(
    model: nn.Module,
    variables: Mapping[str, PyTree],
    preset: Preset,
    source: Source,
    *,
    batch_size: int = 4,
    train_source: Source | None = None,
) -> Evaluation:
    """Runs a model over every slice and measures it against the known masks and labels, baselines beside it.

    The lesion map is the sigmoid of side output 0, put back on the slice's own resolution and measured there;
    the probability of infection is the softmax of the class logits; the activation map of the infected class is put
    back likewise and compared with the masks of slices that aren't labelled uninfected. Whichever the model lacks
    is left out.

    Args:
      model: as `Fold`, which has the other arguments too.
      variables: as `Fold`.
      preset: as `Fold`.
      source: as `Fold`.
      batch_size: slices per call of the network.
      train_source: as `Fold`.

    Returns:
      The summary and one row per slice.

    Raises:
      InputError: no mask and no label that this model can be measured against, a mask of another size than
        its slice, or a prediction that isn't finite.
    """
    return evaluate_folds([Fold(model, variables, preset, source, train_source)], batch_size=batch_size)


def evaluate_folds(folds: Sequence[Fold], *, batch_size: int = 4) -> Evaluation:
    """As `evaluate`, over the slices of several folds together, each measured with a model that never saw it.

    Raises:
      InputError: as `evaluate`; models of several presets or thresholds, or a slice in two folds.
    """
    _require_one_preset(folds)
    cases: list[Case] = []
    curves: list[Float[np.ndarray, " 256"]] = []
    showcase, notes, thresholds = Showcase(), [], []
    for fold in folds:
        _require_truth(fold.source)
        threshold, told = _brightness_threshold(fold)
        thresholds.append(threshold)
        notes += [note for note in told if note not in notes]
        seen = predictions(fold.model, fold.variables, fold.preset, fold.source, batch_size=batch_size)
        for prediction, record in zip(seen, fold.source.records(), strict=True):
            values, example = measure(prediction, fold.preset, threshold.value), prediction.example
            cases.append(Case(example.name, example.patient, example.label, values, record.origin))
            curve = np.full(LEVELS, math.nan, np.float32)
            if prediction.lesions is not None and example.mask is not None:
                curve = dice_curve(min_max_scale(prediction.lesions[np.newaxis]), example.mask[np.newaxis])[0]
                showcase.see(prediction, values["dice"], fold.preset.mask_threshold)
            curves.append(curve.astype(np.float32))
    _require_distinct(cases)
    columns = Columns(cases, np.stack(curves) if curves else np.empty((0, LEVELS), np.float32))
    return _assemble(columns, folds, _mean_threshold(thresholds), showcase, notes)


def _assemble(
    columns: Columns, folds: Sequence[Fold], baseline_threshold: Measurement, showcase: Showcase, notes: list[str]
) -> Evaluation:
    preset = folds[0].preset
    summary = summarise(columns, preset.class_threshold, baseline_threshold)
    if not any(not group.startswith("baseline_") for group in summary):
        raise InputError(f"{preset.name}: gives nothing that the data's masks or labels could be compared with")
    patients = judge_patients(columns.cases, preset.patient)
    if group := summarise_patients(patients, preset.patient.threshold):
        summary["patients"] = group
    origins = sorted({case.origin for case in columns.cases} - {""})
    subgroups = {}
    if len(origins) > 1:
        rows = {origin: np.array([case.origin == origin for case in columns.cases]) for origin in origins}
        subgroups = {
            origin: summarise(columns.subset(of), preset.class_threshold, baseline_threshold)
            for origin, of in rows.items()
        }
    leakage = _leakage(folds)
    if leakage and any(leakage.values()):
        shared = ", ".join(f"{count} {kind}" for kind, count in leakage.items() if count)
        notes.insert(0, f"LEAKAGE: the training split shares {shared} with this one: these are training scores")
    notes += _absent_classes(columns, summary) + _told_by_the_data(folds)
    thresholds = {"class": preset.class_threshold, "mask": preset.mask_threshold, "patient": preset.patient.threshold}
    defined = columns.curves[~np.isnan(columns.curves[:, 0])]
    return Evaluation(
        preset.name,
        thresholds,
        _count(columns),
        summary,
        columns.cases,
        notes,
        leakage,
        patients,
        subgroups,
        showcase.pictures(),
        defined.mean(axis=0, dtype=np.float64) if len(defined) else None,
    )


def _require_one_preset(folds: Sequence[Fold]) -> None:
    """Refuses models that differ in more than their weights."""
    first = folds[0].preset
    for fold in folds[1:]:
        told = [(p.name, p.class_threshold, p.mask_threshold, p.patient) for p in (first, fold.preset)]
        if told[0] != told[1]:
            raise InputError(
                f"the folds' models differ in preset or thresholds ({first.name} and {fold.preset.name}); evaluate "
                "them one by one, or give all the same thresholds"
            )


def _require_truth(source: Source) -> None:
    if not any(record.lesion_area >= 0 or record.label >= 0 for record in source.records()):
        raise InputError("the data has neither masks nor labels to measure against; choose a split that has them")


def _require_distinct(cases: Sequence[Case]) -> None:
    twice = [name for name, count in collections.Counter(case.name for case in cases).items() if count > 1 and name]
    if twice:
        raise InputError(f"{twice[0]}: is in two of the evaluated splits; name splits that share no slice")


def _brightness_threshold(fold: Fold) -> tuple[Measurement, list[str]]:
    """The brightness baseline's threshold, nan if there is nothing to choose it on, and what to say of it."""
    source, train_source = fold.source, fold.train_source
    if train_source is None:
        note = "the brightness baseline was left out: no training split was given to choose its threshold on"
        return Measurement(math.nan, 0), [note]
    if source[0].image is None or train_source[0].image is None:
        return Measurement(math.nan, 0), ["the baselines were left out: stored features have no brightness"]
    evaluated = {record.name for record in source.records()}
    threshold, shared = choose_brightness_threshold(train_source, fold.preset.preprocessing, exclude=evaluated)
    notes = []
    if shared:
        notes.append(f"{shared} slices of the training split are evaluated as well: not used for the baseline")
    if math.isnan(threshold.value):
        notes.append("the brightness baseline was left out: the training split has no other slice with a lesion mask")
    return threshold, notes


def _mean_threshold(thresholds: Sequence[Measurement]) -> Measurement:
    """That of the one fold, or the mean over folds."""
    if len(thresholds) == 1:
        return thresholds[0]
    values = np.array([threshold.value for threshold in thresholds])
    return Measurement(float(values.mean()), len(values))


def _leakage(folds: Sequence[Fold]) -> dict[str, int] | None:
    """What models were trained on and are measured on, over all folds; None if no training split is known."""
    total: collections.Counter[str] = collections.Counter()
    known = [fold for fold in folds if fold.train_source is not None]
    for fold in known:
        if fold.train_source is not None:
            total.update(find_overlap(fold.train_source.records(), fold.source.records()).counts())
    return dict(total) if known else None


def _absent_classes(columns: Columns, summary: Mapping[str, object]) -> list[str]:
    """What isn't defined because nobody, or everybody, is infected."""
    if "classification" not in summary:
        return []
    absent = [name for name, label in (("infected", 1), ("uninfected", 0)) if not (columns.labels == label).any()]
    return [f"no slice is labelled {name}: AUC and what counts {name} slices are not defined" for name in absent]


def _told_by_the_data(folds: Sequence[Fold]) -> list[str]:
    told = [
        str(fold.source.info[key])
        for fold in folds
        for key in ("warning", "research_use_only")
        if fold.source.info.get(key)
    ]
    return list(dict.fromkeys(told))


def _count(columns: Columns) -> dict[str, int]:
    areas = columns.values("lesion_area")
    return {
        "slices": len(columns.cases),
        "with_mask": int((~np.isnan(areas)).sum()),
        "empty_mask": int((areas == 0).sum()),
        "infected": int((columns.labels == 1).sum()),
        "uninfected": int((columns.labels == 0).sum()),
        "unlabelled": int((columns.labels < 0).sum()),
        "patients": len({case.patient for case in columns.cases} - {""}),
    }
