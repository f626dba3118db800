"""Which slices are of the same patient, and draws of patients.

Slices of one patient are alike: whatever is drawn, left out or swapped is a patient with all their slices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

MAX_JACKKNIFE_GROUPS = 200
CHUNK_NUMBERS = 4_000_000  # weights held at a time


@dataclasses.dataclass(frozen=True)
class Clusters:
    """Which slices belong to the same patient.

    Attributes:
      index: (N,) the patient of each slice, from 0 to count - 1.
      count: number of patients; slices without an identifier count as a patient each.
    """

    index: Int[np.ndarray, " n"]
    count: int

    @classmethod
    def from_patients(cls, patients: Sequence[str]) -> Self:
        """From one identifier per slice, empty where unknown.

        Patients are numbered in the order of their identifiers, so that the order of the slices doesn't matter;
        unknown ones come last, in the order of the slices.
        """
        names = np.asarray(patients, dtype=np.str_)
        known = names != ""
        distinct, numbers = np.unique(names[known], return_inverse=True)
        index = np.empty(len(names), np.int64)
        index[known] = numbers
        index[~known] = len(distinct) + np.arange(len(names) - known.sum())
        return cls(index, len(distinct) + int((~known).sum()))

    def spread(self, per_cluster: Shaped[np.ndarray, "r count"]) -> Shaped[np.ndarray, "r n"]:
        """(R, count) values of patients -> (R, N) values of their slices."""
        return per_cluster[:, self.index]

    def resampled(self, rng: np.random.Generator, resamples: int) -> Float[np.ndarray, "r n"]:
        """How often each slice is drawn when `count` patients are drawn with replacement.

        Args:
          rng: moves on by `resamples` rows.
          resamples: R.

        Returns:
          (R, N) float64 weights, whole numbers from 0.
        """
        drawn = rng.integers(self.count, size=(resamples, self.count)) + self.count * np.arange(resamples)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=resamples * self.count).reshape(resamples, self.count)
        return self.spread(counts.astype(np.float64))

    def left_out(self, seed: int = 0) -> Bool[np.ndarray, "g n"]:
        """One row for each group of patients of a jackknife: the slices that are left.

        A group is one patient, or with more than 200 patients a random one of 200 groups of nearly the same size.
        """
        groups = min(self.count, MAX_JACKKNIFE_GROUPS)
        group = np.arange(self.count)
        if groups < self.count:
            group = np.random.default_rng(seed).permutation(self.count) % groups
        return group[self.index] != np.arange(groups)[:, None]


def in_chunks(rows: int, columns: int) -> list[int]:
    """Numbers of rows that add up to `rows`, so that each part has at most 4 million numbers."""
    part = max(1, CHUNK_NUMBERS // max(columns, 1))
    return [min(part, rows - start) for start in range(0, rows, part)]
