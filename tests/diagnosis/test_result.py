"""Slices and cases as plain values."""

import json

import numpy as np
import pytest

from jcs_jax.diagnosis.result import SLICE_LEVEL, Diagnosis, MapAgreement, ModelCard, SliceFindings

CARD = ModelCard("tiny", {"name": "stub", "source": "test"}, 0.5, 0.5)


def _findings(name: str, probability: float | None, lesion: float | None = 0.1, **options) -> SliceFindings:
    positive = None if probability is None else probability >= 0.5
    return SliceFindings(name, (8, 8), class_probability=probability, positive=positive, lesion_share=lesion, **options)


def test_agreement_by_hand():
    activation = np.array([[4.0, 1.0], [-100.0, 3.0]])
    mask = np.array([[True, False], [True, False]])
    assert MapAgreement.measure(activation, mask) == MapAgreement(0.5, True)
    assert MapAgreement.measure(activation, ~mask) == MapAgreement(0.5, False)


@pytest.mark.parametrize(("activation", "inside"), [(0.0, True), (-1.0, True), (1.0, False)])
def test_agreement_is_absent_where_map_or_mask_has_nothing_positive(activation, inside):
    assert MapAgreement.measure(np.full((2, 2), activation), np.full((2, 2), inside)) is None


def test_case_takes_its_highest_slice_and_counts_the_positive_ones():
    slices = (_findings("a", 0.2), _findings("b", 0.9), _findings("c", 0.5))
    diagnosis = Diagnosis("case", CARD, slices)
    assert diagnosis.highest is slices[1]
    assert diagnosis.positive_slices == 2
    values = diagnosis.to_json()
    assert values["case"] == {
        "name": "case",
        "source": "pictures",
        "statement": SLICE_LEVEL,
        "slices": 3,
        "positive_slices": 2,
        "highest_class_probability": 0.9,
        "highest_slice": 2,
    }
    json.dumps(values, allow_nan=False)


def test_case_without_class_head_has_no_class_result_and_says_so():
    diagnosis = Diagnosis("case", CARD, (_findings("a", None),))
    assert diagnosis.highest is None
    assert diagnosis.positive_slices is None
    assert diagnosis.to_json()["case"]["highest_class_probability"] is None
    assert diagnosis.notes == ("this network has no class head: no class probability and no activation map",)


def test_case_without_segmentation_says_so():
    assert "does not segment" in Diagnosis("case", CARD, (_findings("a", 0.0, None),)).notes[0]


def test_notes_come_once_with_those_of_the_case_first():
    slices = (_findings("a", 0.1, notes=("windowed",)), _findings("b", 0.1, notes=("windowed", "coloured")))
    notes = Diagnosis("case", CARD, slices, ("2 files left out",)).notes
    assert notes == ("2 files left out", "windowed", "coloured")


def test_fractions_are_rounded_and_absent_values_are_null():
    values = _findings("a", 1 / 3, None, agreement=MapAgreement(2 / 3, False)).to_json()
    assert values["class_probability"] == 0.333333
    assert values["lesion_share_of_picture"] is None
    assert values["map_mask_agreement"] == {"activation_inside_mask": 0.666667, "pointing_hit": False}
    assert _findings("a", 0.1).to_json()["map_mask_agreement"] is None
