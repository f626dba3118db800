"""A small chest in HU made by formula, with opacities whose number, place and volume are known."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import cv2
import numpy as np

from jcs_jax.study.volume import Orientation, Volume, clip_hounsfield

WIDTH, DEPTH, HEIGHT = 170.0, 128.0, 120.0  # mm that the scan covers, the patient in the middle
BODY = (76.0, 54.0)  # half axes, from side to side and from front to back
LUNG = (28.0, 41.0, 50.0)  # half axes of each lung, then upwards
LUNG_CENTRE = 36.0  # mm from the middle
AIR, FAT, TISSUE, PARENCHYMA, BONE = -1000.0, -90.0, 40.0, -850.0, 500.0
DENSITY = {"ground glass": -550.0, "consolidation": 20.0}
ZONE_MARGIN = 1.0  # mm between a centre and the next zone


@dataclasses.dataclass(frozen=True)
class Planted:
    """An opacity as it was put in: an ellipsoid whose axes lie along the patient's."""

    centre: tuple[float, float, float]  # LPS mm
    half_axes: tuple[float, float, float]  # mm, to the left, backwards, upwards
    volume_mm3: float  # of its voxels
    side: str
    zone: str
    kind: str

    @property
    def diameter_mm(self) -> float:
        return 2 * max(self.half_axes)

    @property
    def analytic_mm3(self) -> float:
        return 4 / 3 * np.pi * float(np.prod(self.half_axes))


class PhantomStudy(NamedTuple):
    volume: Volume
    mask: np.ndarray  # bool, all opacities
    planted: list[Planted]
    lungs: np.ndarray  # uint8, 1 right, 2 left: as constructed, opacities included


def phantom_study(
    seed: int,
    *,
    lesions: int | None = None,
    pixel: float | None = None,
    thickness: float | None = None,
    prone: bool | None = None,
    joined: bool = False,
    missing: str = "",
    diameters: tuple[float, float] = (5.0, 30.0),
) -> PhantomStudy:
    """Makes one; the same seed and options make the same one.

    Args:
      seed: chooses what is not given.
      lesions: how many, 0 to 8.
      pixel: mm, 0.6 to 0.9.
      thickness: mm between slices, 0.7 to 5.
      prone: the table lies in front.
      joined: whether the lungs touch in front of the heart.
      missing: a side, `right` or `left`, whose lung is filled with fluid.
      diameters: mm, smallest and largest.
    """
    rng = np.random.default_rng(seed)
    pixel = float(rng.uniform(0.6, 0.9)) if pixel is None else pixel
    thickness = float(rng.choice([0.7, 1.0, 1.25, 2.0, 2.5, 3.0, 5.0])) if thickness is None else thickness
    lesions = int(rng.integers(0, 9)) if lesions is None else lesions
    prone = bool(rng.integers(2)) if prone is None else prone
    shape = tuple(round(extent / step) for extent, step in ((HEIGHT, thickness), (DEPTH, pixel), (WIDTH, pixel)))
    z, y, x = (
        ((np.arange(count) - (count - 1) / 2) * step).astype(np.float32)
        for count, step in zip(shape, (thickness, pixel, pixel), strict=True)
    )
    grid = x[None, None], y[None, :, None], z[:, None, None]
    lungs = _lungs(grid, joined=joined)
    image = _body(rng, grid, prone=prone)
    _chest(rng, image, grid, lungs, missing)
    mask, planted = np.zeros(shape, bool), []
    steps = (thickness, pixel, pixel)
    affine = np.array([[0, 0, pixel, x[0]], [0, pixel, 0, y[0]], [thickness, 0, 0, z[0]], [0, 0, 0, 1]], float)
    while len(planted) < lesions:
        one = _plant(rng, (image, mask, lungs), (z, y, x), steps, diameters)
        if one is not None:
            planted.append(one)
    _airways(image, grid)
    _scan(rng, image, pixel, round_view=bool(rng.integers(2)))
    volume = Volume(
        clip_hounsfield(np.rint(image)), affine, np.arange(shape[0]) * thickness, Orientation.nearest(affine)
    )
    return PhantomStudy(volume, mask, planted, lungs)


def _ellipsoid(grid: tuple, centre: tuple, half_axes: tuple) -> np.ndarray:
    return sum(((axis - at) / half) ** 2 for axis, at, half in zip(grid, centre, half_axes, strict=True)) <= 1


def _lungs(grid: tuple, *, joined: bool) -> np.ndarray:
    """Two ellipsoids, cut by the heart, the spine and the liver's dome."""
    heart = _ellipsoid(grid, (8, -16, -19), (25, 22, 29)) | ((np.abs(grid[0]) < 12) & (grid[2] > -90))
    dome = _ellipsoid(grid, (-35, 0, -64), (43, 52, 34))
    lungs = np.zeros(np.broadcast_shapes(*(axis.shape for axis in grid)), np.uint8)
    for label, sign in ((1, -1), (2, 1)):
        lungs[_ellipsoid(grid, (sign * LUNG_CENTRE, 0, 0), LUNG) & ~heart & ~dome] = label
    if joined:  # a bridge of lung in front, 3 mm of which belong to either side
        bridge = (np.abs(grid[0]) < 20) & (np.abs(grid[1] + 20) < 4) & (np.abs(grid[2] - 20) < 10)
        lungs[bridge & (grid[0] < 0)] = 1
        lungs[bridge & (grid[0] >= 0)] = 2
    return lungs


def _body(rng: np.random.Generator, grid: tuple, *, prone: bool) -> np.ndarray:
    x, y, z = grid
    radius = ((x / BODY[0]) ** 2 + (y / BODY[1]) ** 2)[0]
    plane = np.full(radius.shape, AIR, np.float32)
    plane[radius <= 1] = FAT
    plane[radius <= 0.88] = TISSUE
    plane[((x / 8) ** 2 + ((y - 40) / 8) ** 2)[0] <= 1] = BONE
    behind = ((-1 if prone else 1) * y - BODY[1] - 2 - (x / 60) ** 2)[0]
    plane[(behind > 0) & (behind < 2)] = -200.0
    plane[(behind >= 2) & (behind < 9)] = -940.0  # foam
    image = np.repeat(plane[None], z.size, axis=0)
    bowel = (float(rng.uniform(10, 30)), float(rng.uniform(-28, -18)), -52.0)
    image[_ellipsoid(grid, bowel, (12, 8, 6))] = AIR
    return image


def _chest(rng: np.random.Generator, image: np.ndarray, grid: tuple, lungs: np.ndarray, missing: str) -> None:
    """Lungs with texture and vessels, in place."""
    there = lungs > 0
    size = image.shape[2], image.shape[1]
    texture = [cv2.resize(rng.normal(0, 25, (16, 20)).astype(np.float32), size) for _ in range(4)]
    for index, plane in enumerate(image):
        plane[there[index]] = PARENCHYMA + texture[index % 4][there[index]]
    if missing:
        image[lungs == {"right": 1, "left": 2}[missing]] = TISSUE
    for sign in (-1, 1):
        for _ in range(8):
            end = (sign * rng.uniform(26, 56), rng.uniform(-30, 30), rng.uniform(-38, 38))
            _pipe(image, grid, ((sign * 14, 8, 5), end), radius=float(rng.uniform(0.8, 2.0)), value=TISSUE, where=there)


def _airways(image: np.ndarray, grid: tuple) -> None:
    """A trachea that divides into two main bronchi, which open into the lungs."""
    carina = (0, 10, 9)
    for radius, value in ((7.0, TISSUE), (5.5, AIR)):
        _pipe(image, grid, (carina, (0, 10, 100)), radius=radius, value=value)
        for sign in (-1, 1):
            _pipe(image, grid, (carina, (sign * 22, 10, -5)), radius=radius - 1.5, value=value)


def _pipe(
    image: np.ndarray, grid: tuple, line: tuple, *, radius: float, value: float, where: np.ndarray | None = None
) -> None:
    """Sets what lies within a radius of a line, in place, in the box around it."""
    start, end = (np.array(one, float) for one in line)
    box = []
    for axis, one, other in zip(grid, start, end, strict=True):
        near = np.flatnonzero((axis.ravel() >= min(one, other) - radius) & (axis.ravel() <= max(one, other) + radius))
        if not len(near):
            return
        box.append(slice(near[0], near[-1] + 1))
    columns, rows, slices = box
    x, y, z = grid[0][:, :, columns], grid[1][:, rows], grid[2][slices]
    along = end - start
    share = ((x - start[0]) * along[0] + (y - start[1]) * along[1] + (z - start[2]) * along[2]) / float(along @ along)
    share = np.clip(share, 0, 1)
    distance = sum((axis - at - share * way) ** 2 for axis, at, way in zip((x, y, z), start, along, strict=True))
    inside = distance <= radius**2
    if where is not None:
        inside &= where[slices, rows, columns]
    image[slices, rows, columns][inside] = value


def _plant(
    rng: np.random.Generator,
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray],
    axes: tuple[np.ndarray, np.ndarray, np.ndarray],
    steps: tuple[float, float, float],
    diameters: tuple[float, float],
) -> Planted | None:
    """Puts one ellipsoid into a lung, in place; None if it doesn't fit where it was tried."""
    (image, mask, lungs), (z, y, x) = arrays, axes
    label = int(rng.integers(1, 3))
    half = float(rng.uniform(*diameters)) / 2
    half_axes = tuple(float(one) for one in np.maximum(half * rng.permutation([1, *rng.uniform(0.7, 1, 2)]), 2.5))
    centre = np.array([(-1, 1)[label - 1] * LUNG_CENTRE, 0, 0]) + rng.uniform(-1, 1, 3) * LUNG
    there = np.flatnonzero((lungs == label).any(axis=(1, 2)))
    thickness = steps[0]
    bottom, top = float(z[there[0]]) - thickness / 2, float(z[there[-1]]) + thickness / 2
    share = 3 * (centre[2] - bottom) / (top - bottom)
    off_boundary = min(abs(share - one) for one in (1, 2)) * (top - bottom) / 3
    if not 0 < share < 3 or off_boundary < ZONE_MARGIN:
        return None
    box = tuple(
        slice(int(np.searchsorted(axis, at - reach - 0.01)), int(np.searchsorted(axis, at + reach + 0.01)))
        for axis, at, reach in zip((z, y, x), centre[::-1], half_axes[::-1], strict=True)
    )
    grid = x[None, None, box[2]], y[None, box[1], None], z[box[0], None, None]
    region = _ellipsoid(grid, tuple(centre), half_axes)
    wide = tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in box)
    if not region.any() or mask[wide].any() or (lungs[box][region] != label).any():
        return None
    # The voxels' centre of mass may lie in another zone than the ellipsoid's on thick slices.
    mean = float((np.nonzero(region)[0]).mean()) * thickness + float(z[box[0].start])
    if int(3 * (mean - bottom) / (top - bottom)) != int(share) or _near_boundary(mean, bottom, top):
        return None
    kind = str(rng.choice(list(DENSITY)))
    image[box][region] = DENSITY[kind]
    mask[box] |= region
    zone = ("lower", "middle", "upper")[int(share)]
    volume = float(region.sum()) * float(np.prod(steps))
    place = (float(centre[0]), float(centre[1]), float(centre[2]))
    return Planted(place, half_axes, volume, ("right", "left")[label - 1], zone, kind)


def _near_boundary(height: float, bottom: float, top: float) -> bool:
    return min(abs(height - bottom - part * (top - bottom) / 3) for part in (1, 2)) < ZONE_MARGIN


def _scan(rng: np.random.Generator, image: np.ndarray, pixel: float, *, round_view: bool) -> None:
    """What a scanner adds, in place: blur, noise, and nothing outside a round field of view."""
    noise = rng.normal(0, 20, (3, *image.shape[1:])).astype(np.float32)
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in image.shape[1:])
    outside = rows[:, None] ** 2 + columns[None] ** 2 > (image.shape[2] / 2) ** 2
    for index, plane in enumerate(image):
        image[index] = cv2.GaussianBlur(plane, (0, 0), 0.6 / pixel) + np.roll(noise[index % 3], index, axis=1)
        if round_view:
            image[index][outside] = -1024
