"""Where in the lungs something lies: which lung, which third of its height, near its border or deep in it."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage
from scipy.spatial import cKDTree

from jcs_jax.diagnosis.lesion_shape import Frame
from jcs_jax.diagnosis.result.lesions import Depth, Side, Zone
from jcs_jax.memory import let_go, planes
from jcs_jax.study.lungs import Lungs
from jcs_jax.study.volume import Volume

LABELS: dict[Side, int] = {"right": 1, "left": 2}
ZONES: tuple[Zone, ...] = ("lower", "middle", "upper")
_RESOLUTION = 2.0  # mm of the grid on which depths are measured


@dataclasses.dataclass(frozen=True)
class _Lung:
    """One lung on an upright grid.

    Attributes:
      bottom: mm of height at which it begins.
      top: mm of height at which it ends.
      depth: (Z, h, w) float32, mm to its border, 0 outside.
      surface: of its outermost voxels, to look up the nearest.
    """

    bottom: float
    top: float
    depth: Float[np.ndarray, "z h w"]
    surface: cKDTree

    @property
    def deepest(self) -> float:
        """Mm to the border from the point farthest from it."""
        return float(self.depth.max())


class LungMap:
    """Both lungs of a study, to look places up in."""

    def __init__(self, volume: Volume, lungs: Lungs) -> None:
        """Measures the lungs.

        Args:
          volume: that the lungs were found in.
          lungs: at least one.

        Raises:
          ValueError: there is no lung.
        """
        self._frame = Frame.of(volume)
        self.slice_pixels = _pixels_per_slice(lungs.labels)
        self._grid = _UprightGrid.of(self._frame, lungs.labels.shape)
        upright = self._grid.sample(lungs.labels)
        self.lungs = {
            side: self._measure(upright == label, self.slice_pixels[:, label])
            for side, label in LABELS.items()
            if (upright == label).any()
        }
        if not self.lungs:
            raise ValueError("no lungs to place lesions in")

    @property
    def sides(self) -> tuple[Side, ...]:
        """The lungs that are there, right before left."""
        return tuple(self.lungs)

    def nearest_side(self, centre: Float[np.ndarray, " 3"]) -> Side:
        """The lung nearest to a place, given by mm of height, row and column."""
        place = self._grid.index(centre) * self._grid.spacing
        return min(self.sides, key=lambda side: float(self.lungs[side].surface.query(place)[0]))

    def zone(self, height: float | Float[np.ndarray, " n"], side: Side, *, parts: int = 3) -> Int[np.ndarray, "*n"]:
        """Which of equal parts of a lung's height holds a height, from 0 for the lowest."""
        lung = self.lungs[side]
        share = (np.asarray(height) - lung.bottom) / (lung.top - lung.bottom)
        return np.clip(np.floor(share * parts), 0, parts - 1).astype(np.int64)

    def depth(self, centre: Float[np.ndarray, " 3"], side: Side) -> Depth:
        """Whether a place is nearer to the lung's border than half of its deepest point; outside is peripheral."""
        lung = self.lungs[side]
        index = np.rint(self._grid.index(centre)).astype(int)
        inside = np.all((index >= 0) & (index < lung.depth.shape))
        depth = float(lung.depth[tuple(index)]) if inside else 0.0
        return "peripheral" if depth < lung.deepest / 2 else "central"

    def _measure(self, mask: Bool[np.ndarray, "z h w"], pixels: Int[np.ndarray, " s"]) -> _Lung:
        there = np.flatnonzero(pixels)
        halves = self._frame.thickness / 2
        box = ndimage.find_objects(mask.astype(np.uint8))[0]
        padded = np.pad(mask[box], 1)
        if box[0].start == 0:
            padded[0] = padded[1]  # the scan's end is no border
        if box[0].stop == len(mask):
            padded[-1] = padded[-2]
        depth = np.zeros(mask.shape, np.float32)
        depth[box] = ndimage.distance_transform_edt(padded, self._grid.spacing)[1:-1, 1:-1, 1:-1]
        return _Lung(
            float(self._frame.heights[there[0]] - halves[there[0]]),
            float(self._frame.heights[there[-1]] + halves[there[-1]]),
            depth,
            cKDTree(np.argwhere(mask & ~ndimage.binary_erosion(mask)) * self._grid.spacing),
        )


@dataclasses.dataclass(frozen=True)
class _UprightGrid:
    """An even, upright grid over a stack of slices that may be uneven or lean.

    Attributes:
      spacing: (3,) mm between levels, rows and columns.
      slices: (Z,) the slice that stands for each level.
      rows: (Z, h) row of the volume for each level and row; outside the volume where a leaning stack has none.
      columns: (Z, w) the same for columns.
      steps: (3,) mm of height, rows and columns of the volume from one to the next.
      lean: rows and columns that the stack moves on for each mm of height.
      first: row and column of the volume at the grid's first.
    """

    spacing: Float[np.ndarray, " 3"]
    slices: Int[np.ndarray, " z"]
    rows: Int[np.ndarray, "z h"]
    columns: Int[np.ndarray, "z w"]
    steps: Float[np.ndarray, " 3"]
    lean: tuple[float, float]
    first: tuple[float, float]

    @classmethod
    def of(cls, frame: Frame, shape: tuple[int, ...]) -> _UprightGrid:
        """Over a volume of that shape, as near to 2 mm as its voxels allow."""
        pixel = np.array([np.linalg.norm(frame.row), np.linalg.norm(frame.column)])
        step = max(_RESOLUTION, float(np.median(frame.thickness)))
        strides = np.maximum(np.round(_RESOLUTION / pixel), 1)
        lean, top = frame.lean(), float(frame.heights[-1])
        heights = np.arange(int(top / step + 0.5) + 1) * step
        slices = np.abs(frame.heights[None] - heights[:, None]).argmin(axis=1)
        axes, first = [], []
        for axis in range(2):
            drift = lean[axis] * frame.heights[slices]
            start, stop = min(0.0, lean[axis] * top), shape[axis + 1] + max(0.0, lean[axis] * top)
            upright = np.arange(start, stop, strides[axis])
            axes.append(np.rint(upright[None] - drift[:, None]).astype(np.int64))
            first.append(start)
        spacing = np.array([step, *(strides * pixel)])
        steps = np.array([step, *strides])
        return cls(spacing, slices, axes[0], axes[1], steps, lean, (first[0], first[1]))

    def sample(self, labels: UInt8[np.ndarray, "s h w"]) -> UInt8[np.ndarray, "z i j"]:
        """The nearest voxels of a volume; 0 where there are none."""
        height, width = labels.shape[1:]
        sampled = np.zeros((len(self.slices), self.rows.shape[1], self.columns.shape[1]), np.uint8)
        for level, (index, rows, columns) in enumerate(zip(self.slices, self.rows, self.columns, strict=True)):
            there = np.ix_((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))
            plane = labels[index][np.ix_(np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1))]
            sampled[level][there] = plane[there]
        let_go(labels)
        return sampled

    def index(self, centre: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
        """The grid's fractional index of a place given by mm of height, row and column of the volume."""
        height, row, column = centre
        upright = (
            height,
            row + self.lean[0] * height - self.first[0],
            column + self.lean[1] * height - self.first[1],
        )
        return np.array(upright) / self.steps


def _pixels_per_slice(labels: UInt8[np.ndarray, "s h w"]) -> Int[np.ndarray, "s 3"]:
    """How many pixels of each slice are outside, right and left."""
    return np.stack([np.bincount(plane.ravel(), minlength=3)[:3] for plane in planes(labels)])
