"""The cases of an evaluation as columns, and numbers of them with their interval."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from jcs_jax.evaluation.clusters import Clusters
from jcs_jax.evaluation.intervals import Statistic, mean_with_interval, with_interval
from jcs_jax.evaluation.results import Case
from jcs_jax.metrics import Measurement

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
        found = mean_with_interval(self.values(name), self.clusters, bounds=bounds)
        return dataclasses.replace(found, n_absent=int(self.measured(name).sum()) - found.n)

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
        self, measured: Measurement, statistic: Statistic, *relevant: Bool[np.ndarray, " n"]
    ) -> Measurement:
        """A share of the slices as they are with its interval; see `intervals.with_interval`."""
        return with_interval(measured, statistic, self.clusters, *relevant, bounds=SHARE)
