"""The area under the ROC curve with an interval that doesn't take slices of one patient for independent."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float, Int

_NORMAL_95 = 1.959964
_DIVISIONS = 10
FEWEST_PATIENTS = 5  # of each class, from which an error can be told


class Auc(NamedTuple):
    """An area under the ROC curve.

    Attributes:
      value: 0 to 1; nan if a class is missing.
      error: standard error; inf where it can't be told from so few patients.
      infected: slices of class 1.
      uninfected: slices of class 0.
    """

    value: float
    error: float
    infected: int
    uninfected: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval, within 0 and 1."""
        if math.isnan(self.value):
            return math.nan, math.nan
        return max(0.0, self.value - _NORMAL_95 * self.error), min(1.0, self.value + _NORMAL_95 * self.error)


def clustered_auc(scores: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n"]) -> Auc:
    """The chance that an infected slice scores above an uninfected one, ties counting one half.

    With one slice a group the error is DeLong's.

    Args:
      scores: (N,), finite.
      labels: (N,) 0 or 1.
      groups: (N,) integers from 0; slices of one patient have the same.

    Returns:
      The area and its error.

    Source: Obuchowski, Nonparametric analysis of clustered ROC curve data, Biometrics 53 (1997).
    """
    infected = labels == 1
    m, k = int(infected.sum()), int((~infected).sum())
    if not m or not k:
        return Auc(math.nan, math.inf, m, k)
    ranks = scipy.stats.rankdata(scores)
    above = (ranks[infected] - scipy.stats.rankdata(scores[infected])) / k  # of each infected: uninfected below it
    below = 1 - (ranks[~infected] - scipy.stats.rankdata(scores[~infected])) / m
    value = float(above.mean())
    count = int(groups.max()) + 1
    first = np.bincount(groups[infected], above - value, minlength=count)
    second = np.bincount(groups[~infected], below - value, minlength=count)
    with_first, with_second = len(np.unique(groups[infected])), len(np.unique(groups[~infected]))
    if min(with_first, with_second) < FEWEST_PATIENTS:
        return Auc(value, math.inf, m, k)
    every = len(np.unique(groups))
    variance = (
        with_first / (with_first - 1) * (first**2).sum() / m**2
        + with_second / (with_second - 1) * (second**2).sum() / k**2
        + 2 * every / (every - 1) * (first * second).sum() / (m * k)
    )
    return Auc(value, math.sqrt(max(0.0, float(variance))), m, k)


def cross_fitted_auc(
    categories: Sequence[Hashable], labels: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n"]
) -> Auc:
    """How well a category tells the classes apart, measured on patients that it was not learned from.

    Patients are halved; the share of infected slices that a category has in one half is the score in the other,
    and the area is taken within that half. It is the mean over both halves and ten divisions. A category that
    tells nothing gets 0.5, however many there are; one that is seen in a half only scores as the other's average.

    Args:
      categories: (N,) of any kind.
      labels: (N,) 0 or 1.
      groups: (N,) integers from 0; slices of one patient have the same.

    Returns:
      The mean area, and the error of one division.
    """
    number = {category: index for index, category in enumerate(dict.fromkeys(categories))}
    columns = np.array([number[category] for category in categories], np.int64)
    m, k = int((labels == 1).sum()), int((labels == 0).sum())
    found = []
    for division in range(_DIVISIONS):
        second_half = _half(labels, groups, np.random.default_rng(division))
        halves = [_score_half(columns, labels, groups, tested, len(number)) for tested in (second_half, ~second_half)]
        weights = np.array([half.infected * half.uninfected for half in halves], np.float64)
        if not weights.all():
            continue
        weights /= weights.sum()
        value = sum(weight * half.value for weight, half in zip(weights, halves, strict=True))
        error = math.sqrt(sum((weight * half.error) ** 2 for weight, half in zip(weights, halves, strict=True)))
        found.append((value, error))
    if not found:
        return Auc(math.nan, math.inf, m, k)
    values, errors = np.array(found).T
    return Auc(float(values.mean()), float(errors.mean()), m, k)


def _half(labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) bool: whether a slice's patient is in the second half; every class of patients is halved."""
    count = int(groups.max()) + 1
    share = np.bincount(groups, labels, minlength=count) / np.maximum(1, np.bincount(groups, minlength=count))
    order = np.lexsort((rng.random(count), share > 0.5))
    second = np.zeros(count, bool)
    second[order[1::2]] = True
    return second[groups]


def _score_half(columns: np.ndarray, labels: np.ndarray, groups: np.ndarray, tested: np.ndarray, count: int) -> Auc:
    """The area in one half by the shares of the other."""
    learned = ~tested
    if not learned.any() or not tested.any():
        return Auc(math.nan, math.inf, 0, 0)
    slices = np.bincount(columns[learned], minlength=count)
    infected = np.bincount(columns[learned], labels[learned], minlength=count)
    share = np.where(slices > 0, infected / np.maximum(1, slices), labels[learned].mean())
    return clustered_auc(share[columns[tested]], labels[tested], groups[tested])
