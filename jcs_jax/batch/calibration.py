"""From a split of prepared data to a patient's rule: every slice classified, the numbers chosen and measured."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jcs_jax.batch.calibration_data import Patients
from jcs_jax.data.examples import Source, example_intensity
from jcs_jax.diagnosis.calibration import fit_familiar, fit_rule, fit_threshold, probabilities, temperature_notes
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
KEPT_THRESHOLD = (
    "a slice still counts as infected from {threshold:.3g}: no threshold tells slices apart better than chance"
)
UNDECIDED = "{count} of {patients} patients lie so near the threshold that they are undecided"

Track = Callable[[Iterable[int]], Iterable[int]]


class _Screened(NamedTuple):
    """Of N slices: log-odds and probability of infection, pooled features, and labels, -1 where unknown."""

    log_odds: Float[np.ndarray, " n"]
    probability: Float[np.ndarray, " n"]
    features: Float[np.ndarray, "n c"]
    labels: Int[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What was chosen, and how good it is where it was chosen.

    Attributes:
      rule: for patients.
      class_threshold: for slices.
      familiar: what the data's features are like.
      measured: number by name, of patients unless it says slice; Brier score before and after the temperature.
      record: plain values for the provenance of the model: data, counts, `measured`, notes.
    """

    rule: PatientRule
    class_threshold: float
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
    """Chooses a patient's rule, a slice's threshold and what is familiar.

    The slice's threshold is chosen as a patient's is, on the slices that have a label of their own; where none does
    better than chance, the model's stays and a note says so.

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
    screened = _screen(stages, source, patients.rows, track)
    scores, counts = _scores(screened.log_odds, patients, share)
    infected = patients.infected
    number, sick = len(infected), int(infected.sum())
    chosen_on = f"{name}, {number} patients ({sick} infected){FEW_PATIENTS if number < ENOUGH_PATIENTS else ''}"
    try:
        rule = fit_rule(scores, infected, share=share, indecision=indecision, chosen_on=chosen_on)
        familiar = fit_familiar(screened.features, patients.numbers)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    class_threshold, kept = _class_threshold(screened, stages.preset.class_threshold)
    measured = _measure(scores, infected, rule)
    if not kept:
        measured |= _measure_slices(screened, class_threshold)
    short = int((counts < LEAST_SLICES).sum())
    undecided = round(measured["undecided"] * number)
    told = (
        *notes,
        *temperature_notes(rule.temperature, scores, infected),
        *kept,
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
    return Calibration(rule, class_threshold, familiar, measured, record)


def _screen(stages: Stages, source: Source, rows: Int[np.ndarray, " n"], track: Track) -> _Screened:
    """What the network says of slices, as a diagnosis computes it."""
    preprocessing = stages.preset.preprocessing
    log_odds, probability, features, labels = [], [], [], []
    remaining = iter(track(rows.tolist()))
    while batch := list(itertools.islice(remaining, stages.batch_size)):
        examples = [source[row] for row in batch]
        inputs = [preprocessing.network_input(example_intensity(one, preprocessing)) for one in examples]
        try:
            screened = stages.screen(inputs)
        except InputError as error:
            raise InputError(f"{examples[0].name} to {examples[-1].name}: {error}") from error
        log_odds += [np.asarray(one.activation).mean(dtype=np.float64) for one in screened]
        probability += [one.probability for one in screened]
        features += [np.asarray(one.features) for one in screened]
        labels += [example.label for example in examples]
    return _Screened(np.array(log_odds), np.array(probability), np.stack(features), np.array(labels))


def _class_threshold(screened: _Screened, present: float) -> tuple[float, tuple[str, ...]]:
    """A slice's threshold; or the present one, and a note that says why."""
    known = screened.labels >= 0
    try:
        return fit_threshold(screened.probability[known], screened.labels[known] == 1), ()
    except InputError:
        return present, (KEPT_THRESHOLD.format(threshold=present),)


def _measure_slices(screened: _Screened, threshold: float) -> dict[str, float]:
    """How good a threshold is on slices."""
    counts = BinaryCounts.from_decisions(screened.probability >= threshold, screened.labels)
    return {"slice_sensitivity": counts.sensitivity().value, "slice_specificity": counts.specificity().value}


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
