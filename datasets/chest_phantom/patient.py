"""One synthetic patient's proportions, a level in the chest, and the HU of the tissues."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from jcs_datasets.chest_phantom.geometry import Grid, coverage, ellipse, paint, smooth_noise

AIR, FAT, MUSCLE, BLOOD, LIVER, MARROW, CORTEX = -1000.0, -100.0, 50.0, 42.0, 58.0, 180.0, 720.0
LUNG_HEIGHT = 250.0  # mm from apex to base
BACK = 0.94  # the trunk is flatter behind than in front


@dataclasses.dataclass(frozen=True)
class Patient:
    """One patient's proportions; lengths in mm, densities in HU.

    Attributes:
      width: half width of the trunk.
      depth: half depth of the trunk.
      fat: thickness of the fat under the skin.
      lung: density of the upper lung.
      gravity: how much denser the lung is at the back than in front.
      dependent: density added in a band along the back of the lungs, as in people lying down.
      heart: scale of the heart.
      tilt: shifts the ribs along the wall, radians.
    """

    width: float
    depth: float
    fat: float
    lung: float
    gravity: float
    dependent: float
    heart: float
    tilt: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Patient:
        """Draws a patient; nothing here depends on infection."""
        return cls(
            width=rng.uniform(148, 170),
            depth=rng.uniform(112, 130),
            fat=rng.uniform(7, 20),
            lung=rng.uniform(-890, -800),
            gravity=rng.uniform(30, 90),
            dependent=float(rng.choice([0.0, rng.uniform(80, 320)], p=[0.4, 0.6])),
            heart=rng.uniform(0.88, 1.12),
            tilt=rng.uniform(-0.1, 0.1),
        )

    def cavity_axes(self, height: float) -> tuple[float, float]:
        """Half width and half depth of the thoracic cavity at a height from 0 (apex) to 1 (base)."""
        opening = 0.66 + 0.34 * math.sin(math.pi / 2 * min(1.0, 0.12 + height / 0.5))
        return (self.width - self.fat - 22) * opening, (self.depth - self.fat - 17) * (0.84 + 0.16 * opening)


@dataclasses.dataclass(frozen=True)
class Level:
    """Where a slice is taken, of whom, and the source of its chance.

    Attributes:
      rng: drawn from in the order of drawing.
      grid: the slice's pixels.
      patient: whose chest.
      height: 0 at the apex of the lungs, 1 at their base.
    """

    rng: np.random.Generator
    grid: Grid
    patient: Patient
    height: float

    @property
    def width(self) -> float:
        """Half width of the thoracic cavity here, mm."""
        return self.patient.cavity_axes(self.height)[0]

    @property
    def depth(self) -> float:
        """Half depth of the thoracic cavity here, mm."""
        return self.patient.cavity_axes(self.height)[1]

    @property
    def spine(self) -> float:
        """How far the vertebral body's centre lies behind the middle of the cavity, mm."""
        return 0.56 * self.depth + 6

    def noise(self, scale: float) -> np.ndarray:
        """Fresh noise, (H, W), correlated over `scale` mm."""
        return smooth_noise(self.rng, self.grid, scale)

    def disc(self, centre: tuple[float, float], axes: tuple[float, float], angle: float = 0.0) -> np.ndarray:
        """Signed distance to an ellipse, mm."""
        return ellipse(self.grid, centre, axes, angle)

    def fill(self, image: np.ndarray, shape: np.ndarray, value: float | np.ndarray, softness: float = 1.0) -> None:
        """Paints HU into an image inside a shape, in place."""
        paint(image, coverage(self.grid, shape, softness), value)
