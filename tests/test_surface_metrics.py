"""Distances of contours against all pairs (SciPy), distance maps (SimpleITK) and cases worked by hand."""

import math
import time

import numpy as np
import pytest
import SimpleITK
from random_masks import CASES, random_case
from scipy import ndimage
from scipy.spatial.distance import cdist

from jcs_jax import metrics
from jcs_jax.metrics.surface import contour

PIXELS = (1.0, 1.0)
WITHOUT_EMPTY = [seed for seed in CASES if all(mask.any() for mask in random_case(seed)[:2])]


def _square(top, left, side=3, shape=(12, 14)):
    mask = np.zeros((1, *shape), bool)
    mask[0, top : top + side, left : left + side] = True
    return mask


def _hausdorff(predicted, target, spacing=PIXELS):
    return metrics.hausdorff_95(predicted[np.newaxis], target[np.newaxis], spacing=spacing)[0]


def _surface_dice(predicted, target, spacing=PIXELS, tolerance=1.0):
    return metrics.surface_dice(predicted[np.newaxis], target[np.newaxis], spacing=spacing, tolerance=tolerance)[0]


def _all_pairs(predicted, target, spacing):
    """Distance of every pixel of each contour to the nearest of the other; contours by erosion."""
    points = [
        np.argwhere(mask & ~ndimage.binary_erosion(mask, border_value=0)) * np.array(spacing)
        for mask in (predicted, target)
    ]
    distances = cdist(*points)
    return distances.min(axis=1), distances.min(axis=0)


def _itk_contour(mask, spacing):
    """SimpleITK's contour, of the mask with a rim of one pixel so that the picture's border counts as outside."""
    image = SimpleITK.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
    image.SetSpacing(spacing[::-1])
    return SimpleITK.BinaryContour(image, fullyConnected=False, backgroundValue=0, foregroundValue=1)


def _itk_distances(predicted, target, spacing):
    contours = [_itk_contour(mask, spacing) for mask in (predicted, target)]
    to_predicted, to_target = (
        SimpleITK.GetArrayFromImage(SimpleITK.SignedMaurerDistanceMap(one, squaredDistance=False, useImageSpacing=True))
        for one in contours
    )
    first, second = (SimpleITK.GetArrayFromImage(one) > 0 for one in contours)
    directed = np.abs(to_target[first], dtype=np.float64), np.abs(to_predicted[second], dtype=np.float64)
    # Its maps are float32, and 0 comes out as up to 5e-6; no two pixels here are nearer than 0.3.
    return tuple(np.where(distances < 1e-4, 0.0, distances) for distances in directed)


class TestAgainstOthers:
    @pytest.mark.parametrize("seed", CASES)
    def test_equals_all_pairs_of_contour_pixels(self, seed):
        predicted, target, spacing = random_case(seed)
        if not target.any():
            assert math.isnan(_hausdorff(predicted, target, spacing))
            assert math.isnan(_surface_dice(predicted, target, spacing))
        elif not predicted.any():
            height, width = target.shape
            assert _hausdorff(predicted, target, spacing) == math.hypot(height * spacing[0], width * spacing[1])
            assert _surface_dice(predicted, target, spacing) == 0.0
        else:
            there, back = _all_pairs(predicted, target, spacing)
            expected = max(np.percentile(there, 95), np.percentile(back, 95))
            np.testing.assert_allclose(_hausdorff(predicted, target, spacing), expected, rtol=1e-12, atol=1e-12)
            for tolerance in (0.0, 1.234, 4.0):
                share = (np.sum(there <= tolerance) + np.sum(back <= tolerance)) / (len(there) + len(back))
                assert _surface_dice(predicted, target, spacing, tolerance) == pytest.approx(share, abs=1e-14)

    @pytest.mark.parametrize("seed", WITHOUT_EMPTY)  # SimpleITK has no distance to an empty mask
    def test_equals_the_distance_maps_of_simpleitk(self, seed):
        predicted, target, spacing = random_case(seed)
        there, back = _itk_distances(predicted, target, spacing)
        expected = max(np.percentile(there, 95), np.percentile(back, 95))
        np.testing.assert_allclose(_hausdorff(predicted, target, spacing), expected, rtol=1e-6, atol=1e-6)
        near = np.concatenate([there, back]) <= 1.234
        assert _surface_dice(predicted, target, spacing, 1.234) == pytest.approx(near.mean(), abs=1e-12)

    @pytest.mark.parametrize("seed", CASES)
    def test_overlap_equals_simpleitk(self, seed):
        predicted, target, _ = random_case(seed)
        pair = (predicted[np.newaxis], target[np.newaxis])
        if not target.any():
            assert np.isnan([metrics.dice(*pair), metrics.iou(*pair)]).all()
            return
        overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
        overlap.Execute(*(SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in (target, predicted)))
        np.testing.assert_allclose(metrics.dice(*pair), overlap.GetDiceCoefficient(), rtol=1e-12)
        np.testing.assert_allclose(metrics.iou(*pair), overlap.GetJaccardCoefficient(), rtol=1e-12)


class TestContour:
    def test_a_square_loses_its_inside(self):
        expected = _square(2, 3, side=4)[0]
        expected[3:5, 4:6] = False
        np.testing.assert_array_equal(contour(_square(2, 3, side=4)[0]), expected)

    def test_the_border_of_the_picture_counts_as_outside(self):
        expected = np.ones((3, 4), bool)
        expected[1, 1:3] = False
        np.testing.assert_array_equal(contour(np.ones((3, 4), bool)), expected)

    def test_a_corner_alone_outside_makes_no_contour(self):
        mask = np.ones((4, 4), bool)
        mask[0, 0] = False
        assert not contour(mask)[1, 1]


class TestByHand:
    def test_equal_masks(self):
        assert metrics.hausdorff_95(_square(1, 1), _square(1, 1), spacing=PIXELS) == [0.0]
        assert metrics.surface_dice(_square(1, 1), _square(1, 1), spacing=PIXELS, tolerance=0) == [1.0]

    def test_a_shift_along_a_row_is_measured_in_columns(self):
        # Two squares of one pixel, five columns and no row apart.
        pair = _square(4, 2, side=1), _square(4, 7, side=1)
        assert metrics.hausdorff_95(*pair, spacing=(9.0, 0.5)) == [2.5]

    def test_two_rows_of_twenty_pixels_of_which_one_lies_far(self):
        # 19 of the predicted pixels are right and one is 4 below: the 95th percentile lies 0.05 of the way to it.
        target, predicted = np.zeros((1, 6, 20), bool), np.zeros((1, 6, 20), bool)
        target[0, 0] = predicted[0, 0, :19] = predicted[0, 4, 19] = True
        np.testing.assert_allclose(metrics.hausdorff_95(predicted, target, spacing=PIXELS), [0.05 * 4], rtol=1e-12)
        # Within one pixel: all but that one, and all of the target's.
        np.testing.assert_array_equal(
            metrics.surface_dice(predicted, target, spacing=PIXELS, tolerance=1), [(19 + 20) / 40]
        )

    def test_a_tolerance_of_just_the_distance_counts_despite_rounding(self):
        pair = _square(4, 2, side=1), _square(4, 5, side=1)
        assert 3 * 0.1 > 0.3
        assert metrics.surface_dice(*pair, spacing=(0.1, 0.1), tolerance=0.3) == [1.0]
        assert metrics.surface_dice(*pair, spacing=(0.1, 0.1), tolerance=0.2999) == [0.0]

    def test_nothing_predicted_is_worse_than_anything_predicted(self):
        target, nothing, worst = _square(0, 0, side=1), _square(0, 0, side=0), _square(11, 13, side=1)
        assert metrics.hausdorff_95(nothing, target, spacing=PIXELS) == [math.hypot(12, 14)]
        assert metrics.hausdorff_95(worst, target, spacing=PIXELS) == [math.hypot(11, 13)]

    def test_each_image_has_its_own_spacing_and_an_unknown_one_is_nan(self):
        predicted, target = np.repeat(_square(4, 2, side=1), 3, axis=0), np.repeat(_square(4, 7, side=1), 3, axis=0)
        spacing = np.array([[1.0, 1.0], [1.0, 2.0], [np.nan, np.nan]])
        np.testing.assert_array_equal(metrics.hausdorff_95(predicted, target, spacing=spacing), [5, 10, np.nan])
        within = metrics.surface_dice(predicted, target, spacing=spacing, tolerance=6)
        np.testing.assert_array_equal(within, [1, 0, np.nan])

    def test_one_direction_alone_is_not_enough(self):
        # All that is predicted is right, but the second lesion is missed.
        target = _square(1, 1) | _square(1, 9)
        assert metrics.hausdorff_95(_square(1, 1), target, spacing=PIXELS) > 5
        assert metrics.hausdorff_95(target, _square(1, 1), spacing=PIXELS) > 5


class TestInput:
    def test_no_image_gives_no_value(self):
        none = np.zeros((0, 3, 4), bool)
        assert metrics.hausdorff_95(none, none, spacing=PIXELS).shape == (0,)

    def test_shapes_spacings_and_tolerances_are_checked(self):
        mask = _square(1, 1)
        with pytest.raises(ValueError, match=r"\(1, 12, 14\).*\(12, 14\)"):
            metrics.hausdorff_95(mask, mask[0], spacing=PIXELS)
        with pytest.raises(ValueError, match=r"spacing \(3,\) must be \(2,\) or \(1, 2\)"):
            metrics.hausdorff_95(mask, mask, spacing=(1.0, 1.0, 1.0))
        for wrong in (0.0, -0.7, math.inf):
            with pytest.raises(ValueError, match=f"got {wrong}"):
                metrics.hausdorff_95(mask, mask, spacing=(1.0, wrong))
        for wrong in (-1.0, math.nan):
            with pytest.raises(ValueError, match="tolerance"):
                metrics.surface_dice(mask, mask, spacing=PIXELS, tolerance=wrong)


def test_both_take_little_time_on_a_whole_slice():
    rng = np.random.default_rng(0)
    target, predicted = (ndimage.gaussian_filter(rng.random((1, 512, 512)), (0, 20, 20)) > 0.505 for _ in range(2))
    spent = []
    for _ in range(5):
        start = time.process_time()
        metrics.hausdorff_95(predicted, target, spacing=(0.7, 0.7))
        metrics.surface_dice(predicted, target, spacing=(0.7, 0.7), tolerance=2)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.1  # 0.01 s measured; a picture's two distance transforms would take longer
