"""Which air is the right lung and which the left, also where the two touch."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from jcs_jax.study.lung_grid import Grid, bounding_box, close

RIGHT, LEFT = 1, 2
SMALLER_LUNG = 0.08  # of the larger: less is a piece of it
LIKELY_LUNG = 0.25  # of the larger: two pieces beside each other, neither of them smaller, are the two lungs
APART = 0.3  # of both lungs' width: by how much their centres differ from side to side
LEAST_PIECE = 20.0  # ml of a piece in the upper half that consolidation cuts off
PIECE_REACH = 12.0  # mm; pieces this near to a lung belong to it
VESSEL_AREA = 300.0  # mm2 of a hole on a slice
_ERODED_BY = (1.5, 3.0, 4.5, 6.0, 8.0, 10.0, 13.0, 16.0)  # mm


def part_sides(
    grid: Grid, pieces: Int[np.ndarray, "z h w"], volumes: Float[np.ndarray, " n"], middle: float
) -> UInt8[np.ndarray, "z h w"]:
    """Tells right from left.

    Args:
      grid: the volume.
      pieces: of air that may be lung.
      volumes: ml of each, 0 for those that are none.
      middle: column of the body's middle, for a lung that is alone.

    Returns:
      0 outside, 1 in the right lung, 2 in the left.
    """
    order = np.argsort(-volumes, kind="stable")
    largest = pieces == order[0]
    sides = _with_partner(pieces, volumes, order, LIKELY_LUNG)
    if sides is None:
        sides = _split(largest, grid, middle)
    if sides is None:
        sides = _with_partner(pieces, volumes, order, SMALLER_LUNG)
    if sides is None:
        sides = (largest * (RIGHT if _centre_column(largest) < middle else LEFT)).astype(np.uint8)
    _add_pieces(sides, pieces, volumes, grid)
    return sides


def _split(mask: Bool[np.ndarray, "z h w"], grid: Grid, middle: float) -> UInt8[np.ndarray, "z h w"] | None:
    """Two lungs that are one piece: eroded until they come apart, then grown back; None for one that stays whole."""
    box = bounding_box(mask)
    inside = np.pad(_without_vessels(mask[box], grid), 1)
    inside[0], inside[-1] = inside[1], inside[-2]  # the scan's ends are no border
    depth = ndimage.distance_transform_edt(inside, grid.spacing)[1:-1, 1:-1, 1:-1]
    for step, radius in enumerate(_ERODED_BY):
        seeds = _two_seeds(depth > radius, middle - box[2].start)
        if seeds is None:
            continue
        for smaller in reversed((0.0, *_ERODED_BY[:step])):
            nearest = ndimage.distance_transform_edt(
                seeds == 0, grid.spacing, return_distances=False, return_indices=True
            )
            seeds = np.where(depth > smaller, seeds[tuple(nearest)], 0)
        sides = np.zeros(mask.shape, np.uint8)
        sides[box] = np.where(mask[box], seeds, 0)
        return sides
    return None


def _without_vessels(mask: Bool[np.ndarray, "z h w"], grid: Grid) -> Bool[np.ndarray, "z h w"]:
    """Small holes of each slice filled, so that a lung does not fall apart along its vessels."""
    in_slice = np.zeros((3, 3, 3), bool)
    in_slice[1] = ndimage.generate_binary_structure(2, 1)
    holes, _ = ndimage.label(~mask, in_slice)
    small = np.bincount(holes.ravel()) * grid.spacing[1] * grid.spacing[2] <= VESSEL_AREA
    small[0] = False
    return mask | small[holes]


def _two_seeds(eroded: Bool[np.ndarray, "z h w"], middle: float) -> UInt8[np.ndarray, "z h w"] | None:
    """Its two largest pieces as sides, if they lie beside each other and on both sides of the body's middle."""
    pieces, count = ndimage.label(eroded)
    if count < 2:
        return None
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    first, second = (int(one) for one in np.argsort(-sizes)[:2])
    if sizes[second] < LIKELY_LUNG * sizes[first]:
        return None
    sides = _beside(pieces == first, pieces == second)
    if sides is None or not _centre_column(sides == RIGHT) < middle < _centre_column(sides == LEFT):
        return None
    return sides


def _beside(one: np.ndarray, other: np.ndarray) -> np.ndarray | None:
    """Two pieces as sides, the one at lower columns is the right lung; None if they don't lie beside each other."""
    columns = [np.flatnonzero(piece.any(axis=(0, 1))) for piece in (one, other)]
    width = max(found[-1] for found in columns) - min(found[0] for found in columns) + 1
    centres = [_centre_column(piece) for piece in (one, other)]
    if abs(centres[0] - centres[1]) < APART * width:
        return None
    right, left = (one, other) if centres[0] < centres[1] else (other, one)
    return (RIGHT * right + LEFT * left).astype(np.uint8)


def _with_partner(
    pieces: Int[np.ndarray, "z h w"], volumes: Float[np.ndarray, " n"], order: Int[np.ndarray, " n"], least: float
) -> UInt8[np.ndarray, "z h w"] | None:
    """The largest piece and the next one that lies beside it, not smaller than a share of it; None without one."""
    for label in order[1:]:
        if volumes[label] < least * volumes[order[0]]:
            break
        sides = _beside(pieces == order[0], pieces == label)
        if sides is not None:
            return sides
    return None


def _add_pieces(sides: np.ndarray, pieces: np.ndarray, volumes: np.ndarray, grid: Grid) -> None:
    """Gives smaller pieces to the lung that they lie in or next to, in place."""
    near, heights = {}, np.flatnonzero(sides.any(axis=(1, 2)))
    half = (heights[0] + heights[-1]) / 2
    for side in (RIGHT, LEFT):
        if (sides == side).any():
            near[side] = close(sides == side, PIECE_REACH, grid.spacing)
    taken = np.unique(pieces[sides > 0])
    for label, box in enumerate(ndimage.find_objects(pieces), start=1):
        if volumes[label] == 0 or label in taken:
            continue
        piece = pieces[box] == label
        shares = {side: float((closed[box] & piece).sum() / piece.sum()) for side, closed in near.items()}
        side = max(shares, key=lambda one: shares[one])
        high = volumes[label] >= LEAST_PIECE and (box[0].start + box[0].stop) / 2 > half
        if shares[side] >= 0.5:
            sides[box][piece] = side
        elif high:
            sides[box][piece] = _nearer(piece, box, sides)


def _nearer(piece: np.ndarray, box: tuple[slice, ...], sides: np.ndarray) -> int:
    """The side whose centre is nearer from side to side."""
    column = box[2].start + _centre_column(piece)
    there = [side for side in (RIGHT, LEFT) if (sides == side).any()]
    return min(there, key=lambda side: abs(_centre_column(sides == side) - column))


def _centre_column(mask: np.ndarray) -> float:
    counts = mask.sum(axis=(0, 1))
    return float(counts @ np.arange(len(counts)) / counts.sum())
