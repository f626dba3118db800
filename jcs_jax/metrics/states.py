"""A measured number with its n, and the mean as a mergeable state."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A number and the cases it rests on.

    Attributes:
      value: the number; nan where it is not defined.
      n: cases that entered it.
      n_absent: cases left out because the number isn't defined for them (see the package's docstring).
      low: lower end of the 95 % interval; nan where nobody computed one or it is not defined.
      high: upper end of it. Two measurements are equal if value and counts are.
    """

    value: float
    n: int
    n_absent: int = 0
    low: float = dataclasses.field(default=math.nan, compare=False)
    high: float = dataclasses.field(default=math.nan, compare=False)

    def to_json(self) -> dict[str, float | int | list[float] | None]:
        """Plain values for strict JSON: nan becomes None, and the interval two numbers or None."""
        value, ends = float(self.value), [float(self.low), float(self.high)]
        return {
            "value": value if math.isfinite(value) else None,
            "interval": ends if all(map(math.isfinite, ends)) else None,
            "n": int(self.n),
            "n_absent": int(self.n_absent),
        }


@dataclasses.dataclass(frozen=True)
class Mean:
    """The mean of per-example values, nan left out and counted.

    Attributes:
      total: sum of the defined values.
      n: number of defined values.
      n_absent: number of nan values.
    """

    total: float = 0.0
    n: int = 0
    n_absent: int = 0

    @classmethod
    def from_values(cls, values: Float[np.ndarray, " n"]) -> Mean:
        """From (N,) values; nan means not defined for that example.

        Raises:
          ValueError: if a value is infinite.
        """
        values = np.asarray(values, np.float64).ravel()
        if np.isinf(values).any():
            raise ValueError("the mean of infinite values is asked for; check what they were computed from")
        defined = values[~np.isnan(values)]
        return cls(math.fsum(defined), defined.size, values.size - defined.size)

    def merge(self, other: Mean) -> Mean:
        """Both sets of examples together."""
        return Mean(self.total + other.total, self.n + other.n, self.n_absent + other.n_absent)

    def compute(self) -> Measurement:
        """The mean; nan if no example has a value."""
        return Measurement(self.total / self.n if self.n else math.nan, self.n, self.n_absent)
