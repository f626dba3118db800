"""From what was measured on every slice to the numbers of an evaluation, by group, each with n and interval."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from jcs_jax.evaluation.columns import DISTANCE, Columns
from jcs_jax.evaluation.intervals import wilson_interval
from jcs_jax.evaluation.measuring import ALL_LUNG, BRIGHTNESS, EXPLANATIONS, OVERLAPS
from jcs_jax.metrics import (
    SIZE_CLASSES,
    BinaryCounts,
    Measurement,
    ScoreRanks,
    SortedScores,
    ThresholdCurve,
    weighted,
)
from jcs_jax.metrics.thresholds import THRESHOLDS

Group = dict[str, Measurement]


def summarise(columns: Columns, class_threshold: float, baseline_threshold: Measurement) -> dict[str, Group]:
    """All groups that the cases have something for.

    Args:
      columns: the cases.
      class_threshold: probability of infection from which a slice is positive.
      baseline_threshold: of the brightness baseline; nan leaves that baseline out.
    """
    groups = {
        "classification": _classification(columns, class_threshold),
        "segmentation": _segmentation(columns),
        "lesions": _lesions(columns),
        "explanation": _explanation(columns),
        **_baselines(columns, baseline_threshold),
    }
    return {name: group for name, group in groups.items() if group}


def classify(
    probabilities: Float[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    decisions: Bool[np.ndarray, " n"],
    columns: Columns,
) -> Group:
    """The numbers of a classifier.

    Args:
      probabilities: (N,) of infection.
      labels: (N,) 0, 1 or -1 (unknown).
      decisions: (N,) whether the threshold is reached.
      columns: of the same cases; says who the patients are.
    """
    infected, uninfected = labels == 1, labels == 0
    known, counts = infected | uninfected, BinaryCounts.from_decisions(decisions, labels)
    scores, auc = SortedScores.from_scores(probabilities, labels), ScoreRanks.from_scores(probabilities, labels).auc()

    def labelled(value: Float[np.ndarray, ""]) -> Measurement:
        return Measurement(float(value), int(known.sum()), int((~known).sum()))

    precision = Measurement(float(scores.average_precision()), auc.n, auc.n_absent)
    group = {
        "auc": columns.with_interval(auc, scores.auc, infected, uninfected),
        "average_precision": columns.with_interval(precision, scores.average_precision, infected, uninfected),
    }
    shares = {
        "sensitivity": (counts.sensitivity(), weighted.sensitivity, infected),
        "specificity": (counts.specificity(), weighted.specificity, uninfected),
        "accuracy": (counts.accuracy(), weighted.accuracy, known),
    }
    for name, (measured, share, relevant) in shares.items():
        if columns.clusters.count == len(labels):  # independent cases
            low, high = wilson_interval(measured.value, measured.n)
            group[name] = dataclasses.replace(measured, low=low, high=high)
        else:
            statistic = functools.partial(_weighted, share, decisions, labels)
            group[name] = columns.with_interval(measured, statistic, relevant)
    for name, error in (("brier", weighted.brier), ("ece", weighted.expected_calibration_error)):
        statistic = functools.partial(_weighted, error, probabilities, labels)
        group[name] = columns.with_interval(labelled(error(probabilities, labels)), statistic, known)
    return group


def _weighted(
    number: Callable[..., np.ndarray], values: np.ndarray, labels: np.ndarray, weights: Float[np.ndarray, "r n"]
) -> Float[np.ndarray, " r"]:
    return number(values, labels, weights)


def _classification(columns: Columns, class_threshold: float) -> Group:
    """Slice by slice; empty without a label or a class head."""
    if not columns.measured("infection_probability").any() or not (columns.labels >= 0).any():
        return {}
    probabilities = columns.values("infection_probability")
    return classify(probabilities, columns.labels, probabilities >= class_threshold, columns)


def _segmentation(columns: Columns) -> Group:
    if not columns.measured("dice").any():
        return {}
    group = {name: columns.mean(name) for name in (*OVERLAPS, "iou_adaptive", "mae")}
    group |= _threshold_curve(columns)
    if columns.measured("hausdorff_95_mm").any():
        group["hausdorff_95_mm"] = columns.mean("hausdorff_95_mm", DISTANCE)
        group["surface_dice_2mm"] = columns.mean("surface_dice_2mm")
    group["hausdorff_95_pixels"] = columns.mean("hausdorff_95_pixels", DISTANCE)
    return group


def _threshold_curve(columns: Columns) -> Group:
    """Inf-Net's numbers, over 256 thresholds of the scaled map."""
    defined = ~np.isnan(columns.curves[:, 0]) & columns.measured("dice")
    curves = np.where(defined[:, np.newaxis], columns.curves, 0.0)
    n, n_absent = int(defined.sum()), int((columns.measured("dice") & ~defined).sum())
    whole = ThresholdCurve(curves.sum(axis=0), n, n_absent)

    def means(weights: np.ndarray) -> np.ndarray:
        sums, total = weights @ curves, (weights @ defined)[:, np.newaxis]
        return np.divide(sums, total, out=np.full(sums.shape, math.nan), where=total > 0)

    told = {
        "mean_threshold_dice": (whole.mean_dice(), lambda weights: means(weights).mean(axis=1)),
        "best_threshold_dice": (whole.best_dice(), lambda weights: means(weights).max(axis=1)),
        "best_threshold": (whole.best_threshold(), lambda weights: THRESHOLDS[means(weights).argmax(axis=1)]),
    }
    return {name: columns.with_interval(measured, statistic, defined) for name, (measured, statistic) in told.items()}


def _lesions(columns: Columns) -> Group:
    """How many lesions were found, by size, and how many were invented."""
    if not columns.measured("lesions").any():
        return {}
    group = {f"detected_{size}": columns.ratio(f"found_{size}", f"lesions_{size}") for size in SIZE_CLASSES}
    group["detected_all"] = columns.ratio("found", "lesions")
    group["false_lesions_per_slice"] = columns.mean("false_lesions", DISTANCE)
    return group


def _explanation(columns: Columns) -> Group:
    """The means over the slices that aren't labelled uninfected and have a mask."""
    return {name: columns.mean(name) for name in EXPLANATIONS} if columns.measured("pointing_game").any() else {}


def _baselines(columns: Columns, threshold: Measurement) -> dict[str, Group]:
    """What has to be beaten: areas and brightness."""
    groups: dict[str, Group] = {}
    if columns.measured(ALL_LUNG + "dice").any():
        groups["baseline_all_lung"] = {name: columns.mean(ALL_LUNG + name) for name in OVERLAPS}
    if columns.measured(BRIGHTNESS + "dice").any():
        groups["baseline_brightness_in_lungs"] = {
            **{name: columns.mean(BRIGHTNESS + name) for name in OVERLAPS},
            "chosen_threshold": threshold,
        }
    for name in ("mean_brightness", "image_area"):
        if columns.measured(name).any() and (columns.labels >= 0).any():
            groups[f"baseline_{name}"] = _ranked(columns, columns.values(name))
    return groups


def _ranked(columns: Columns, scores: Float[np.ndarray, " n"]) -> Group:
    labels = np.where(np.isnan(scores), -1, columns.labels)
    scores = np.nan_to_num(scores)
    measured, ranks = ScoreRanks.from_scores(scores, labels).auc(), SortedScores.from_scores(scores, labels)
    return {"auc": columns.with_interval(measured, ranks.auc, labels == 1, labels == 0)}
