"""Colours that neither wrap around nor vanish, on a stated scale."""

import numpy as np
import pytest

from jcs_jax.report.colormap import color_table, colorize, normalize_map, shared_scale

# Linear-RGB projections of what people without red or green cones see (Viénot, Brettel and Mollon 1999).
PROTAN = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])
DEUTAN = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def _linear(table: np.ndarray) -> np.ndarray:
    values = table / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("vision", [np.eye(3), PROTAN, DEUTAN], ids=["normal", "protan", "deutan"])
def test_luminance_rises_from_first_to_last_colour_for_everyone(vision):
    luminance = _linear(color_table()) @ vision.T @ LUMINANCE
    assert np.all(np.diff(luminance[::8]) > 0)
    assert luminance[0] < 0.05
    assert luminance[-1] > 0.7


def test_no_colour_could_be_taken_for_grey_tissue():
    table = color_table().astype(int)
    assert (table.max(axis=1) - table.min(axis=1)).min() > 60


def test_neighbouring_colours_differ_little_and_hardly_any_repeats():
    table = color_table().astype(int)
    assert len(np.unique(table, axis=0)) > 250
    assert np.abs(np.diff(table, axis=0)).max() <= 8


def test_table_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        color_table()[0] = 0


def test_normalised_map_by_hand():
    values = np.array([[-3.0, 0.0], [1.0, 4.0]])
    np.testing.assert_array_equal(normalize_map(values, 4.0), [[0, 0], [0.25, 1]])
    np.testing.assert_array_equal(normalize_map(values, 2.0), [[0, 0], [0.5, 1]])
    assert normalize_map(values, 4.0).dtype == np.float32


@pytest.mark.parametrize("value", [0.0, -2.0])
def test_map_without_anything_positive_is_zero_and_not_nan(value):
    values = np.full((3, 3), value)
    assert shared_scale([values]) == 0.0
    np.testing.assert_array_equal(normalize_map(values, shared_scale([values])), np.zeros((3, 3)))


def test_tiny_scale_does_not_overflow():
    values = np.array([[1e-38, 1.0]], np.float32)
    np.testing.assert_array_equal(normalize_map(values, 1e-45), [[1, 1]])


@pytest.mark.parametrize(("value", "scale"), [(np.nan, 1.0), (np.inf, 1.0), (1.0, np.nan), (1.0, -1.0)])
def test_values_that_are_not_finite_are_refused(value, scale):
    with pytest.raises(ValueError, match="must be finite"):
        normalize_map(np.full((2, 2), value), scale)


def test_scale_is_shared_by_all_maps():
    assert shared_scale([np.array([[1.0, -9.0]]), np.array([[7.0]])]) == 7.0
    assert shared_scale([]) == 0.0


def test_hottest_pixel_gets_the_last_colour_and_does_not_wrap():
    colors = colorize(np.array([[0.0, 0.999, 1.0, 1.5]]))
    np.testing.assert_array_equal(colors[0, 0], color_table()[0])
    np.testing.assert_array_equal(colors[0, 2], color_table()[-1])
    np.testing.assert_array_equal(colors[0, 3], color_table()[-1])
