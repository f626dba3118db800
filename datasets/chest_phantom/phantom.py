"""A synthetic chest CT with known truth: no patient, no machine, just ellipses, trees and noise from a seed."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage

from jcs_datasets.chest_phantom.anatomy import Section, draw_section
from jcs_datasets.chest_phantom.geometry import FIELD_OF_VIEW, Grid, smooth_noise
from jcs_datasets.chest_phantom.lesions import draw_benign, draw_opacities, sample_opacities
from jcs_datasets.chest_phantom.patient import BLOOD, LUNG_HEIGHT, Level, Patient
from jcs_datasets.chest_phantom.vessels import draw_vessels, grow_vessels

APEX, BASE = 0.2, 0.88  # between which heights slices are taken
PADDING = -1024  # HU outside the scanner's round field
SMALLEST_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Phantom:
    """One synthetic patient.

    Attributes:
      hounsfield: (S, H, W) int16 HU, from the apex of the lungs to their base; the patient's right is on the
        left, the front at the top.
      lungs: (S, H, W) uint8, 1 in the lungs, opacities included.
      lesions: (S, H, W) uint8, 1 where an opacity of COVID-19 covers more than half of the lung's pixel.
      heights: (S,) float64, of the slices: 0 at the apex of the lungs, 1 at their base.
      spacing: mm between slices, rows and columns.
      infected: whether the patient has opacities at all.
    """

    hounsfield: np.ndarray
    lungs: np.ndarray
    lesions: np.ndarray
    heights: np.ndarray
    spacing: tuple[float, float, float]
    infected: bool


def make_patient(seed: int | tuple[int, ...], *, infected: bool, slices: int = 4, size: int = 192) -> Phantom:
    """Makes a patient; equal arguments give equal arrays.

    Args:
      seed: one or several non-negative integers.
      infected: whether to lay ground glass and consolidation into the lungs. Vessels, nodules, scars, denser
        lung at the back and noise come either way, so that brightness alone does not tell.
      slices: how many, evenly from apex to base.
      size: rows and columns; the field of view is 360 mm.

    Returns:
      The patient.

    Raises:
      ValueError: no slice, or a size under 32.
    """
    if slices < 1 or size < SMALLEST_SIZE:
        raise ValueError(f"a phantom has at least 1 slice of {SMALLEST_SIZE} pixels, not {slices} of {size}")
    rng = np.random.default_rng(seed)
    grid = Grid.of_size(size)
    patient = Patient.sample(rng)
    tubes = grow_vessels(rng, patient)
    gap = (BASE - APEX) / slices
    offset = rng.uniform(0.3, 0.7)
    heights = np.array([APEX + gap * (index + offset) for index in range(slices)])
    opacities = sample_opacities(rng, patient, heights * LUNG_HEIGHT) if infected else []
    sharpness, noise = rng.uniform(0.35, 0.6), rng.uniform(12, 30)
    images, lungs, lesions = [], [], []
    for height in heights.tolist():
        level = Level(rng, grid, patient, height)
        section = draw_section(level)
        draw_benign(level, section)
        lesions.append(draw_opacities(level, section, opacities))
        _lay_vessels(section, draw_vessels(grid, tubes, height * LUNG_HEIGHT))
        images.append(_scan(rng, grid, section.image, sharpness, noise))
        lungs.append(section.lung > 0.5)
    return Phantom(
        hounsfield=np.stack(images),
        lungs=np.stack(lungs).astype(np.uint8),
        lesions=np.stack(lesions).astype(np.uint8),
        heights=heights,
        spacing=(gap * LUNG_HEIGHT, grid.spacing, grid.spacing),
        infected=infected,
    )


def _lay_vessels(section: Section, cover: np.ndarray) -> None:
    """Paints vessels into the lungs, in place; within dense opacities they do not show."""
    section.image[...] += cover * section.lung * np.clip(BLOOD - section.image, 0, None)


def _scan(rng: np.random.Generator, grid: Grid, image: np.ndarray, sharpness: float, noise: float) -> np.ndarray:
    """What a scanner makes of an ideal slice: blur, noise of two grains, a round field; (H, W) int16."""
    blurred = ndimage.gaussian_filter(image, sharpness)
    grain = noise * smooth_noise(rng, grid, 0.6 * grid.spacing) + 0.35 * noise * smooth_noise(rng, grid, 8)
    blurred = np.clip(blurred + grain, PADDING, 3071)
    outside = np.hypot(grid.x, grid.y) > FIELD_OF_VIEW / 2
    return np.where(outside, PADDING, np.rint(blurred)).astype(np.int16)
