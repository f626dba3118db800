"""Which checkpoints of a run are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


class NewestAndBest:
    """Keeps the newest checkpoints and the one with the highest score, the last of equal ones: a policy for Orbax.

    Args:
      newest: how many.

    Attributes:
      scores: of the steps that were validated, among those that are there.
    """

    def __init__(self, newest: int):
        self._newest = newest
        self.scores: dict[int, float] = {}

    def note(self, step: int, score: float | None) -> None:
        """Remembers the score of a step; None, or not a number, is none."""
        if score is not None and not math.isnan(score):
            self.scores[step] = score

    def best(self) -> int | None:
        """The step with the highest score; None if none has one."""
        return max(self.scores, key=lambda step: (self.scores[step], step), default=None)

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Orbax asks this of all steps that are there, oldest first."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        kept = {*steps[-self._newest :], self.best()}
        self.scores = {step: score for step, score in self.scores.items() if step in kept}
        return [step in kept for step in steps]
