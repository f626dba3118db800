"""From answers for slices to one for a patient: numbers chosen on validation data and stored with the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class PatientRule:
    """How slices' log-odds become a patient's probability, and that an answer.

    The patient's log-odds are the mean over the most suspicious `share` of the lung's height, so they don't depend on
    how thick the slices are; divided by `temperature` they are calibrated.

    Attributes:
      share: of the height of the lung-bearing slices, above 0, at most 1.
      temperature: above 0.
      threshold: probability from which a patient counts as infected, 0 to 1.
      indecision: distance of the probability from the threshold, 0 to 1, below which it can't be told.
      chosen_on: the data that temperature and threshold were chosen on; empty for these defaults.
    """

    share: float = 0.2
    temperature: float = 1.0
    threshold: float = 0.5
    indecision: float = 0.05
    chosen_on: str = ""


@dataclasses.dataclass(frozen=True)
class FamiliarFeatures:
    """What the network's pooled features are like on data it knows.

    Attributes:
      mean: of every feature over slices.
      deviation: of every feature, above 0.
      limit: distance that 99 of 100 of those slices keep.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    limit: float

    def distance(self, features: Float[np.ndarray, "n c"]) -> Float[np.ndarray, " n"]:
        """How far slices are from the known ones: root mean square of the standardised features, about 1 for those."""
        standardised = (np.asarray(features, np.float64) - np.array(self.mean)) / np.array(self.deviation)
        return np.sqrt(np.mean(standardised**2, axis=1))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FamiliarFeatures:
        """Rebuilds what `dataclasses.asdict` and JSON made of it."""
        return cls(tuple(values["mean"]), tuple(values["deviation"]), values["limit"])
