"""Slice-level classification: the confusion counts at an operating point, and the area under the ROC curve."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Bool, Float, Int

from jcs_jax.metrics.sorted_scores import SortedScores, checked_labels, checked_scores
from jcs_jax.metrics.states import Measurement


@dataclasses.dataclass(frozen=True)
class BinaryCounts:
    """Right and wrong decisions on both classes.

    Attributes:
      true_positive: infected, called infected.
      false_negative: infected, called uninfected.
      true_negative: uninfected, called uninfected.
      false_positive: uninfected, called infected.
      unknown: cases without a label, left out.
    """

    true_positive: int = 0
    false_negative: int = 0
    true_negative: int = 0
    false_positive: int = 0
    unknown: int = 0

    @classmethod
    def from_decisions(cls, decisions: Bool[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> BinaryCounts:
        """From (N,) decisions and (N,) labels 0, 1 or -1 (unknown)."""
        decisions, labels = np.asarray(decisions, bool), checked_labels(labels)
        if decisions.shape != labels.shape:
            raise ValueError(f"decisions {decisions.shape} and labels {labels.shape} must both be one (N,)")
        positive, negative = labels == 1, labels == 0
        return cls(
            true_positive=int((decisions & positive).sum()),
            false_negative=int((~decisions & positive).sum()),
            true_negative=int((~decisions & negative).sum()),
            false_positive=int((decisions & negative).sum()),
            unknown=int((labels < 0).sum()),
        )

    def merge(self, other: BinaryCounts) -> BinaryCounts:
        """Both sets of cases together."""
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return BinaryCounts(*(a + b for a, b in zip(mine, theirs, strict=True)))

    def sensitivity(self) -> Measurement:
        """Share of the infected called infected; nan without any."""
        return self._share(self.true_positive, self.true_positive + self.false_negative)

    def specificity(self) -> Measurement:
        """Share of the uninfected called uninfected; nan without any."""
        return self._share(self.true_negative, self.true_negative + self.false_positive)

    def accuracy(self) -> Measurement:
        """Share of all labelled cases called right; nan without any."""
        labelled = self.true_positive + self.false_negative + self.true_negative + self.false_positive
        return self._share(self.true_positive + self.true_negative, labelled)

    def _share(self, right: int, of: int) -> Measurement:
        total = sum(dataclasses.astuple(self))
        return Measurement(right / of if of else math.nan, of, total - of)


@dataclasses.dataclass(frozen=True)
class ScoreRanks:
    """Scores and labels kept for the area under the ROC curve, which needs them all.

    Attributes:
      scores: (N,) float64; higher means more likely infected.
      labels: (N,) 0 or 1.
      unknown: cases without a label, left out.
    """

    scores: Float[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]
    unknown: int = 0

    @classmethod
    def from_scores(cls, scores: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> ScoreRanks:
        """From (N,) scores and (N,) labels 0, 1 or -1 (unknown).

        Raises:
          ValueError: if a score of a labelled case is NaN, a label is another number or the shapes differ.
        """
        scores, labels = checked_scores(scores, labels)
        known = labels >= 0
        return cls(scores[known], labels[known], int((~known).sum()))

    def merge(self, other: ScoreRanks) -> ScoreRanks:
        """Both sets of cases together."""
        return ScoreRanks(
            np.concatenate([self.scores, other.scores]),
            np.concatenate([self.labels, other.labels]),
            self.unknown + other.unknown,
        )

    def auc(self) -> Measurement:
        """The chance that an infected case scores above an uninfected one, ties counting one half.

        Exact (`SortedScores.auc`); nan if a class is missing.
        """
        value = float(SortedScores.from_scores(self.scores, self.labels).auc())
        if math.isnan(value):
            return Measurement(math.nan, 0, len(self.scores) + self.unknown)
        return Measurement(value, len(self.scores), self.unknown)
