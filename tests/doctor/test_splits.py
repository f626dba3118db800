"""Sizes of the splits, and what two of them share."""

import pytest

from jcs_jax.data.examples import SliceRecord
from jcs_jax.doctor.splits import check_splits


def record(name, patient="", digest=""):
    return SliceRecord(name, patient, 1, "", "png", digest or name, 8, 8)


TRAINING = [record("a", "p1"), record("b", "p1"), record("c", "p2")]


def test_slices_and_patients_of_every_split_are_counted():
    (finding,) = check_splits({"training": TRAINING, "evaluation": [record("d")]}, allow_leakage=False)
    assert finding.severity == "ok"
    assert finding.found == "training 3 slices (2 patients), evaluation 1 slices (patients unknown)"


@pytest.mark.parametrize(("allowed", "severity"), [(False, "error"), (True, "warning")])
def test_a_shared_patient_is_an_error_unless_leakage_is_allowed(allowed, severity):
    parts = {"training": TRAINING, "validation": [record("d", "p3")], "evaluation": [record("e", "p1")]}
    _, finding = check_splits(parts, allow_leakage=allowed)
    assert finding.severity == severity
    assert finding.found == "training and evaluation share 1 patients (p1)"


def test_every_two_splits_are_compared():
    parts = {"training": TRAINING, "validation": [record("d")], "evaluation": [record("e", digest="d")]}
    _, finding = check_splits(parts, allow_leakage=False)
    assert finding.found == "validation and evaluation share 1 pictures (e)"
