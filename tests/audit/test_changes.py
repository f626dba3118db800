import numpy as np
import pytest

from jcs_jax.audit.alignment import Alignment
from jcs_jax.audit.changes import describe_change
from jcs_jax.audit.near_duplicates import NearPair


def change(linear, *, shown=(1.0, 1.0), enlarged=1.0):
    alignment = Alignment(np.column_stack([np.array(linear, float), [3, 4]]), 50)
    return describe_change(NearPair(0, 1, 0.99, alignment, *shown), enlarged=enlarged)


# A pixel at x, y goes to the product of the matrix with (x, y); y runs downwards.
@pytest.mark.parametrize(
    ("linear", "expected"),
    [
        ([[1, 0], [0, 1]], "the same frame with other pixels"),
        ([[-1, 0], [0, 1]], "mirrored left to right"),
        ([[1, 0], [0, -1]], "mirrored top to bottom"),
        ([[0, 1], [1, 0]], "transposed"),
        ([[0, -1], [-1, 0]], "anti-transposed"),
        ([[-1, 0], [0, -1]], "turned 180 degrees clockwise"),
        ([[0, -1], [1, 0]], "turned 90 degrees clockwise"),  # what was at the right is below
        ([[0, 1], [-1, 0]], "turned 90 degrees counter-clockwise"),
        ([[0.9, 0], [0, 0.9]], "resized to 90%"),
        ([[-0.5, 0], [0, 0.5]], "mirrored left to right, resized to 50%"),
        ([[0.9962, -0.0872], [0.0872, 0.9962]], "turned 5 degrees clockwise"),
        ([[0.9994, -0.0349], [0.0349, 0.9994]], "the same frame with other pixels"),  # 2 degrees
        ([[-0.9397, -0.3420], [-0.3420, 0.9397]], "mirrored left to right, turned 20 degrees clockwise"),
    ],
)
def test_orientation_and_size_are_told(linear, expected):
    assert change(linear) == expected


def test_size_is_that_of_the_slices_and_not_of_their_reduced_pictures():
    assert change(np.eye(2), enlarged=0.9) == "resized to 90%"
    assert change(np.eye(2) * 2, enlarged=0.5) == "the same frame with other pixels"


def test_the_crop_is_told_with_what_is_left():
    assert change(np.eye(2), shown=(0.81, 1.0)) == "cropped to 81% of the first"
    assert change(np.eye(2), shown=(1.0, 0.5)) == "of which the first is a crop of 50%"
    assert change(np.eye(2), shown=(0.7, 0.8)) == "both cropped, 70% and 80% in common"
