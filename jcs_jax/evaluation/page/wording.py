"""How the summary's groups and numbers are called on the page, and how their values are written."""

from __future__ import annotations

import math

from jcs_jax.metrics import Measurement
from jcs_jax.report.html.markup import MISSING

BASELINE = "baseline_"
UNDEFINED = f"{MISSING} not defined"
_MOST_DIGITS = 4
_GROUPS = {
    "segmentation": "Segmentation, by slice",
    "classification": "Classification, by slice",
    "patients": "Classification, by patient",
    "explanation": "Explanation: the activation map against the mask",
    "lesions": "Lesions, by size",
    "baseline_all_lung": "all of the lungs",
    "baseline_brightness_in_lungs": "brightness in the lungs",
    "baseline_mean_brightness": "mean brightness",
    "baseline_image_area": "area of the picture",
}
_NUMBERS = {
    "dice": "Dice",
    "iou": "IoU",
    "pixel_sensitivity": "Sensitivity for pixels",
    "pixel_specificity": "Specificity for pixels",
    "false_positive_area": "Share marked where the mask is empty",
    "iou_adaptive": "IoU at the map's adaptive threshold",
    "mae": "Mean absolute error",
    "mean_threshold_dice": "Dice, mean over 256 thresholds",
    "best_threshold_dice": "Dice at the best threshold (optimistic)",
    "best_threshold": "Best threshold",
    "chosen_threshold": "Chosen threshold",
    "auc": "AUC",
    "average_precision": "Average precision",
    "brier": "Brier score",
    "ece": "Expected calibration error",
    "pointing_game": "Highest point inside the mask",
    "energy_inside": "Positive part inside the mask",
    "energy_chance": "The same without information",
    "map_auc": "AUC of the map's pixels",
    "hausdorff_95_pixels": "Hausdorff distance, 95th percentile, pixels",
    "hausdorff_95_mm": "Hausdorff distance, 95th percentile, mm",
    "surface_dice_2mm": "Surface Dice at 2 mm",
    "detected_small": "Small lesions detected",
    "detected_medium": "Medium lesions detected",
    "detected_large": "Large lesions detected",
    "detected_all": "All lesions detected",
    "false_lesions_per_slice": "False lesions per slice",
    "class": "Threshold of the class probability",
    "mask": "Threshold of the mask",
    "patient": "Threshold of the patient's probability",
    "slices": "Slices",
    "with_mask": "Slices with a mask",
    "empty_mask": "Slices with an empty mask",
    "infected": "Slices labelled infected",
    "uninfected": "Slices labelled uninfected",
    "unlabelled": "Slices without a label",
    "patients": "Patients with an identifier",
}
_LOWER_IS_BETTER = {
    "false_positive_area",
    "mae",
    "brier",
    "ece",
    "hausdorff_95_mm",
    "hausdorff_95_pixels",
    "false_lesions_per_slice",
}


def group_label(group: str) -> str:
    """A group of the summary in words; one that isn't known keeps its own."""
    return _GROUPS.get(group) or _words(group.removeprefix(BASELINE))


def number_label(name: str) -> str:
    """A number, a count or a threshold in words; one that isn't known keeps its own."""
    return _NUMBERS.get(name) or _words(name)


def lower_is_better(name: str) -> bool:
    """Whether a smaller value of this number is the better one."""
    return name in _LOWER_IS_BETTER


def value_text(value: float, digits: int | None = None) -> str:
    """A number with three significant digits, four decimals at most; a dash if it isn't finite.

    What is neither 0 nor 1 is never rounded to it.

    Args:
      value: the number.
      digits: decimals instead, so that numbers which belong together look alike.
    """
    if not math.isfinite(value):
        return MISSING
    size, sign = abs(value), "\u2212" if value < 0 else ""
    if 0 < size < 0.5 * 10**-_MOST_DIGITS:
        return f"> {sign}0.0001" if sign else "< 0.0001"
    if 1 - 0.5 * 10**-_MOST_DIGITS <= size < 1:
        return f"< {sign}0.9999" if sign else "> 0.9999"
    places = digits_of(value) if digits is None else digits
    if size not in (0, 1) and round(size, places) in (0, 1):
        places = _MOST_DIGITS
    return f"{sign}{size:,.{places}f}"


def digits_of(value: float) -> int:
    """How many decimals `value_text` gives a number."""
    if not math.isfinite(value) or abs(value) in (0, 1):
        return 3
    return min(_MOST_DIGITS, max(0, 2 - math.floor(math.log10(abs(value)))))


def interval_text(measured: Measurement) -> str:
    """Both ends of the interval, as exact as the value; a dash where there is none."""
    if not (math.isfinite(measured.low) and math.isfinite(measured.high)):
        return MISSING
    digits = digits_of(measured.value)
    return f"{value_text(measured.low, digits)} to {value_text(measured.high, digits)}"


def measured_text(measured: Measurement) -> str:
    """Value, interval and n in one line, for titles and for those who don't see the picture."""
    if not math.isfinite(measured.value):
        return f"not defined, n = {measured.n}"
    interval = interval_text(measured)
    told = "" if interval == MISSING else f" ({interval})"
    return f"{value_text(measured.value)}{told}, n = {measured.n}"


def p_text(p_value: float) -> str:
    """A p-value with three decimals."""
    if not math.isfinite(p_value):
        return MISSING
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _words(name: str) -> str:
    text = name.replace("_", " ").strip()
    return text[:1].upper() + text[1:]
