"""Where the voxels of a volume lie in millimetres, and how long a region of them is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int, UInt16
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import cdist

from jcs_jax.diagnosis.pieces import Box, parts
from jcs_jax.memory import let_go
from jcs_jax.study.volume import Volume

_FLAT = 1e-6  # of the longest extent
_SAME_LENGTH = 1e-9
_BLOCK = 512  # points compared with all others at a time


@dataclasses.dataclass(frozen=True)
class Frame:
    """From slices, rows and columns to millimetres.

    Attributes:
      upward: LPS mm by which a slice lies off another, for each mm of height; leans where the gantry was tilted.
      row: LPS mm from row to row.
      column: LPS mm from column to column.
      origin: LPS mm of the first voxel.
      heights: (slices,) mm above the first slice.
      thickness: (slices,) mm of height that each slice stands for.
    """

    upward: Float[np.ndarray, " 3"]
    row: Float[np.ndarray, " 3"]
    column: Float[np.ndarray, " 3"]
    origin: Float[np.ndarray, " 3"]
    heights: Float[np.ndarray, " s"]
    thickness: Float[np.ndarray, " s"]

    @classmethod
    def of(cls, volume: Volume) -> Frame:
        """That of a volume, whose slices may be uneven."""
        step, row, column, origin = (volume.affine[:3, axis] for axis in range(4))
        normal = np.cross(column, row)
        normal = normal / np.linalg.norm(normal)
        upward = step / abs(float(step @ normal))
        return cls(upward, row, column, origin, volume.heights - volume.heights[0], volume.slice_thickness)

    def place(
        self, heights: Float[np.ndarray, " n"], rows: Float[np.ndarray, " n"], columns: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n 3"]:
        """LPS millimetres of places given by mm of height, row and column."""
        return self.origin + np.outer(heights, self.upward) + np.outer(rows, self.row) + np.outer(columns, self.column)

    def lean(self) -> tuple[float, float]:
        """Rows and columns that the stack moves on for each mm of height; 0 for an upright one."""
        return (
            float(self.upward @ self.row / (self.row @ self.row)),
            float(self.upward @ self.column / (self.column @ self.column)),
        )


@dataclasses.dataclass(frozen=True)
class Region:
    """The voxels that have a number, a few slices at a time: `for part, there in region` gives slices of its box.

    Attributes:
      labels: (S, H, W).
      number: that it has.
      box: that holds it, not empty.
    """

    labels: UInt16[np.ndarray, "s h w"]
    number: int
    box: Box

    @property
    def corner(self) -> tuple[int, int, int]:
        """Slice, row and column of the box's first voxel."""
        slices, rows, columns = self.box
        return slices.start, rows.start, columns.start

    def __iter__(self) -> Iterator[tuple[slice, Bool[np.ndarray, "z h w"]]]:
        labels = self.labels[self.box]
        for part in parts(labels.shape):
            yield part, labels[part] == self.number
            let_go(labels)


def largest_diameter(region: Region, frame: Frame) -> float:
    """The length of a region along the line through the centres of its two farthest voxels.

    It is the distance of these centres plus the width of a voxel along that line: the chord through the centre of the
    ellipsoid that the voxel encloses. A sphere's diameter so comes out within a voxel, whatever the spacing. A single
    voxel has the length of its longest edge. Of several farthest pairs the one with the widest voxels counts.

    Args:
      region: of the volume.
      frame: of the volume.

    Returns:
      Millimetres.
    """
    slices, rows, columns = _row_ends(region)
    points = frame.place(frame.heights[slices], rows, columns)
    if len(points) == 1:
        edges = (frame.upward * frame.thickness[slices[0]], frame.row, frame.column)
        return max(float(np.linalg.norm(edge)) for edge in edges)
    outer = _extreme(points)
    first, second, length = _farthest_pairs(points[outer])
    first, second = outer[first], outer[second]
    thickness = (frame.thickness[slices[first]] + frame.thickness[slices[second]]) / 2
    widths = _voxel_widths((points[second] - points[first]) / length, thickness, frame)
    return float(length + widths.max())


def _row_ends(region: Region) -> Int[np.ndarray, "3 n"]:
    """The first and the last voxel of every row, slices, rows and columns: the farthest two are among them."""
    ends = []
    for part, there in region:
        slices, rows = np.nonzero(there.any(axis=2))
        lines = there[slices, rows]
        first, last = lines.argmax(axis=1), lines.shape[1] - 1 - lines[:, ::-1].argmax(axis=1)
        longer = first != last
        ends += [np.stack([slices + part.start, rows, first]), np.stack([slices + part.start, rows, last])[:, longer]]
    return np.concatenate(ends, axis=1) + np.array(region.corner)[:, np.newaxis]


def _extreme(points: Float[np.ndarray, "n 3"]) -> np.ndarray:
    """Indices of the corners of the points' convex hull, in as many dimensions as they span."""
    centred = points - points.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    spanned = int((sizes > _FLAT * sizes[0]).sum())
    along = centred @ axes.T[:, :spanned]
    if spanned == 1:
        return np.array([along.argmin(), along.argmax()])
    try:
        return np.asarray(ConvexHull(along).vertices)
    except QhullError:  # thinner than it can tell
        return np.arange(len(points))


def _farthest_pairs(points: Float[np.ndarray, "n 3"]) -> tuple[np.ndarray, np.ndarray, float]:
    """Indices of all pairs of the largest distance, and that distance."""
    longest, pairs = 0.0, [(0, 0)]
    for start in range(0, len(points), _BLOCK):
        distances = cdist(points[start : start + _BLOCK], points)
        here = float(distances.max())
        if here > longest * (1 + _SAME_LENGTH):
            longest, pairs = here, []
        if here >= longest * (1 - _SAME_LENGTH):
            found = np.argwhere(distances >= longest * (1 - _SAME_LENGTH))
            pairs += [(int(one) + start, int(other)) for one, other in found]
    first, second = np.array(pairs).T
    return first, second, longest


def _voxel_widths(
    directions: Float[np.ndarray, "n 3"], thickness: Float[np.ndarray, " n"], frame: Frame
) -> Float[np.ndarray, " n"]:
    """Chords through the centre of the ellipsoids inside voxels, along unit directions."""
    widths = np.empty(len(directions))
    for index, (direction, height) in enumerate(zip(directions, thickness, strict=True)):
        edges = np.stack([frame.upward * height, frame.row, frame.column], axis=1)
        widths[index] = 1 / np.linalg.norm(np.linalg.solve(edges, direction))
    return widths
