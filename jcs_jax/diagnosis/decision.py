"""The answer for the patient: the release's count of slices, and a rule that slice thickness doesn't change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from jcs_jax.diagnosis.result.decision import CANT_TELL, INFECTED, RELEASE_SLICES, UNINFECTED, Answer, Decision
from jcs_jax.models.operating_point import FamiliarFeatures, PatientRule

LEAST_LUNG = 40.0  # mm of height; the lungs of adults have about 250
LEAST_SLICES = 3
UNFAMILIAR = "the study is unlike the data that the network knows (distance {distance:.1f}, limit {limit:.1f})"
DEFAULT_RULE = "the patient's threshold and temperature are defaults: no data was at hand to choose them on"
FAMILIARITY_UNKNOWN = "whether the study is like the data that the network knows was not checked: its weights don't say"


def suspicion(log_odds: Float[np.ndarray, " s"], extents: Float[np.ndarray, " s"], share: float) -> float:
    """Mean log-odds over the most suspicious part of a stack of slices.

    Args:
      log_odds: (S,) of infection against no infection.
      extents: (S,) height that each slice stands for; in any unit, positive.
      share: of the whole height that counts, above 0, at most 1; a slice may count in part.

    Returns:
      Log-odds. A slice cut into thinner ones with the same log-odds changes nothing.
    """
    order = np.argsort(-log_odds, kind="stable")
    weights = extents[order]
    reached = np.cumsum(weights)
    wanted = share * reached[-1]
    counted = np.clip(wanted - (reached - weights), 0, weights)
    return float(np.sum(log_odds[order] * counted) / np.sum(counted))


def patient_probability(score: float, rule: PatientRule) -> float:
    """The calibrated probability of `suspicion`'s log-odds."""
    return float(1 / (1 + np.exp(-np.clip(score / rule.temperature, -500, 500))))


def familiarity(
    distances: Float[np.ndarray, " s"] | None, familiar: FamiliarFeatures | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Whether a study is like the data that the network knows, by the median of its slices.

    Args:
      distances: (S,) of slices with lung, by `FamiliarFeatures.distance`; None where `familiar` is.
      familiar: stored with the weights.

    Returns:
      Notes, and of those what is a reason for `can't tell`.
    """
    if familiar is None or distances is None:
        return (FAMILIARITY_UNKNOWN,), ()
    if not len(distances) or (distance := float(np.median(distances))) <= familiar.limit:
        return (), ()
    doubt = UNFAMILIAR.format(distance=distance, limit=familiar.limit)
    return (doubt,), (doubt,)


def decide(
    log_odds: Float[np.ndarray, " s"],
    positive: Bool[np.ndarray, " s"],
    rule: PatientRule,
    *,
    extents: Float[np.ndarray, " s"],
    lung_bearing: Bool[np.ndarray, " s"],
    millimetres: bool,
    doubts: Sequence[str] = (),
) -> Decision:
    """Decides on a patient.

    Args:
      log_odds: (S,) of every slice.
      positive: (S,) whether it reaches the class threshold.
      rule: stored with the weights.
      extents: (S,) height that each slice stands for.
      lung_bearing: (S,) whether there is lung on it; only those count for our rule.
      millimetres: whether extents are in millimetres, rather than a count.
      doubts: reasons found elsewhere why it can't be told.

    Returns:
      The decision; `can't tell` where there is too little lung, a doubt, or a probability too near the threshold.
    """
    reasons = list(doubts)
    count, height = int(lung_bearing.sum()), float(extents[lung_bearing].sum())
    if count < LEAST_SLICES or (millimetres and height < LEAST_LUNG):
        covered = f" over {height:.0f} mm" if millimetres else ""
        least = f"{LEAST_SLICES} slices over {LEAST_LUNG:.0f} mm" if millimetres else f"{LEAST_SLICES} slices"
        reasons.append(f"only {count} slices with lung{covered}; a decision needs at least {least}")
    probability = None
    if count:
        score = suspicion(log_odds[lung_bearing], extents[lung_bearing], rule.share)
        probability = patient_probability(score, rule)
        if abs(probability - rule.threshold) < rule.indecision:
            reasons.append(
                f"the probability of {probability:.2f} lies within {rule.indecision:.2f} of the threshold "
                f"{rule.threshold:.2f}"
            )
    answer: Answer = CANT_TELL
    if probability is not None and not reasons:
        answer = INFECTED if probability >= rule.threshold else UNINFECTED
    positive_slices = int(positive.sum())
    return Decision(
        answer,
        probability,
        rule.threshold,
        f"mean log-odds over the most suspicious {rule.share:.0%} of the {'height' if millimetres else 'number'} of "
        f"slices with lung, divided by a temperature of {rule.temperature:.2f}",
        rule.chosen_on,
        tuple(reasons),
        positive_slices,
        INFECTED if positive_slices > RELEASE_SLICES else UNINFECTED,
    )
