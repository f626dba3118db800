"""The wall of the chest: skin, fat, muscle and bones; and the couch below."""

from __future__ import annotations

import math

import numpy as np

from jcs_datasets.chest_phantom.geometry import coverage, paint, superellipse, union
from jcs_datasets.chest_phantom.patient import BACK, CORTEX, FAT, MARROW, MUSCLE, Level


def draw_couch(level: Level, image: np.ndarray) -> None:
    """A curved couch of two thin shells around foam, in place."""
    x, y = level.grid.x, level.grid.y
    top = level.patient.depth * BACK + 9 - 0.5 * (x / 30) ** 2
    for offset, value in ((0.0, -150.0), (16.0, -350.0)):
        level.fill(image, np.maximum(np.abs(y - top - offset) - 1.6, np.abs(x) - 165 + offset), value)
    level.fill(image, np.maximum(np.abs(y - top - 8) - 6, np.abs(x) - 155), -930)


def draw_wall(level: Level, image: np.ndarray, cavity: np.ndarray) -> None:
    """Skin, fat and the muscles around the cavity, streaked with fat, in place."""
    x, y = level.grid.x, level.grid.y
    chest = 5 * np.exp(-(((np.abs(x) - 75) / 45) ** 2)) * (y < 0)
    furrows = 6 * np.exp(-((x / 16) ** 2)) * (np.abs(y) > 0.5 * level.patient.depth)
    body = superellipse(level.grid, (level.patient.width, level.patient.depth), BACK)
    body = body - chest + furrows + 1.5 * level.noise(40)
    level.fill(image, body, 20)
    level.fill(image, body + 2.5, FAT + 6 * level.noise(8))
    muscle = union(body + level.patient.fat + 2.5 + 2.5 * level.noise(18), cavity - 11, 4)
    level.fill(image, muscle, MUSCLE)
    clefts = np.maximum(9 * np.abs(level.noise(9)) - 1.6, np.maximum(muscle + 3, 13 - cavity))
    paint(image, 0.8 * coverage(level.grid, clefts), FAT)


def draw_bones(level: Level, image: np.ndarray, cavity: np.ndarray) -> None:
    """Ribs, spine, breastbone and, high up, the shoulder blades: bright shells around marrow, in place."""
    shapes = [*_spine_shapes(level), *_rib_shapes(level, cavity)]
    shapes.append(level.disc((0, -level.depth - 8), (19, 6)))
    if level.height < 0.5:
        axes = (30 - 30 * level.height, 4.5)
        shapes += [level.disc((side * (level.width + 11), 0.5 * level.depth), axes, angle=-side) for side in (-1, 1)]
    bones = np.minimum.reduce(shapes)
    level.fill(image, bones, CORTEX, softness=1.4)
    level.fill(image, bones + 2.6, MARROW + 35 * level.noise(3), softness=1.6)
    level.fill(image, level.disc((0, level.spine + 21), (9, 8)), 25)


def _spine_shapes(level: Level) -> list[np.ndarray]:
    """A vertebra: body, arch around the canal, spinous and transverse processes."""
    spine = level.spine
    canal = level.disc((0, spine + 21), (9.5, 8.5))
    return [
        level.disc((0, spine), (18, 14.5)),
        np.maximum(level.disc((0, spine + 21), (16, 14)), -canal),
        level.disc((0, spine + 40), (3.6, 10)),
        *(level.disc((side * 24, spine + 19), (13, 4.5), angle=0.45 * side) for side in (-1, 1)),
    ]


def _rib_shapes(level: Level, cavity: np.ndarray) -> list[np.ndarray]:
    """Pieces of slanting ribs along the wall; they move along it from level to level."""
    theta = np.arctan2(level.grid.x / level.width, -level.grid.y / level.depth)  # 0 in front, +-pi behind
    across = (cavity - 6.5) / 4.6
    shapes = []
    for side in (-1, 1):
        for number in range(7):
            shift = level.patient.tilt + 0.2 * math.sin(7 * level.height + 2 * number)
            along = (theta - side * (0.42 + 0.4 * number + shift)) * (level.width + level.depth) / 2
            length = 9 + 5 * math.sin(5 * level.height + 3 * number + side)
            shapes.append((np.hypot(along / length, across) - 1) * 4.6)
    return shapes
