"""Vessels of the lungs: branching trees of tubes in 3-D, and what a slice shows of them."""

from __future__ import annotations

import dataclasses

import numpy as np

from jcs_datasets.chest_phantom.geometry import Grid
from jcs_datasets.chest_phantom.patient import LUNG_HEIGHT, Patient

SLAB = 7.0  # mm, the thickness over which a slice averages
_TIPS = 600  # in each lung
_TIP_RADIUS = 0.55  # mm
_STRAIGHTNESS = 0.35  # how much a short way to the hilum counts against a near neighbour


@dataclasses.dataclass(frozen=True)
class Tubes:
    """Straight pieces of vessel.

    Attributes:
      start: (n, 3) float64, mm: x, y, and the depth below the apex.
      end: (n, 3) float64, mm.
      radius: (n,) float64, mm.
    """

    start: np.ndarray
    end: np.ndarray
    radius: np.ndarray


def grow_vessels(rng: np.random.Generator, patient: Patient) -> Tubes:
    """Grows the trees of both lungs from their hila to tips all over the lungs.

    Tips join the tree one by one, the nearest to the hilum first, each where the way back to the hilum is
    short; a piece's radius follows from how many tips it feeds (Murray's law).
    """
    width, depth = patient.cavity_axes(0.5)
    lungs = []
    for side in (-1, 1):
        hilum = np.array([side * 0.2 * width, 0.06 * depth, 0.46 * LUNG_HEIGHT])
        lungs.append(_grow_tree(hilum, _sample_tips(rng, patient, side)))
    return Tubes(*(np.concatenate(parts) for parts in zip(*lungs, strict=True)))


def draw_vessels(grid: Grid, tubes: Tubes, depth: float) -> np.ndarray:
    """How much of each pixel is vessel in the slab around a depth below the apex (mm); (H, W), 0 to 1."""
    cover = np.zeros(grid.x.shape, np.float32)
    low, high = depth - SLAB / 2, depth + SLAB / 2
    bottom = np.minimum(tubes.start[:, 2], tubes.end[:, 2]) - tubes.radius
    top = np.maximum(tubes.start[:, 2], tubes.end[:, 2]) + tubes.radius
    for index in np.flatnonzero((top > low) & (bottom < high)):
        ends = np.stack([tubes.start[index], tubes.end[index]])
        _draw_tube(cover, grid, ends, float(tubes.radius[index]), (low, high))
    return cover


def _sample_tips(rng: np.random.Generator, patient: Patient, side: int) -> np.ndarray:
    """Points spread evenly over a lung, (n, 3) mm."""
    heights = rng.uniform(0.04, 1.0, _TIPS)
    axes = np.array([patient.cavity_axes(height) for height in heights])
    angles, reach = rng.uniform(0, np.pi, _TIPS), np.sqrt(rng.uniform(0.06, 0.93, _TIPS))
    x = side * reach * np.sin(angles) * axes[:, 0]
    return np.stack([x, -reach * np.cos(angles) * axes[:, 1], heights * LUNG_HEIGHT], axis=1)


def _grow_tree(hilum: np.ndarray, tips: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start, end and radius of every piece."""
    order = np.argsort(np.linalg.norm(tips - hilum, axis=1))
    nodes = np.concatenate([hilum[None], tips[order]])
    parents = np.zeros(len(nodes), int)
    way = np.zeros(len(nodes))
    for index in range(1, len(nodes)):
        gaps = np.linalg.norm(nodes[:index] - nodes[index], axis=1)
        parents[index] = np.argmin(gaps + _STRAIGHTNESS * way[:index])
        way[index] = way[parents[index]] + gaps[parents[index]]
    fed = np.ones(len(nodes))
    for index in range(len(nodes) - 1, 0, -1):
        fed[parents[index]] += fed[index]
    return nodes[parents[1:]], nodes[1:], _TIP_RADIUS * fed[1:] ** (1 / 2.7)


def _draw_tube(cover: np.ndarray, grid: Grid, ends: np.ndarray, radius: float, slab: tuple[float, float]) -> None:
    """Adds a tube's part within the slab, as the distance to its projection, inside its bounding box."""
    start, end = ends
    rise = end[2] - start[2]
    limits = sorted((edge - start[2]) / rise for edge in slab) if abs(rise) > 1e-6 else [0.0, 1.0]
    first, last = (np.clip(limit, 0, 1) for limit in limits)
    head, tail = start + first * (end - start), start + last * (end - start)
    margin = radius + grid.spacing
    origin, size = float(grid.x[0, 0]), cover.shape[0]
    low = np.floor((np.minimum(head, tail)[:2] - margin - origin) / grid.spacing).astype(int).clip(0, size)
    high = np.ceil((np.maximum(head, tail)[:2] + margin - origin) / grid.spacing).astype(int).clip(0, size - 1) + 1
    box = np.s_[low[1] : high[1], low[0] : high[0]]
    axis = (tail - head)[:2]
    x, y = grid.x[box] - head[0], grid.y[box] - head[1]
    along = np.clip((x * axis[0] + y * axis[1]) / max(float(axis @ axis), 1e-9), 0, 1)
    distance = np.hypot(x - along * axis[0], y - along * axis[1])
    part = np.clip((radius - distance) / grid.spacing + 0.5, 0, 1) * min(1.0, 2 * radius / grid.spacing)
    cover[box] = np.maximum(cover[box], part)
