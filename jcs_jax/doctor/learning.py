"""Can the network learn a few slices by heart, and if not, what is in its way?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from jcs_jax.doctor.attempts import FITTED_DICE, Attempt
from jcs_jax.doctor.findings import Finding
from jcs_jax.doctor.trial import Trial
from jcs_jax.models.presets import Preset
from jcs_jax.training.state import NEVER

_CHECK = "learns a batch"
_LARGE_RATIO, _SMALL_RATIO = 0.02, 1e-4  # of update and parameters; about 1e-3 is usual
_HARDLY = 0.1  # share of the first loss that counts as having learned, whatever the answers are


def check_learning(
    trial: Trial,
    first: Attempt,
    steps: int,
    *,
    learning_rate: float,
    preset: Preset,
    doubts: Sequence[str],
) -> Finding:
    """Judges training on one batch and, where it has failed, tries two other learning rates.

    Args:
      trial: the network and the slices.
      first: how training with the config's learning rate went.
      steps: of each further attempt, at most.
      learning_rate: the config's.
      preset: of the network, for its norm and threshold.
      doubts: what other checks have found that could be the cause.

    Returns:
      `ok` if the slices are learned by heart; a warning if that only takes a higher rate; an error otherwise.
    """
    told = describe(first, preset.mask_threshold)
    tried = [_numbers(first, learning_rate)]
    numbers = {"learning_rate": learning_rate, "attempts": tried}
    if first.fitted:
        return Finding(_CHECK, "ok", told, numbers=numbers)
    factors = _other_rates(first)
    for factor in factors:
        attempt = trial.train(steps, rate=factor)
        tried.append(_numbers(attempt, learning_rate))
        if attempt.fitted:
            return _another_rate(told, attempt, learning_rate, numbers)
    rates = " or ".join(f"{factor * learning_rate:.2g}" for factor in factors)
    found = f"{told}; not with a learning rate of {rates} either"
    return Finding(_CHECK, "error", found, _cure(first, preset, doubts), numbers)


def _other_rates(first: Attempt) -> tuple[float, float]:
    """Factors of the learning rate to try, the likeliest first."""
    if first.failed_step != NEVER or first.ratio > _LARGE_RATIO:
        return 0.1, 0.01
    return (10.0, 100.0) if first.ratio < _SMALL_RATIO else (10.0, 0.1)


def describe(attempt: Attempt, mask_threshold: float) -> str:
    """What an attempt has led to, in a sentence."""
    if attempt.failed_step != NEVER:
        return f"the loss or its gradient is no longer finite at step {attempt.failed_step}"
    answer = attempt.after
    told = [f"loss {attempt.losses[0]:.3g} to {attempt.losses[-1]:.3g} in {len(attempt.losses)} steps"]
    if not math.isnan(answer.dice):
        told.append(f"Dice {answer.dice:.2f}")
    if answer.right is not None:
        told.append(f"{answer.right[0]} of {answer.right[1]} slices classified right")
    if answer.highest < mask_threshold:
        told.append(f"the mask is all black (highest probability {answer.highest:.2f}, threshold {mask_threshold:g})")
    told.append(f"gradient norm {attempt.gradient_norm:.2g}, update to weight {attempt.ratio:.1e}")
    return "; ".join(told)


def _another_rate(told: str, attempt: Attempt, learning_rate: float, numbers: dict) -> Finding:
    better = f"{attempt.rate * learning_rate:.3g}"
    found = f"{told}; with a learning rate of {better} it is fitted in {len(attempt.losses)} steps"
    if attempt.rate < 1:
        cure = f"the rate is too high: set config.optimizer.learning_rate={better} or less"
        return Finding(_CHECK, "error", found, cure, numbers)
    cure = f"the rate is low: set config.optimizer.learning_rate={better}, or train long"
    return Finding(_CHECK, "warning", found, cure, numbers)


def _cure(attempt: Attempt, preset: Preset, doubts: Sequence[str]) -> str:
    if doubts:
        return f"cure first: {', '.join(doubts)}"
    if attempt.fell_to < _HARDLY and preset.options.get("norm") == "batch":
        return "the training loss is small: batch norm's statistics lag or are frozen; take more --steps or norm=group"
    if attempt.still_falling:
        return f"it does learn: give more --steps; a Dice above {FITTED_DICE} and every class right are expected then"
    return "look at the first batch with its masks and labels; then at frozen parts, norm and loss weights"


def _numbers(attempt: Attempt, learning_rate: float) -> dict:
    answer = attempt.after
    return {
        "learning_rate": attempt.rate * learning_rate,
        "steps": len(attempt.losses),
        "first_loss": attempt.losses[0],
        "last_loss": attempt.losses[-1],
        "dice": answer.dice,
        "highest_probability": answer.highest,
        "classified_right": None if answer.right is None else answer.right[0],
        "gradient_norm": attempt.gradient_norm,
        "update_to_weight": attempt.ratio,
        "failed_step": attempt.failed_step,
        "fitted": attempt.fitted,
    }
