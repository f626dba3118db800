import numpy as np
from fake_slices import fake_slice

from jcs_jax.audit.local_features import MIRROR, SIDE, extract, products


def features(picture):
    return extract(np.ascontiguousarray(picture).astype(np.float32) / 255)


def test_a_large_picture_is_reduced_to_256_pixels_and_a_small_one_is_kept():
    assert features(fake_slice(0, 512)).picture.shape == (SIDE, SIDE)
    assert features(fake_slice(0, 512)[:300]).picture.shape == (150, SIDE)
    assert features(fake_slice(0, 96)).picture.shape == (96, 96)


def test_contrast_is_stretched_so_that_dark_and_bright_renderings_look_the_same():
    dark, bright = features(fake_slice(0) // 2), features(fake_slice(0) // 2 + 100)
    assert dark.picture.min() == 0
    assert dark.picture.max() == 255
    np.testing.assert_allclose(dark.picture.astype(float), bright.picture, atol=1)


def test_at_most_300_features_are_kept_and_none_of_a_plain_picture():
    busy = features(fake_slice(0, 256))
    assert busy.points.shape == (300, 2)
    assert busy.descriptors.shape == (300, 128)
    assert busy.descriptors.dtype == np.uint8
    plain = features(np.full((64, 64), 9, np.uint8))
    assert plain.points.shape == (0, 2)
    assert plain.directions().shape == (0, 128)


def test_directions_have_length_one():
    np.testing.assert_allclose(np.linalg.norm(features(fake_slice(0)).directions(), axis=1), 1, rtol=1e-5)


def test_reordered_descriptors_are_those_of_the_mirrored_picture():
    plain, mirrored = features(fake_slice(0)), features(np.fliplr(fake_slice(0)))
    places = np.array([127.0, 0]) + mirrored.points * (-1, 1)
    distance = np.linalg.norm(plain.points[:, np.newaxis] - places, axis=-1)
    same = np.flatnonzero(distance.min(axis=1) < 1)
    assert len(same) > 0.8 * len(plain.points)
    found = plain.directions()[same][:, MIRROR]
    likeness = (found[:, np.newaxis] * mirrored.directions()).sum(axis=-1)
    assert np.median(likeness.max(axis=1)) > 0.999
    unordered = (plain.directions()[same][:, np.newaxis] * mirrored.directions()).sum(axis=-1)
    assert np.median(unordered.max(axis=1)) < 0.95


def test_products_are_those_of_numpy():
    rows = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    np.testing.assert_allclose(products(rows, rows[:3]), rows @ rows[:3].T, rtol=1e-5)
