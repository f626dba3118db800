"""Numbers of many cases in which each case has a weight, as a bootstrap needs them; the weights are all 1 by default.

Weights are (N,), and the result is one float64, or (R, N), and it is (R,): R sets of weights at once. They are finite
and not negative; a weight of 2 is the same as the case twice, and 0 the same as without it. Labels are 0, 1 or -1
(unknown), and cases without a label are left out. What has no weight left is not defined: nan.
All raise ValueError where shapes differ, a label is another number or a weight is negative or not finite.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from jcs_jax.metrics.sorted_scores import SortedScores, checked_labels, checked_scores, checked_weights, ratio

BINS = 10

Weights = Float[np.ndarray, "*r n"] | None
Values = Float[np.ndarray, "*r"]


def weighted_mean(values: Float[np.ndarray, " n"], weights: Weights = None) -> Values:
    """The mean of the values that are defined.

    Args:
      values: (N,), nan where not defined: left out.
      weights: (N,) or (R, N).

    Returns:
      One number or (R,); nan where no defined value has a weight.

    Raises:
      ValueError: if a value is infinite.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or np.isinf(values).any():
        raise ValueError(f"values {values.shape} must be (N,) without infinite ones; check what they come from")
    weights, defined = checked_weights(weights, len(values)), ~np.isnan(values)
    return ratio(weights @ np.where(defined, values, 0.0), weights @ defined.astype(np.float64))


def auc(scores: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"], weights: Weights = None) -> Values:
    """The chance that an infected case scores above an uninfected one: `SortedScores.auc`, for a single use."""
    return SortedScores.from_scores(scores, labels).auc(weights)


def average_precision(
    scores: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"], weights: Weights = None
) -> Values:
    """The area below the precision-recall curve: `SortedScores.average_precision`, for a single use."""
    return SortedScores.from_scores(scores, labels).average_precision(weights)


def brier(probabilities: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"], weights: Weights = None) -> Values:
    """Mean squared difference of probability and label, in [0, 1]; nan without a labelled case.

    0.25 for a probability of one half throughout, and p (1 - p) for the right share p of infected throughout.

    Args:
      probabilities: (N,) of infection, in [0, 1].
      labels: (N,).
      weights: (N,) or (R, N).

    Source: Brier, Monthly Weather Review 1950, in the form for two classes.
    """
    probabilities, labels = _checked_probabilities(probabilities, labels)
    return weighted_mean(np.where(labels >= 0, (probabilities - labels) ** 2, np.nan), weights)


def expected_calibration_error(
    probabilities: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"], weights: Weights = None, *, bins: int = BINS
) -> Values:
    """How far probabilities of infection are from the share infected, averaged over bins (ECE).

    In each bin the distance of the mean probability from the share infected, weighted by the bin's share of the
    cases. It can't fall below 0 and so comes out too high for few cases: even right probabilities score above 0. The
    source bins the probability of the class that was chosen; here it is always that of infection.

    Args:
      probabilities: (N,) of infection, in [0, 1].
      labels: (N,).
      weights: (N,) or (R, N).
      bins: equally wide parts of [0, 1]; what lies on an edge belongs below it, and 0 to the first.

    Returns:
      One number or (R,) in [0, 1]; nan without a labelled case.

    Source: Naeini et al., AAAI 2015; Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    probabilities, labels = _checked_probabilities(probabilities, labels)
    weights, known = checked_weights(weights, len(labels)), np.flatnonzero(labels >= 0)
    bin_of = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probabilities[known], side="left")
    # A bin's weight times the distance in it is the absolute sum of its weighted differences: one matrix product.
    differences = np.zeros((len(labels), bins))
    differences[known, bin_of] = labels[known] - probabilities[known]
    return ratio(np.abs(weights @ differences).sum(axis=-1), weights @ (labels >= 0).astype(np.float64))


def sensitivity(decisions: Bool[np.ndarray, " n"], labels: Int[np.ndarray, " n"], weights: Weights = None) -> Values:
    """Share of the infected called infected; nan without any.

    Args:
      decisions: (N,), true where called infected.
      labels: (N,).
      weights: (N,) or (R, N).
    """
    decisions, labels = _checked_decisions(decisions, labels)
    return weighted_mean(np.where(labels == 1, decisions, np.nan), weights)


def specificity(decisions: Bool[np.ndarray, " n"], labels: Int[np.ndarray, " n"], weights: Weights = None) -> Values:
    """Share of the uninfected called uninfected; nan without any. Arguments as `sensitivity`."""
    decisions, labels = _checked_decisions(decisions, labels)
    return weighted_mean(np.where(labels == 0, ~decisions, np.nan), weights)


def accuracy(decisions: Bool[np.ndarray, " n"], labels: Int[np.ndarray, " n"], weights: Weights = None) -> Values:
    """Share of all labelled cases called right; nan without any. Arguments as `sensitivity`."""
    decisions, labels = _checked_decisions(decisions, labels)
    return weighted_mean(np.where(labels >= 0, decisions == (labels == 1), np.nan), weights)


def _checked_probabilities(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities, labels = checked_scores(probabilities, labels)
    wrong = (labels >= 0) & ~((probabilities >= 0) & (probabilities <= 1))
    if wrong.any():
        index = int(wrong.argmax())
        raise ValueError(f"probability {index} is {probabilities[index]}; it must lie in [0, 1]")
    return probabilities, labels


def _checked_decisions(decisions: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    decisions, labels = np.asarray(decisions, bool), checked_labels(labels)
    if decisions.shape != labels.shape:
        raise ValueError(f"decisions {decisions.shape} and labels {labels.shape} must both be one (N,)")
    return decisions, labels
