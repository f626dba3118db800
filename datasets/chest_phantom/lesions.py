"""What is laid into the lungs: ground glass and consolidation of the infected, benign findings of anybody."""

from __future__ import annotations

import dataclasses

import numpy as np

from jcs_datasets.chest_phantom.anatomy import Section
from jcs_datasets.chest_phantom.geometry import coverage, paint
from jcs_datasets.chest_phantom.patient import LUNG_HEIGHT, Level, Patient
from jcs_datasets.chest_phantom.vessels import SLAB

_EDGE = 0.08  # softness of an opacity's border, in units of its radius


@dataclasses.dataclass(frozen=True)
class Opacity:
    """One opacity of COVID-19 pneumonia.

    Attributes:
      centre: mm: x, y, and the depth below the apex.
      radii: mm along x, y and depth.
      angle: turn in the slice, radians.
      glass: HU of its ground glass.
      core: the share of its radius that is consolidated; 0 for none.
      ragged: how irregular its border is.
    """

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    angle: float
    glass: float
    core: float
    ragged: float


def sample_opacities(rng: np.random.Generator, patient: Patient, depths: np.ndarray) -> list[Opacity]:
    """Draws an infected patient's opacities: mostly towards the pleura, the back and the bases.

    Args:
      rng: the source of chance.
      patient: proportions of the chest.
      depths: of the slices, mm below the apex; each opacity is centred near one of them.
    """
    count = int(rng.integers(3, 13))
    opacities = []
    for _ in range(count):
        depth = float(rng.choice(depths) + rng.normal(0, 8))
        width, front_to_back = patient.cavity_axes(depth / LUNG_HEIGHT)
        side = rng.choice([-1, 1])
        angle = rng.triangular(0.15, 0.72, 0.9) * np.pi  # from the front (0) to the back (pi)
        reach = rng.triangular(0.5, 0.9, 1.0)
        size = rng.uniform(14, 44)
        opacities.append(
            Opacity(
                centre=(
                    float(side * reach * width * np.sin(angle)),
                    float(-reach * front_to_back * np.cos(angle)),
                    depth,
                ),
                radii=(size * rng.uniform(0.6, 1.0), size * rng.uniform(0.7, 1.3), size * rng.uniform(0.8, 1.6)),
                angle=float(rng.uniform(0, np.pi)),
                glass=float(rng.uniform(-660, -380)),
                core=float(rng.choice([0.0, rng.uniform(0.35, 0.8)], p=[0.65, 0.35])),
                ragged=float(rng.uniform(0.15, 0.4)),
            )
        )
    return opacities


def draw_opacities(level: Level, section: Section, opacities: list[Opacity]) -> np.ndarray:
    """Lays opacities into a slice, in place.

    Returns:
      (H, W) bool, the truth: lung that is covered by an opacity to more than half.
    """
    cover = np.zeros_like(section.image)
    for opacity in opacities:
        away = max(0.0, abs(level.height * LUNG_HEIGHT - opacity.centre[2]) - SLAB / 2) / opacity.radii[2]
        if away < 1:
            cover = np.maximum(cover, _draw_opacity(level, section, opacity, away))
    return (cover > 0.5) & (section.lung > 0.5)


def _draw_opacity(level: Level, section: Section, opacity: Opacity, away: float) -> np.ndarray:
    """Lays one opacity into a slice that cuts it `away` of its radius from its centre; returns its coverage."""
    flat = level.disc(opacity.centre[:2], opacity.radii[:2], opacity.angle) / min(opacity.radii[:2]) + 1
    core_radius = np.hypot(flat, away) + 0.5 * opacity.ragged * level.noise(9)
    cover = _sigmoid((1 - core_radius - 0.7 * opacity.ragged * level.noise(5)) / _EDGE)
    glass = opacity.glass + 70 * level.noise(4.5) + 50 * level.noise(1.8)
    _densify(section.image, cover * section.lung, glass)
    if opacity.core > 0:
        core = cover * _sigmoid((opacity.core - core_radius) / _EDGE)
        _densify(section.image, core * section.lung, level.rng.uniform(0, 50) + 20 * level.noise(3))
    return cover


def draw_benign(level: Level, section: Section) -> None:
    """Lays what healthy lungs show too into a slice, in place: small nodules, a scar, dark bullae."""
    rng = level.rng
    for _ in range(rng.poisson(0.5)):
        centre = (rng.choice([-1, 1]) * rng.uniform(0.4, 0.85) * level.width, rng.uniform(-0.6, 0.7) * level.depth)
        radius = rng.uniform(1.8, 4.2)
        nodule = coverage(level.grid, level.disc(centre, (radius, radius)), softness=1.4)
        _densify(section.image, nodule * section.lung, rng.uniform(-50, 80))
    if rng.random() < 0.25:
        centre = (rng.choice([-1, 1]) * 0.7 * level.width, rng.uniform(0.0, 0.6) * level.depth)
        scar = level.disc(centre, (rng.uniform(10, 22), 1.3), angle=rng.uniform(0, np.pi))
        _densify(section.image, 0.7 * coverage(level.grid, scar) * section.lung, -250)
    if rng.random() < 0.2:
        paint(section.image, np.clip(level.noise(6) - 1.2, 0, 1) * section.lung, -965)


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(value, -30, 30)))


def _densify(image: np.ndarray, cover: np.ndarray, value: float | np.ndarray) -> None:
    """Blends HU in, but never makes a pixel darker."""
    image += cover * np.clip(value - image, 0, None)
