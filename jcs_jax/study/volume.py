"""A CT study as one array in HU, where it lies in the patient, and how to put results back where it came from."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

AIR, DENSEST = -1024, 3071  # HU that 12 bits hold; scanners write lower values outside the field of view
LEAST_SIDE, MOST_VOXELS = 32, 2**29  # of a slice in pixels; of a series, a gigabyte of 16 bits
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclasses.dataclass(frozen=True)
class Orientation:
    """How the axes of a source's array become slices (upwards), rows (backwards) and columns (to the left).

    Attributes:
      axes: the source's axis along the slices, the rows and the columns.
      flipped: whether that axis runs the other way in the source.
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    @classmethod
    def nearest(cls, affine: Float[np.ndarray, "4 4"]) -> Orientation:
        """The one that brings a source's axes nearest to the patient's.

        Args:
          affine: from indices along the source's axes to LPS millimetres.

        Raises:
          ValueError: if the affine can't be inverted.
        """
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if not np.isfinite(lengths).all() or lengths.min() == 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
            raise ValueError("its axes do not span a volume")
        directions = affine[:3, :3] / lengths
        upwards_backwards_left = directions[::-1]
        axes = max(
            itertools.permutations(range(3)),
            key=lambda order: sum(abs(upwards_backwards_left[row, axis]) for row, axis in enumerate(order)),
        )
        flipped = tuple(bool(upwards_backwards_left[row, axis] < 0) for row, axis in enumerate(axes))
        return cls((axes[0], axes[1], axes[2]), (flipped[0], flipped[1], flipped[2]))

    def apply(self, values: Shaped[np.ndarray, "a b c"]) -> Shaped[np.ndarray, "s h w"]:
        """A source's array in the patient's order."""
        return np.flip(values.transpose(self.axes), self._turned)

    def undo(self, values: Shaped[np.ndarray, "s h w"]) -> Shaped[np.ndarray, "a b c"]:
        """An array in the patient's order as the source has it."""
        return np.flip(values, self._turned).transpose(np.argsort(self.axes))

    @property
    def _turned(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(3) if self.flipped[axis])

    def apply_affine(self, affine: Float[np.ndarray, "4 4"], shape: tuple[int, int, int]) -> Float[np.ndarray, "4 4"]:
        """The affine of `apply`'s array.

        Args:
          affine: of the source's array.
          shape: of the source's array.
        """
        turned = np.eye(4)
        turned[:3, 3] = affine[:3, 3]
        for place, (axis, flipped) in enumerate(zip(self.axes, self.flipped, strict=True)):
            turned[:3, place] = affine[:3, axis] * (-1 if flipped else 1)
            if flipped:
                turned[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
        return turned

    def undo_affine(self, affine: Float[np.ndarray, "4 4"], shape: tuple[int, int, int]) -> Float[np.ndarray, "4 4"]:
        """The affine of the source's array; the inverse of `apply_affine`.

        Args:
          affine: of the array in the patient's order.
          shape: of that array.
        """
        source = np.eye(4)
        source[:3, 3] = affine[:3, 3]
        for place, (axis, flipped) in enumerate(zip(self.axes, self.flipped, strict=True)):
            source[:3, axis] = affine[:3, place] * (-1 if flipped else 1)
            if flipped:
                source[:3, 3] += affine[:3, place] * (shape[place] - 1)
        return source


@dataclasses.dataclass(frozen=True)
class DicomHeaders:
    """The headers of the files that a volume was read from.

    Attributes:
      datasets: pydicom's, without pixels, one a slice; slices of one file share it.
      frames: number of each slice in its file, from 0.
    """

    datasets: Sequence[Any]
    frames: Sequence[int]


@dataclasses.dataclass(frozen=True)
class Volume:
    """A CT series.

    Attributes:
      hounsfield: (slices, H, W) int16 or float32, HU from -1024 to 3071; slices from the feet up, rows from front
        to back, columns from the patient's right to left, as near as the source's axes come to that.
      affine: from (slice, row, column, 1) to LPS millimetres. Its slice axis may lean (a tilted gantry).
      heights: (slices,) millimetres along the slices' normal, rising; even unless slices are missing.
      orientation: of the source's array, to put results back.
      notes: what a reader of the result must know about the series.
      read_headers: reads the DICOM headers again, in the order of the source's slices; None for other sources.
    """

    hounsfield: Shaped[np.ndarray, "s h w"]
    affine: Float[np.ndarray, "4 4"]
    heights: Float[np.ndarray, " s"]
    orientation: Orientation
    notes: tuple[str, ...] = ()
    read_headers: Callable[[], DicomHeaders] | None = None

    @property
    def pixel_spacing(self) -> tuple[float, float]:
        """Millimetres between rows and between columns."""
        rows, columns = np.linalg.norm(self.affine[:3, 1:3], axis=0)
        return float(rows), float(columns)

    @property
    def slice_thickness(self) -> Float[np.ndarray, " s"]:
        """(slices,) millimetres along the normal that each slice stands for: halfway to its neighbours.

        At a gap that missing slices left, and at both ends, it is what most slices stand for.
        """
        steps = np.diff(self.heights)
        usual = float(np.median(steps)) if len(steps) else self._lone_thickness()
        halves = np.minimum(steps, usual) / 2
        return np.concatenate([[usual / 2], halves]) + np.concatenate([halves, [usual / 2]])

    @property
    def voxel_volumes(self) -> Float[np.ndarray, " s"]:
        """(slices,) cubic millimetres of a voxel of each slice."""
        area = float(np.linalg.norm(np.cross(self.affine[:3, 1], self.affine[:3, 2])))
        return self.slice_thickness * area

    def _lone_thickness(self) -> float:
        return float(np.linalg.norm(self.affine[:3, 0]))


def clip_hounsfield(values: Shaped[np.ndarray, "*shape"]) -> Shaped[np.ndarray, "*shape"]:
    """HU of any type as int16 where they are whole numbers, else as float32, within what CT can mean."""
    clipped = np.clip(values, AIR, DENSEST)
    if np.issubdtype(clipped.dtype, np.integer) or np.array_equal(clipped, np.rint(clipped)):
        return clipped.astype(np.int16)
    return clipped.astype(np.float32)
