"""What is measured of the opacities of a study, as plain values."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from jcs_jax.diagnosis.result.rounding import rounded

Side = Literal["right", "left"]
Zone = Literal["upper", "middle", "lower"]
Depth = Literal["peripheral", "central"]
Kind = Literal["ground glass", "mixed", "consolidation"]


@dataclasses.dataclass(frozen=True)
class Lesion:
    """One connected opacity.

    Attributes:
      number: from 1, the largest first; its value in the map of labels.
      volume_ml: millilitres.
      largest_diameter_mm: between the centres of its two farthest voxels, and the width of a voxel along that line.
      mean_hu: mean over its voxels, weighted by their volume.
      consolidated_share: of its volume, 0 to 1, that is denser than ground glass.
      kind: by that share.
      side: of the lung that holds most of it, or lies nearest.
      zone: third of that lung's height that holds its centre.
      depth: `peripheral` if its centre lies nearer to the lung's border than half of the deepest point does.
      first_slice: index of its lowest slice, from 0.
      areas_mm2: of every slice from there up.
      activation_share: share of its pixels, 0 to 1, at which the activation map speaks for infection; None without
        a map.
    """

    number: int
    volume_ml: float
    largest_diameter_mm: float
    mean_hu: float
    consolidated_share: float
    kind: Kind
    side: Side
    zone: Zone
    depth: Depth
    first_slice: int
    areas_mm2: tuple[float, ...]
    activation_share: float | None = None

    @property
    def last_slice(self) -> int:
        """Index of its highest slice."""
        return self.first_slice + len(self.areas_mm2) - 1

    @property
    def largest_slice(self) -> int:
        """Index of the slice on which its area is largest (the first of equals)."""
        return self.first_slice + self.areas_mm2.index(max(self.areas_mm2))

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded; slices are counted from 1."""
        return {
            "number": self.number,
            "volume_ml": rounded(self.volume_ml),
            "largest_diameter_mm": rounded(self.largest_diameter_mm, 3),
            "mean_hu": rounded(self.mean_hu, 2),
            "consolidated_share": rounded(self.consolidated_share),
            "kind": self.kind,
            "side": self.side,
            "zone": self.zone,
            "depth": self.depth,
            "first_slice": self.first_slice + 1,
            "last_slice": self.last_slice + 1,
            "largest_slice": self.largest_slice + 1,
            "areas_mm2": [rounded(area, 3) for area in self.areas_mm2],
            "activation_share": rounded(self.activation_share),
        }


@dataclasses.dataclass(frozen=True)
class LungInvolvement:
    """How much of one lung is opacified.

    Attributes:
      side: which.
      volume_ml: of the lung, opacities included.
      involved_ml: of the opacities in it.
      zone_shares: opacified share of the upper, middle and lower third of its height, 0 to 1.
    """

    side: Side
    volume_ml: float
    involved_ml: float
    zone_shares: tuple[float, float, float]

    @property
    def share(self) -> float:
        """Opacified share of the lung, 0 to 1."""
        return self.involved_ml / self.volume_ml

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded."""
        return {
            "side": self.side,
            "volume_ml": rounded(self.volume_ml),
            "involved_ml": rounded(self.involved_ml),
            "involved_share": rounded(self.share),
            "zone_shares": dict(zip(("upper", "middle", "lower"), map(rounded, self.zone_shares), strict=True)),
        }


@dataclasses.dataclass(frozen=True)
class LesionReport:
    """All opacities of a study.

    Attributes:
      lesions: the largest first.
      lungs: right, then left.
      severity_score: CT severity score, 0 to 25: of five lobes, each 0 to 5 by its opacified share (none, below 5 %,
        to 25 %, below 50 %, to 75 %, above).
      notes: how far the numbers can be trusted.
    """

    lesions: tuple[Lesion, ...]
    lungs: tuple[LungInvolvement, ...]
    severity_score: int
    notes: tuple[str, ...] = ()

    @property
    def volume_ml(self) -> float:
        """Of all lesions."""
        return sum(lesion.volume_ml for lesion in self.lesions)

    @property
    def involved_share(self) -> float:
        """Opacified share of both lungs, 0 to 1."""
        return sum(lung.involved_ml for lung in self.lungs) / sum(lung.volume_ml for lung in self.lungs)

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded."""
        return {
            "count": len(self.lesions),
            "volume_ml": rounded(self.volume_ml),
            "involved_share": rounded(self.involved_share),
            "severity_score": self.severity_score,
            "lungs": [lung.to_json() for lung in self.lungs],
            "lesions": [lesion.to_json() for lesion in self.lesions],
        }
