"""The network before training: where its weights come from, what it answers, and which parts its gradient reaches."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from jcs_jax.doctor.attempts import Answer, Attempt
from jcs_jax.doctor.findings import Finding
from jcs_jax.models.presets import Preset

_SATURATED = 0.01  # mean probability below which (or above 1 minus which) an untrained network is stuck
_EXPLODING = 1e3


def check_weights(
    preset: Preset, parts: Collection[str], random_parts: Collection[str], frozen: Collection[str], *, given: bool
) -> Finding:
    """Tells which parts start from trained weights.

    Args:
      preset: of the network.
      parts: of the network.
      random_parts: those that start at random.
      frozen: those that don't learn.
      given: whether the config names weights to start from.
    """
    check = "initial weights"
    loaded = sorted(set(parts) - set(random_parts))
    numbers = {"loaded": loaded, "random": sorted(random_parts), "frozen": sorted(frozen)}
    told = f"loaded: {', '.join(loaded) or 'nothing'}; random: {', '.join(sorted(random_parts)) or 'nothing'}"
    stuck = sorted(set(random_parts) & set(frozen))
    if given and not loaded:
        cure = "name a model folder of this architecture in config.init_from"
        return Finding(check, "error", f"{told}: none of the given weights arrived", cure, numbers)
    if stuck:
        cure = "load them with config.init_from, or take them out of config.optimizer.learning_rate_factors"
        return Finding(check, "warning", f"{', '.join(stuck)} will stay random: no weights, and frozen", cure, numbers)
    if preset.options.get("norm") == "frozen" and random_parts:
        cure = (
            "convert trained weights and name them in config.init_from, or set config.model.options={'norm': 'group'}"
        )
        found = f"{told}: frozen norms do nothing for random weights, and deep networks without norm hardly learn"
        return Finding(check, "warning", found, cure, numbers)
    return Finding(check, "ok", told, numbers=numbers)


def check_untrained(answer: Answer) -> list[Finding]:
    """Judges what the network says before the first step; nothing where it doesn't segment and all is well."""
    check = "untrained network"
    if not answer.finite:
        cure = "look for NaN in the slices or in the weights of config.init_from"
        return [Finding(check, "error", "its output is NaN or infinite", cure)]
    if math.isnan(answer.mean):
        return []
    numbers = {"mean_probability": answer.mean, "highest_probability": answer.highest}
    found = f"mean probability of opacity {answer.mean:.3f}, highest {answer.highest:.3f}"
    if not _SATURATED < answer.mean < 1 - _SATURATED:
        cure = "check the weights and the scale of the inputs: a saturated output learns slowly"
        return [Finding(check, "warning", f"{found}: saturated", cure, numbers)]
    return [Finding(check, "ok", found, numbers=numbers)]


def check_losses(parts: Mapping[str, float], weights: Mapping[str, float]) -> Finding:
    """Tells which losses the config adds up, and their values before the first step.

    Args:
      parts: value of each loss, by name.
      weights: factor of each, by the same name.
    """
    active = {name: value for name, value in parts.items() if weights.get(name, 1.0)}
    told = ", ".join(f"{name} {value:.3g} x {weights.get(name, 1.0):g}" for name, value in parts.items())
    numbers = {name: {"value": value, "weight": weights.get(name, 1.0)} for name, value in parts.items()}
    zero = [name for name, value in active.items() if value == 0]
    if len(zero) == len(active):
        cure = "give the slices masks or labels that this network learns from, and weights above 0 in config.loss"
        return Finding("losses", "error", f"{told or 'none'}: nothing is learned", cure, numbers)
    if zero:
        cure = "add what is missing, or set that weight to 0 in config.loss"
        return Finding("losses", "warning", f"{told}: {', '.join(zero)} stays 0", cure, numbers)
    return Finding("losses", "ok", told, numbers=numbers)


def check_gradients(attempt: Attempt, frozen: Collection[str]) -> Finding:
    """Judges the first gradient, part by part."""
    check = "gradients"
    whole = math.sqrt(sum(norm**2 for norm in attempt.gradients.values()))
    told = ", ".join(f"{part} {norm:.2g}" for part, norm in attempt.gradients.items() if part not in frozen)
    numbers = {"first": whole, "by_part": dict(attempt.gradients)}
    if attempt.failed_step == 0 or not math.isfinite(whole):
        cure = "look for NaN in the slices and for weights that are no numbers"
        return Finding(check, "error", "the first loss or gradient is NaN or infinite", cure, numbers)
    dead = [part for part, norm in attempt.gradients.items() if norm == 0 and part not in frozen]
    if dead:
        cure = "see whether a loss that it enters is active above; else change config.seed, the norm or the weights"
        return Finding(check, "warning", f"no gradient reaches {', '.join(dead)}", cure, numbers)
    if whole > _EXPLODING:
        cure = "set config.optimizer.clip_norm=1, and check norm and initial weights"
        return Finding(check, "warning", f"norm {whole:.3g} ({told}): exploding", cure, numbers)
    held = f"; frozen: {', '.join(sorted(frozen))}" if frozen else ""
    return Finding(check, "ok", f"norm {whole:.3g} ({told}){held}", numbers=numbers)
