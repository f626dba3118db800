"""The brightness baseline's threshold is found where it was put, and not on the evaluated slices."""

import math

import numpy as np

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.evaluation.baselines import brightness_in_lungs, choose_brightness_threshold
from jcs_jax.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(size=(32, 32))


def _slice(name, opacity=0.6, *, masked=True):
    """A body with one large lung and an opacity of the given brightness in it."""
    y, x = np.mgrid[:64, :64]
    image = np.full((64, 64), 0.0, np.float32)
    image[np.hypot(y - 32, x - 32) < 30] = 0.95
    image[np.hypot(y - 32, x - 32) < 22] = 0.2
    lesion = np.hypot(y - 32, x - 32) < 8
    image[lesion] = opacity
    return Example(image, mask=lesion.astype(np.uint8) if masked else None, name=name)


def test_brightness_is_zero_outside_the_lungs_and_clipped_inside():
    lungs = np.array([[True, True, False]])
    np.testing.assert_array_equal(brightness_in_lungs(np.array([[0.5, 1.5, 0.9]]), lungs), [[0.5, 1.0, 0.0]])


def test_the_threshold_lies_between_lung_and_opacity():
    threshold, excluded = choose_brightness_threshold(ArraySource([_slice("a"), _slice("b", 0.7)]), PREPROCESSING)
    assert 0.2 < threshold.value <= 0.6
    assert (threshold.n, excluded) == (2, 0)


def test_evaluated_slices_are_left_out():
    source = ArraySource([_slice("a", 0.4), _slice("b", 0.7), _slice("c", masked=False)])
    threshold, excluded = choose_brightness_threshold(source, PREPROCESSING, exclude={"a"})
    alone, _ = choose_brightness_threshold(ArraySource([_slice("b", 0.7)]), PREPROCESSING)
    assert (threshold, excluded) == (alone, 1)


def test_nothing_to_choose_on_is_nan():
    threshold, excluded = choose_brightness_threshold(ArraySource([_slice("a")]), PREPROCESSING, exclude={"a"})
    assert math.isnan(threshold.value)
    assert (threshold.n, excluded) == (0, 1)


def test_hounsfield_units_go_through_the_window():
    example = _slice("a")
    hounsfield = Example(example.image * 1500 - 1350, encoding="hounsfield", mask=example.mask, name="a")
    assert (
        choose_brightness_threshold(ArraySource([hounsfield]), PREPROCESSING)[0].value
        == choose_brightness_threshold(ArraySource([example]), PREPROCESSING)[0].value
    )
