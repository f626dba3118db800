"""Where a study lies in the patient, as far as its results need it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from jcs_jax.diagnosis.result.rounding import rounded


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Of a volume in the patient's order: slices from the feet up, rows backwards, columns to the patient's left.

    Attributes:
      affine: from (slice, row, column, 1) to LPS millimetres.
      heights: (slices,) millimetres along the slices' normal, rising from 0.
      pixel_spacing: millimetres between rows and between columns.
      voxel_volumes: (slices,) cubic millimetres.
    """

    affine: Float[np.ndarray, "4 4"]
    heights: Float[np.ndarray, " s"]
    pixel_spacing: tuple[float, float]
    voxel_volumes: Float[np.ndarray, " s"]

    @property
    def pixel_area(self) -> float:
        """Square millimetres."""
        return self.pixel_spacing[0] * self.pixel_spacing[1]

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded."""
        thickness = np.median(self.voxel_volumes) / self.pixel_area
        return {
            "pixel_spacing_mm": [rounded(value) for value in self.pixel_spacing],
            "slice_thickness_mm": rounded(float(thickness)),
            "affine_lps": [[rounded(float(value)) for value in row] for row in self.affine],
        }


@dataclasses.dataclass(frozen=True)
class StudyMaps:
    """The arrays of a diagnosed volume, in the patient's order, to draw and to save from.

    Attributes:
      hounsfield: (S, H, W), HU.
      lungs: (S, H, W) uint8, 0 outside, 1 right lung, 2 left lung.
      mask: (S, H, W) bool, opacities; None without segmentation.
      labels: (S, H, W) uint16, the number of the lesion, 0 outside; None without segmentation.
      activation: (S, h, w) float32, signed, over the whole slice at a lower resolution; None without a class head.
      geometry: where it all lies.
    """

    hounsfield: Shaped[np.ndarray, "s h w"]
    lungs: UInt8[np.ndarray, "s h w"]
    mask: Bool[np.ndarray, "s h w"] | None
    labels: Shaped[np.ndarray, "s h w"] | None
    activation: Float[np.ndarray, "s i j"] | None
    geometry: Geometry


@dataclasses.dataclass(frozen=True)
class SourceGrid:
    """The array that a volume was read from, to put results back into.

    Attributes:
      restore: brings an array (S, H, W) in the patient's order into the source's.
      affine: from indices of the source's array to LPS millimetres.
      headers: pydicom's headers and frame numbers, slice by slice of the source; None for other sources.
    """

    restore: Callable[[Shaped[np.ndarray, "s h w"]], Shaped[np.ndarray, "a b c"]]
    affine: Float[np.ndarray, "4 4"]
    headers: tuple[Sequence[Any], Sequence[int]] | None
