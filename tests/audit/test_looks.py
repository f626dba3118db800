import math

import cv2
import numpy as np
import pytest
from audit_parts import part
from fake_slices import fake_slice

from jcs_jax.audit.looks import has_pictures, look_at, workers
from jcs_jax.audit.parts import Part
from jcs_jax.data.examples import ArraySource, Example


def look(*parts, find_features=True):
    with workers() as executor:
        return look_at(parts, executor, find_features=find_features)


def test_brightness_and_mask_are_measured_on_the_whole_picture_in_order():
    mask = np.zeros((128, 128), np.uint8)
    mask[:32] = 1
    seen = look(part("train", [fake_slice(0), fake_slice(1)], mask=[mask, None]), part("test", [fake_slice(2)]))
    assert [item.brightness for item in seen] == pytest.approx([fake_slice(seed).mean() / 255 for seed in range(3)])
    assert seen[0].mask_share == 0.25
    assert math.isnan(seen[1].mask_share)


def test_hounsfield_units_are_windowed_first():
    hounsfield = np.array([[-1350.0, -600], [150, 3000]], np.float32)
    (seen,) = look(Part("set", "train", "set", ArraySource([Example(hounsfield, "hounsfield")])))
    assert seen.brightness == pytest.approx((0 + 0.5 + 1 + 1) / 4)


def test_features_are_found_where_asked_for_and_where_the_picture_is_large_enough():
    slices = part("train", [fake_slice(0, 64), fake_slice(0, 63)])
    large, small = look(slices)
    assert len(large.features.points) > 0
    assert small.features is None
    assert small.brightness > 0
    assert [item.features for item in look(slices, find_features=False)] == [None, None]


class _Unreadable(ArraySource):
    def __getitem__(self, index):
        raise AssertionError("gigabytes of features are read")


def test_stored_features_are_not_read():
    features = np.zeros((8, 8, 64), np.uint8)
    source = _Unreadable([Example(None, res2net_features=features)], {"image_encoding": "features"})
    assert not has_pictures(source)
    (seen,) = look(Part("set", "train", "set", source))
    assert math.isnan(seen.brightness)
    assert seen.features is None


def test_opencv_has_its_threads_back_afterwards():
    before = cv2.getNumThreads()
    with workers():
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == before
