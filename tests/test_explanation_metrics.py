"""Measures of an explanation against cases worked by hand, scikit-learn and SciPy's distance transform."""

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from jcs_jax import metrics

CORNER = np.zeros((1, 3, 4), bool)
CORNER[0, :2, :2] = True
EMPTY = np.zeros((1, 3, 4), bool)


def _map(rows):
    return np.array([rows], np.float64)


SIX_BY_HAND = _map([[4, 1, 0, 0], [0, 1, 2, 0], [-5, 0, 2, -9]])  # positive: 10, of which 6 in the corner


class TestPointingGame:
    def test_the_highest_value_decides(self):
        assert metrics.pointing_game(SIX_BY_HAND, CORNER) == [1.0]
        assert metrics.pointing_game(SIX_BY_HAND, ~CORNER) == [0.0]

    def test_of_equal_values_the_first_counts(self):
        flat = np.zeros((1, 3, 4))
        assert metrics.pointing_game(flat, CORNER) == [1.0]
        assert metrics.pointing_game(flat, ~CORNER) == [0.0]

    def test_a_negative_map_has_a_highest_value_too(self):
        assert metrics.pointing_game(SIX_BY_HAND - 100, CORNER) == [1.0]

    def test_the_tolerance_is_a_distance_in_pixels(self):
        far = _map([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]])  # the corner's nearest pixel is (1, 1): sqrt(2) away
        hits = [metrics.pointing_game(far, CORNER, tolerance=t)[0] for t in (0, 1, 1.41, 1.42, 2)]
        assert hits == [0.0, 0.0, 0.0, 1.0, 1.0]

    @pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.5])
    def test_equals_the_distance_transform(self, tolerance):
        rng = np.random.default_rng(0)
        maps, masks = rng.normal(size=(60, 9, 7)), rng.random((60, 9, 7)) < 0.2
        masks[:, 4, 3] = True
        distances = np.stack([ndimage.distance_transform_edt(~mask) for mask in masks])
        peaks = maps.reshape(60, -1).argmax(axis=1)
        expected = distances.reshape(60, -1)[np.arange(60), peaks] <= tolerance
        assert 0 < expected.mean() < 1
        np.testing.assert_array_equal(metrics.pointing_game(maps, masks, tolerance=tolerance), expected)

    @pytest.mark.parametrize("tolerance", [-1, np.nan])
    def test_a_negative_tolerance_is_refused(self, tolerance):
        with pytest.raises(ValueError, match="tolerance"):
            metrics.pointing_game(SIX_BY_HAND, CORNER, tolerance=tolerance)


class TestEnergy:
    def test_by_hand(self):
        assert metrics.energy_inside(SIX_BY_HAND, CORNER) == [6 / 10]

    def test_an_even_map_scores_the_masks_share_of_the_area(self):
        assert metrics.energy_inside(np.full((1, 3, 4), 0.25), CORNER) == metrics.energy_chance(CORNER) == [4 / 12]

    @pytest.mark.parametrize("value", [0.0, -2.0])
    def test_a_map_without_positive_values_points_nowhere(self, value):
        assert metrics.energy_inside(np.full((1, 3, 4), value), CORNER) == [0.0]

    def test_a_full_mask_holds_everything(self):
        assert metrics.energy_inside(SIX_BY_HAND, ~EMPTY) == metrics.energy_chance(~EMPTY) == [1.0]

    def test_the_scale_of_a_map_does_not_count(self):
        np.testing.assert_allclose(metrics.energy_inside(1e-30 * SIX_BY_HAND, CORNER), [0.6], rtol=1e-15)


class TestMapAuc:
    @pytest.mark.parametrize("levels", [3, 1000])
    def test_equals_scikit_learn_with_ties(self, levels):
        rng = np.random.default_rng(levels)
        maps, masks = rng.integers(-levels, levels, (10, 8, 9)) / 4, rng.random((10, 8, 9)) < 0.3
        expected = [roc_auc_score(mask.ravel(), values.ravel()) for values, mask in zip(maps, masks, strict=True)]
        np.testing.assert_allclose(metrics.map_auc(maps, masks), expected, rtol=1e-13)

    def test_perfect_reversed_and_without_information(self):
        np.testing.assert_array_equal(metrics.map_auc(CORNER - 7.0, CORNER), [1.0])
        np.testing.assert_array_equal(metrics.map_auc(-1.0 * CORNER, CORNER), [0.0])
        np.testing.assert_array_equal(metrics.map_auc(np.ones((1, 3, 4)), CORNER), [0.5])

    def test_a_full_mask_has_none(self):
        assert np.isnan(metrics.map_auc(SIX_BY_HAND, ~EMPTY)).all()


MEASURES = (metrics.pointing_game, metrics.energy_inside, metrics.map_auc)


@pytest.mark.parametrize("measure", MEASURES)
class TestEveryMeasure:
    def test_an_empty_mask_is_nan_and_leaves_the_others_alone(self, measure):
        values = measure(np.repeat(SIX_BY_HAND, 2, axis=0), np.concatenate([EMPTY, CORNER]))
        assert values.dtype == np.float64
        assert np.isnan(values[0])
        assert values[1] == measure(SIX_BY_HAND, CORNER)[0]

    def test_no_image_gives_no_value(self, measure):
        assert measure(np.zeros((0, 3, 4)), np.zeros((0, 3, 4))).shape == (0,)

    def test_a_float32_map_and_an_integer_mask_will_do(self, measure):
        assert measure(SIX_BY_HAND.astype(np.float32), CORNER.astype(np.uint8)) == measure(SIX_BY_HAND, CORNER)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_map_that_is_not_finite_is_refused(self, measure, value):
        maps = np.zeros((2, 3, 4))
        maps[1, 2, 2] = value
        with pytest.raises(ValueError, match="map of image 1 is not finite"):
            measure(maps, np.ones((2, 3, 4)))

    def test_other_shapes_are_refused(self, measure):
        with pytest.raises(ValueError, match=r"\(1, 3, 4\).*\(1, 2, 2\)"):
            measure(SIX_BY_HAND, np.ones((1, 2, 2)))


def test_the_chance_of_an_empty_mask_is_nan():
    np.testing.assert_array_equal(metrics.energy_chance(np.concatenate([EMPTY, CORNER])), [np.nan, 1 / 3])
