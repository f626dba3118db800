"""What is said of the patient, as plain values."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from jcs_jax.diagnosis.result.rounding import rounded

Answer = Literal["infected", "not infected", "can't tell"]
INFECTED: Answer = "infected"
UNINFECTED: Answer = "not infected"
CANT_TELL: Answer = "can't tell"
RELEASE_SLICES = 18  # Source: JCS paper, joint diagnosis: more positive slices than these


@dataclasses.dataclass(frozen=True)
class Decision:
    """The patient-level answer, and what it was made from.

    Attributes:
      answer: the decision.
      probability: calibrated, of infection, 0 to 1; None where none could be computed.
      threshold: probability from which a patient counts as infected.
      rule: how the probability comes about, in a sentence.
      chosen_on: the data that threshold and temperature were chosen on; empty if they are defaults.
      reasons: why it can't be told; else empty.
      release_positive_slices: slices that reach the class threshold.
      release_answer: by the release's rule, more than 18 of such slices.
    """

    answer: Answer
    probability: float | None
    threshold: float
    rule: str
    chosen_on: str
    reasons: tuple[str, ...]
    release_positive_slices: int
    release_answer: Answer

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded."""
        return {
            "answer": self.answer,
            "probability": rounded(self.probability),
            "threshold": rounded(self.threshold),
            "rule": self.rule,
            "chosen_on": self.chosen_on or None,
            "reasons": list(self.reasons),
            "release_rule": {
                "answer": self.release_answer,
                "positive_slices": self.release_positive_slices,
                "more_than": RELEASE_SLICES,
            },
        }
