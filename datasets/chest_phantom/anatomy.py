"""A slice of the healthy chest, without the vessels of the lungs."""

from __future__ import annotations

import dataclasses

import numpy as np

from jcs_datasets.chest_phantom import mediastinum, wall
from jcs_datasets.chest_phantom.geometry import coverage, paint, superellipse, without
from jcs_datasets.chest_phantom.patient import AIR, BACK, Level


@dataclasses.dataclass(frozen=True)
class Section:
    """A slice that is being drawn.

    Attributes:
      image: (H, W) float32 HU; drawn into in place.
      lung: (H, W) float32, how much of a pixel is lung, 0 to 1.
    """

    image: np.ndarray
    lung: np.ndarray


def draw_section(level: Level) -> Section:
    """Draws the chest of somebody healthy at a level."""
    cavity = superellipse(level.grid, (level.width, level.depth), BACK)
    lung_shape = without(cavity, mediastinum.mediastinum_shape(level), blend=10)
    for dome in mediastinum.diaphragm_domes(level):
        lung_shape = without(lung_shape, dome)
    lung_shape = lung_shape + 1.2 * level.noise(14)

    image = np.full_like(level.grid.x, AIR)
    wall.draw_couch(level, image)
    wall.draw_wall(level, image, cavity)
    mediastinum.draw_mediastinum(level, image, cavity)
    mediastinum.draw_diaphragm(level, image, cavity)
    lung = coverage(level.grid, lung_shape, softness=1.5)
    paint(image, lung, _parenchyma(level, lung_shape))
    wall.draw_bones(level, image, cavity)
    mediastinum.draw_airways(level, image)
    outside_airways = 1 - coverage(level.grid, mediastinum.airway_lumen(level) - 2)
    return Section(image, lung * outside_airways)


def _parenchyma(level: Level, lung_shape: np.ndarray) -> np.ndarray:
    """HU of the lung itself: denser towards the back, with a dependent band and a fine texture."""
    patient = level.patient
    back = np.clip(level.grid.y / level.depth, -1, 1)
    band = np.exp(np.clip(lung_shape, None, 0) / 7) * np.clip((back - 0.35) / 0.4, 0, 1)
    patchy = np.clip(1 + 0.35 * level.noise(12), 0.2, 1.8)
    texture = 16 * level.noise(2.5) + 10 * level.noise(15)
    return patient.lung + patient.gravity * back + patient.dependent * band * patchy + texture
