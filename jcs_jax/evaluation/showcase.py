"""The slices that a person should look at: the worst and the best masks."""

from __future__ import annotations

import bisect
import math
from typing import Literal, NamedTuple

import numpy as np

from jcs_jax.evaluation.predictions import Prediction
from jcs_jax.evaluation.results import CasePicture
from jcs_jax.metrics import binarize
from jcs_jax.report.overlay import mask_overlay

SHOWN = 6  # of either kind


class _Seen(NamedTuple):
    """A slice that may be shown: how it is ordered (lowest first), and what is drawn then."""

    order: float
    number: int
    prediction: Prediction
    threshold: float


class Showcase:
    """Keeps the slices of the worst and the best masks while others go by, and draws them in the end."""

    def __init__(self) -> None:
        self._worst: list[_Seen] = []
        self._best: list[_Seen] = []
        self._seen = 0

    def see(self, prediction: Prediction, dice: float, threshold: float) -> None:
        """Looks at a slice with a mask; a Dice that isn't defined doesn't count."""
        if math.isnan(dice) or prediction.intensity is None:
            return
        self._seen += 1
        for kept, order in ((self._worst, dice), (self._best, -dice)):
            if len(kept) < SHOWN or order < kept[-1].order:
                bisect.insort(kept, _Seen(order, self._seen, prediction, threshold), key=lambda seen: seen[:2])
                del kept[SHOWN:]

    def pictures(self) -> list[CasePicture]:
        """The worst ones, worst first, then the best ones; no slice twice."""
        worst = self._worst[: -(-self._seen // 2)]
        shown = {seen.number for seen in worst}
        best = [seen for seen in self._best if seen.number not in shown]
        return [*(_drawn(seen, "worst") for seen in worst), *(_drawn(seen, "best") for seen in best)]


def _drawn(seen: _Seen, kind: Literal["worst", "best"]) -> CasePicture:
    example, lesions, intensity = seen.prediction.example, seen.prediction.lesions, seen.prediction.intensity
    if example.mask is None or lesions is None or intensity is None:
        raise ValueError(f"{example.name}: was kept to be drawn without a picture or a mask")
    predicted = binarize(lesions[np.newaxis], seen.threshold)[0]
    drawn = mask_overlay(intensity, predicted, reference=example.mask.astype(bool))
    return CasePicture(example.name, kind, abs(seen.order), np.asarray(drawn.convert("RGB")))
