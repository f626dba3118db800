"""Scores sorted once, and the numbers that depend on their order under any weights of the cases."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclasses.dataclass(frozen=True)
class SortedScores:
    """Labelled cases by rising score.

    A bootstrap asks for the same number thousands of times, each time with other weights: how often each case was
    drawn. The scores stay the same and are sorted only once.

    Attributes:
      order: (K,) the labelled cases' places among all N, by rising score.
      infected: (K,) whether each is, in that order.
      starts: (G,) where in that order each run of equal scores begins.
      cases: N, with those without a label.
    """

    order: Int[np.ndarray, " k"]
    infected: Bool[np.ndarray, " k"]
    starts: Int[np.ndarray, " g"]
    cases: int

    @classmethod
    def from_scores(cls, scores: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> SortedScores:
        """From (N,) scores, higher where infection is likelier, and (N,) labels 0, 1 or -1 (unknown).

        Raises:
          ValueError: if a score of a labelled case is NaN, a label is another number or the shapes differ.
        """
        scores, labels = checked_scores(scores, labels)
        known = np.flatnonzero(labels >= 0)
        order = known[np.argsort(scores[known], kind="stable")]
        rising = scores[order]
        new = np.concatenate([np.ones(min(len(order), 1), bool), rising[1:] != rising[:-1]])
        return cls(order, labels[order] == 1, np.flatnonzero(new), len(scores))

    def auc(self, weights: Float[np.ndarray, "*r n"] | None = None) -> Float[np.ndarray, "*r"]:
        """The chance that an infected case scores above an uninfected one, ties counting one half.

        Exact: pairs are counted, weighted by the product of their weights; no curve is interpolated.

        Args:
          weights: (N,) or (R, N), finite and not negative, R sets of weights at once; all 1 by default. It makes a few
            arrays of that size: pass many in portions.

        Returns:
          In [0, 1], one number or (R,); nan where a class has no weight.

        Raises:
          ValueError: if weights are negative, not finite or not N.
        """
        infected, uninfected = self._runs(weights)
        below = np.cumsum(uninfected, axis=-1) - uninfected / 2
        won = np.einsum("...g,...g->...", infected, below)
        return ratio(won, infected.sum(axis=-1) * uninfected.sum(axis=-1))

    def average_precision(self, weights: Float[np.ndarray, "*r n"] | None = None) -> Float[np.ndarray, "*r"]:
        """The precision at each score as the threshold, averaged over the infected cases found there (AP).

        The area below the precision-recall curve in steps, without interpolation between its points.

        Args:
          weights: as in `auc`.

        Returns:
          In [0, 1], one number or (R,); nan where a class has no weight. (Without any uninfected case the formula
          gives 1 for every score, which tells nothing.)

        Raises:
          ValueError: as `auc`.
        """
        infected, uninfected = (runs[..., ::-1] for runs in self._runs(weights))
        found, false = np.cumsum(infected, axis=-1), np.cumsum(uninfected, axis=-1)
        called = found + false
        precision = np.divide(found, called, out=np.zeros_like(called), where=called > 0)
        total = np.where(uninfected.sum(axis=-1) > 0, infected.sum(axis=-1), 0.0)
        return ratio(np.einsum("...g,...g->...", infected, precision), total)

    def _runs(self, weights: np.ndarray | None) -> tuple[Float[np.ndarray, "*r g"], Float[np.ndarray, "*r g"]]:
        """The weight of the infected, and of the uninfected, in each run of equal scores; rising."""
        rising = np.take(checked_weights(weights, self.cases), self.order, axis=-1)
        classes = rising * self.infected, rising * ~self.infected
        if len(self.starts) == len(self.order):
            return classes
        infected, uninfected = (np.add.reduceat(one, self.starts, axis=-1) for one in classes)
        return infected, uninfected


def checked_scores(scores: np.ndarray, labels: np.ndarray) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Scores as float64 and labels as int64.

    Raises:
      ValueError: if a score of a labelled case is NaN, a label is not 0, 1 or -1 or the shapes differ.
    """
    scores, labels = np.asarray(scores, np.float64), checked_labels(labels)
    if scores.shape != labels.shape:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must both be one (N,)")
    missing = (labels >= 0) & np.isnan(scores)
    if missing.any():
        raise ValueError(f"score {int(missing.argmax())} is NaN")
    return scores, labels


def checked_labels(labels: np.ndarray) -> Int[np.ndarray, " n"]:
    """Labels as int64.

    Raises:
      ValueError: if they aren't (N,) of 0, 1 and -1.
    """
    labels = np.asarray(labels)
    wrong = ~np.isin(labels, (-1, 0, 1))
    if labels.ndim != 1 or wrong.any():
        raise ValueError(f"labels must be (N,) of -1 (unknown), 0 or 1; got {labels[wrong][:3]} {labels.shape}")
    return labels.astype(np.int64)


def checked_weights(weights: np.ndarray | None, cases: int) -> Float[np.ndarray, "*r n"]:
    """Weights as float64, all 1 without any.

    Raises:
      ValueError: if they aren't (N,) or (R, N), finite and not negative.
    """
    weights = np.ones(cases) if weights is None else np.asarray(weights, np.float64)
    if weights.ndim not in (1, 2) or weights.shape[-1] != cases:
        raise ValueError(f"weights {weights.shape} must be ({cases},) or (R, {cases}), one for each case")
    if weights.size and not (weights.min() >= 0 and weights.max() < np.inf):
        raise ValueError("weights must be finite and not negative")
    return weights


def ratio(part: np.ndarray, whole: np.ndarray) -> Float[np.ndarray, "*r"]:
    """Part / whole, nan where the whole is 0; a plain number where both are."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)[()]
