"""Lesions found one by one, against SimpleITK's components and cases worked by hand."""

import math

import numpy as np
import pytest
import SimpleITK
from random_masks import CASES, random_case

from jcs_jax import metrics
from jcs_jax.metrics.lesion_detection import SIZE_LIMITS


def _picture(*rows):
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def _components(mask):
    numbers = SimpleITK.ConnectedComponent(SimpleITK.GetImageFromArray(mask.astype(np.uint8)), True)
    return SimpleITK.GetArrayFromImage(numbers)


@pytest.mark.parametrize("seed", CASES)
def test_equals_the_components_of_simpleitk_one_by_one(seed):
    predicted, target, _ = random_case(seed)
    found = metrics.detected_lesions(predicted, target, least_overlap=0.3)
    true, ours = _components(target), _components(predicted)
    pieces = [true == number for number in range(1, true.max() + 1)]
    expected = [(piece.sum(), (piece & predicted).sum() >= 0.3 * piece.sum()) for piece in pieces]
    assert sorted(zip(found.areas.tolist(), found.detected.tolist(), strict=True)) == sorted(expected)
    assert found.false_lesions == sum(not (target & (ours == number)).any() for number in range(1, ours.max() + 1))
    assert found.areas.sum() == target.sum()


def test_a_picture_by_hand():
    target = _picture(
        "##......",
        "##....#.",
        "........",
        "........",
    )
    predicted = _picture(
        "#.......",
        "........",
        "...#....",
        "....#..#",
    )
    found = metrics.detected_lesions(predicted, target, pixel_area=0.5)
    np.testing.assert_array_equal(found.areas, [4, 1])
    np.testing.assert_array_equal(found.areas_mm2, [2.0, 0.5])
    np.testing.assert_array_equal(found.detected, [True, False])
    assert found.false_lesions == 2  # the two pixels that touch by a corner are one piece


def test_pixels_that_touch_by_a_corner_are_one_lesion():
    found = metrics.detected_lesions(np.zeros((2, 2), bool), np.eye(2, dtype=bool))
    np.testing.assert_array_equal(found.areas, [2])
    np.testing.assert_array_equal(found.detected, [False])


@pytest.mark.parametrize(("pixels", "detected"), [(2, False), (3, True)])
def test_a_lesion_is_found_from_the_least_overlap_on(pixels, detected):
    target, predicted = np.ones((3, 10), bool), np.zeros((3, 10), bool)
    predicted[0, :pixels] = True  # of 30: 3 are exactly 0.1
    found = metrics.detected_lesions(predicted, target, least_overlap=0.1)
    np.testing.assert_array_equal(found.detected, [detected])
    assert found.false_lesions == 0  # too little to find it, but not beside it either


def test_one_predicted_piece_finds_two_lesions():
    target, predicted = _picture("##..##"), _picture("######")
    np.testing.assert_array_equal(metrics.detected_lesions(predicted, target).detected, [True, True])


def test_an_empty_mask_has_no_lesion_and_all_predicted_is_false():
    found = metrics.detected_lesions(_picture("#.#", "...", "#.#"), np.zeros((3, 3), bool))
    assert found.areas.shape == found.areas_mm2.shape == found.detected.shape == (0,)
    assert found.detected.dtype == bool
    assert found.false_lesions == 4


def test_an_unknown_pixel_area_gives_unknown_areas():
    found = metrics.detected_lesions(np.ones((2, 2), bool), np.ones((2, 2), np.uint8))
    np.testing.assert_array_equal(found.areas, [4])
    assert np.isnan(found.areas_mm2).all()


def test_input_is_checked():
    mask = np.ones((2, 2), bool)
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(2, 3\)"):
        metrics.detected_lesions(mask, np.ones((2, 3), bool))
    for wrong in (0.0, 1.1, math.nan):
        with pytest.raises(ValueError, match="least_overlap"):
            metrics.detected_lesions(mask, mask, least_overlap=wrong)
    for wrong in (0.0, -1.0, math.inf):
        with pytest.raises(ValueError, match="pixel_area"):
            metrics.detected_lesions(mask, mask, pixel_area=wrong)


class TestSizeClasses:
    def test_the_limits_belong_to_the_greater_class(self):
        classes = metrics.size_classes(np.array([1, 9, 10, 99, 100, 10_000]), (100, 100))
        np.testing.assert_array_equal(classes, [0, 0, 1, 1, 2, 2])

    def test_the_resolution_does_not_count(self):
        fine, coarse = (
            metrics.size_classes(np.array([400]), (400, 400)),
            metrics.size_classes(np.array([25]), (100, 100)),
        )
        assert fine == coarse

    def test_every_class_has_a_name(self):
        assert metrics.SIZE_CLASSES == ("small", "medium", "large")
        assert len(SIZE_LIMITS) == len(metrics.SIZE_CLASSES) - 1

    def test_no_lesion_has_no_class(self):
        assert metrics.size_classes(np.zeros(0, int), (5, 5)).shape == (0,)
