"""What is found on single slices, as plain values."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jcs_jax.diagnosis.result.rounding import rounded


@dataclasses.dataclass(frozen=True)
class MapAgreement:
    """How far the classifier's evidence and the segmentation point to the same place.

    Attributes:
      inside_share: share of the positive activation that lies inside the mask, 0 to 1. An even map would score
        the mask's share of the picture.
      pointing_hit: whether the pixel of the highest activation lies inside the mask.
    """

    inside_share: float
    pointing_hit: bool

    @classmethod
    def measure(cls, activation: Float[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> MapAgreement | None:
        """Compares an activation map (signed) with a mask; None if either has nothing positive."""
        positive = np.maximum(activation, 0)
        total = positive.sum(dtype=np.float64)
        if not mask.any() or total <= 0:
            return None
        inside = positive.sum(dtype=np.float64, where=mask) / total
        return cls(float(inside), bool(mask.flat[np.argmax(positive)]))


@dataclasses.dataclass(frozen=True)
class SliceFindings:
    """The numbers of one slice.

    Attributes:
      name: the picture's file name, without its folder; empty for a slice of a volume.
      shape: (H, W) of the picture in pixels.
      pixels_sha256: of its 8-bit grey levels, if it had such.
      notes: what a reader must know about the picture.
      class_probability: of infection, 0 to 1; None without a class head.
      positive: whether that reaches the class threshold; None without a class head.
      lesion_share: mask pixels over pixels of the picture (not of the lung), 0 to 1; None without segmentation.
      agreement: of map and mask; None if there aren't both, or one of them is empty.
      left_out: whether the segmentation left the slice out since it isn't positive.
      height_mm: along the slices' normal, from the lowest one; None without millimetres.
      lung_bearing: whether there is lung on it; None without HU.
      lesion_area_mm2: of the mask; None without millimetres or mask.
      distance: from slices that the network knows, about 1 for those; None where its weights don't say. It goes into
        no output: only a study's median means something.
    """

    name: str
    shape: tuple[int, int]
    pixels_sha256: str | None = None
    notes: tuple[str, ...] = ()
    class_probability: float | None = None
    positive: bool | None = None
    lesion_share: float | None = None
    agreement: MapAgreement | None = None
    left_out: bool = False
    height_mm: float | None = None
    lung_bearing: bool | None = None
    lesion_area_mm2: float | None = None
    distance: float | None = None

    @property
    def judged_for_lesions(self) -> bool:
        """Whether there is a network that draws masks, be it that it left this slice out."""
        return self.left_out or self.lesion_share is not None

    def to_json(self) -> dict[str, Any]:
        """Plain values; fractions rounded to six decimals."""
        agreement = self.agreement
        return {
            "file": self.name or None,
            "height": self.shape[0],
            "width": self.shape[1],
            "pixels_sha256": self.pixels_sha256,
            "notes": list(self.notes),
            "height_mm": rounded(self.height_mm, 3),
            "lung_bearing": self.lung_bearing,
            "class_probability": rounded(self.class_probability),
            "positive": self.positive,
            "segmented": self.lesion_share is not None,
            "lesion_share_of_picture": rounded(self.lesion_share),
            "lesion_area_mm2": rounded(self.lesion_area_mm2, 3),
            "map_mask_agreement": agreement
            and {
                "activation_inside_mask": rounded(agreement.inside_share),
                "pointing_hit": agreement.pointing_hit,
            },
        }


@dataclasses.dataclass(frozen=True)
class SliceDiagnosis:
    """One slice's numbers together with its maps, all at the slice's own resolution.

    Attributes:
      findings: the numbers.
      intensity: (H, W) float32 in [0, 1], the slice itself.
      probability: (H, W) float32 in [0, 1], of opacification; None without segmentation. Zero where the
        network didn't look (outside a centre crop).
      mask: (H, W) bool, probability at least the mask threshold; None without segmentation.
      activation: (H, W) float32, signed: log-odds of infection against no infection, whose mean over the
        network's positions is that of the class probability. Zero where the network didn't look; None without
        a class head.
    """

    findings: SliceFindings
    intensity: Float[np.ndarray, "h w"]
    probability: Float[np.ndarray, "h w"] | None = None
    mask: Bool[np.ndarray, "h w"] | None = None
    activation: Float[np.ndarray, "h w"] | None = None
