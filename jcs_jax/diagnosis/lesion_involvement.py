"""How much of each lung is opacified, and the severity score that follows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from jcs_jax.diagnosis.lesion_place import LABELS, LungMap
from jcs_jax.diagnosis.result.lesions import LungInvolvement, Side
from jcs_jax.study.volume import Volume

# Parts of equal height that stand for a lung's lobes.
LOBES: dict[Side, int] = {"right": 3, "left": 2}
LOBES_NOTE = (
    "lobes are not told apart: for the severity score the thirds of the right lung's height and the halves of the "
    "left one's stand for them"
)
ONE_LUNG_NOTE = "one lung only: the severity score counts its lobes alone"


class Involvement:
    """Adds up what lesions take of each lung.

    What of a lesion lies outside both lungs counts as part of the lung that the lesion belongs to, opacified: the
    lungs found before may have lost it.
    """

    def __init__(self, volume: Volume, lung_map: LungMap) -> None:
        """Starts without lesions."""
        self._map = lung_map
        self._voxel_ml = volume.voxel_volumes / 1000
        self._heights = volume.heights - volume.heights[0]
        self._lung = {side: lung_map.slice_pixels[:, LABELS[side]] * self._voxel_ml for side in lung_map.sides}
        self._opaque = {side: np.zeros(len(volume.heights)) for side in lung_map.sides}

    def add(self, counts: Mapping[int, Float[np.ndarray, " n"]], side: Side, first_slice: int) -> None:
        """Adds a lesion.

        Args:
          counts: its pixels on each slice by the label of the lungs, 0 outside.
          side: the lung it belongs to.
          first_slice: that the counts begin with.
        """
        for label, pixels in counts.items():
            slices = slice(first_slice, first_slice + len(pixels))
            volumes = pixels * self._voxel_ml[slices]
            of = next((one for one in self._map.sides if LABELS[one] == label), side)
            self._opaque[of][slices] += volumes
            if label != LABELS[of]:
                self._lung[of][slices] += volumes

    def lungs(self) -> tuple[LungInvolvement, ...]:
        """Of the lungs that are there, right before left."""
        found = []
        for side in self._map.sides:
            lower, middle, upper = self._shares(side, 3)
            found.append(
                LungInvolvement(
                    side,
                    float(self._lung[side].sum()),
                    float(self._opaque[side].sum()),
                    (float(upper), float(middle), float(lower)),
                )
            )
        return tuple(found)

    def severity_score(self) -> int:
        """0 to 25, five lobes of 0 to 5 each, approximated by parts of equal height."""
        return sum(lobe_score(float(share)) for side in self._map.sides for share in self._shares(side, LOBES[side]))

    def notes(self) -> tuple[str, ...]:
        """How far the score can be trusted."""
        return (LOBES_NOTE,) if len(self._map.sides) > 1 else (LOBES_NOTE, ONE_LUNG_NOTE)

    def _shares(self, side: Side, parts: int) -> Float[np.ndarray, " parts"]:
        """Opacified share of equal parts of the lung's height, from the lowest up."""
        part = self._map.zone(self._heights, side, parts=parts)
        lung = np.bincount(part, self._lung[side], parts)
        opaque = np.bincount(part, self._opaque[side], parts)
        return np.clip(np.divide(opaque, lung, out=np.zeros(parts), where=lung > 0), 0, 1)


def lobe_score(share: float) -> int:
    """0 to 5 for a lobe by its opacified share: 1 below 5 %, 2 to 25 %, 3 below 50 %, 4 to 75 %, 5 above.

    Source: Pan et al., Time course of lung changes at chest CT during recovery from COVID-19, Radiology
    2020;295:715-721.
    """
    return int(share > 0) + int(share >= 0.05) + int(share > 0.25) + int(share >= 0.5) + int(share > 0.75)
