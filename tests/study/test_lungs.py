"""Lungs found in phantoms whose lungs are known, and in real scans where they are there."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from phantom_study import phantom_study

from jcs_jax.errors import InputError
from jcs_jax.study.dicom.reader import read_dicom
from jcs_jax.study.lung_grid import close
from jcs_jax.study.lungs import AT_EDGE, ONE_LUNG, find_lungs
from jcs_jax.study.nifti import read_nifti
from jcs_jax.study.volume import Volume

DATA = Path(os.environ.get("JCS_DATA", Path(__file__).parents[3] / "shared" / "data"))
SIDES = (1, 2)


def _dice(found: np.ndarray, truth: np.ndarray) -> list[float]:
    return [
        2 * np.count_nonzero((found == side) & (truth == side)) / np.count_nonzero([found == side, truth == side])
        for side in SIDES
    ]


def _part(volume: Volume, slices: slice, rows: slice = slice(None), columns: slice = slice(None)) -> Volume:
    heights = volume.heights[slices]
    return dataclasses.replace(volume, hounsfield=volume.hounsfield[slices, rows, columns], heights=heights)


def _real(path: str) -> Volume:
    if not (DATA / path).exists():
        pytest.skip(f"{path} is not there")
    return read_nifti(DATA / path) if path.endswith(".nii.gz") else read_dicom(DATA / path)


@pytest.mark.parametrize("thickness", [0.7, 1.25, 2.5, 5.0])
@pytest.mark.parametrize("prone", [False, True])
def test_both_lungs_of_a_phantom_are_found_on_their_sides(thickness, prone):
    study = phantom_study(1, thickness=thickness, pixel=0.8, prone=prone)
    found = find_lungs(study.volume, name="case")
    assert found.notes == ()
    assert found.labels.dtype == np.uint8
    assert min(_dice(found.labels, study.lungs)) > 0.98


def test_opacities_vessels_and_holes_are_inside_and_airways_and_bowel_outside():
    study = phantom_study(2, thickness=1.25, lesions=8)
    labels = find_lungs(study.volume, name="case").labels
    assert np.count_nonzero(study.mask & (labels > 0)) > 0.98 * np.count_nonzero(study.mask)
    air = study.volume.hounsfield < -960
    middle = air.shape[2] // 2
    trachea = air[60:, :, middle - 4 : middle + 4]
    assert trachea.any()
    assert not labels[60:, :, middle - 4 : middle + 4][trachea].any()
    bowel = air[:15] & (study.lungs[:15] == 0)
    assert bowel.any()
    assert not labels[:15][bowel].any()


@pytest.mark.parametrize("thickness", [1.0, 2.5, 5.0])
def test_lungs_that_touch_in_front_are_parted(thickness):
    study = phantom_study(3, joined=True, thickness=thickness)
    assert min(_dice(find_lungs(study.volume, name="case").labels, study.lungs)) > 0.97


@pytest.mark.parametrize(("missing", "there", "label"), [("right", "left", 2), ("left", "right", 1)])
def test_a_lung_without_air_is_noted_and_the_other_keeps_its_side(missing, there, label):
    study = phantom_study(4, missing=missing, thickness=2.5)
    found = find_lungs(study.volume, name="case")
    assert found.notes == (ONE_LUNG.format(there),)
    assert np.unique(found.labels).tolist() == [0, label]


@pytest.mark.parametrize("slices", [slice(20, 30), slice(24, 25), slice(10, 48, 4)])
def test_a_part_of_a_scan_is_enough(slices):
    study = phantom_study(5, thickness=2.5)
    found = find_lungs(_part(study.volume, slices), name="case")
    assert min(_dice(found.labels, study.lungs[slices])) > 0.95


def test_missing_and_uneven_slices_do_no_harm():
    study = phantom_study(6, thickness=1.25)
    kept = np.delete(np.arange(len(study.volume.hounsfield)), [30, 31, 32, 33, 34, 35, 50, 60, 61])
    found = find_lungs(_part(study.volume, kept), name="case")
    assert min(_dice(found.labels, study.lungs[kept])) > 0.97


def test_lungs_that_the_picture_cuts_off_are_found_with_a_note():
    study = phantom_study(7, thickness=2.5, pixel=0.8)
    rows, columns = slice(40, 120), slice(35, 178)
    found = find_lungs(_part(study.volume, slice(None), rows, columns), name="case")
    assert found.notes == (AT_EDGE,)
    assert min(_dice(found.labels, study.lungs[:, rows, columns])) > 0.9


def test_fractions_of_hounsfield_units_give_the_same_lungs():
    volume = phantom_study(8, thickness=5.0).volume
    fractions = dataclasses.replace(volume, hounsfield=volume.hounsfield.astype(np.float32))
    np.testing.assert_array_equal(find_lungs(fractions, name="a").labels, find_lungs(volume, name="a").labels)


def test_a_mirrored_patient_has_mirrored_lungs():
    volume = phantom_study(9, thickness=5.0).volume
    mirrored = dataclasses.replace(volume, hounsfield=np.ascontiguousarray(volume.hounsfield[:, :, ::-1]))
    there, back = find_lungs(volume, name="a").labels, find_lungs(mirrored, name="a").labels[:, :, ::-1]
    assert np.count_nonzero((there > 0) != (back > 0)) < 0.005 * np.count_nonzero(there)
    assert not ((there == 1) & (back == 1)).any()


@pytest.mark.parametrize("value", [-1024, -1000, 40, -850])
def test_a_volume_of_one_value_has_no_lungs(value):
    volume = phantom_study(0, thickness=5.0).volume
    flat = dataclasses.replace(volume, hounsfield=np.full_like(volume.hounsfield, value))
    with pytest.raises(InputError, match="case 7: no lungs found"):
        find_lungs(flat, name="case 7")


def test_a_body_without_lungs_is_refused_in_one_line_that_names_the_case():
    study = phantom_study(4, thickness=2.5)
    hounsfield = np.where(study.lungs > 0, 40, study.volume.hounsfield).astype(np.int16)
    with pytest.raises(InputError, match="case 7: no lungs found") as caught:
        find_lungs(dataclasses.replace(study.volume, hounsfield=hounsfield), name="case 7")
    assert "\n" not in str(caught.value)


def test_closing_fills_a_dent_and_never_takes_anything_away():
    mask = np.zeros((1, 30, 30), bool)
    mask[0, 5:25, 5:25] = True
    mask[0, 13:16, 5:9] = False
    closed = close(mask, 4.0, (1.0, 1.0, 1.0))
    assert closed[0, 14, 7]
    assert closed[mask].all()
    assert np.count_nonzero(closed) <= 400


def test_a_real_series_has_two_lungs_of_a_plausible_volume():
    volume = _real("lung_pet_ct_dx")
    found = find_lungs(volume, name="case")
    right, left = (np.count_nonzero(found.labels == side, axis=(1, 2)) @ volume.voxel_volumes / 1000 for side in SIDES)
    assert found.notes == ()
    assert 2500 < right < 4500
    assert 0.6 < left / right < 0.9
    there = volume.hounsfield[found.labels > 0]
    assert np.mean(there < -500) > 0.9
    assert np.mean(there > 200) < 0.002


def test_a_real_scan_cut_at_the_heart_has_both_lungs():
    found = find_lungs(_real("dicom_corpus/nifti/aorta_ct_cropped.nii.gz"), name="case")
    assert found.notes == (AT_EDGE,)
    assert min(np.count_nonzero(found.labels == side) for side in SIDES) > 300_000


@pytest.mark.parametrize(
    "path",
    [
        "dicom_corpus/nifti/example_ct.nii.gz",
        "dicom_corpus/nifti/example_ct_sm.nii.gz",
        "dicom_corpus/totalseg/example_ct_dicom",
        "dicom_corpus/pydicom/J2K_pixelrep_mismatch.dcm",
        "dicom_corpus/pydicom/693_J2KI.dcm",
        "dicom_corpus/pydicomdata/bad_sequence.dcm",
        "dicom_corpus/cornerstone/CT2_J2KR",
        "dicom_corpus/cornerstone/CTImage.dcm",
    ],
    ids=["abdomen", "upper abdomen", "bowel", "skull base", "head", "spine", "head 2", "neck"],
)
def test_real_scans_of_other_parts_are_refused(path):
    with pytest.raises(InputError, match="no lungs found"):
        find_lungs(_real(path), name="case")


@pytest.mark.parametrize("path", ["dicom_corpus/cornerstone/CT1_J2KR", "dicom_corpus/lungmask/0.dcm"])
def test_a_single_real_slice_of_the_chest_has_a_lung_on_either_side(path):
    labels = find_lungs(_real(path), name="case").labels[0]
    right, left = (np.nonzero(labels == side)[1] for side in SIDES)
    assert right.max() < left.min() + 60
    assert min(len(right), len(left)) > 10_000
