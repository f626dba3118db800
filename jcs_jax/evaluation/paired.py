"""Two models on the same slices: the difference, its interval and a permutation test.

The interval draws patients, both models on the same ones. The test swaps the two models' outputs patient by patient:
if it made no difference which model an output comes from, no swap would matter. The two can disagree near the 5 %
level: the interval is about how large the difference is, the test about whether there is any.

Outputs of two models are exchangeable only on one scale: `paired_statistics.py` sees to that.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float

from jcs_jax.evaluation.clusters import Clusters, in_chunks
from jcs_jax.evaluation.intervals import ROUNDING, bootstrap_interval


class PairedStatistic(Protocol):
    """A number of a mix of two models' outputs."""

    def __call__(self, weights: Float[np.ndarray, "#r n"], choice: Bool[np.ndarray, "#r n"]) -> Float[np.ndarray, " r"]:
        """Computes R numbers.

        Args:
          weights: (R, N) or (1, N), how often each slice counts.
          choice: (R, N) or (1, N), False where the first model's output is taken, True for the second's.

        Returns:
          (R,) numbers, nan where not defined.
        """


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """The second model's number less the first's.

    Attributes:
      value: the difference; nan where it is not defined.
      low: lower end of the 95 % interval; nan where it is not defined.
      high: upper end of it.
      p_value: two-sided, of the permutation test; nan where it is not defined.
      n: slices that entered it.
    """

    value: float
    low: float
    high: float
    p_value: float
    n: int


def paired_difference(
    statistic: PairedStatistic,
    clusters: Clusters,
    *,
    n: int | None = None,
    support: int | None = None,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    resamples: int = 2000,
    permutations: int = 2000,
    seed: int = 0,
) -> PairedDifference:
    """Compares two models on the same slices.

    Args:
      statistic: of a mix of their outputs; outputs must be exchangeable, see the head of this module.
      clusters: the patients of the N slices.
      n: slices that enter the number; all of them if not given.
      support: patients that it rests on, see `bootstrap_interval`.
      bounds: what the difference can't leave, (-1, 1) for shares.
      resamples: of the interval.
      permutations: of the test.
      seed: of both draws.

    Returns:
      The second model's number less the first's, with the interval of `bootstrap_interval` and
      p = (1 + swaps with a difference at least as large) / (1 + swaps), two-sided; swaps without a defined
      difference are left out.
    """
    slices = len(clusters.index)
    n = slices if n is None else n
    if not slices:
        return PairedDifference(math.nan, math.nan, math.nan, math.nan, n)
    second = np.ones((1, slices), bool)

    def difference(weights: np.ndarray) -> np.ndarray:
        return statistic(weights, second) - statistic(weights, ~second)

    value = float(difference(np.ones((1, slices)))[0])
    low, high = bootstrap_interval(
        difference, clusters, value=value, bounds=bounds, support=support, resamples=resamples, seed=seed
    )
    return PairedDifference(value, low, high, _swap_test(statistic, clusters, value, permutations, seed), n)


def _swap_test(statistic: PairedStatistic, clusters: Clusters, value: float, permutations: int, seed: int) -> float:
    if not math.isfinite(value):
        return math.nan
    rng = np.random.default_rng(seed)
    once = np.ones((1, len(clusters.index)))
    swapped = []
    for rows in in_chunks(permutations, len(clusters.index)):
        choice = clusters.spread(rng.integers(2, size=(rows, clusters.count)).astype(bool))
        swapped.append(np.abs(statistic(once, choice) - statistic(once, ~choice)))
    sizes = np.concatenate(swapped)
    sizes = sizes[np.isfinite(sizes)]
    if not sizes.size:
        return math.nan
    # Swaps that rebuild the models exactly may differ from them in the last digit.
    at_least = sizes >= abs(value) - ROUNDING * max(abs(value), float(sizes.max()))
    return (1 + int(at_least.sum())) / (1 + sizes.size)
