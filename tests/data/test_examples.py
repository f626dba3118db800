"""Examples in memory, and how their pictures become intensities."""

import numpy as np
import pytest

from jcs_jax.data.examples import UNKNOWN_LABEL, ArraySource, Example, example_intensity
from jcs_jax.preprocessing import Preprocessing

WINDOW = Preprocessing(size=(8, 8), window_level=0.0, window_width=100.0)


def test_an_example_knows_nothing_that_it_is_not_told():
    example = Example(np.zeros((2, 3), np.float32))
    assert (example.mask, example.label, example.patient, example.name) == (None, UNKNOWN_LABEL, "", "")
    assert UNKNOWN_LABEL == -1


def test_a_source_of_arrays_keeps_their_order_and_its_information():
    examples = [Example(np.zeros((2, 2), np.float32), name=str(index)) for index in range(3)]
    source = ArraySource(examples, {"licence": "none"})
    examples.clear()  # the source has a list of its own
    assert [source[index].name for index in range(len(source))] == ["0", "1", "2"]
    assert [example.name for example in source] == ["0", "1", "2"]
    assert source.info == {"licence": "none"}
    with pytest.raises(IndexError):
        source[3]


def test_examples_in_memory_may_know_their_spacing_and_their_records_tell_it():
    image = np.zeros((2, 2), np.float32)
    source = ArraySource([Example(image, name="a", spacing=(0.7, 0.9)), Example(image, name="b")])
    assert source[0].spacing == (0.7, 0.9) and source[1].spacing is None
    assert [record.spacing for record in source.records()] == [(0.7, 0.9), None]


def test_intensities_stay_as_they_are():
    image = np.float32([[0.0, 0.25], [0.5, 1.0]])
    np.testing.assert_array_equal(example_intensity(Example(image), WINDOW), image)


def test_hounsfield_units_go_through_the_presets_window():
    image = np.float32([[-1024, -50], [0, 25]])
    value = example_intensity(Example(image, encoding="hounsfield"), WINDOW)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, [[0, 0], [0.5, 0.75]])
