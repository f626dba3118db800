"""Pieces of a mask found part by part are those that scipy finds in the whole."""

import numpy as np
import pytest
from scipy import ndimage

from jcs_jax.diagnosis import pieces as pieces_module
from jcs_jax.diagnosis.pieces import Pieces, parts

RNG = np.random.default_rng(0)


def _all(mask):
    numbers, pieces = np.zeros(mask.shape, np.int64), Pieces(mask)
    for box, found in pieces:
        numbers[box] = found
    return numbers, pieces.count


@pytest.mark.parametrize("slices", [1, 2, 5, 100])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.06, 0.1, 0.3, 0.97, 1.0])
def test_the_numbers_are_those_of_the_whole(monkeypatch, slices, share):
    monkeypatch.setattr(pieces_module, "_LABELLED_PART", slices * 20 * 30)
    mask = RNG.random((17, 20, 30)) < share
    wanted, count = ndimage.label(mask, np.ones((3, 3, 3)))
    found, found_count = _all(mask)
    assert found_count == count
    np.testing.assert_array_equal(found, wanted)


def test_pieces_that_meet_at_a_corner_only_are_one_and_an_empty_slice_parts_them(monkeypatch):
    monkeypatch.setattr(pieces_module, "_LABELLED_PART", 1)
    mask = np.zeros((6, 5, 5), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 0] = True
    mask[4, 2, 0] = mask[5, 4, 4] = True
    numbers, count = _all(mask)
    assert count == 3
    assert numbers[0, 0, 0] == numbers[1, 1, 1] == numbers[2, 2, 0] == 1


def test_a_ring_that_closes_in_a_later_part_is_one_piece(monkeypatch):
    monkeypatch.setattr(pieces_module, "_LABELLED_PART", 1)
    mask = np.zeros((5, 3, 9), bool)
    mask[:, 1, [0, 4, 8]] = True
    mask[4, 1, :5] = mask[0, 1, 4:] = True
    assert _all(mask)[1] == 1


def test_boxes_hold_no_more_than_the_part_s_pieces(monkeypatch):
    monkeypatch.setattr(pieces_module, "_LABELLED_PART", 2 * 100)
    mask = np.zeros((9, 10, 10), bool)
    mask[3, 4:6, 7] = True
    ((box, found),) = Pieces(mask)
    assert box == (slice(3, 4), slice(4, 6), slice(7, 8))
    assert found.tolist() == [[[1], [1]]]


def test_parts_cover_all_slices_once():
    assert parts((10, 512, 512)) == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert parts((3, 2048, 2048)) == [slice(0, 1), slice(1, 2), slice(2, 3)]
    assert parts((0, 4, 4)) == []
