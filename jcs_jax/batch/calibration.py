"""From a split of prepared data to a patient's rule: every slice classified, the numbers chosen and measured."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from jcs_jax.batch.calibration_data import Patients
from jcs_jax.data.examples import Source, example_intensity
from jcs_jax.diagnosis.calibration import fit_familiar, fit_rule, probabilities, temperature_notes
from jcs_jax.diagnosis.decision import LEAST_SLICES, suspicion
from jcs_jax.diagnosis.stages import Stages
from jcs_jax.errors import InputError
from jcs_jax.metrics.ranking import BinaryCounts, ScoreRanks
from jcs_jax.models.operating_point import FamiliarFeatures, PatientRule

ENOUGH_PATIENTS = 20
FEW_PATIENTS = f"; fewer than {ENOUGH_PATIENTS}, so uncertain"
OPTIMISTIC = (
    "sensitivity, specificity, Brier score and the undecided share were measured on the patients that the "
    "numbers were chosen on, and so are optimistic"
)
ALL_LUNG = "every slice counts the same and is taken to hold lung: the data tell neither thickness nor position"
FEW_SLICES = f"{{count}} of the patients have fewer than {LEAST_SLICES} slices, too few for a diagnosis"
UNDECIDED = "{count} of {patients} patients lie so near the threshold that they are undecided"

Track = Callable[[Iterable[int]], Iterable[int]]


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What was chosen, and how good it is where it was chosen.

    Attributes:
      rule: for patients.
      familiar: what the data's features are like.
      measured: number by name; Brier score before and after the temperature.
      record: plain values for the provenance of the model: data, counts, `measured`, notes.
    """

    rule: PatientRule
    familiar: FamiliarFeatures
    measured: dict[str, float]
    record: dict[str, Any]


def calibrate(
    stages: Stages,
    source: Source,
    patients: Patients,
    *,
    name: str,
    share: float,
    indecision: float,
    notes: tuple[str, ...] = (),
    track: Track = iter,
) -> Calibration:
    """Chooses a patient's rule and what is familiar.

    Args:
      stages: of a network with a class head.
      source: the slices.
      patients: who they are of.
      name: of the data, NAME/CONFIG:SPLIT.
      share: of the lung's height that counts, above 0, at most 1.
      indecision: distance from the threshold below which it can't be told, 0 to 1.
      notes: what is known of the data already.
      track: passes the numbers of slices on and counts them.

    Raises:
      InputError: an answer that is not finite, or no better than chance; data without pictures.
    """
    log_odds, features = _screen(stages, source, patients.rows, track)
    scores, counts = _scores(log_odds, patients, share)
    infected = patients.infected
    number, sick = len(infected), int(infected.sum())
    chosen_on = f"{name}, {number} patients ({sick} infected){FEW_PATIENTS if number < ENOUGH_PATIENTS else ''}"
    try:
        rule = fit_rule(scores, infected, share=share, indecision=indecision, chosen_on=chosen_on)
        familiar = fit_familiar(features, patients.numbers)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    measured = _measure(scores, infected, rule)
    short = int((counts < LEAST_SLICES).sum())
    undecided = round(measured["undecided"] * number)
    told = (
        *notes,
        *temperature_notes(rule.temperature, scores, infected),
        *([FEW_SLICES.format(count=short)] if short else []),
        *([UNDECIDED.format(count=undecided, patients=number)] if undecided else []),
        ALL_LUNG,
        OPTIMISTIC,
    )
    record = {
        "data": name,
        "version": str(source.info.get("dataset", "")),
        "patients": number,
        "infected": sick,
        "slices": len(patients.rows),
        "patients_without_label": patients.unlabelled,
        "slices_without_patient": patients.nameless,
        **measured,
        "notes": list(told),
    }
    return Calibration(rule, familiar, measured, record)


def _screen(
    stages: Stages, source: Source, rows: Int[np.ndarray, " n"], track: Track
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n c"]]:
    """Log-odds and pooled features of slices, as a diagnosis computes them."""
    preprocessing = stages.preset.preprocessing
    log_odds, features = [], []
    remaining = iter(track(rows.tolist()))
    while batch := list(itertools.islice(remaining, stages.batch_size)):
        examples = [source[row] for row in batch]
        inputs = [preprocessing.network_input(example_intensity(one, preprocessing)) for one in examples]
        try:
            screened = stages.screen(inputs)
        except InputError as error:
            raise InputError(f"{examples[0].name} to {examples[-1].name}: {error}") from error
        log_odds += [np.asarray(one.activation).mean(dtype=np.float64) for one in screened]
        features += [np.asarray(one.features) for one in screened]
    return np.array(log_odds), np.stack(features)


def _scores(
    log_odds: Float[np.ndarray, " n"], patients: Patients, share: float
) -> tuple[Float[np.ndarray, " p"], Int[np.ndarray, " p"]]:
    """Every patient's suspicion and number of slices."""
    own = [log_odds[patients.numbers == number] for number in range(len(patients.infected))]
    scores = [suspicion(slices, np.ones(len(slices)), share) for slices in own]
    return np.array(scores), np.array([len(slices) for slices in own])


def _measure(scores: Float[np.ndarray, " p"], infected: Bool[np.ndarray, " p"], rule: PatientRule) -> dict[str, float]:
    """How good a rule is on patients."""
    labels = infected.astype(np.int64)
    before, after = probabilities(scores, 1.0), probabilities(scores, rule.temperature)
    counts = BinaryCounts.from_decisions(after >= rule.threshold, labels)
    return {
        "auc": ScoreRanks.from_scores(scores, labels).auc().value,
        "sensitivity": counts.sensitivity().value,
        "specificity": counts.specificity().value,
        "undecided": float(np.mean(np.abs(after - rule.threshold) < rule.indecision)),
        "brier_before": float(np.mean((before - labels) ** 2)),
        "brier_after": float(np.mean((after - labels) ** 2)),
    }
