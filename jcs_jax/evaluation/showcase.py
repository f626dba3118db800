"""The slices that a person should look at: the worst and the best masks."""

from __future__ import annotations

import bisect
import math
from typing import Literal

import numpy as np

from jcs_jax.evaluation.predictions import Prediction
from jcs_jax.evaluation.results import CasePicture
from jcs_jax.metrics import binarize
from jcs_jax.report.overlay import mask_overlay

SHOWN = 6  # of either kind


class Showcase:
    """Keeps pictures of the worst and the best masks while slices go by, and nothing of the others."""

    def __init__(self) -> None:
        self._worst: list[tuple[float, int, CasePicture]] = []
        self._best: list[tuple[float, int, CasePicture]] = []
        self._seen = 0

    def see(self, prediction: Prediction, dice: float, threshold: float) -> None:
        """Looks at a slice with a mask; a Dice that isn't defined doesn't count."""
        if math.isnan(dice) or prediction.intensity is None:
            return
        self._seen += 1
        self._keep(self._worst, dice, "worst", prediction, threshold)
        self._keep(self._best, -dice, "best", prediction, threshold)

    def _keep(
        self,
        kept: list[tuple[float, int, CasePicture]],
        order: float,
        kind: Literal["worst", "best"],
        prediction: Prediction,
        threshold: float,
    ) -> None:
        if len(kept) == SHOWN and order >= kept[-1][0]:
            return
        lesions, mask, intensity = prediction.lesions, prediction.example.mask, prediction.intensity
        if lesions is None or mask is None or intensity is None:
            return
        drawn = mask_overlay(intensity, binarize(lesions[np.newaxis], threshold)[0], reference=mask.astype(bool))
        picture = CasePicture(prediction.example.name, kind, abs(order), np.asarray(drawn.convert("RGB")))
        bisect.insort(kept, (order, self._seen, picture), key=lambda entry: entry[:2])
        del kept[SHOWN:]

    def pictures(self) -> list[CasePicture]:
        """The worst ones, worst first, then the best ones; no slice twice."""
        worst = [picture for *_, picture in self._worst]
        shown = {picture.name for picture in worst[: -(-self._seen // 2)]}
        return worst[: -(-self._seen // 2)] + [p for *_, p in self._best if p.name not in shown]
