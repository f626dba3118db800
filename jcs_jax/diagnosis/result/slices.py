"""What a diagnosis says, as plain values: no model and no file in here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

SLICE_LEVEL = "slice-level result; no patient-level decision yet"
_DIGITS = 6


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
      name: the picture's file name, without its folder.
      shape: (H, W) of the picture in pixels.
      pixels_sha256: of its 8-bit grey levels, if it had such.
      notes: what a reader must know about the picture.
      class_probability: of infection, 0 to 1; None without a class head.
      positive: whether that reaches the class threshold; None without a class head.
      lesion_share: mask pixels over pixels of the picture (not of the lung), 0 to 1; None without segmentation.
      agreement: of map and mask; None if there aren't both, or one of them is empty.
    """

    name: str
    shape: tuple[int, int]
    pixels_sha256: str | None = None
    notes: tuple[str, ...] = ()
    class_probability: float | None = None
    positive: bool | None = None
    lesion_share: float | None = None
    agreement: MapAgreement | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; fractions rounded to six decimals."""
        agreement = self.agreement
        return {
            "file": self.name,
            "height": self.shape[0],
            "width": self.shape[1],
            "pixels_sha256": self.pixels_sha256,
            "notes": list(self.notes),
            "class_probability": _rounded(self.class_probability),
            "positive": self.positive,
            "lesion_share_of_picture": _rounded(self.lesion_share),
            "map_mask_agreement": agreement
            and {
                "activation_inside_mask": _rounded(agreement.inside_share),
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


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """Which network made a diagnosis.

    Attributes:
      checkpoint: the model folder's own name, never its path; None for a model in memory.
      preset: the preset's plain values.
      class_threshold: probability from which a slice counts as positive.
      mask_threshold: probability from which a pixel counts as opacified.
    """

    checkpoint: str | None
    preset: Mapping[str, Any]
    class_threshold: float
    mask_threshold: float


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """The result of one case.

    Attributes:
      case: its name.
      model: which network.
      slices: one or more, in the case's order.
      case_notes: what a reader must know of how the case was put together.
    """

    case: str
    model: ModelCard
    slices: tuple[SliceFindings, ...]
    case_notes: tuple[str, ...] = ()

    @property
    def classified(self) -> bool:
        """Whether the network has a class head."""
        return all(findings.class_probability is not None for findings in self.slices)

    @property
    def segmented(self) -> bool:
        """Whether the network draws masks."""
        return all(findings.lesion_share is not None for findings in self.slices)

    @property
    def highest(self) -> SliceFindings | None:
        """The slice with the highest probability of infection (the first of equals); None without a class head."""
        return max(self.slices, key=lambda findings: findings.class_probability or 0) if self.classified else None

    @property
    def positive_slices(self) -> int | None:
        """Number of slices that reach the class threshold; None without a class head."""
        return sum(bool(findings.positive) for findings in self.slices) if self.classified else None

    @property
    def notes(self) -> tuple[str, ...]:
        """The case's notes, what the network can't do, then the slices' notes without repetition."""
        limits = []
        if not self.classified:
            limits.append("this network has no class head: no class probability and no activation map")
        if not self.segmented:
            limits.append("this network does not segment: no mask and no lesion area")
        of_slices = (note for findings in self.slices for note in findings.notes)
        return tuple(dict.fromkeys((*self.case_notes, *limits, *of_slices)))

    def to_json(self) -> dict[str, Any]:
        """The case's level, then every slice, as plain values."""
        highest = self.highest
        return {
            "case": {
                "name": self.case,
                "statement": SLICE_LEVEL,
                "slices": len(self.slices),
                "positive_slices": self.positive_slices,
                "highest_class_probability": highest and _rounded(highest.class_probability),
                "highest_slice": highest and highest.name,
            },
            "slices": [findings.to_json() for findings in self.slices],
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
