"""The public reader takes whatever holds HU, and says why the rest doesn't."""

import numpy as np
import pytest
from ct_files import lps_affine, noise, write_nifti, write_picture, write_series

from jcs_jax import read_study
from jcs_jax.errors import InputError

HU = noise(0, 5, 40, 48)


def test_dicom_and_nifti_are_read_by_one_function(tmp_path):
    series = write_series(tmp_path / "series", HU)
    nifti = write_nifti(tmp_path / "ct.nii.gz", HU[::-1].transpose(2, 1, 0), lps_affine())
    np.testing.assert_array_equal(read_study(series).hounsfield, read_study(str(nifti)).hounsfield)


def test_pictures_are_refused_with_the_reason(tmp_path):
    picture = write_picture(tmp_path / "slice.png")
    with pytest.raises(InputError, match=r"slice\.png: pictures hold no HU and no millimetres; give DICOM or NIfTI"):
        read_study(picture)


def test_a_folder_of_nifti_files_is_refused_with_the_cure(tmp_path):
    write_nifti(tmp_path / "a.nii", HU, lps_affine())
    with pytest.raises(InputError, match="each is a case of its own"):
        read_study(tmp_path)


def test_a_folder_of_pictures_with_dicom_beside_them_is_a_dicom_study(tmp_path):
    series = write_series(tmp_path / "series", HU)
    write_picture(series / "preview.png")
    np.testing.assert_array_equal(read_study(series).hounsfield, HU[::-1])


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match="absent: no such file"):
        read_study(tmp_path / "absent")
