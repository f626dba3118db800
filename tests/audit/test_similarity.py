import cv2
import numpy as np
import pytest
from fake_slices import cropped, encoded, fake_slice, resized, windowed

from jcs_jax.audit.alignment import Alignment
from jcs_jax.audit.similarity import compare, lay_over

SAME = Alignment(np.eye(2, 3), 50)


def test_a_slice_is_entirely_similar_to_itself():
    seen = compare(fake_slice(0), fake_slice(0), SAME)
    assert seen.similarity == pytest.approx(1, abs=1e-3)
    assert (seen.first_shown, seen.second_shown) == (1, 1)


@pytest.mark.parametrize("change", [encoded, windowed, lambda picture: np.sqrt(picture * 255.0).astype(np.uint8)])
def test_re_encoding_and_another_window_hardly_change_similarity(change):
    assert compare(fake_slice(0), change(fake_slice(0)), SAME).similarity > 0.97


def test_arrows_and_letters_do_not_make_it_another_picture():
    drawn = fake_slice(0, 256).copy()
    cv2.arrowedLine(drawn, (60, 60), (90, 90), 255, 4)
    cv2.putText(drawn, "A", (200, 230), cv2.FONT_HERSHEY_SIMPLEX, 1, 255, 3)
    assert compare(fake_slice(0, 256), drawn, SAME).similarity > 0.975


def test_other_slices_and_slices_without_structure_are_not_similar():
    assert compare(fake_slice(0), fake_slice(1), SAME).similarity < 0.8
    plain = np.full((128, 128), 70, np.uint8)
    assert compare(plain, plain, SAME).similarity == 0


def test_shares_say_which_of_the_two_is_the_crop():
    picture, part = fake_slice(0), cropped(fake_slice(0), 0.1)  # 104 of 128 rows and columns
    shift = Alignment(np.array([[1.0, 0, -12], [0, 1, -12]]), 50)
    whole_first, part_first = compare(picture, part, shift), compare(part, picture, shift.inverse())
    for seen, shares in ((whole_first, (0.66, 1)), (part_first, (1, 0.66))):
        assert (seen.first_shown, seen.second_shown) == pytest.approx(shares, abs=0.02)
        assert seen.similarity > 0.99


def test_it_does_not_matter_which_of_two_sizes_comes_first():
    picture = fake_slice(0, 256)
    half = resized(picture, 0.5)
    alignment = Alignment(np.array([[0.5, 0, -0.25], [0, 0.5, -0.25]]), 50)
    down, up = compare(picture, half, alignment), compare(half, picture, alignment.inverse())
    assert down.similarity == pytest.approx(up.similarity)
    assert down.similarity > 0.99
    assert up.alignment.scale == pytest.approx(2, rel=0.01)


def test_a_small_overlap_says_nothing():
    far = Alignment(np.array([[1.0, 0, 100], [0, 1, 100]]), 6)
    assert compare(fake_slice(0), fake_slice(0), far).similarity == 0


def test_a_picture_is_laid_into_the_frame_of_another():
    flip = Alignment(np.array([[-1.0, 0, 127], [0, 1, 0]]), 50)
    np.testing.assert_array_equal(lay_over(np.fliplr(fake_slice(0)), (128, 128), flip), fake_slice(0))
    shifted = Alignment(np.array([[1.0, 0, 3], [0, 1, 0]]), 50)
    laid = lay_over(fake_slice(0), (128, 140), shifted, outside=0)
    assert laid.shape == (128, 140)
    assert laid[:, :3].max() == laid[:, 131:].max() == 0
    np.testing.assert_array_equal(laid[:, 3:131], fake_slice(0))
