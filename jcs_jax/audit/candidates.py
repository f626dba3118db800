"""Which pairs of slices are worth a close look: those that share rare local features.

Every descriptor becomes one of 65,536 words, and a slice the list of its words, weighted by how rare they are;
two slices are compared by one sparse product, as documents are. The words are cells of a product quantiser: the
descriptor's 32 principal components in two halves, each half named by the nearest of 256 examples of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int

from jcs_jax.audit.local_features import MIRROR, LocalFeatures, products

_COMPONENTS = 32
_CENTRES = 256  # in each half
_SAMPLE = 30_000  # descriptors that the principal components are computed from
_ROWS = 256  # slices whose products with all others are held at once
ACROSS, WITHIN = 10, 3  # candidates of a slice: in other parts, and in its own


class Candidate(NamedTuple):
    """Two slices that may show the same.

    Attributes:
      first: number of a slice.
      second: a higher number.
      mirrored: whether they look more alike when one is mirrored.
    """

    first: int
    second: int
    mirrored: bool


@dataclasses.dataclass(frozen=True)
class Groups:
    """What decides which slices may be paired; equal numbers belong together.

    Attributes:
      part: (n,) of every slice.
      patient: (n,), -1 where unknown.
      digest: (n,) of the picture.
    """

    part: Int[np.ndarray, " n"]
    patient: Int[np.ndarray, " n"]
    digest: Int[np.ndarray, " n"]

    def across(self, row: int) -> Bool[np.ndarray, " n"]:
        """Slices of other parts; not the very same picture, which needs no comparison."""
        return (self.part != self.part[row]) & (self.digest != self.digest[row])

    def within(self, row: int) -> Bool[np.ndarray, " n"]:
        """Slices of the same part, but not those known to be of the same patient."""
        kin = (self.patient == self.patient[row]) & (self.patient[row] >= 0)
        return (self.part == self.part[row]) & (self.digest != self.digest[row]) & ~kin


def find_candidates(features: Sequence[LocalFeatures], groups: Groups) -> list[Candidate]:
    """The pairs that share most.

    Args:
      features: of every slice; equal input gives equal output.
      groups: of the same slices.

    Returns:
      For every slice up to 10 partners in other parts and 3 in its own part, every pair once, in order.
    """
    if sum(len(item.descriptors) for item in features) == 0:
        return []
    plain, mirrored = _weighted_words(features)
    chosen: dict[tuple[int, int], bool] = {}
    for start in range(0, len(features), _ROWS):
        rows = slice(start, start + _ROWS)
        likeness = (plain[rows] @ plain.T).toarray()
        turned = (mirrored[rows] @ plain.T).toarray()
        best = np.maximum(likeness, turned)
        for offset, row in enumerate(range(start, start + len(best))):
            for allowed, count in ((groups.across(row), ACROSS), (groups.within(row), WITHIN)):
                for partner in _highest(np.where(allowed, best[offset], 0), count):
                    flipped = bool(turned[offset, partner] > likeness[offset, partner])
                    chosen.setdefault((min(row, partner), max(row, partner)), flipped)
    return [Candidate(*pair, flipped) for pair, flipped in sorted(chosen.items())]


def _highest(values: Float[np.ndarray, " n"], count: int) -> list[int]:
    """Positions of the highest positive values."""
    count = min(count, len(values))
    positions = np.argpartition(values, -count)[-count:]
    return [int(position) for position in positions if values[position] > 0]


def _weighted_words(
    features: Sequence[LocalFeatures],
) -> tuple[scipy.sparse.csr_array, scipy.sparse.csr_array]:
    """(n, words) sparse rows of length 1 for the slices and for their mirror images."""
    quantiser = _Quantiser.fit(features)
    words = list(map(quantiser.words, features))
    counts = [_count([item[side] for item in words]) for side in (0, 1)]
    slices_with = np.bincount(counts[0].indices, minlength=_CENTRES**2)
    rarity = np.log(1 + len(features) / np.maximum(1, slices_with)).astype(np.float32)
    for table in counts:
        table.data *= rarity[table.indices]
        lengths = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())
        table.data /= np.repeat(lengths, np.diff(table.indptr))
    return counts[0], counts[1]


def _count(words: Sequence[Int[np.ndarray, " k"]]) -> scipy.sparse.csr_array:
    """(n, words): the square root of how often each slice has each word, so that repeated texture counts less."""
    starts = np.concatenate([[0], np.cumsum([len(item) for item in words])])
    columns = np.concatenate(words)
    table = scipy.sparse.csr_array(
        (np.ones(len(columns), np.float32), columns, starts), shape=(len(words), _CENTRES**2)
    )
    table.sum_duplicates()
    table.data = np.sqrt(table.data)
    return table


@dataclasses.dataclass(frozen=True)
class _Quantiser:
    """Turns descriptors into words.

    Attributes:
      components: (32, 128) float32, most important first.
      centres: two arrays (c, 16) float32.
    """

    components: np.ndarray
    centres: tuple[np.ndarray, np.ndarray]

    @classmethod
    def fit(cls, features: Sequence[LocalFeatures]) -> _Quantiser:
        """Learns from a sample of the descriptors that are to be compared, the same sample every time."""
        rng = np.random.default_rng(0)
        total = sum(len(item.descriptors) for item in features)
        share = min(1.0, _SAMPLE / total)
        kept = [item.directions()[rng.random(len(item.descriptors)) <= share] for item in features]
        sample = np.concatenate(kept)
        if not len(sample):
            sample = next(item.directions() for item in features if len(item.descriptors))
        _, vectors = np.linalg.eigh(np.cov(sample.T, ddof=0))
        components = np.ascontiguousarray(vectors[:, ::-1][:, :_COMPONENTS].T, np.float32)
        centres = products(rng.permutation(sample)[:_CENTRES], components)
        return cls(components, _halves(centres))

    def words(self, features: LocalFeatures) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
        """Words of a slice's descriptors, and of those of its mirror image."""
        directions = features.directions()
        if not len(directions):
            return np.zeros(0, np.int32), np.zeros(0, np.int32)
        return self._words(directions), self._words(np.ascontiguousarray(directions[:, MIRROR]))

    def _words(self, directions: np.ndarray) -> Int[np.ndarray, " k"]:
        halves = _halves(products(directions, self.components))
        nearest = [
            (products(half, centres) - (centres**2).sum(axis=1) / 2).argmax(axis=1)
            for half, centres in zip(halves, self.centres, strict=True)
        ]
        return (nearest[0] * _CENTRES + nearest[1]).astype(np.int32)


def _halves(components: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Splits components into two halves of about equal variance: first, fourth, fifth, ... and the others."""
    number = np.arange(components.shape[1]) % 4
    outer = (number == 0) | (number == 3)
    return np.ascontiguousarray(components[:, outer]), np.ascontiguousarray(components[:, ~outer])
