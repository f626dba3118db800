"""Metrics on the host: NumPy arrays in, per-example float64 values or mergeable states out.

A state is a frozen dataclass with `from_...`, `merge` and `compute`; merging only adds or concatenates, so the
order doesn't matter beyond float rounding. `compute` gives a `Measurement`: the value, and how many cases it
rests on.

Empty masks: a number that compares with a class that isn't there (Dice, IoU, sensitivity, threshold curves, the
measures of contours and of an explanation without any opacified pixel, specificity without any clear one, AUC and
average precision with a single class) is not defined: nan.
Such cases are left out of the mean and counted in `n_absent`, never scored 0 or 1. So a prediction of nothing
on an empty mask earns nothing, and a wrong prediction there doesn't show in Dice: it shows in
`false_positive_area`, which is measured on exactly those masks, and in specificity and MAE.

The numbers of many cases under weights, as a bootstrap asks for them, are in the module `weighted`: `auc`,
`average_precision`, `brier`, `expected_calibration_error`, `accuracy`, and the `sensitivity` and `specificity` of
decisions, which are not those of pixels here.
"""

from jcs_jax.metrics import weighted
from jcs_jax.metrics.explanation import energy_chance, energy_inside, map_auc, pointing_game
from jcs_jax.metrics.lesion_detection import SIZE_CLASSES, LesionDetection, detected_lesions, size_classes
from jcs_jax.metrics.overlap import (
    adaptive_threshold,
    binarize,
    dice,
    false_positive_area,
    iou,
    iou_adaptive,
    mae,
    sensitivity,
    specificity,
)
from jcs_jax.metrics.ranking import BinaryCounts, ScoreRanks
from jcs_jax.metrics.sorted_scores import SortedScores
from jcs_jax.metrics.states import Mean, Measurement
from jcs_jax.metrics.surface import hausdorff_95, surface_dice
from jcs_jax.metrics.thresholds import LEVELS, ThresholdCurve, dice_curve, min_max_scale
from jcs_jax.metrics.weighted import weighted_mean

__all__ = [
    "LEVELS",
    "SIZE_CLASSES",
    "BinaryCounts",
    "LesionDetection",
    "Mean",
    "Measurement",
    "ScoreRanks",
    "SortedScores",
    "ThresholdCurve",
    "adaptive_threshold",
    "binarize",
    "detected_lesions",
    "dice",
    "dice_curve",
    "energy_chance",
    "energy_inside",
    "false_positive_area",
    "hausdorff_95",
    "iou",
    "iou_adaptive",
    "mae",
    "map_auc",
    "min_max_scale",
    "pointing_game",
    "sensitivity",
    "size_classes",
    "specificity",
    "surface_dice",
    "weighted",
    "weighted_mean",
]
