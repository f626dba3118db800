import cv2
import numpy as np
import pytest
from fake_slices import cropped, fake_slice

from jcs_jax.audit.alignment import Alignment, align, refine
from jcs_jax.audit.local_features import extract


def features(picture):
    return extract(np.ascontiguousarray(picture).astype(np.float32) / 255)


def corners(matrix, side=128):
    points = np.array([[0, 0, 1], [side - 1, 0, 1], [0, side - 1, 1], [side - 1, side - 1, 1]])
    return points @ np.asarray(matrix).T


@pytest.mark.parametrize(
    ("change", "mirrored", "matrix"),
    [
        (lambda picture: picture, False, [[1, 0, 0], [0, 1, 0]]),
        (np.fliplr, True, [[-1, 0, 127], [0, 1, 0]]),
        (np.transpose, True, [[0, 1, 0], [1, 0, 0]]),
        (np.rot90, False, [[0, 1, 0], [-1, 0, 127]]),
        (lambda picture: cropped(picture, 0.1), False, [[1, 0, -12], [0, 1, -12]]),
    ],
)
def test_the_transform_that_was_applied_is_found(change, mirrored, matrix):
    picture = fake_slice(0)
    found = align(features(picture), features(change(picture)), mirrored=mirrored)
    np.testing.assert_allclose(corners(found.matrix), corners(matrix), atol=1)


def test_few_features_of_unrelated_or_wrongly_mirrored_slices_agree():
    picture = features(fake_slice(0))
    for other in (fake_slice(1), np.fliplr(fake_slice(0))):
        found = align(picture, features(other), mirrored=False)
        assert found is None or found.matches < 20
    assert align(picture, picture, mirrored=False).matches > 200


def test_nothing_is_aligned_with_a_plain_slice():
    picture, plain = features(fake_slice(0)), features(np.zeros((90, 90), np.uint8))
    assert align(picture, plain, mirrored=False) is None
    assert align(plain, picture, mirrored=True) is None


def test_refining_finds_a_shift_of_half_a_pixel():
    picture = fake_slice(0).astype(np.float32)
    shift = np.array([[1, 0, 0.5], [0, 1, -0.3]])
    moved = cv2.warpAffine(picture, shift, (128, 128), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    found = refine(Alignment(np.eye(2, 3), 9), picture, moved)
    np.testing.assert_allclose(corners(found.matrix), corners(shift), atol=0.1)
    assert found.matches == 9


def test_refining_what_does_not_correlate_changes_nothing():
    start = Alignment(np.eye(2, 3), 6)
    blank = np.zeros((64, 64), np.float32)
    assert refine(start, blank, blank) is start


def test_scale_and_inverse_belong_together():
    alignment = Alignment(np.array([[0, 2.0, 5], [-2.0, 0, 7]]), 6)
    assert alignment.scale == pytest.approx(2)
    assert alignment.inverse().scale == pytest.approx(0.5)
    whole = np.vstack([alignment.matrix, [0, 0, 1]]) @ np.vstack([alignment.inverse().matrix, [0, 0, 1]])
    np.testing.assert_allclose(whole, np.eye(3), atol=1e-12)
