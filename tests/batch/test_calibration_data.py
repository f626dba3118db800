"""Who the patients are that a rule is chosen on, and what a model was trained on."""

import numpy as np
import pytest

from jcs_jax.batch import calibration_data
from jcs_jax.batch.calibration_data import group_patients, require_unseen
from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.errors import InputError

HERE = "ct/a:validation"


def _source(*slices: tuple[str, int, int]) -> ArraySource:
    """From patient, label and what makes the picture, for each slice."""
    return ArraySource(
        [
            Example(np.random.default_rng(seed).random((4, 4)), label=label, patient=patient, name=f"{seed}.png")
            for patient, label, seed in slices
        ]
    )


MINE = _source(("a", 1, 0), ("b", 0, 1))


@pytest.fixture
def prepared(monkeypatch):
    """Lets a test say what is prepared, by NAME/CONFIG:SPLIT."""
    sources: dict[str, ArraySource] = {}

    def open_source(data_dir, dataset, split):
        if f"{dataset}:{split}" not in sources:
            raise InputError("not prepared")
        return sources[f"{dataset}:{split}"]

    monkeypatch.setattr(calibration_data, "open_source", open_source)
    return sources


def _provenance(dataset="ct/a", train_split="train", **more):
    return {"config": {"data": {"dataset": dataset, "train_split": train_split, **more}}}


def test_slices_are_grouped_wherever_they_stand():
    source = _source(("b", 0, 0), ("a", -1, 1), ("", 1, 2), ("b", -1, 3), ("c", -1, 4), ("a", 1, 5), ("a", 0, 6))
    more = _source(("b", 0, 0), ("d", 0, 7), ("e", 0, 8))
    patients = group_patients([*source.records(), *more.records()], HERE)
    assert patients.rows.tolist() == [0, 3, 7, 1, 5, 6, 8, 9]
    assert patients.numbers.tolist() == [0, 0, 0, 1, 1, 1, 2, 3]
    assert patients.infected.tolist() == [False, True, False, False]
    assert (patients.unlabelled, patients.nameless) == (1, 1)


def test_disjoint_data_pass_without_a_note(prepared):
    prepared["ct/a:train"] = _source(("c", 1, 2), ("d", 0, 3))
    assert require_unseen(_provenance(), MINE, HERE, "data") == ()


def test_a_patient_in_both_is_refused_without_a_name(prepared):
    prepared["ct/a:train"] = _source(("a", 1, 2))
    with pytest.raises(InputError, match=r"trained on ct/a:train, .*\(1 patients\)") as refused:
        require_unseen(_provenance(), MINE, HERE, "data")
    assert ".png" not in str(refused.value)


def test_a_patient_of_another_data_set_with_the_same_name_is_another_person(prepared):
    prepared["mosmed:train"] = _source(("a", 1, 2))
    assert require_unseen(_provenance("mosmed"), MINE, HERE, "data") == ()


def test_the_same_picture_in_another_data_set_is_refused(prepared):
    prepared["mosmed:train"] = _source(("z", 1, 1))
    with pytest.raises(InputError, match=r"trained on mosmed:train, .*\(1 pictures\)"):
        require_unseen(_provenance("mosmed"), MINE, HERE, "data")


def test_every_part_that_was_trained_on_is_checked(prepared):
    prepared["ct/a:train"] = _source(("c", 1, 2))
    prepared["ct/b:fold0+fold1"] = _source(("b", 0, 4))
    with pytest.raises(InputError, match=r"trained on ct/b:fold0\+fold1"):
        require_unseen(_provenance(also_train_on="mosmed:train, ct/b:fold0+fold1"), MINE, HERE, "data")


def test_the_evaluation_split_is_noted_and_allowed(prepared):
    prepared["ct/a:train"] = _source(("c", 1, 2))
    prepared["ct/a:test"] = MINE
    (note,) = require_unseen(_provenance(eval_split="test"), MINE, HERE, "data")
    assert "ct/a:test, which the model was to be measured on" in note
