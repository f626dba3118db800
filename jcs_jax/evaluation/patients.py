"""From slices to patients: the decision that `jcs diagnose` would take, for every patient of the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jcs_jax.diagnosis.decision import patient_probability, suspicion
from jcs_jax.evaluation.columns import Columns
from jcs_jax.evaluation.results import Case, PatientCase
from jcs_jax.evaluation.summary import Group, classify
from jcs_jax.models.operating_point import PatientRule


def judge_patients(cases: Sequence[Case], rule: PatientRule) -> list[PatientCase]:
    """The probability of every patient with an identifier, slices taken as equally thick.

    Args:
      cases: slices; those without a class probability or a patient are left out.
      rule: stored with the weights.

    Returns:
      In the order in which patients first appear; a patient is infected if any slice is labelled so.
    """
    slices: dict[str, list[Case]] = {}
    for case in cases:
        if case.patient and "infection_log_odds" in case.values:
            slices.setdefault(case.patient, []).append(case)
    judged = []
    for patient, own in slices.items():
        log_odds = np.array([case.values["infection_log_odds"] for case in own])
        probability = patient_probability(suspicion(log_odds, np.ones(len(own)), rule.share), rule)
        label = max(case.label for case in own)
        judged.append(PatientCase(patient, label, len(own), probability, own[0].origin))
    return judged


def summarise_patients(patients: Sequence[PatientCase], threshold: float) -> Group:
    """The numbers of the decisions on patients; empty where no patient has a label."""
    labels = np.array([patient.label for patient in patients], np.int64)
    if not (labels >= 0).any():
        return {}
    probabilities = np.array([patient.probability for patient in patients])
    cases = [Case(one.patient, one.patient, one.label, {}) for one in patients]
    return classify(probabilities, labels, probabilities >= threshold, Columns(cases, np.empty((len(cases), 0))))
