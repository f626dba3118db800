"""The slices of a series on top of each other: sorted by where they lie, and what is wrong with them."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jcs_jax.errors import InputError
from jcs_jax.study.dicom.headers import Place, SliceHeader

SAME_PLACE = 1e-2  # mm
_UNEVEN = 0.02  # of the usual step
_TILT = 0.5  # degrees
_MOST_TILT = 30.0
_LONE_THICKNESS = 1.0  # mm, of a slice without neighbours


@dataclasses.dataclass(frozen=True)
class Stack:
    """Slices in order.

    Attributes:
      slices: from the feet up.
      heights: (slices,) mm along their normal, rising.
      affine: from (slice, row, column, 1) to LPS millimetres.
      notes: what is unusual.
    """

    slices: tuple[SliceHeader, ...]
    heights: Float[np.ndarray, " s"]
    affine: Float[np.ndarray, "4 4"]
    notes: tuple[str, ...]


def stack(slices: Sequence[SliceHeader], source: Path) -> Stack:
    """Sorts the slices of a series by where they lie.

    Slices of another size, direction or spacing than most are left out, as are repeated ones of another acquisition
    and slices without a place; the notes say so. Missing slices and uneven distances are noted, and a tilted gantry is
    kept in the affine.

    Args:
      slices: of one series.
      source: of the study, for errors.

    Raises:
      InputError: two slices at one place that nothing tells apart, or a gantry tilted by more than 30 degrees.
    """
    notes: list[str] = []
    placed = [one for one in slices if one.place is not None]
    _note_left_out(notes, len(slices) - len(placed), "do not say where they lie")
    alike = _most_alike(placed)
    _note_left_out(notes, len(placed) - len(alike), "have another size, direction or spacing")
    single = _one_acquisition(alike, source, notes)
    ordered = sorted(single, key=_height)
    heights = np.array([_height(one) for one in ordered])
    notes += _about_distances(heights)
    affine, tilt = _affine(ordered, heights)
    if tilt > _MOST_TILT:
        raise InputError(
            f"{source}: its slices are shifted by {tilt:.1f} degrees, more than a gantry tilts; export it again"
        )
    if tilt > _TILT:
        notes.append(
            f"the gantry was tilted by {tilt:.1f} degrees; slices were judged as they are, and volumes allow for it"
        )
    return Stack(tuple(ordered), heights - heights[0], affine, tuple(notes))


def _place(one: SliceHeader) -> Place:
    if one.place is None:
        raise ValueError("a slice without a place")
    return one.place


def _height(one: SliceHeader) -> float:
    """Along the normal that points to the head."""
    normal = _place(one).normal
    return float(_place(one).position @ normal) * (1 if normal[2] >= 0 else -1)


def _most_alike(slices: Sequence[SliceHeader]) -> list[SliceHeader]:
    groups: dict[tuple[object, ...], list[SliceHeader]] = collections.defaultdict(list)
    for one in slices:
        place = _place(one)
        key = (one.size, tuple(np.round(place.axes.ravel(), 3) + 0.0), tuple(np.round(place.spacing, 4)))
        groups[key].append(one)
    return max(groups.values(), key=len)


def _one_acquisition(slices: Sequence[SliceHeader], source: Path, notes: list[str]) -> list[SliceHeader]:
    """One slice a place: of several acquisitions, the one with the most places."""
    if not _repeated(slices):
        return list(slices)
    groups: dict[str, dict[str, SliceHeader]] = collections.defaultdict(dict)
    for one in slices:
        groups[one.acquisition][f"{one.slice_uid}/{one.frame}"] = one  # one file twice is one slice
    taken = list(max(groups.values(), key=len).values())
    if again := _repeated(taken):
        raise InputError(
            f"{source}: {again} of {len(taken)} slices lie where another lies and nothing tells them apart; keep one "
            "scan (phase, kernel) a series"
        )
    _note_left_out(notes, len(slices) - len(taken), "repeat a place: another acquisition, or the same file twice")
    return taken


def _repeated(slices: Sequence[SliceHeader]) -> int:
    heights = np.sort([_height(one) for one in slices])
    return int(np.count_nonzero(np.diff(heights) < SAME_PLACE))


def _note_left_out(notes: list[str], count: int, reason: str) -> None:
    if count:
        notes.append(f"{count} slice{'s' * (count > 1)} left out: they {reason}")


def _about_distances(heights: Float[np.ndarray, " s"]) -> list[str]:
    steps = np.diff(heights)
    if len(steps) == 0:
        return ["a single slice: its thickness is not known, so volumes are not given"]
    usual = float(np.median(steps))
    ratios = steps / usual
    missing = int(np.sum(np.rint(ratios[ratios > 1.5]) - 1))
    notes = []
    if missing:
        notes.append(
            f"{missing} slice{'s' * (missing > 1)} missing: gaps of up to {steps.max():.1f} mm between slices of "
            f"{usual:.2f} mm"
        )
    uneven = np.abs(ratios - np.rint(np.maximum(ratios, 1))) > _UNEVEN
    if uneven.any():
        notes.append(f"distances between slices are uneven: {steps.min():.2f} to {steps.max():.2f} mm")
    return notes


def _affine(ordered: Sequence[SliceHeader], heights: Float[np.ndarray, " s"]) -> tuple[np.ndarray, float]:
    """The affine, and by how many degrees the stack leans."""
    first, last = _place(ordered[0]), _place(ordered[-1])
    normal = first.normal * (1 if first.normal[2] >= 0 else -1)
    affine, tilt = np.eye(4), 0.0
    affine[:3, 0] = normal * _LONE_THICKNESS
    if len(ordered) > 1:
        usual = float(np.median(np.diff(heights)))
        way = last.position - first.position
        affine[:3, 0] = way / float(way @ normal) * usual
        tilt = float(np.rad2deg(np.arccos(np.clip(way @ normal / np.linalg.norm(way), -1, 1))))
    affine[:3, 1] = first.axes[:, 1] * first.spacing[0]
    affine[:3, 2] = first.axes[:, 0] * first.spacing[1]
    affine[:3, 3] = first.position
    return affine, tilt
