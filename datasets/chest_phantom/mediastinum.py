"""What lies between and below the lungs: heart, great vessels, airways and the domes of the diaphragm.

Shapes are signed distances in mm, (H, W), negative inside.
"""

from __future__ import annotations

import math

import numpy as np

from jcs_datasets.chest_phantom.geometry import union
from jcs_datasets.chest_phantom.patient import AIR, BLOOD, FAT, LIVER, Level

_FAR = 100.0  # mm outside, for a shape that a slice does not meet
_FORK = 0.4  # height at which the trachea divides


def mediastinum_shape(level: Level) -> np.ndarray:
    """Everything between the lungs: heart or great vessels, spine, hila and the thin septum in front."""
    grid = level.grid
    spine = level.disc((0, level.spine + 4), (23, 28))
    septum = np.maximum(np.abs(grid.x - 2) - 3.5, grid.y - 0.5 * level.depth)
    middle = level.disc((2, 0.12 * level.depth), (21, 36))
    shape = union(union(_heart(level), spine, 14), union(septum, middle, 12), 12)
    hilum = 14 * math.exp(-(((level.height - 0.47) / 0.12) ** 2))
    if hilum > 3:
        for side in (-1, 1):
            centre = (side * 0.27 * level.width, 0.02 * level.depth)
            shape = union(shape, level.disc(centre, (hilum, 1.2 * hilum)), 10)
    return shape


def diaphragm_domes(level: Level) -> tuple[np.ndarray, np.ndarray]:
    """The right and the left dome, which push into the bases of the lungs."""
    right, left = (_dome(level, side, start) for side, start in ((-1, 0.76), (1, 0.84)))
    return right, left


def airway_lumen(level: Level) -> np.ndarray:
    """The lumen of the trachea, or of the main bronchi below its fork."""
    if level.height < _FORK:
        return level.disc((0, 0.06 * level.depth), (8.5, 9.5))
    below = level.height - _FORK
    spread, radius = 9 + 210 * below, 7.5 - 22 * below
    if radius < 3:
        return np.full_like(level.grid.x, _FAR)
    right = level.disc((-spread, 0.08 * level.depth), (1.2 * radius, radius))
    return np.minimum(right, level.disc((spread, 0.1 * level.depth), (1.2 * radius, radius)))


def draw_mediastinum(level: Level, image: np.ndarray, cavity: np.ndarray) -> None:
    """Fills the cavity with fat and lays heart, great vessels and gullet into it, in place."""
    level.fill(image, cavity, FAT + 12 + 14 * level.noise(6))
    if level.height > 0.42:
        level.fill(image, _heart(level) + 4, BLOOD + 5 * level.noise(12))
    else:
        for x, y, radius in ((-6, -0.3, 15.0), (17, -0.28, 12.5), (-21, -0.2, 8.0)):
            level.fill(image, level.disc((x, y * level.depth), (radius, radius)), BLOOD)
    if 0.24 < level.height < 0.34:
        level.fill(image, level.disc((8, -0.06 * level.depth), (30, 11), angle=0.75), BLOOD)
    if level.height > 0.26:
        level.fill(image, level.disc((21, level.spine - 17), (12.5, 12.5)), BLOOD)
    level.fill(image, level.disc((4, level.spine - 23), (8, 5.5)), 35)


def draw_diaphragm(level: Level, image: np.ndarray, cavity: np.ndarray) -> None:
    """Liver under the right dome, spleen and stomach under the left, in place."""
    for dome, value in zip(diaphragm_domes(level), (LIVER, BLOOD), strict=True):
        level.fill(image, np.maximum(dome, cavity), value + 4 * level.noise(6))


def draw_airways(level: Level, image: np.ndarray) -> None:
    """Walls and air of the trachea or the main bronchi, in place."""
    lumen = airway_lumen(level)
    level.fill(image, lumen - 2, 20)
    level.fill(image, lumen, AIR + 15)


def _heart(level: Level) -> np.ndarray:
    """The heart; above it, the bundle of great vessels."""
    low = min(max((level.height - 0.38) / 0.25, 0.0), 1.0)
    scale = low * level.patient.heart
    centre = (4 + 16 * low, -0.22 * level.depth - 2)
    return level.disc(centre, (30 + 32 * scale, 34 + 14 * scale), angle=0.35 * low)


def _dome(level: Level, side: int, start: float) -> np.ndarray:
    rise = math.sqrt(min(max((level.height - start) / 0.3, 0.0), 1.0))
    if rise < 0.05:
        return np.full_like(level.grid.x, _FAR)
    centre = (side * 0.5 * level.width, -0.08 * level.depth)
    return level.disc(centre, (0.46 * level.width * rise, 0.8 * level.depth * rise))
