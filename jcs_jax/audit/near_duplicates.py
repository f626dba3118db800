"""Finds slices that show the same picture although their pixels differ: copies that were changed in some way."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np

from jcs_jax.audit.alignment import Alignment, align
from jcs_jax.audit.candidates import Candidate, Groups, find_candidates
from jcs_jax.audit.local_features import LocalFeatures
from jcs_jax.audit.similarity import compare

# Measured on real CT: changed copies (q80, 90 %, crops, other windows) reach 0.984, neighbouring slices 1 mm apart
# at most 0.940. Slices that were interpolated between others, or show only smooth tissue, can pass for copies.
COPY = 0.975
NEIGHBOUR = 0.85
LARGEST_SET = 10_000  # slices; the features of so many take about 1.1 GB
_COMPARED = 5  # candidates of a slice, those with most agreeing features


@dataclasses.dataclass(frozen=True)
class NearPair:
    """Two slices with nearly the same content.

    Attributes:
      first: number of a slice.
      second: a higher number.
      similarity: correlation of their fine structure where they overlap.
      alignment: of the first slice's reduced picture on the second's.
      first_shown: share of the first that the second shows, too.
      second_shown: share of the second that the first shows, too.
    """

    first: int
    second: int
    similarity: float
    alignment: Alignment
    first_shown: float
    second_shown: float

    @property
    def is_copy(self) -> bool:
        """Whether they are one picture, and not just neighbouring slices of one scan."""
        return self.similarity >= COPY

    def renumbered(self, first: int, second: int) -> NearPair:
        """The same pair by other numbers of its slices."""
        return dataclasses.replace(self, first=first, second=second)


def find_near_duplicates(features: Sequence[LocalFeatures], groups: Groups, executor: Executor) -> list[NearPair]:
    """Compares slices with those that they share most local features with.

    Args:
      features: of every slice.
      groups: which slices may be paired.
      executor: runs the work on single pairs.

    Returns:
      Copies, and pairs as alike as neighbouring slices of one scan are, in order.
    """
    aligned = []
    for candidate in find_candidates(features, groups):
        first, second, mirrored = candidate
        alignment = align(features[first], features[second], mirrored=mirrored)
        if alignment is not None:
            aligned.append((candidate, alignment))

    def look(item: tuple[Candidate, Alignment]) -> NearPair:
        (first, second, _), alignment = item
        seen = compare(features[first].picture, features[second].picture, alignment)
        return NearPair(first, second, seen.similarity, seen.alignment, seen.first_shown, seen.second_shown)

    pairs = executor.map(look, _most_matches(aligned, len(features)))
    return [pair for pair in pairs if pair.similarity >= NEIGHBOUR]


def _most_matches(aligned: list[tuple[Candidate, Alignment]], slices: int) -> list[tuple[Candidate, Alignment]]:
    """Those that are among the five best of one of their slices: more aren't worth the time of a comparison."""
    used = np.zeros(slices, np.int64)
    kept = []
    for item in sorted(aligned, key=lambda item: -item[1].matches):
        pair = list(item[0][:2])
        if used[pair].min() < _COMPARED:
            kept.append(item)
            used[pair] += 1
    return sorted(kept, key=lambda item: item[0])
