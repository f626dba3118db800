"""NIfTI files of CT, right and wrong."""

import gzip

import numpy as np
import pytest
from ct_files import lps_affine, nifti_bytes, noise, write_nifti

from jcs_jax.errors import InputError
from jcs_jax.study.nifti import NO_ORIENTATION, read_nifti

HU = noise(0, 40, 36, 3)  # columns, rows, slices


def test_a_volume_is_read_in_the_patients_order(tmp_path):
    volume = read_nifti(write_nifti(tmp_path / "ct.nii.gz", HU, lps_affine()))
    np.testing.assert_array_equal(volume.hounsfield, HU.transpose(2, 1, 0))
    assert volume.hounsfield.dtype == np.int16
    assert volume.pixel_spacing == pytest.approx((0.8, 0.8))
    np.testing.assert_allclose(volume.heights, [0, 5, 10], rtol=1e-6)
    assert volume.notes == ()


def test_a_file_without_an_orientation_is_read_with_a_note(tmp_path):
    volume = read_nifti(write_nifti(tmp_path / "ct.nii", HU, lps_affine(), sform=0))
    assert volume.notes == (NO_ORIENTATION,)


def test_a_fourth_axis_of_one_is_no_axis(tmp_path):
    volume = read_nifti(write_nifti(tmp_path / "ct.nii", HU, lps_affine(), dims=(40, 36, 3, 1)))
    assert volume.hounsfield.shape == (3, 36, 40)


def _with_nan() -> np.ndarray:
    values = HU.astype(np.float32)
    values[0, 0, 0] = np.nan
    return values


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no readable NIfTI"),
        (b"no header at all" * 40, "no readable NIfTI"),
        (nifti_bytes(HU, lps_affine())[:-500], "no readable NIfTI"),
        (nifti_bytes(noise(0, 40, 36, 2, 3), lps_affine()), "4 axes"),
        (nifti_bytes(HU, lps_affine(), dims=(4000, 4000, 400)), "too many"),
        (nifti_bytes(noise(0, 20, 36, 3), lps_affine()), "20 x 36 pixels, too small"),
        (nifti_bytes(np.zeros((40, 36, 3), np.int16), lps_affine()), "not a mask"),
        (nifti_bytes((HU + 1024).astype(np.int16), lps_affine()), "subtract 1024"),
        (nifti_bytes(_with_nan(), lps_affine()), "NaN"),
    ],
    ids=["empty", "text", "cut", "4-D", "too large", "too small", "mask", "offset", "nan"],
)
def test_what_is_no_chest_ct_is_refused_in_one_line(data, said, tmp_path):
    path = tmp_path / "ct.nii"
    path.write_bytes(data)
    with pytest.raises(InputError, match=said) as caught:
        read_nifti(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_cut_gzip_file_is_refused(tmp_path):
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(gzip.compress(nifti_bytes(HU, lps_affine()))[:-600])
    with pytest.raises(InputError, match="no readable NIfTI"):
        read_nifti(path)
