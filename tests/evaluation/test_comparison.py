"""Two models on the same slices."""

from __future__ import annotations

import numpy as np
import pytest
from evaluated import evaluated, noisy_slices

from jcs_jax.errors import InputError
from jcs_jax.evaluation.comparison import compare


def _by_name(comparison):
    return {(number.group, number.name): number for number in comparison.numbers}


def test_a_model_does_not_differ_from_itself():
    one = evaluated(noisy_slices(40, patients=10))
    for number in compare(one, one, ("a", "b")).numbers:
        if not np.isnan(number.difference):
            assert number.difference == 0
            assert number.p_value == 1


def test_differences_are_those_of_the_two_summaries():
    examples = noisy_slices(60, patients=20)
    first, second = evaluated(examples, level=0.9), evaluated(examples, level=0.6)
    numbers = _by_name(compare(first, second, ("a", "b")))
    for (group, name), number in numbers.items():
        assert number.first == pytest.approx(first.summary[group][name].value, nan_ok=True), name
        assert number.second == pytest.approx(second.summary[group][name].value, nan_ok=True), name
        assert number.difference == pytest.approx(number.second - number.first, nan_ok=True)
    dice = numbers["segmentation", "dice"]
    assert dice.low < dice.difference < dice.high
    assert dice.p_value < 0.01
    assert numbers["classification", "auc"].difference == 0  # the same class head


def test_other_slices_are_refused():
    with pytest.raises(InputError, match="measured on other slices"):
        compare(evaluated(noisy_slices(8)), evaluated(noisy_slices(9)), ("a", "b"))
