"""The lungs of a chest CT by thresholds in HU and morphology: no learning."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

from jcs_jax.errors import InputError
from jcs_jax.study import lung_air
from jcs_jax.study.lung_grid import LUNG_BELOW, Grid, bounding_box, bring_back, close, coarse_grid
from jcs_jax.study.lung_sides import LEFT, RIGHT, part_sides
from jcs_jax.study.volume import Volume

LEAST_LUNGS = 300.0  # ml; an adult's lungs hold 2 to 7 litres, a half of the smaller one still more than this
LEAST_SHARE = 0.04  # of the scanned body: a thin slab or a child has fewer ml but not a smaller share
CLOSED = 8.0  # mm: vessels and small opacities at the lung's surface
CLOSED_AT_WALL = 20.0  # mm: opacities that touch the chest wall
_FILM = 3.0  # mm; what closing adds thinner than this is chest wall
BONE_FROM = 200.0  # HU; never taken in by closing
LARGEST_HOLE = 60.0  # ml enclosed on axial slices; the heart between two lungs that meet is larger
ONE_LUNG = "only the {} lung was found: the other is missing, without air, or outside the scan"
AT_EDGE = "the lungs reach the picture's edge: what lies beyond is not measured"


@dataclasses.dataclass(frozen=True)
class Lungs:
    """Where the lungs are in a volume.

    Attributes:
      labels: (S, H, W) uint8, 0 outside, 1 in the patient's right lung, 2 in the left.
      notes: what a reader of the result must know.
    """

    labels: UInt8[np.ndarray, "s h w"]
    notes: tuple[str, ...] = ()


def find_lungs(volume: Volume, *, name: str) -> Lungs:
    """Finds both lungs, vessels and opacities inside them included where they can be.

    Air inside the body that is not as dark as bowel gas, without trachea and main bronchi; right and left parted;
    closed by a ball, more widely towards the chest wall; holes filled; the border redrawn at full resolution. A large
    consolidation that touches chest wall, heart or diaphragm is lost in part.

    Args:
      volume: of the chest or a part of it, in HU.
      name: of the case, for the error.

    Raises:
      InputError: nothing looks like lungs: less than 300 ml and less than 4 % of the scanned body.
    """
    grid = coarse_grid(volume)
    outside = lung_air.outside_air(grid)
    body = lung_air.body_tissue(grid)
    if not body.any():
        raise InputError(_none_found(name, 0.0))
    airways = lung_air.trachea_and_bronchi(grid, outside, body)
    air = (grid.hounsfield < LUNG_BELOW) & ~outside & ~airways
    pieces, volumes = lung_air.lung_pieces(grid, air, body)
    if volumes.max() == 0:
        raise InputError(_none_found(name, 0.0))
    sides = part_sides(grid, pieces, volumes, _middle(body))
    found = float((sides > 0).sum()) * grid.voxel_ml
    if found < LEAST_LUNGS and found < LEAST_SHARE * (float(body.sum()) * grid.voxel_ml + found):
        raise InputError(_none_found(name, found))
    edge = bool((sides[:, [0, -1]] > 0).any() or (sides[:, :, [0, -1]] > 0).any())
    _take_in_opacities(sides, grid, airways)
    return Lungs(bring_back(volume, grid, sides, airways), _notes(sides, at_edge=edge))


def _none_found(name: str, found: float) -> str:
    return (
        f"{name}: no lungs found ({found:.0f} ml of the scan look like lung); give a CT of the chest and check "
        "how it lies"
    )


def _notes(sides: UInt8[np.ndarray, "z h w"], *, at_edge: bool) -> tuple[str, ...]:
    notes = [AT_EDGE] if at_edge else []
    for side, word in ((RIGHT, "right"), (LEFT, "left")):
        if not (sides == RIGHT + LEFT - side).any():
            notes.append(ONE_LUNG.format(word))
    return tuple(notes)


def _middle(body: Bool[np.ndarray, "z h w"]) -> float:
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    return float(columns[0] + columns[-1]) / 2


def _take_in_opacities(sides: UInt8[np.ndarray, "z h w"], grid: Grid, airways: Bool[np.ndarray, "z h w"]) -> None:
    """Closes each lung and fills its holes, in place; never into bone, airways or the other lung."""
    allowed = (grid.hounsfield < BONE_FROM) & ~airways
    for side in (RIGHT, LEFT):
        if not (sides == side).any():
            continue
        box = bounding_box(sides == side)
        lung = sides[box] == side
        free = (sides[box] == 0) & allowed[box]
        closed = close(lung, CLOSED, grid.spacing)
        wide = close(lung, CLOSED_AT_WALL, grid.spacing) & ~closed & _towards_wall(lung, side)
        taken = lung | (free & (closed | _without_films(wide, grid)))
        taken |= _holes(taken, grid) & (sides[box] == 0) & ~airways[box]
        sides[box][taken] = side


def _without_films(mask: Bool[np.ndarray, "z h w"], grid: Grid) -> Bool[np.ndarray, "z h w"]:
    """Opened by a small ball."""
    thick = ndimage.distance_transform_edt(mask, grid.spacing) > _FILM
    if not thick.any():
        return thick
    return mask & (ndimage.distance_transform_edt(~thick, grid.spacing) <= _FILM)


def _towards_wall(lung: Bool[np.ndarray, "z h w"], side: int) -> Bool[np.ndarray, "1 1 w"]:
    """The columns on the outer side of the lung's centre."""
    counts = lung.sum(axis=(0, 1))
    columns = np.arange(len(counts))
    centre = counts @ columns / counts.sum()
    outer = columns <= centre if side == RIGHT else columns >= centre
    return outer[None, None]


def _holes(lung: Bool[np.ndarray, "z h w"], grid: Grid) -> Bool[np.ndarray, "z h w"]:
    """What a lung encloses on its slices."""
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in lung]) & ~lung
    pieces, _ = ndimage.label(filled)
    small = np.bincount(pieces.ravel()) * grid.voxel_ml <= LARGEST_HOLE
    small[0] = False
    return small[pieces]
