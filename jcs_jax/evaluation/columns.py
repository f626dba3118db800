"""The cases of an evaluation as columns, and numbers of them with their interval."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from jcs_jax.evaluation.clusters import Clusters
from jcs_jax.evaluation.intervals import Statistic, bootstrap_interval
from jcs_jax.evaluation.results import Case
from jcs_jax.metrics import Mean, Measurement, weighted_mean

SHARE = (0.0, 1.0)  # bounds of most numbers
DISTANCE = (0.0, math.inf)


@dataclasses.dataclass(frozen=True)
class Columns:
    """Cases, and what was measured on them, by name.

    Attributes:
      cases: (N,) slices.
      curves: (N, 256) Dice over thresholds; nan where there is no mask or an empty one.
    """

    cases: Sequence[Case]
    curves: Float[np.ndarray, "n 256"]

    @functools.cached_property
    def clusters(self) -> Clusters:
        """The patients of the slices."""
        return Clusters.from_patients([case.patient for case in self.cases])

    @functools.cached_property
    def labels(self) -> Int[np.ndarray, " n"]:
        """0, 1 or -1 (unknown)."""
        return np.array([case.label for case in self.cases], np.int64)

    def measured(self, name: str) -> Bool[np.ndarray, " n"]:
        """On which slices a number was measured, defined or not."""
        return np.array([name in case.values for case in self.cases], bool)

    def values(self, name: str) -> Float[np.ndarray, " n"]:
        """A number of every slice, nan where it isn't defined or wasn't measured."""
        return np.array([case.values.get(name, math.nan) for case in self.cases], np.float64)

    def subset(self, rows: Bool[np.ndarray, " n"]) -> Columns:
        """Some of the slices."""
        return Columns([case for case, kept in zip(self.cases, rows, strict=True) if kept], self.curves[rows])

    def mean(self, name: str, bounds: tuple[float, float] = SHARE) -> Measurement:
        """The mean of a number over the slices where it is defined, with its interval."""
        values = self.values(name)
        measured = Mean.from_values(values[self.measured(name)]).compute()
        return self.with_interval(
            measured, lambda weights: weighted_mean(values, weights), ~np.isnan(values), bounds=bounds
        )

    def ratio(self, part: str, whole: str) -> Measurement:
        """The sum of one number over that of another, such as lesions found over lesions; n is the whole's sum."""
        parts, wholes = np.nan_to_num(self.values(part)), np.nan_to_num(self.values(whole))
        total = wholes.sum()
        measured = Measurement(parts.sum() / total if total else math.nan, int(total))

        def statistic(weights: np.ndarray) -> np.ndarray:
            below = weights @ wholes
            return np.divide(weights @ parts, below, out=np.full(len(weights), math.nan), where=below > 0)

        return self.with_interval(measured, statistic, wholes > 0)

    def with_interval(
        self,
        measured: Measurement,
        statistic: Statistic,
        *relevant: Bool[np.ndarray, " n"],
        bounds: tuple[float, float] = SHARE,
    ) -> Measurement:
        """The same number with its interval.

        Args:
          measured: the number of the slices as they are.
          statistic: the same with weights (R, N).
          *relevant: which slices it rests on; where there are several kinds, the one of fewest patients counts.
          bounds: what the number can't leave.
        """
        support = min(len(np.unique(self.clusters.index[rows])) for rows in relevant)
        ends = bootstrap_interval(statistic, self.clusters, value=measured.value, bounds=bounds, support=support)
        return dataclasses.replace(measured, low=ends[0], high=ends[1])
