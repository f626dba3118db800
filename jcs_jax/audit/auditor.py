"""The audit of several parts: decode once, compare, count, and say what can't be said."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

import numpy as np

from jcs_jax.audit import findings
from jcs_jax.audit.candidates import Groups
from jcs_jax.audit.changes import describe_change
from jcs_jax.audit.confounding import find_confounders
from jcs_jax.audit.findings import Audit, Copy
from jcs_jax.audit.local_features import LocalFeatures
from jcs_jax.audit.looks import SMALLEST_SIDE, Look, has_pictures, look_at, workers
from jcs_jax.audit.near_duplicates import COPY, LARGEST_SET, NearPair, find_near_duplicates
from jcs_jax.audit.parts import Part, Slice, list_slices
from jcs_jax.audit.similarity import lay_over

_SHOWN_PAIRS = 100  # with thumbnails
_SHOWN_NAMES = 5


def audit(parts: Sequence[Part]) -> Audit:
    """Looks for leaks between parts, for confounded classes, and at masks and labels.

    Args:
      parts: at least one; a slice, patient or copy in two of them leaks.

    Returns:
      What was found.
    """
    slices = list_slices(parts)
    compared = len(slices) <= LARGEST_SET
    with workers() as executor:
        looks = look_at(parts, executor, find_features=compared)
        features = {number: look.features for number, look in enumerate(looks) if look.features is not None}
        pairs = _near_duplicates(slices, features, executor)
    across = [pair for pair in pairs if slices[pair.first].part != slices[pair.second].part]
    copies = sorted((pair for pair in across if pair.is_copy), key=lambda pair: -pair.similarity)
    return Audit(
        parts=tuple(findings.summarise(part.name, slices, looks) for part in parts),
        patients=findings.shared_patients(slices),
        pictures=findings.shared_pictures(slices, looks),
        names=findings.shared_names(slices),
        copies=tuple(_copy(pair, slices, features, shown=rank < _SHOWN_PAIRS) for rank, pair in enumerate(copies)),
        confounders=tuple(find_confounders(slices, looks)),
        notes=(
            *_unseen(parts, slices, looks),
            *_repeats(slices, [pair for pair in pairs if pair.is_copy]),
            *_alike(slices, [pair for pair in across if not pair.is_copy]),
        ),
    )


def _near_duplicates(
    slices: Sequence[Slice], features: Mapping[int, LocalFeatures], executor: Executor
) -> list[NearPair]:
    """Near duplicates among the slices that have features, with the numbers that slices have in `slices`."""
    numbers = list(features)
    people = [slices[number].person for number in numbers]
    known = _number([person or ("", "") for person in people])
    groups = Groups(
        part=_number([slices[number].part for number in numbers]),
        patient=np.where([person is None for person in people], -1, known),
        digest=_number([slices[number].record.digest for number in numbers]),
    )
    pairs = find_near_duplicates(list(features.values()), groups, executor)
    return [pair.renumbered(numbers[pair.first], numbers[pair.second]) for pair in pairs]


def _number(values: Sequence[object]) -> np.ndarray:
    """Equal values get equal numbers."""
    known: dict[object, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], np.int64)


def _copy(pair: NearPair, slices: Sequence[Slice], features: Mapping[int, LocalFeatures], *, shown: bool) -> Copy:
    first, second = slices[pair.first], slices[pair.second]
    ours, theirs = features[pair.first].picture, features[pair.second].picture
    change = describe_change(pair, enlarged=_reduction(second, theirs) / _reduction(first, ours))
    thumbnails = None
    if shown:
        thumbnails = ours, lay_over(theirs, ours.shape, pair.alignment.inverse(), outside=0)
    return Copy(findings.place(first), findings.place(second), pair.similarity, change, thumbnails)


def _reduction(item: Slice, picture: np.ndarray) -> float:
    """How many pixels of a slice became one of its reduced picture."""
    return max(item.record.height, item.record.width) / max(picture.shape)


def _unseen(parts: Sequence[Part], slices: Sequence[Slice], looks: Sequence[Look]) -> list[str]:
    """What the audit couldn't look at."""
    notes = []
    blind = [part.name for part in parts if not has_pictures(part.source)]
    if blind:
        notes.append(f"{', '.join(blind)}: stored features without pictures; only equal features were looked for")
    if len(slices) > LARGEST_SET:
        notes.append(
            f"{len(slices)} slices are too many to compare: changed copies are looked for among up to {LARGEST_SET}"
        )
    else:
        pictures = [look for look in looks if not math.isnan(look.brightness)]
        if small := sum(look.features is None for look in pictures):
            notes.append(f"{_count(small, 'slice')} under {SMALLEST_SIDE} pixels not compared with others")
        if plain := sum(look.features is not None and not len(look.features.points) for look in pictures):
            notes.append(f"{_count(plain, 'slice')} without any structure to be recognised by")
    if unknown := sum(item.person is None for item in slices):
        notes.append(f"{_count(unknown, 'slice')} of unknown patients: whether parts share those can't be told")
    return notes


def _repeats(slices: Sequence[Slice], copies: Sequence[NearPair]) -> list[str]:
    """Pictures that come twice within a part, and copies whose labels disagree."""
    notes = []
    for part in dict.fromkeys(item.part for item in slices):
        digests = Counter(item.record.digest for item in slices if item.part == part and item.record.digest)
        inside = [pair for pair in copies if slices[pair.first].part == slices[pair.second].part == part]
        if exact := sum(count - 1 for count in digests.values()):
            notes.append(f"{part}: {_count(exact, 'exact repetition')} of a slice within the part")
        if inside:
            notes.append(f"{part}: {_count(len(inside), 'changed copy')} within the part: {_names(slices, inside)}")
    labels: dict[str, set[int]] = {}
    for item in slices:
        if item.record.label >= 0 and item.record.digest:
            labels.setdefault(item.record.digest, set()).add(item.record.label)
    differing = sum({slices[pair.first].record.label, slices[pair.second].record.label} == {0, 1} for pair in copies)
    if contradictory := sum(len(found) > 1 for found in labels.values()) + differing:
        notes.append(f"{_count(contradictory, 'picture')} labelled infected in one place and uninfected in another")
    return notes


def _alike(slices: Sequence[Slice], pairs: Sequence[NearPair]) -> list[str]:
    """Pairs in two parts, not known to be of one patient, that look like neighbours in one scan."""
    people = [(slices[pair.first].person, slices[pair.second].person) for pair in pairs]
    strangers = [pair for pair, (one, other) in zip(pairs, people, strict=True) if one is None or one != other]
    if not strangers:
        return []
    strangers = sorted(strangers, key=lambda pair: -pair.similarity)
    return [
        f"{_count(len(strangers), 'pair')} in two parts as alike as neighbouring slices of one scan, though not known "
        f"to be of one patient (similarity below {COPY}: no copies): {_names(slices, strangers)}"
    ]


def _count(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{number} {noun}s"


def _names(slices: Sequence[Slice], pairs: Sequence[NearPair]) -> str:
    """The names of the first few pairs."""
    shown = [f"{slices[pair.first].record.name} and {slices[pair.second].record.name}" for pair in pairs[:_SHOWN_NAMES]]
    return "; ".join(shown) + ("; ..." if len(pairs) > _SHOWN_NAMES else "")
