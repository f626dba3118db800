"""Orientation, spacing and volumes against a volume that is known."""

import itertools

import numpy as np
import pytest

from jcs_jax.study.volume import Orientation, Volume, clip_hounsfield

SHAPE = (3, 4, 5)
VALUES = np.arange(60, dtype=np.int16).reshape(SHAPE)
# Slices 5 mm up, rows 0.8 mm back, columns 0.7 mm to the left.
AFFINE = np.array([[0, 0, 0.7, -10], [0, 0.8, 0, 20], [5.0, 0, 0, -300], [0, 0, 0, 1]])
ORIENTATIONS = [*itertools.product(itertools.permutations(range(3)), itertools.product((False, True), repeat=3))]


def _stored(axes, flips) -> tuple[np.ndarray, np.ndarray]:
    """The volume as a file of another axis order has it, with its affine."""
    values, affine = VALUES.transpose(axes), np.eye(4)
    affine[:3, 3] = AFFINE[:3, 3]
    for place, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
        affine[:3, place] = AFFINE[:3, axis] * (-1 if flip else 1)
        affine[:3, 3] += AFFINE[:3, axis] * (SHAPE[axis] - 1) * flip
    return np.flip(values, [place for place in range(3) if flips[place]]), affine


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_every_axis_order_is_brought_to_the_patients_and_back(axes, flips):
    stored, affine = _stored(axes, flips)
    orientation = Orientation.nearest(affine)
    np.testing.assert_array_equal(orientation.apply(stored), VALUES)
    np.testing.assert_array_equal(orientation.undo(orientation.apply(stored)), stored)
    np.testing.assert_allclose(orientation.apply_affine(affine, stored.shape), AFFINE, atol=1e-12)


def test_an_oblique_volume_takes_the_nearest_axes():
    angle = np.deg2rad(20)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = AFFINE.copy()
    affine[:3, :3] = turn @ AFFINE[:3, :3]
    assert Orientation.nearest(affine) == Orientation((0, 1, 2), (False, False, False))


def test_axes_that_span_nothing_are_refused():
    with pytest.raises(ValueError, match="do not span a volume"):
        Orientation.nearest(np.diag([1.0, 1.0, 0.0, 1.0]))


def _volume(heights) -> Volume:
    return Volume(VALUES, AFFINE, np.array(heights, float), Orientation.nearest(AFFINE))


def test_voxels_have_the_volume_that_spacing_and_thickness_give():
    volume = _volume([0, 5, 10])
    assert volume.pixel_spacing == pytest.approx((0.8, 0.7))
    np.testing.assert_allclose(volume.slice_thickness, [5, 5, 5])
    np.testing.assert_allclose(volume.voxel_volumes, 5 * 0.8 * 0.7)


def test_what_missing_slices_would_have_held_is_not_added_to_their_neighbours():
    np.testing.assert_allclose(_volume([0, 5, 10, 25, 30]).slice_thickness, 5)
    np.testing.assert_allclose(_volume([0, 5, 7, 12]).slice_thickness, [5, 3.5, 3.5, 5])


def test_a_leaning_stack_has_the_volume_of_an_upright_one():
    leaning = AFFINE.copy()
    leaning[1, 0] = 2.0  # mm backwards from slice to slice
    volume = Volume(VALUES, leaning, np.array([0.0, 5, 10]), Orientation.nearest(leaning))
    np.testing.assert_allclose(volume.voxel_volumes, 5 * 0.8 * 0.7)


def test_whole_hounsfield_units_take_two_bytes():
    assert clip_hounsfield(np.array([-3024, 0, 40000])).tolist() == [-1024, 0, 3071]
    assert clip_hounsfield(np.array([-3024.0, 7.0])).dtype == np.int16
    assert clip_hounsfield(np.array([0.5])).dtype == np.float32
