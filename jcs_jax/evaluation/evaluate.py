"""Measures a model on a data set, slice by slice, at the slices' own resolution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import flax.linen as nn
import numpy as np
from jaxtyping import Bool, Float, PyTree

from jcs_jax import metrics
from jcs_jax.data.examples import Source
from jcs_jax.data.splits import find_overlap
from jcs_jax.errors import InputError
from jcs_jax.evaluation.baselines import brightness_in_lungs, choose_brightness_threshold
from jcs_jax.evaluation.lungs import lung_mask
from jcs_jax.evaluation.predictions import Prediction, predictions
from jcs_jax.evaluation.results import Case, Evaluation
from jcs_jax.explain import UNINFECTED
from jcs_jax.metrics import BinaryCounts, Mean, Measurement, ScoreRanks, ThresholdCurve
from jcs_jax.models.presets import Preset

_OVERLAPS = {
    "dice": metrics.dice,
    "iou": metrics.iou,
    "pixel_sensitivity": metrics.sensitivity,
    "pixel_specificity": metrics.specificity,
    "false_positive_area": metrics.false_positive_area,
}
_EXPLANATIONS = {
    "pointing_game": metrics.pointing_game,
    "energy_inside": metrics.energy_inside,
    "energy_chance": lambda _, masks: metrics.energy_chance(masks),
    "map_auc": metrics.map_auc,
}
_ALL_LUNG, _BRIGHTNESS = "all_lung_", "brightness_in_lungs_"


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
      model: the network.
      variables: its parameters and statistics.
      preset: its preprocessing and operating points (a probability that reaches a threshold is positive).
      source: the slices to evaluate; none is dropped.
      batch_size: slices per call of the network.
      train_source: slices to choose the brightness baseline's threshold on. Those that are evaluated as
        well (by name) are left out. None: that baseline is left out.

    Returns:
      The summary and one row per slice.

    Raises:
      InputError: no mask and no label that this model can be measured against, a mask of another size than
        its slice, or a prediction that isn't finite.
    """
    _require_truth(source)
    threshold, notes = _brightness_threshold(source, preset, train_source)
    cases, curve = [], ThresholdCurve.empty()
    for prediction in predictions(model, variables, preset, source, batch_size=batch_size):
        example = prediction.example
        values = _measure(prediction, preset, threshold.value)
        if prediction.lesions is not None and example.mask is not None:
            curve = curve.merge(ThresholdCurve.from_maps(prediction.lesions[np.newaxis], example.mask[np.newaxis]))
        cases.append(Case(example.name, example.patient, example.label, values))
    summary = _summarise_lesions(cases, curve, threshold) | _summarise_labels(cases, preset.class_threshold)
    summary |= _summarise_explanations(cases)
    if not summary:
        raise InputError(f"{preset.name}: gives nothing that the data's masks or labels could be compared with")
    leakage = None if train_source is None else find_overlap(train_source.records(), source.records()).counts()
    if leakage and any(leakage.values()):
        shared = ", ".join(f"{count} {kind}" for kind, count in leakage.items() if count)
        notes.insert(0, f"LEAKAGE: the training split shares {shared} with this one: these are training scores")
    notes += [str(source.info[key]) for key in ("warning", "research_use_only") if source.info.get(key)]
    thresholds = {"class": preset.class_threshold, "mask": preset.mask_threshold}
    return Evaluation(preset.name, thresholds, _count(cases), summary, cases, notes, leakage)


def _require_truth(source: Source) -> None:
    if not any(record.lesion_area >= 0 or record.label >= 0 for record in source.records()):
        raise InputError("the data has neither masks nor labels to measure against; choose a split that has them")


def _brightness_threshold(source: Source, preset: Preset, train_source: Source | None) -> tuple[Measurement, list[str]]:
    """The brightness baseline's threshold, nan if there is nothing to choose it on, and what to say of it."""
    if train_source is None:
        note = "the brightness baseline was left out: no training split was given to choose its threshold on"
        return Measurement(math.nan, 0), [note]
    if source[0].image is None or train_source[0].image is None:
        return Measurement(math.nan, 0), ["the baselines were left out: stored features have no brightness"]
    evaluated = {record.name for record in source.records()}
    threshold, shared = choose_brightness_threshold(train_source, preset.preprocessing, exclude=evaluated)
    notes = []
    if shared:
        notes.append(f"{shared} slices of the training split are evaluated as well: not used for the baseline")
    if math.isnan(threshold.value):
        notes.append("the brightness baseline was left out: the training split has no other slice with a lesion mask")
    return threshold, notes


def _measure(prediction: Prediction, preset: Preset, brightness_threshold: float) -> dict[str, float]:
    """All per-slice numbers; nan where one isn't defined."""
    intensity, lesions, mask = prediction.intensity, prediction.lesions, prediction.example.mask
    values: dict[str, float] = {}
    if prediction.infection is not None:
        values["infection_probability"] = prediction.infection
        if intensity is not None:
            values["mean_brightness"] = float(intensity.mean())
    if lesions is not None:
        values["predicted_area"] = float(metrics.binarize(lesions[np.newaxis], preset.mask_threshold).mean())
    if mask is None:
        return values
    _require_size(prediction, mask)
    values["lesion_area"] = float(mask.astype(bool).mean())
    if lesions is not None:
        values |= _overlaps("", metrics.binarize(lesions[np.newaxis], preset.mask_threshold)[0], mask)
        values["iou_adaptive"] = float(metrics.iou_adaptive(lesions[np.newaxis], mask[np.newaxis])[0])
        values["mae"] = float(metrics.mae(lesions[np.newaxis], mask[np.newaxis])[0])
        if intensity is not None:
            values |= _measure_baselines(intensity, mask, brightness_threshold)
    if prediction.activation is not None and prediction.example.label != UNINFECTED:
        values |= {
            name: float(measure(prediction.activation[np.newaxis], mask[np.newaxis])[0])
            for name, measure in _EXPLANATIONS.items()
        }
    return values


def _require_size(prediction: Prediction, mask: Bool[np.ndarray, "h w"]) -> None:
    for plane in (prediction.lesions, prediction.activation):
        if plane is not None and plane.shape != mask.shape:
            raise InputError(
                f"{prediction.example.name}: the mask is {mask.shape} and the slice {plane.shape} pixels; "
                "prepare the data with masks of the slices' size"
            )


def _measure_baselines(
    intensity: Float[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"], brightness_threshold: float
) -> dict[str, float]:
    lungs = lung_mask(intensity)
    values = _overlaps(_ALL_LUNG, lungs, mask)
    if not math.isnan(brightness_threshold):
        values |= _overlaps(_BRIGHTNESS, brightness_in_lungs(intensity, lungs) >= brightness_threshold, mask)
    return values


def _overlaps(prefix: str, predicted: Bool[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> dict[str, float]:
    return {
        f"{prefix}{name}": float(measure(predicted[np.newaxis], mask[np.newaxis])[0])
        for name, measure in _OVERLAPS.items()
    }


def _summarise_lesions(
    cases: Sequence[Case], curve: ThresholdCurve, threshold: Measurement
) -> dict[str, dict[str, Measurement]]:
    """The means over the slices with a mask, the model's and the baselines'; empty without any."""
    if not _column(cases, "dice").size:
        return {}
    segmentation = {name: _mean(cases, name) for name in (*_OVERLAPS, "iou_adaptive", "mae")}
    segmentation["mean_threshold_dice"] = curve.mean_dice()
    segmentation["best_threshold_dice"] = curve.best_dice()
    segmentation["best_threshold"] = curve.best_threshold()
    summary = {"segmentation": segmentation}
    if _column(cases, _ALL_LUNG + "dice").size:
        summary["baseline_all_lung"] = {name: _mean(cases, _ALL_LUNG + name) for name in _OVERLAPS}
    if not math.isnan(threshold.value):
        summary["baseline_brightness_in_lungs"] = {
            **{name: _mean(cases, _BRIGHTNESS + name) for name in _OVERLAPS},
            "chosen_threshold": threshold,
        }
    return summary


def _summarise_labels(cases: Sequence[Case], class_threshold: float) -> dict[str, dict[str, Measurement]]:
    """Slice-level classification, and mean brightness as a classifier; empty without a label or a class head."""
    labels = np.array([case.label for case in cases])
    probabilities = _column(cases, "infection_probability")
    if not probabilities.size or not (labels >= 0).any():
        return {}
    counts = BinaryCounts.from_decisions(probabilities >= class_threshold, labels)
    summary = {
        "classification": {
            "auc": ScoreRanks.from_scores(probabilities, labels).auc(),
            "sensitivity": counts.sensitivity(),
            "specificity": counts.specificity(),
            "accuracy": counts.accuracy(),
        }
    }
    if (brightness := _column(cases, "mean_brightness")).size:
        summary["baseline_mean_brightness"] = {"auc": ScoreRanks.from_scores(brightness, labels).auc()}
    return summary


def _summarise_explanations(cases: Sequence[Case]) -> dict[str, dict[str, Measurement]]:
    """The means over the slices that aren't labelled uninfected and have a mask; empty without any."""
    if not _column(cases, "pointing_game").size:
        return {}
    return {"explanation": {name: _mean(cases, name) for name in _EXPLANATIONS}}


def _column(cases: Sequence[Case], name: str) -> Float[np.ndarray, " n"]:
    return np.array([case.values[name] for case in cases if name in case.values], np.float64)


def _mean(cases: Sequence[Case], name: str) -> Measurement:
    return Mean.from_values(_column(cases, name)).compute()


def _count(cases: Sequence[Case]) -> dict[str, int]:
    labels = np.array([case.label for case in cases])
    areas = _column(cases, "lesion_area")
    return {
        "slices": len(cases),
        "with_mask": areas.size,
        "empty_mask": int((areas == 0).sum()),
        "infected": int((labels == 1).sum()),
        "uninfected": int((labels == 0).sum()),
        "unlabelled": int((labels < 0).sum()),
        "patients": len({case.patient for case in cases} - {""}),
    }
