"""Air in the body of a CT: what may be lung, and the trachea with the main bronchi."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from jcs_jax.study.lung_grid import LUNG_BELOW, Grid

TISSUE_FROM = -300.0  # HU
PURE_AIR_BELOW = -950.0  # HU; lung without emphysema is hardly ever so dark at 2 mm, bowel gas and the room are
MOST_PURE_AIR = 0.7  # share of a lung's inner voxels; bowel gas has more
LEAST_WRAPPED = 0.5  # share of a lung's surface that lies on the body
TRACHEA_BELOW = (-900.0, -930.0, -950.0, -970.0)  # HU; the first that does not leak into the lungs is taken
TRACHEA_AREA = (50.0, 800.0)  # mm2 on a slice
LEAST_TRACHEA = 20.0  # mm of height
MOST_AIRWAYS = 120.0  # ml; trachea and main bronchi hold 40 to 80
_IN_SLICE = np.zeros((3, 3, 3), bool)
_IN_SLICE[1] = ndimage.generate_binary_structure(2, 1)


def outside_air(grid: Grid) -> Bool[np.ndarray, "z h w"]:
    """Air that reaches the picture's edge on its slice and is as dark as the room.

    Lungs that the picture cuts off reach the edge too, but are not that dark.
    """
    pieces, count = ndimage.label(grid.hounsfield < LUNG_BELOW, _IN_SLICE)
    edge = np.zeros(count + 1, bool)
    for line in (pieces[:, 0], pieces[:, -1], pieces[:, :, 0], pieces[:, :, -1]):
        edge[line.ravel()] = True
    edge[0] = False
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    dark = np.bincount(pieces[grid.hounsfield < PURE_AIR_BELOW], minlength=count + 1)
    return (edge & (dark > 0.5 * np.maximum(sizes, 1)))[pieces]


def body_tissue(grid: Grid) -> Bool[np.ndarray, "z h w"]:
    """The body without its air: the largest piece of tissue once thin things as the table are opened away."""
    tissue = grid.hounsfield >= TISSUE_FROM
    opened = ndimage.binary_opening(tissue, _IN_SLICE, iterations=2)
    pieces, _ = ndimage.label(opened)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return (pieces == sizes.argmax()) & opened


def trachea_and_bronchi(
    grid: Grid, outside: Bool[np.ndarray, "z h w"], body: Bool[np.ndarray, "z h w"]
) -> Bool[np.ndarray, "z h w"]:
    """Grown from the tallest round pipe of air near the middle of the body; empty where there is none."""
    inside = (grid.hounsfield < TRACHEA_BELOW[0]) & ~outside
    seed = _pipe(grid, inside, body)
    if not seed.any():
        return seed
    for limit in TRACHEA_BELOW:
        pieces, count = ndimage.label((grid.hounsfield < limit) & ~outside)
        touched = np.zeros(count + 1, bool)
        touched[pieces[seed]] = True
        touched[0] = False
        grown = touched[pieces]
        if grown.sum() * grid.voxel_ml <= MOST_AIRWAYS:
            seed = grown | seed
            break
    wall = ndimage.binary_dilation(seed, ndimage.generate_binary_structure(3, 1))
    return wall & (grid.hounsfield < LUNG_BELOW) & ~outside


def lung_pieces(
    grid: Grid, air: Bool[np.ndarray, "z h w"], body: Bool[np.ndarray, "z h w"]
) -> tuple[Int[np.ndarray, "z h w"], Float[np.ndarray, " n"]]:
    """Connected air that has the darkness of lung and is wrapped by the body.

    Args:
      grid: the volume.
      air: without what is outside and without the airways.
      body: as `body_tissue` gives it.

    Returns:
      The pieces' labels, and the volume in ml of each; 0 for the background and for pieces that are no lung.
    """
    cross = ndimage.generate_binary_structure(3, 1)
    pieces, count = ndimage.label(air, cross)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1).astype(float)
    inner = np.where(ndimage.binary_erosion(air, _IN_SLICE, border_value=1), pieces, 0)
    inner_sizes = np.bincount(inner.ravel(), minlength=count + 1)
    dark = np.bincount(inner[grid.hounsfield < PURE_AIR_BELOW], minlength=count + 1)
    near_body = ndimage.binary_dilation(_chest_wall(grid, body), cross, iterations=2)
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in air])  # vessels inside are no surface
    surface = np.where(ndimage.binary_erosion(filled, cross, border_value=1), 0, pieces)
    wrapped = np.bincount(surface[near_body], minlength=count + 1)
    surface_sizes = np.bincount(surface.ravel(), minlength=count + 1)
    like_lung = (inner_sizes > 0) & (dark <= MOST_PURE_AIR * inner_sizes) & (wrapped >= LEAST_WRAPPED * surface_sizes)
    like_lung[0] = False
    return pieces, sizes * like_lung * grid.voxel_ml


def _chest_wall(grid: Grid, body: Bool[np.ndarray, "z h w"]) -> Bool[np.ndarray, "z h w"]:
    """Tissue from the body's front to its back, thin walls too; the table lies before or behind."""
    rows = np.asarray(body.any(axis=2))
    between = np.maximum.accumulate(rows, axis=1) & np.maximum.accumulate(rows[:, ::-1], axis=1)[:, ::-1]
    return ndimage.binary_opening(grid.hounsfield >= TISSUE_FROM, _IN_SLICE) & between[:, :, None]


def _pipe(grid: Grid, inside: np.ndarray, body: np.ndarray) -> np.ndarray:
    """Round areas of air on neighbouring slices, of the size of a trachea."""
    pieces, _ = ndimage.label(inside, _IN_SLICE)
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    middle = (columns[0] + columns[-1]) / 2
    reach = (columns[-1] - columns[0]) / 5
    row_mm, column_mm = grid.spacing[1:]
    round_ones = np.zeros_like(inside)
    for label, box in enumerate(ndimage.find_objects(pieces), start=1):
        height, width = ((part.stop - part.start) for part in box[1:])
        longest = max(height * row_mm, width * column_mm)
        if longest > 2 * np.sqrt(TRACHEA_AREA[1]) or abs((box[2].start + box[2].stop - 1) / 2 - middle) > reach:
            continue
        piece = pieces[box] == label
        area = int(piece.sum()) * row_mm * column_mm
        if TRACHEA_AREA[0] <= area <= TRACHEA_AREA[1] and area >= 0.4 * longest**2:
            round_ones[box] |= piece
    pipes, count = ndimage.label(round_ones)
    if count == 0:
        return round_ones
    tall = [(box[0].stop - box[0].start) * grid.spacing[0] for box in ndimage.find_objects(pipes)]
    needed = min(LEAST_TRACHEA, 0.5 * len(inside) * grid.spacing[0])
    return pipes == int(np.argmax(tall)) + 1 if max(tall) >= needed else np.zeros_like(inside)
