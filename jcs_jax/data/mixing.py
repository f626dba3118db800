"""Image mixing: a training example becomes a convex combination of two.

The paper names image mixing for its classification branch but neither paper nor release gives its form; what
follows is this project's choice, after Zhang et al., mixup: Beyond Empirical Risk Minimization (ICLR 2018).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from jcs_jax.data.inputs import Batch
from jcs_jax.errors import InputError

LABEL_RULES = ("soft", "dominant")
_ARRAYS = ("image", "vgg_features", "res2net_features")


@dataclasses.dataclass(frozen=True)
class Mixing:
    """How two examples are mixed.

    Attributes:
      alpha: of Beta(alpha, alpha), from which the first example's weight is drawn; 0 mixes nothing. Small
        values leave most examples nearly unmixed, 1 draws every weight alike.
      label_rule: `soft`, label and mask are mixed with the same weight as the pictures; `dominant`, they are
        those of the example with the larger weight.
    """

    alpha: float = 0.0
    label_rule: str = "soft"

    def __post_init__(self) -> None:
        """Refuses what cannot be mixed by.

        Raises:
          InputError: a negative alpha, or a rule that isn't there.
        """
        if not 0 <= self.alpha < float("inf"):
            raise InputError(f"config.data.mixing.alpha is {self.alpha}; it must be 0 (no mixing) or positive")
        if self.label_rule not in LABEL_RULES:
            raise InputError(f"config.data.mixing.label_rule is {self.label_rule!r}; it is soft or dominant")

    def draw(self, rng: np.random.Generator) -> float:
        """The weight of the first of two examples, in [0, 1]."""
        return float(rng.beta(self.alpha, self.alpha))

    def combine(self, first: Batch, second: Batch, weight: float) -> Batch:
        """Mixes two examples of the same keys and shapes.

        Args:
          first: arrays as of `network_example`.
          second: likewise.
          weight: of `first`, in [0, 1]; `second` has the rest.

        Returns:
          The mixed example. Under `soft`, label and mask are valid only where both are; stored features, which
          are quantised, are rounded to the nearest step.
        """
        pictures = {key: _blend(first[key], second[key], weight) for key in _ARRAYS if key in first}
        if self.label_rule == "dominant":
            return {**(first if weight >= 0.5 else second), **pictures}
        known = {key: first[key] * second[key] for key in ("valid", "mask_valid", "label_valid")}
        told = {key: _blend(first[key], second[key], weight) for key in ("label", "mask")}
        return {**pictures, **told, **known}


def _blend(first: np.ndarray, second: np.ndarray, weight: float) -> np.ndarray:
    mixed = np.float32(weight) * first + np.float32(1 - weight) * second
    return (np.rint(mixed) if first.dtype == np.uint8 else mixed).astype(first.dtype)
