"""What an audit finds, and how patients, pictures and names that are in two parts are found without decoding."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jcs_jax.audit.confounding import Confounder
from jcs_jax.audit.looks import Look
from jcs_jax.audit.parts import Slice


class Place(NamedTuple):
    """Where a slice is.

    Attributes:
      part: `dataset:split`.
      name: of the slice.
    """

    part: str
    name: str


@dataclasses.dataclass(frozen=True)
class SharedPatient:
    """A patient with slices in two parts or more.

    Attributes:
      patient: as the data set calls the patient.
      slices: part -> number of slices.
    """

    patient: str
    slices: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class SameSlices:
    """Slices of two parts or more that are one: the very same picture, or one name.

    Attributes:
      places: all of them.
      thumbnail: (h, w) uint8; None without a picture.
    """

    places: tuple[Place, ...]
    thumbnail: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Copy:
    """Two slices of two parts of which one is a changed copy of the other.

    Attributes:
      first: one.
      second: the other.
      similarity: of their fine structure where they overlap, at most 1.
      change: what was done to the first to get the second, in words.
      thumbnails: both, (h, w) uint8, the second in the frame of the first; None beyond the first hundred.
    """

    first: Place
    second: Place
    similarity: float
    change: str
    thumbnails: tuple[np.ndarray, np.ndarray] | None


@dataclasses.dataclass(frozen=True)
class PartSummary:
    """A part in numbers.

    Attributes:
      name: `dataset:split`.
      slices: how many.
      patients: known ones.
      unknown_patients: slices whose patient isn't known.
      infected: slices of label 1.
      uninfected: slices of label 0.
      unlabelled: slices without a label.
      masks: slices with a mask.
      empty_masks: names of those whose mask is all background.
      full_masks: names of those whose mask covers the whole picture.
    """

    name: str
    slices: int
    patients: int
    unknown_patients: int
    infected: int
    uninfected: int
    unlabelled: int
    masks: int
    empty_masks: tuple[str, ...]
    full_masks: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Audit:
    """All that was found.

    Attributes:
      parts: in numbers.
      patients: in two parts.
      pictures: exact ones in two parts.
      names: given to slices of two parts whose pictures differ.
      copies: changed ones in two parts.
      confounders: trivial features as classifiers.
      notes: what is worth knowing but is no leak, and what couldn't be looked at.
    """

    parts: tuple[PartSummary, ...]
    patients: tuple[SharedPatient, ...]
    pictures: tuple[SameSlices, ...]
    names: tuple[SameSlices, ...]
    copies: tuple[Copy, ...]
    confounders: tuple[Confounder, ...]
    notes: tuple[str, ...]

    @property
    def leaks(self) -> dict[str, int]:
        """How many of each kind of leak."""
        return {
            "patients": len(self.patients),
            "pictures": len(self.pictures),
            "names": len(self.names),
            "copies": len(self.copies),
        }


def place(item: Slice) -> Place:
    """Where a slice is."""
    return Place(item.part, item.record.name)


def shared_patients(slices: Sequence[Slice]) -> tuple[SharedPatient, ...]:
    """Known patients with slices in two parts or more of one data set."""
    found = _in_two_parts(slices, lambda item: item.person)
    return tuple(
        SharedPatient(str(person[1]), {part: sum(item.part == part for item in items) for part in _part_names(items)})
        for person, items in found.items()
        if isinstance(person, tuple)
    )


def shared_pictures(slices: Sequence[Slice], looks: Sequence[Look]) -> tuple[SameSlices, ...]:
    """Pictures whose every pixel is the same in two parts or more; blank ones, which have no digest, are nobody's."""
    thumbnails = {item.record.digest: look.features for item, look in zip(slices, looks, strict=True)}
    found = _in_two_parts(slices, lambda item: item.record.digest or None)
    return tuple(
        SameSlices(tuple(map(place, items)), None if features is None else features.picture)
        for items, features in ((items, thumbnails[items[0].record.digest]) for items in found.values())
    )


def shared_names(slices: Sequence[Slice]) -> tuple[SameSlices, ...]:
    """Names that stand for different pictures in two parts of one data set, though a name is one slice's there."""
    found = _in_two_parts(slices, lambda item: (item.namespace, item.record.name) if item.record.name else None)
    return tuple(
        SameSlices(tuple(map(place, items)))
        for items in found.values()
        if len({item.record.digest for item in items}) > 1
    )


def summarise(part: str, slices: Sequence[Slice], looks: Sequence[Look]) -> PartSummary:
    """Counts a part.

    Args:
      part: its name.
      slices: of all parts.
      looks: at the same slices.
    """
    chosen = [(item, _mask_share(item, look)) for item, look in zip(slices, looks, strict=True) if item.part == part]
    labels = [item.record.label for item, _ in chosen]
    return PartSummary(
        name=part,
        slices=len(chosen),
        patients=len({item.record.patient for item, _ in chosen} - {""}),
        unknown_patients=sum(not item.record.patient for item, _ in chosen),
        infected=labels.count(1),
        uninfected=labels.count(0),
        unlabelled=sum(label < 0 for label in labels),
        masks=sum(not math.isnan(share) for _, share in chosen),
        empty_masks=tuple(item.record.name for item, share in chosen if share == 0),
        full_masks=tuple(item.record.name for item, share in chosen if share >= 1),
    )


def _mask_share(item: Slice, look: Look) -> float:
    """Of the mask itself, or by its area in the index where masks aren't decoded."""
    record = item.record
    if not math.isnan(look.mask_share) or record.lesion_area < 0:
        return look.mask_share
    return record.lesion_area / max(1, record.height * record.width)


def _in_two_parts(slices: Sequence[Slice], key: Callable[[Slice], Hashable | None]) -> dict[Hashable, list[Slice]]:
    """Groups of slices that have one key and are in two parts or more."""
    groups: dict[Hashable, list[Slice]] = {}
    for item in slices:
        if (value := key(item)) is not None:
            groups.setdefault(value, []).append(item)
    return {value: items for value, items in groups.items() if len(_part_names(items)) > 1}


def _part_names(items: Sequence[Slice]) -> list[str]:
    return list(dict.fromkeys(item.part for item in items))
