"""Folder names of runs."""

import itertools
import re

import pytest

from jcs_jax.sweep.names import run_name


def test_a_name_reads_as_what_the_run_is():
    values = {"optimizer.learning_rate": 0.003, "seed": 1, "remat": True, "data.augment": "modern"}
    assert (
        run_name("modern", "fold0", values) == "modern-fold=fold0-learning_rate=0.003-seed=1-remat=true-augment=modern"
    )
    assert run_name("", "", {"seed": 0}) == "seed=0"
    assert run_name("modern", "", {}) == "modern"


def test_numbers_in_a_list_are_written_out():
    assert run_name("", "", {"class_weights": (1.0, 2.5)}) == "class_weights=1.0,2.5"


def test_options_that_end_alike_are_written_in_full():
    assert (
        run_name("", "", {"model.name": "a", "optimizer.name": "b", "seed": 0})
        == "model.name=a-optimizer.name=b-seed=0"
    )


TEXTS = (
    "a/b",
    "a b",
    "a_b",
    "a\\b",
    "a:b",
    "A_b",
    "a_b~",
    "a-seed=1",
    "",
    " ",
    "empty",
    ".",
    "..",
    "\u00e9",
    "e\u0301",
)
LISTS = ((), ("a", "b"), ("a,b",), ("a", ("b",)), (1, 2), ((1, 2),))
TABLES = ({}, {"a": 1}, {"a": 1.5}, {"a": True})
ALIKE = [*TEXTS, "x" * 300, "x" * 301, *LISTS, *TABLES]


def test_values_that_look_alike_get_names_apart_on_any_file_system():
    names = [run_name("", "", {"key": value, "seed": 1}).casefold() for value in ALIKE]
    assert len(set(names)) == len(ALIKE)


@pytest.mark.parametrize("value", ALIKE, ids=repr)
def test_a_name_has_safe_characters_and_a_length_that_file_systems_take(value):
    name = run_name("variant", "", {"key": value, "seed": 1})
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+=,~-]{0,250}", name)


def test_names_of_many_long_values_are_cut_and_stay_apart():
    points = itertools.product(["a" * 30, "b" * 30], repeat=8)
    names = {run_name("", "", {f"option{index}": value for index, value in enumerate(point)}) for point in points}
    assert len(names) == 2**8
    assert max(map(len, names)) < 255


def test_a_name_is_the_same_in_every_process():
    assert run_name("", "", {"split": "a/b"}) == "split=a_b~f5effa31"
