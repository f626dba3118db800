import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK

from jcs_jax.notice import RESEARCH_USE
from jcs_jax.report.nifti import write_nifti

LABELS = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4) * 700
AFFINE = np.array([[-0.7, 0.0, 0.0, 11.3], [0.0, 0.0, 2.5, -7.1], [0.0, 0.9, 0.0, 101.7], [0.0, 0.0, 0.0, 1.0]])


def _leaning(degrees: float) -> np.ndarray:
    affine = np.diag([0.7, 0.9, 2.5, 1.0])
    affine[1, 2] = 2.5 * np.tan(np.deg2rad(degrees))
    return affine


def test_nibabel_reads_the_values_in_their_own_order_and_the_affine_in_ras(tmp_path):
    image = nibabel.load(write_nifti(tmp_path / "labels.nii.gz", LABELS, AFFINE))
    assert image.get_data_dtype() == np.uint16
    np.testing.assert_array_equal(np.asarray(image.dataobj), LABELS)
    expected = np.diag([-1.0, -1.0, 1.0, 1.0]) @ AFFINE
    np.testing.assert_array_equal(image.get_sform(), expected.astype(np.float32))
    np.testing.assert_allclose(image.get_qform(), expected, atol=1e-5)
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.header["descrip"].item().decode() == RESEARCH_USE


def test_simpleitk_finds_every_voxel_at_its_lps_place(tmp_path):
    image = SimpleITK.ReadImage(str(write_nifti(tmp_path / "labels.nii.gz", LABELS, AFFINE)))
    for index in np.ndindex(*LABELS.shape):
        assert image[index] == LABELS[index]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), (AFFINE @ [*index, 1])[:3], atol=1e-4)


def test_a_mask_is_written_as_0_and_1(tmp_path):
    mask = LABELS > 6000
    image = nibabel.load(write_nifti(tmp_path / "mask.nii.gz", mask, AFFINE))
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(image.dataobj), mask.astype(np.uint8))


def test_hounsfield_units_keep_their_sign(tmp_path):
    hounsfield = LABELS.astype(np.int16) - 1024
    image = nibabel.load(write_nifti(tmp_path / "study.nii.gz", hounsfield, AFFINE))
    assert image.get_data_dtype() == np.int16
    np.testing.assert_array_equal(np.asarray(image.dataobj), hounsfield)


@pytest.mark.parametrize("degrees", [15.0, -25.0])
def test_a_stack_that_leans_is_told_by_the_sform_alone(degrees, tmp_path):
    image = nibabel.load(write_nifti(tmp_path / "labels.nii.gz", LABELS, _leaning(degrees)))
    expected = np.diag([-1.0, -1.0, 1.0, 1.0]) @ _leaning(degrees)
    np.testing.assert_array_equal(image.affine, expected.astype(np.float32))
    assert int(image.header["qform_code"]) == 0
    np.testing.assert_allclose(image.header.get_zooms(), np.linalg.norm(expected[:3, :3], axis=0), rtol=1e-6)


def test_the_same_input_gives_the_same_bytes(tmp_path):
    first = write_nifti(tmp_path / "a.nii.gz", LABELS, AFFINE).read_bytes()
    second = write_nifti(tmp_path / "b.nii.gz", np.asfortranarray(LABELS), AFFINE).read_bytes()
    assert first == second
    assert first[4:8] == bytes(4)
    assert b"labels" not in first[:32] + gzip.decompress(first)[:352]


def test_nothing_is_left_beside_the_file(tmp_path):
    write_nifti(tmp_path / "new" / "labels.nii.gz", LABELS, AFFINE)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["labels.nii.gz"]


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("labels.nii", LABELS, "must end with .nii.gz"),
        ("labels.nii.gz", LABELS.astype(np.float32), "float32"),
        ("labels.nii.gz", LABELS[0], "2 axes"),
    ],
)
def test_other_input_is_refused(name, values, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        write_nifti(tmp_path / name, values, AFFINE)
