"""A CT volume at a lower, even resolution, where lungs are looked for, and morphology in millimetres on it."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from jcs_jax.memory import paged_zeros, planes
from jcs_jax.study.volume import Volume

COARSE = 2.0  # mm between coarse voxels; finer ones are averaged, wider ones stay as they are
LUNG_BELOW = -400.0  # HU; halfway between lung and tissue, where a border's voxel is half of each


@dataclasses.dataclass(frozen=True)
class Grid:
    """A volume at a lower resolution.

    Attributes:
      hounsfield: (Z, h, w) float32, HU, means over the voxels of the volume.
      spacing: mm between levels, rows and columns.
      levels: (S,) the level of each slice of the volume.
    """

    hounsfield: Float[np.ndarray, "z h w"]
    spacing: tuple[float, float, float]
    levels: Int[np.ndarray, " s"]

    @property
    def voxel_ml(self) -> float:
        """Millilitres of a coarse voxel."""
        return float(np.prod(self.spacing)) / 1000


def coarse_grid(volume: Volume) -> Grid:
    """Averages a volume to voxels of about 2 mm, evenly spaced; where slices are missing the nearest one stands in."""
    slices, height, width = volume.hounsfield.shape
    steps = np.diff(volume.heights)
    step = max(COARSE, float(np.median(steps)) if slices > 1 else volume.slice_thickness[0])
    levels = np.rint((volume.heights - volume.heights[0]) / step).astype(np.int64)
    rows, columns = (
        min(side, max(1, round(side * spacing / COARSE)))
        for side, spacing in zip((height, width), volume.pixel_spacing, strict=True)
    )
    total = np.zeros((levels[-1] + 1, rows, columns), np.float32)
    for level, plane in zip(levels, planes(volume.hounsfield), strict=True):
        total[level] += cv2.resize(plane.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    counts = np.bincount(levels, minlength=len(total))
    total /= np.maximum(counts, 1)[:, None, None]
    heights = volume.heights - volume.heights[0]
    for level in np.flatnonzero(counts == 0):
        total[level] = total[levels[np.argmin(np.abs(heights - level * step))]]
    spacing = (step, height * volume.pixel_spacing[0] / rows, width * volume.pixel_spacing[1] / columns)
    return Grid(total, spacing, levels)


def bring_back(
    volume: Volume, grid: Grid, sides: UInt8[np.ndarray, "z h w"], airways: Bool[np.ndarray, "z h w"]
) -> UInt8[np.ndarray, "s h w"]:
    """Labels at the volume's own resolution, their border redrawn where the HU cross from lung to tissue.

    Args:
      volume: in full.
      grid: made of it.
      sides: 0 outside, 1 or 2 in the lungs.
      airways: what stays out, however dark.
    """
    found = sides > 0
    cross = ndimage.generate_binary_structure(3, 1)
    core = ndimage.binary_erosion(found, cross, border_value=1)
    around = ndimage.binary_dilation(found, cross) & ~airways
    opaque = found & (grid.hounsfield >= LUNG_BELOW)
    box = ndimage.find_objects(ndimage.binary_dilation(found, cross, iterations=3).astype(np.uint8))[0]
    nearest = ndimage.distance_transform_edt(sides[box] == 0, grid.spacing, return_distances=False, return_indices=True)
    everywhere = np.zeros_like(sides)
    everywhere[box] = sides[box][tuple(nearest)]
    labels = paged_zeros(volume.hounsfield.shape, np.uint8)
    for level, values, plane in zip(grid.levels, planes(volume.hounsfield), planes(labels), strict=True):
        if not around[level].any():
            continue
        rim = (values < LUNG_BELOW) & _enlarge(around[level], labels.shape)
        closed = _enlarge(core[level] | opaque[level], labels.shape) | rim
        filled = _fill_small_holes(closed)
        plane[...] = np.where(filled, _nearest(everywhere[level], labels.shape), 0)
    return labels


def close(mask: Bool[np.ndarray, "z h w"], radius: float, spacing: tuple[float, ...]) -> Bool[np.ndarray, "z h w"]:
    """Binary closing by a ball of so many millimetres, by two distance transforms; of a mask that is not empty.

    What touches the first or last level is taken to go on beyond it.
    """
    box = bounding_box(mask)  # closing never leaves it
    margins = [int(radius / step) + 2 for step in spacing]
    padded = np.pad(mask[box], [(margin, margin) for margin in margins])
    if box[0].start == 0:
        padded[: margins[0]] = padded[margins[0]]
    if box[0].stop == len(mask):
        padded[-margins[0] :] = padded[-margins[0] - 1]
    dilated = ndimage.distance_transform_edt(~padded, spacing) <= radius
    inner = tuple(slice(margin, -margin) for margin in margins)
    closed = mask.copy()
    closed[box] |= (ndimage.distance_transform_edt(dilated, spacing) > radius)[inner]
    return closed


def bounding_box(mask: Bool[np.ndarray, "*shape"]) -> tuple[slice, ...]:
    """Of all that is True, at least one voxel."""
    return tuple(
        slice(int(index.min()), int(index.max()) + 1)
        for axis in range(mask.ndim)
        for index in [np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))]
    )


def _enlarge(mask: Bool[np.ndarray, "h w"], shape: tuple[int, ...]) -> Bool[np.ndarray, "r c"]:
    size = shape[2], shape[1]
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) >= 0.5


def _nearest(labels: UInt8[np.ndarray, "h w"], shape: tuple[int, ...]) -> UInt8[np.ndarray, "r c"]:
    return np.asarray(cv2.resize(labels, (shape[2], shape[1]), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _fill_small_holes(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Vessels that the redrawn border cut off; larger holes were filled, or left, at the lower resolution."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= mask.size * 2e-4
    small[0] = False  # the mask itself
    return mask | small[pieces] if count > 1 else mask
