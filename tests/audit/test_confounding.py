import math

import numpy as np
import pytest
from audit_parts import known, unseen

from jcs_jax.audit.confounding import ALL_PARTS, find_confounders
from jcs_jax.audit.looks import Look


def rows(slices, looks=None):
    return {(row.feature, row.part): row for row in find_confounders(slices, looks or unseen(slices))}


def balanced(count, part="set:train", **told):
    """Slices of both classes in turn; `told` has functions of the label."""
    labels = [number % 2 for number in range(count)]
    return [
        known(f"{part}-{number}", part, label=label, **{field: value(label) for field, value in told.items()})
        for number, label in enumerate(labels)
    ]


def test_a_class_that_is_larger_brighter_and_of_another_file_type_is_flagged():
    slices = balanced(40, height=lambda label: 100 + label, file_type=lambda label: ("png", "jpeg")[label])
    looks = [Look(0.5 - 0.1 * item.record.label + 0.001 * number) for number, item in enumerate(slices)]
    found = rows(slices, looks)
    assert found["height", "set:train"].auc.value == 1
    assert found["area", "set:train"].auc.value == 1
    assert found["aspect", "set:train"].auc.value == 0
    assert found["mean brightness", "set:train"].auc.value == 0
    assert found["file type", "set:train"].auc.value == 1
    assert all(row.flagged for row in found.values() if not math.isnan(row.auc.value))


def test_what_is_the_same_or_unknown_in_every_slice_has_no_number_but_a_reason():
    found = rows(balanced(30, origin=lambda label: "hospital"))
    reasons = {feature: row.note for (feature, _), row in found.items()}
    assert reasons == {
        "mean brightness": "no pictures",
        "height": "the same in every slice",
        "width": "the same in every slice",
        "area": "the same in every slice",
        "aspect": "the same in every slice",
        "file type": "unknown",
        "source": "the same source in every slice",
    }
    assert not any(row.flagged for row in found.values())


def test_a_perfect_feature_of_few_slices_is_not_flagged():
    few, enough = (balanced(count, height=lambda label: 100 + label) for count in (18, 20))
    assert not rows(few)["height", "set:train"].flagged
    assert rows(enough)["height", "set:train"].flagged


def test_chance_is_not_flagged():
    rng = np.random.default_rng(0)
    slices = balanced(60)
    found = rows(slices, [Look(float(rng.random())) for _ in slices])
    assert not found["mean brightness", "set:train"].flagged


def test_slices_of_one_patient_count_as_one():
    def of_patients(count):
        return [
            known(f"{person}-{number}", label=person % 2, patient=str(person), height=100 + person % 2)
            for person in range(count)
            for number in range(20)
        ]

    assert not rows(of_patients(8))["height", "set:train"].flagged
    assert rows(of_patients(10))["height", "set:train"].flagged


def test_parts_are_measured_one_by_one_and_together():
    slices = balanced(20) + balanced(20, "other:test", height=lambda label: 200)
    found = rows(slices)
    assert {part for _, part in found} == {"set:train", "other:test", ALL_PARTS}
    assert found["height", ALL_PARTS].auc.value == pytest.approx(0.5)
    assert ("data set", "set:train") not in found


def test_a_data_set_for_each_class_is_a_confounder():
    infected = [known(f"a{number}", "covid:train", label=1) for number in range(15)]
    uninfected = [known(f"b{number}", "normal:train", label=0) for number in range(15)]
    found = rows(infected + uninfected)
    assert set(found) == {(feature, ALL_PARTS) for feature, _ in found}  # neither part has two classes
    assert found["data set", ALL_PARTS].auc.value == 1
    assert found["data set", ALL_PARTS].flagged


def test_slices_without_a_label_are_left_out():
    assert rows([known(str(number)) for number in range(30)]) == {}
    slices = [*balanced(20, height=lambda label: 100 + label), *(known(f"x{number}") for number in range(9))]
    assert rows(slices)["height", "set:train"].auc[2:] == (10, 10)
