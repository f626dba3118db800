"""Values that are no HU are refused, with the reason where it can be told."""

import numpy as np
import pytest
from phantom_study import phantom_study

from jcs_jax.errors import InputError
from jcs_jax.study.hounsfield import check_hounsfield


@pytest.fixture(scope="module")
def hounsfield() -> np.ndarray:
    return phantom_study(2, lesions=0).volume.hounsfield.astype(np.int32)


def _padded(values: np.ndarray, padding: int) -> np.ndarray:
    """With a border that scanners write outside their round field of view."""
    values = values.copy()
    values[:, :, :20] = padding
    return values


def test_a_chest_in_hounsfield_units_passes_with_padding_too(hounsfield):
    check_hounsfield(hounsfield, "ct")
    check_hounsfield(_padded(hounsfield, -3024), "ct")


@pytest.mark.parametrize("padding", [None, -1024, -3024, 0])
def test_an_offset_that_was_left_in_is_named_whatever_the_padding(hounsfield, padding):
    values = hounsfield + 1024 if padding is None else _padded(hounsfield + 1024, padding)
    with pytest.raises(InputError, match=r"ct: its soft tissue lies at \+1024 HU .*left in; subtract 1024"):
        check_hounsfield(values, "ct")


def test_an_offset_that_was_taken_off_twice_is_named(hounsfield):
    with pytest.raises(InputError, match=r"ct: its soft tissue lies at -1024 HU .*twice; add 1024"):
        check_hounsfield(np.minimum(hounsfield, 200) - 1024, "ct")  # no dense bone, which would look like tissue


@pytest.mark.parametrize(
    "values", [np.zeros((4, 32, 32), int), np.arange(4096).reshape(4, 32, 32) % 255 - 1024, np.full((1, 32, 32), 40)]
)
def test_masks_ramps_and_tissue_without_gas_are_refused(values):
    with pytest.raises(InputError, match=r"ct: its values go from .*; give a chest CT in HU"):
        check_hounsfield(values, "ct")


def test_nan_is_refused():
    with pytest.raises(InputError, match="no number"):
        check_hounsfield(np.array([np.nan, 1.0]), "ct")
