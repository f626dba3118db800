"""The numbers that the plots draw, from plain arrays."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from jcs_jax.evaluation.intervals import wilson_interval

BINS = 10
_FEWEST_FOR_MEDIAN = 10


def roc_points(
    scores: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """The ROC curve, a point for each score that occurs, highest first; equal scores are one step.

    Args:
      scores: (N,) higher means more likely infected.
      labels: (N,) 0 or 1, both of them present.

    Returns:
      False and true positive rates, (K,) float64 each, from (0, 0) to (1, 1).
    """
    true, false = _counts(scores, labels)
    return np.append(0.0, false / false[-1]), np.append(0.0, true / true[-1])


def precision_recall_points(
    scores: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Recall and precision at each score that occurs, highest first.

    The precision of a point holds for the step of recall that ends there, as average precision sums them up.

    Args:
      scores: (N,) higher means more likely infected.
      labels: (N,) 0 or 1, at least one infected.

    Returns:
      Recall and precision, (K,) float64 each.
    """
    true, false = _counts(scores, labels)
    return true / true[-1], true / (true + false)


def _counts(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives at each threshold, from the highest score down."""
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), scores.size - 1)
    true = np.cumsum(labels[order] == 1)[last]
    return true, last + 1 - true


@dataclasses.dataclass(frozen=True)
class ReliabilityBins:
    """Predicted and observed frequency of infection in ten bins of equal width.

    Attributes:
      counts: (10,) cases in each bin; what lies on an edge belongs below it, and 0 to the first.
      predicted: (10,) their mean probability; nan in an empty bin.
      observed: (10,) share of infected ones among them; nan in an empty bin.
      low: (10,) lower end of the share's 95 % Wilson interval.
      high: (10,) upper end of it.
    """

    counts: Int[np.ndarray, " b"]
    predicted: Float[np.ndarray, " b"]
    observed: Float[np.ndarray, " b"]
    low: Float[np.ndarray, " b"]
    high: Float[np.ndarray, " b"]


def reliability_bins(
    probabilities: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"], bins: int = BINS
) -> ReliabilityBins:
    """Sorts (N,) probabilities in [0, 1] with (N,) labels 0 or 1 into bins.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probabilities, side="left")
    counts = np.bincount(place, minlength=bins)
    positive = np.bincount(place, weights=np.asarray(labels) == 1, minlength=bins)
    total = np.bincount(place, weights=probabilities, minlength=bins)
    with np.errstate(invalid="ignore"):
        observed, predicted = positive / counts, total / counts
    ends = [wilson_interval(float(share), int(count)) for share, count in zip(observed, counts, strict=True)]
    return ReliabilityBins(counts, predicted, observed, *np.array(ends).T)


def running_median(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Medians of both in a window of about an eighth of the points, at least 5, moved along x.

    Returns:
      The medians of x and of y, (K,) each; empty for fewer than 10 points.
    """
    if len(x) < _FEWEST_FOR_MEDIAN:
        return np.empty(0), np.empty(0)
    width = max(5, len(x) // 8 | 1)
    order = np.argsort(x, kind="stable")
    windows = (np.lib.stride_tricks.sliding_window_view(np.asarray(values)[order], width) for values in (x, y))
    first, second = (np.median(window, axis=1) for window in windows)
    return first, second
