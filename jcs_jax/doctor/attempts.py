"""How a network did on the few slices that it was to learn by heart."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from jcs_jax.training.state import NEVER

FITTED_DICE, FITTED_LOSS = 0.7, 0.5
_FALLING = 0.97


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a network says of the slices. What the run does not train it to say is left out.

    Attributes:
      dice: mean over the slices with a lesion; nan without any.
      highest: probability of opacity over all pixels; nan without segmentation.
      mean: of that probability.
      right: slices that are classified as labelled, and how many have a label; None without classification.
      finite: whether all probabilities are numbers.
    """

    dice: float
    highest: float
    mean: float
    right: tuple[int, int] | None
    finite: bool

    @property
    def fits(self) -> bool:
        """Whether the masks are found and every slice is classified as labelled."""
        masks = math.isnan(self.dice) or self.dice > FITTED_DICE
        return self.finite and masks and (self.right is None or self.right[0] == self.right[1])


@dataclasses.dataclass(frozen=True)
class Attempt:
    """How training on the slices went.

    Attributes:
      rate: factor of the config's learning rate.
      losses: before each step that was taken, without the activation map's, which a few steps on a coarse map hardly
        move.
      parts: of the loss before the first step, by name.
      gradient_norm: median over the steps, of the whole gradient.
      gradients: norm of the first gradient of each part of the network.
      ratio: of update and parameters, median over the first ten steps.
      failed_step: whose loss or gradient was not finite; -1 if there was none.
      before: the answer before the first step.
      after: the answer after the last step.
    """

    rate: float
    losses: Sequence[float]
    parts: Mapping[str, float]
    gradient_norm: float
    gradients: Mapping[str, float]
    ratio: float
    failed_step: int
    before: Answer
    after: Answer

    @property
    def fell_to(self) -> float:
        """Share of the first loss that the last one is; infinite after a failure."""
        if self.failed_step != NEVER or not self.losses[0] > 0:
            return math.inf
        return self.losses[-1] / self.losses[0]

    @property
    def still_falling(self) -> bool:
        """Whether the loss has fallen in the second half of the steps as well."""
        return self.failed_step == NEVER and self.losses[-1] < _FALLING * self.losses[len(self.losses) // 2]

    @property
    def fitted(self) -> bool:
        """Whether the slices are learned: all is right, and the loss less than a half, or right from the start."""
        return self.after.fits and (self.fell_to < FITTED_LOSS or (self.before.fits and self.fell_to <= 1))
