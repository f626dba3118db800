"""Chooses the numbers of a patient's rule, and what counts as familiar, on patients whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import scipy.optimize
from jaxtyping import Bool, Float, Int

from jcs_jax.diagnosis.decision import patient_probability
from jcs_jax.errors import InputError
from jcs_jax.models.operating_point import FamiliarFeatures, PatientRule

LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.05, 20.0
LEAST_DEVIATION = 0.1  # of a feature, as a share of the median one
FAMILIAR_SHARE = 0.99  # of the known patients' slices lie within the limit
SEPARABLE = (
    "the sign of the log-odds tells all patients apart, so the likeliest temperature is 0; the one taken, "
    "{temperature:.3g}, allows for one more patient of each kind told right and one told wrong"
)
AT_BOUND = (
    "the temperature ran into its bound of {temperature:g}: the log-odds are biased towards one answer or say little, "
    "so don't read the probability as a chance"
)


def probabilities(scores: Float[np.ndarray, " p"], temperature: float) -> Float[np.ndarray, " p"]:
    """(P,) calibrated probabilities of (P,) patients' log-odds, as a decision computes them."""
    rule = PatientRule(temperature=temperature)
    return np.array([patient_probability(float(score), rule) for score in scores])


def fit_rule(
    scores: Float[np.ndarray, " p"],
    infected: Bool[np.ndarray, " p"],
    *,
    share: float,
    indecision: float,
    chosen_on: str,
) -> PatientRule:
    """Chooses temperature and threshold.

    Args:
      scores: (P,) log-odds of patients, `suspicion` at that share.
      infected: (P,) the truth.
      share: goes into the rule.
      indecision: goes into the rule.
      chosen_on: goes into the rule.

    Raises:
      InputError: as `fit_threshold`.
    """
    temperature = fit_temperature(scores, infected)
    threshold = fit_threshold(probabilities(scores, temperature), infected)
    return PatientRule(share, temperature, threshold, indecision, chosen_on)


def fit_temperature(scores: Float[np.ndarray, " p"], infected: Bool[np.ndarray, " p"]) -> float:
    """The temperature that makes the truth most likely: least mean of log(1 + exp(-margin / temperature)).

    The margin is the score of an infected patient and its negative otherwise. If no margin is negative, the smallest
    temperature always wins, and probabilities of 0 and 1 would leave no room to say that it can't be told. Then n
    patients of a kind count as told right by (n + 1) / (n + 2), so the fewer they are, the less sure it gets.

    Args:
      scores: (P,) log-odds.
      infected: (P,) the truth.

    Returns:
      `LEAST_TEMPERATURE` to `MOST_TEMPERATURE`.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, for two classes; the shares of patients
    told apart without error are those of Platt, Probabilistic Outputs for Support Vector Machines, 1999.
    """
    margins = np.where(infected, scores, -np.asarray(scores, np.float64))
    right = np.ones(len(margins))
    if _separable(scores, infected):
        alike = np.where(infected, np.sum(infected), np.sum(~infected))
        right = (alike + 1) / (alike + 2)

    def loss(temperature: float) -> float:
        wrong_loss, right_loss = np.logaddexp(0, margins / temperature), np.logaddexp(0, -margins / temperature)
        return float(np.mean(right * right_loss + (1 - right) * wrong_loss))

    bounds = (math.log(LEAST_TEMPERATURE), math.log(MOST_TEMPERATURE))
    found = scipy.optimize.minimize_scalar(
        lambda power: loss(math.exp(power)), bounds=bounds, method="bounded", options={"xatol": 1e-9}
    )
    return min((LEAST_TEMPERATURE, MOST_TEMPERATURE, math.exp(found.x)), key=loss)


def temperature_notes(
    temperature: float, scores: Float[np.ndarray, " p"], infected: Bool[np.ndarray, " p"]
) -> tuple[str, ...]:
    """What a reader must know of a temperature that `fit_temperature` gave for these patients."""
    if _separable(scores, infected):
        return (SEPARABLE.format(temperature=temperature),)
    at_bound = temperature in (LEAST_TEMPERATURE, MOST_TEMPERATURE)
    return (AT_BOUND.format(temperature=temperature),) if at_bound else ()


def _separable(scores: Float[np.ndarray, " p"], infected: Bool[np.ndarray, " p"]) -> bool:
    return bool((np.where(infected, scores, -np.asarray(scores)) >= 0).all())


def fit_threshold(probability: Float[np.ndarray, " p"], infected: Bool[np.ndarray, " p"]) -> float:
    """The threshold of highest sensitivity + specificity - 1.

    Every threshold between two neighbouring patients gives the same answers. Of the intervals that are best the widest
    is taken (of equal ones the lowest), and its middle, so that small changes of a probability change no answer.

    Args:
      probability: (P,) of patients; infected is who reaches the threshold.
      infected: (P,) the truth, of both kinds.

    Returns:
      The threshold, above the lowest probability and at most the highest.

    Raises:
      InputError: no threshold does better than chance.

    Source: Youden, Index for rating diagnostic tests, Cancer 1950.
    """
    values = np.unique(probability)
    low, high = values[:-1], values[1:]
    called = probability[np.newaxis] >= high[:, np.newaxis]
    hits, alarms = (called & infected).sum(axis=1), (called & ~infected).sum(axis=1)
    index = hits * int((~infected).sum()) - alarms * int(infected.sum())  # Youden's, times both numbers: exact ties
    if not index.size or index.max() <= 0:
        raise InputError(
            "the network tells infected patients from the others no better than chance, so there is no threshold to "
            "choose; train it longer or take another"
        )
    widest = int(np.argmax(np.where(index == index.max(), high - low, -1)))
    middle = float((low[widest] + high[widest]) / 2)
    return middle if middle > low[widest] else float(high[widest])


def fit_familiar(features: Float[np.ndarray, "n c"], patients: Int[np.ndarray, " n"]) -> FamiliarFeatures:
    """What features are like on known patients, and how far from that a new patient's may be.

    A diagnosis compares the limit with the median distance of a patient's slices. Slices of one patient resemble each
    other, so distances from a mean that was computed with them are too small: on few patients, a limit made of those
    rejects many others of the same kind. Here every patient's distances are from mean and deviation of the others.
    The limit is what 99 of 100 slices keep, each patient weighing the same. A median above it takes half of a
    patient's slices above it, so of the known patients at most 2 of 100 have one, and none of fewer than 50.

    Args:
      features: (N, C) pooled, of slices.
      patients: (N,) number of each slice's patient; at least two different ones.

    Returns:
      Mean and deviation over all slices, the deviation at least a tenth of the median of those above 0, so that a
      feature that hardly moves doesn't drown the others; and the limit.

    Raises:
      InputError: no feature changes from slice to slice.
    """
    features = np.asarray(features, np.float64)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    moving = deviation[deviation > 0]
    if not moving.size:
        raise InputError("the network's features are the same on every slice; train it longer or take another")
    least = LEAST_DEVIATION * float(np.median(moving))
    distances, weights = np.empty(len(features)), np.empty(len(features))
    squares = np.sum((features - mean) ** 2, axis=0)
    for patient in np.unique(patients):
        own = np.flatnonzero(patients == patient)
        offsets, others = features[own] - mean, len(features) - len(own)
        shift = -offsets.sum(axis=0) / others  # of the others' mean
        variance = (squares - np.sum(offsets**2, axis=0)) / others - shift**2
        apart = np.maximum(np.sqrt(np.maximum(variance, 0)), least)
        distances[own] = FamiliarFeatures(tuple(mean + shift), tuple(apart), math.inf).distance(features[own])
        weights[own] = 1 / len(own)
    limit = np.quantile(distances, FAMILIAR_SHARE, weights=weights, method="inverted_cdf")
    return FamiliarFeatures(tuple(mean.tolist()), tuple(np.maximum(deviation, least).tolist()), float(limit))
