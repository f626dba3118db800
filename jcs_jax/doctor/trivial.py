"""What needs no training: the numbers that a network has to beat."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from jcs_jax.data.examples import SliceRecord
from jcs_jax.doctor.findings import Finding
from jcs_jax.doctor.slices import SampledSlice
from jcs_jax.evaluation.baselines import brightness_in_lungs
from jcs_jax.metrics import ScoreRanks, ThresholdCurve, dice

_CHECK = "to beat"


@dataclasses.dataclass(frozen=True)
class TrivialLook:
    """What thresholds say of one slice.

    Attributes:
      label: of the slice.
      brightness: its mean intensity.
      all_lung_dice: of calling the whole lungs opacified; nan without a lesion.
      curve: Dice of the brightness in the lungs at every threshold; None without a mask.
    """

    label: int
    brightness: float
    all_lung_dice: float
    curve: ThresholdCurve | None


def look_at_baselines(item: SampledSlice) -> TrivialLook | None:
    """Measures what thresholds say of a slice; None for stored features."""
    if item.intensity is None or item.lungs is None:
        return None
    brightness = float(item.intensity.mean())
    if item.mask is None:
        return TrivialLook(item.example.label, brightness, math.nan, None)
    masks = item.mask[np.newaxis]
    maps = brightness_in_lungs(item.intensity, item.lungs)[np.newaxis]
    curve = ThresholdCurve.from_maps(maps, masks, scale=False)
    return TrivialLook(item.example.label, brightness, float(dice(item.lungs[np.newaxis], masks)[0]), curve)


def check_baselines(looks: Sequence[TrivialLook], records: Sequence[SliceRecord]) -> list[Finding]:
    """Dice of the whole lungs and of the best brightness, AUC of the mean brightness, accuracy of the commoner class.

    Args:
      looks: at the sample; as for `jcs evaluate`, but at most 512 pixels a side.
      records: of all training slices.

    Returns:
      A line on segmentation and one on classification, as far as the data have masks and labels.
    """
    return [*_segmentation(looks), *_classification(looks, records)]


def _segmentation(looks: Sequence[TrivialLook]) -> list[Finding]:
    curve = ThresholdCurve.empty()
    for look in looks:
        curve = curve.merge(look.curve) if look.curve is not None else curve
    if not curve.n:
        return []
    lungs = float(np.nanmean([look.all_lung_dice for look in looks]))
    threshold = curve.best_threshold(lowest=1).value
    best = float(curve.total[1:].max() / curve.n)
    numbers = {"slices": curve.n, "all_lung_dice": lungs, "brightness_dice": best, "brightness_threshold": threshold}
    found = (
        f"Dice {lungs:.3f} by the whole lungs, {best:.3f} by what is brighter than {threshold:.2f} in them "
        f"({curve.n} slices with a lesion)"
    )
    return [Finding(_CHECK, "ok", found, numbers=numbers)]


def _classification(looks: Sequence[TrivialLook], records: Sequence[SliceRecord]) -> list[Finding]:
    counts = Counter(record.label for record in records)
    if not counts[0] or not counts[1]:
        return []
    majority = max(counts[0], counts[1]) / (counts[0] + counts[1])
    known = [look for look in looks if look.label in (0, 1)]
    scores, labels = np.array([look.brightness for look in known]), np.array([look.label for look in known], int)
    auc = ScoreRanks.from_scores(scores, labels).auc().value
    by_brightness = "" if math.isnan(auc) else f"; AUC {auc:.3f} by the mean brightness of {len(known)} slices"
    found = f"accuracy {majority:.3f} by always answering the commoner class{by_brightness}"
    numbers = {"majority_accuracy": majority, "brightness_auc": auc, "slices": len(known)}
    return [Finding(_CHECK, "ok", found, numbers=numbers)]
