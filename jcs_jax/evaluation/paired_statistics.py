"""Numbers of a mix of two models' outputs, for `paired_difference`.

For a mean of per-slice numbers the numbers themselves are swapped. Scores of two models have each their own scale and
can't be swapped as they are: they are turned into ranks within each model first, which leaves the AUC as it is
(Venkatraman and Begg, "A distribution-free procedure for comparing receiver operating characteristic curves from a
paired experiment", Biometrika 1996; Bandos, Rockette and Gur, "A permutation test sensitive to differences in areas
for comparing ROC curves from a paired design", Statistics in Medicine 2005).
"""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats


@dataclasses.dataclass(frozen=True)
class PairedMean:
    """The mean of a number per slice, over the slices where both models have one.

    Attributes:
      first: (N,) of the first model, 0 where either is not defined.
      second: (N,) of the second model, 0 where either is not defined.
      defined: (N,) where both are.
    """

    first: Float[np.ndarray, " n"]
    second: Float[np.ndarray, " n"]
    defined: Bool[np.ndarray, " n"]

    @classmethod
    def from_values(cls, first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> Self:
        """From (N,) values of both models, nan where not defined.

        Raises:
          ValueError: if the shapes differ.
        """
        first, second = _same_slices(first, second)
        defined = np.isfinite(first) & np.isfinite(second)
        return cls(np.where(defined, first, 0.0), np.where(defined, second, 0.0), defined)

    @property
    def n(self) -> int:
        """Slices that count."""
        return int(self.defined.sum())

    def __call__(self, weights: np.ndarray, choice: np.ndarray) -> Float[np.ndarray, " r"]:
        """See `PairedStatistic`."""
        weights = weights * self.defined
        total = weights.sum(axis=1)
        values = np.where(choice, self.second, self.first)
        summed = weights @ values[0] if len(values) == 1 else (weights * values).sum(axis=1)
        total = np.broadcast_to(total, summed.shape)
        return np.divide(summed, total, out=np.full(summed.shape, np.nan), where=total > 0)


@dataclasses.dataclass(frozen=True)
class PairedAuc:
    """The area under the ROC curve, ties counting one half.

    Attributes:
      first: (n,) ranks of the first model's scores among the labelled slices, mean ranks for ties.
      second: (n,) ranks of the second model's.
      infected: (n,) whether the slice is infected.
      labelled: (N,) which slices have a label.
    """

    first: Float[np.ndarray, " n"]
    second: Float[np.ndarray, " n"]
    infected: Bool[np.ndarray, " n"]
    labelled: Bool[np.ndarray, " all"]

    @classmethod
    def from_scores(
        cls, first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"]
    ) -> Self:
        """From (N,) scores of both models and (N,) labels 0, 1 or -1 (unknown).

        Raises:
          ValueError: if the shapes differ or a score of a labelled slice is NaN.
        """
        first, second = _same_slices(first, second)
        labels = np.asarray(labels)
        if labels.shape != first.shape:
            raise ValueError(f"labels {labels.shape} and scores {first.shape} must be of the same slices")
        known = labels >= 0
        if np.isnan(first[known] + second[known]).any():
            raise ValueError("a score of a labelled slice is NaN")
        ranks = [stats.rankdata(scores[known]) for scores in (first, second)]
        return cls(ranks[0], ranks[1], labels[known] == 1, known)

    @property
    def n(self) -> int:
        """Slices that count."""
        return len(self.first)

    def __call__(self, weights: np.ndarray, choice: np.ndarray) -> Float[np.ndarray, " r"]:
        """See `PairedStatistic`."""
        weights = weights[:, self.labelled]
        ranks = np.where(choice[:, self.labelled], self.second, self.first)
        # Ranks are multiples of 1/2: a quarter orders ties for the infected, and then against them.
        infected_last = self._share_above(weights, ranks + 0.25 * self.infected)
        infected_first = self._share_above(weights, ranks - 0.25 * self.infected)
        return (infected_last + infected_first) / 2

    def _share_above(self, weights: np.ndarray, keys: np.ndarray) -> Float[np.ndarray, " r"]:
        """Weighted share of pairs whose infected slice comes after the uninfected one."""
        order = np.argsort(keys, axis=1)
        sorted_weights = weights[:, order[0]] if len(order) == 1 else np.take_along_axis(weights, order, axis=1)
        infected = self.infected[order]
        positive, negative = sorted_weights * infected, sorted_weights * ~infected
        below = np.cumsum(negative, axis=1)
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        above = (positive * below).sum(axis=1)
        return np.divide(above, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def _same_slices(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"values {first.shape} and {second.shape} of the two models must both be one (N,)")
    return first, second
