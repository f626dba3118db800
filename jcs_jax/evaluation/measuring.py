"""What is measured on one slice."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

from jcs_jax import metrics
from jcs_jax.errors import InputError
from jcs_jax.evaluation.baselines import brightness_in_lungs
from jcs_jax.evaluation.lungs import lung_mask
from jcs_jax.evaluation.predictions import Prediction
from jcs_jax.explain import UNINFECTED
from jcs_jax.metrics import SIZE_CLASSES
from jcs_jax.models.presets import Preset

OVERLAPS = {
    "dice": metrics.dice,
    "iou": metrics.iou,
    "pixel_sensitivity": metrics.sensitivity,
    "pixel_specificity": metrics.specificity,
    "false_positive_area": metrics.false_positive_area,
}
EXPLANATIONS = {
    "pointing_game": metrics.pointing_game,
    "energy_inside": metrics.energy_inside,
    "energy_chance": lambda _, masks: metrics.energy_chance(masks),
    "map_auc": metrics.map_auc,
}
ALL_LUNG, BRIGHTNESS = "all_lung_", "brightness_in_lungs_"
TOLERANCE = 2.0  # mm, of the surface Dice


def measure(prediction: Prediction, preset: Preset, brightness_threshold: float) -> dict[str, float]:
    """All numbers of a slice by name.

    Args:
      prediction: of the slice.
      preset: whose threshold of the mask is used.
      brightness_threshold: of the baseline; nan leaves it out.

    Returns:
      nan where a number isn't defined; left out where it can't be measured.

    Raises:
      InputError: the mask isn't of the slice's size.
    """
    intensity, lesions, mask = prediction.intensity, prediction.lesions, prediction.example.mask
    values: dict[str, float] = {}
    if prediction.infection is not None and prediction.log_odds is not None:
        values |= {"infection_probability": prediction.infection, "infection_log_odds": prediction.log_odds}
        if intensity is not None:
            values |= {"mean_brightness": float(intensity.mean()), "image_area": float(intensity.size)}
    if lesions is not None:
        values["predicted_area"] = float(metrics.binarize(lesions[np.newaxis], preset.mask_threshold).mean())
    if mask is None:
        return values
    _require_size(prediction, mask)
    values["lesion_area"] = float(mask.astype(bool).mean())
    if lesions is not None:
        values |= _measure_mask(lesions, mask, preset.mask_threshold, prediction.example.spacing)
        if intensity is not None:
            values |= _measure_baselines(intensity, mask, brightness_threshold)
    if prediction.activation is not None and prediction.example.label != UNINFECTED:
        values |= {
            name: float(measured(prediction.activation[np.newaxis], mask[np.newaxis])[0])
            for name, measured in EXPLANATIONS.items()
        }
    return values


def _require_size(prediction: Prediction, mask: Bool[np.ndarray, "h w"]) -> None:
    for plane in (prediction.lesions, prediction.activation):
        if plane is not None and plane.shape != mask.shape:
            raise InputError(
                f"{prediction.example.name}: the mask is {mask.shape} and the slice {plane.shape} pixels; "
                "prepare the data with masks of the slices' size"
            )


def _measure_mask(
    lesions: Float[np.ndarray, "h w"],
    mask: Bool[np.ndarray, "h w"],
    threshold: float,
    spacing: tuple[float, float] | None,
) -> dict[str, float]:
    """The predicted mask against the reader's: overlap, contours, and lesion by lesion."""
    predicted = metrics.binarize(lesions[np.newaxis], threshold)
    target = mask[np.newaxis].astype(bool)
    values = _overlaps("", predicted[0], mask)
    values["iou_adaptive"] = float(metrics.iou_adaptive(lesions[np.newaxis], target)[0])
    values["mae"] = float(metrics.mae(lesions[np.newaxis], target)[0])
    values["hausdorff_95_pixels"] = float(metrics.hausdorff_95(predicted, target, spacing=np.ones(2))[0])
    if spacing is not None:
        distances = np.asarray(spacing, np.float64)
        values["hausdorff_95_mm"] = float(metrics.hausdorff_95(predicted, target, spacing=distances)[0])
        surface = metrics.surface_dice(predicted, target, spacing=distances, tolerance=TOLERANCE)
        values["surface_dice_2mm"] = float(surface[0])
    return values | _count_lesions(predicted[0], target[0])


def _count_lesions(predicted: Bool[np.ndarray, "h w"], target: Bool[np.ndarray, "h w"]) -> dict[str, float]:
    found = metrics.detected_lesions(predicted, target)
    sizes = metrics.size_classes(found.areas, (target.shape[0], target.shape[1]))
    counts = {
        "lesions": found.areas.size,
        "found": found.detected.sum(),
        "false_lesions": found.false_lesions,
    }
    for number, size in enumerate(SIZE_CLASSES):
        counts |= {f"lesions_{size}": (sizes == number).sum(), f"found_{size}": found.detected[sizes == number].sum()}
    return {name: float(count) for name, count in counts.items()}


def _measure_baselines(
    intensity: Float[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"], brightness_threshold: float
) -> dict[str, float]:
    lungs = lung_mask(intensity)
    values = _overlaps(ALL_LUNG, lungs, mask)
    if not math.isnan(brightness_threshold):
        values |= _overlaps(BRIGHTNESS, brightness_in_lungs(intensity, lungs) >= brightness_threshold, mask)
    return values


def _overlaps(prefix: str, predicted: Bool[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> dict[str, float]:
    return {
        f"{prefix}{name}": float(measured(predicted[np.newaxis], mask[np.newaxis])[0])
        for name, measured in OVERLAPS.items()
    }
