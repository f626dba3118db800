import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from ct_files import lps_affine, nifti_bytes, noise, write_dicom, write_nifti, write_series

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.nifti import is_nifti
from jcs_datasets.common.volumes import orient_mask, read_volume, read_volume_mask

pytest.importorskip("SimpleITK")
pydicom = pytest.importorskip("pydicom")

DATA = Path(os.environ.get("JCS_DATA", Path(__file__).parents[3] / "shared/data"))
HU = noise(0, 7, 40, 48)  # slices from the apex down, rows to the back, columns to the left
needs_data = pytest.mark.skipif(
    not (DATA / "dicom_corpus").is_dir(), reason="needs the real files beside the project or in $JCS_DATA"
)
ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def where(path):
    return f"{path} (manifest.csv, row 2)"


def as_stored(lps, order, signs):
    """The (i, j, k) array and RAS affine of a volume, stored along other axes and directions.

    lps is (x, y, z) to the left, to the back and up, 0.8 x 0.9 x 5 mm.
    """
    steps = np.diag([-0.8, -0.9, 5.0])[:, order] * signs
    stored = np.transpose(lps, order)
    flipped = [axis for axis in range(3) if signs[axis] < 0]
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = [10, 20, -300]
    for axis in flipped:
        affine[:3, 3] -= steps[:, axis] * (stored.shape[axis] - 1)
    return np.flip(stored, flipped), affine


def refused(path, kind, *, named=None):
    with pytest.raises(SourceError) as caught:
        read_volume(path, kind, where)
    message = str(caught.value)
    assert message.startswith(f"{where(named or path)}: ")
    assert "\n" not in message and ";" in message
    return message


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_a_nifti_volume_of_any_orientation_comes_back_apex_first_front_up(tmp_path, order, signs):
    stored, affine = as_stored(HU[::-1].transpose(2, 1, 0), order, signs)
    volume = read_volume(write_nifti(tmp_path / "ct.nii", stored, affine), "nifti", where)
    assert volume.hounsfield.dtype == np.int32
    assert (volume.hounsfield == HU).all()
    assert volume.spacing == pytest.approx((0.8, 0.9, 5.0))
    assert volume.pixel_spacing == pytest.approx((0.9, 0.8))


def test_gzipped_and_floating_point_volumes_are_read_to_the_nearest_hu(tmp_path):
    shifted = HU[::-1].transpose(2, 1, 0).astype(np.float32) + np.float32(0.4)
    volume = read_volume(write_nifti(tmp_path / "ct.nii.gz", shifted, lps_affine()), "nifti", where)
    assert (volume.hounsfield == HU).all()


def test_a_series_is_sorted_by_position_and_rescaled(tmp_path):
    folder = write_series(tmp_path / "series", HU)
    (folder / "notes.txt").write_text("text beside the slices is passed over")
    (folder / ".hidden").write_text("so are hidden files")
    volume = read_volume(folder, "series", where)
    assert (volume.hounsfield == HU).all()
    assert volume.spacing == pytest.approx((0.8, 0.8, 5.0))


def test_a_slope_that_is_no_whole_number_gives_the_nearest_hu(tmp_path):
    stored = HU[0].astype(np.int32) + 1024
    path = write_dicom(tmp_path / "a.dcm", HU[0], RescaleSlope=1.5, RescaleIntercept=-1000.25)
    assert (read_volume(path, "dicom", where).hounsfield == np.rint(stored * 1.5 - 1000.25)).all()


def test_a_slice_of_a_prone_patient_is_turned_and_its_mask_with_it(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", HU[0], ImageOrientationPatient=[-1, 0, 0, 0, -1, 0])
    volume = read_volume(path, "dicom", where)
    assert (volume.hounsfield[0] == HU[0][::-1, ::-1]).all()
    mask = (HU[0] > 0).astype(np.uint8)
    assert (orient_mask(mask, volume)[0] == mask[::-1, ::-1]).all()


def test_a_slice_without_position_or_direction_is_read_as_it_is_stored(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", HU[0], ImagePositionPatient=None, ImageOrientationPatient=None)
    assert (read_volume(path, "dicom", where).hounsfield[0] == HU[0]).all()


@pytest.mark.parametrize("scale", [1, 255])
def test_a_mask_of_another_orientation_lies_where_its_volume_lies(tmp_path, scale):
    lesions = (HU > 500).astype(np.uint8)
    stored, affine = as_stored(HU[::-1].transpose(2, 1, 0), (0, 1, 2), (1, 1, 1))
    volume = read_volume(write_nifti(tmp_path / "ct.nii", stored, affine), "nifti", where)
    stored, affine = as_stored(lesions[::-1].transpose(2, 1, 0) * np.uint8(scale), (2, 0, 1), (-1, 1, -1))
    mask = read_volume_mask(write_nifti(tmp_path / "mask.nii.gz", stored, affine), volume, where)
    assert mask.dtype == np.uint8
    assert (mask == lesions).all()


def test_masks_of_another_size_place_or_value_are_refused(tmp_path):
    lps = HU[::-1].transpose(2, 1, 0)
    volume = read_volume(write_nifti(tmp_path / "ct.nii", lps, lps_affine()), "nifti", where)
    lesions, moved = (lps > 0).astype(np.uint8), lps_affine()
    moved[0, 3] = 3
    wrong = {
        "size": (lesions[1:], lps_affine(), "is 47x40x7 voxels in LPS order, but its volume is 48x40x7;"),
        "origin": (lesions, moved, "lies 3 mm away from its volume"),
        "spacing": (lesions, lps_affine(spacing=(0.8, 0.8, 6.0)), "lies 6 mm away from its volume"),
        "value": (lesions * np.uint8(2), lps_affine(), "this one holds 0, 2;"),
    }
    for name, (mask, affine, message) in wrong.items():
        path = write_nifti(tmp_path / f"{name}.nii", mask, affine)
        with pytest.raises(SourceError) as caught:
            read_volume_mask(path, volume, where)
        assert str(caught.value).startswith(f"{where(path)}: ")
        assert message in str(caught.value)


def test_a_nifti_mask_of_one_slice_needs_its_size_alone(tmp_path):
    volume = read_volume(write_dicom(tmp_path / "a.dcm", HU[0]), "dicom", where)
    lesions = (HU[0] > 0).astype(np.uint8)
    path = write_nifti(tmp_path / "mask.nii", lesions.T[..., None], lps_affine(spacing=(1, 1, 1)))
    assert (read_volume_mask(path, volume, where)[0] == lesions).all()


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
@pytest.mark.parametrize("share", [0.5, 0.98])
def test_a_nifti_volume_cut_short_is_refused(tmp_path, name, share):
    path = write_nifti(tmp_path / name, HU.T, lps_affine())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "damaged or cut short; copy it again" in refused(path, "nifti")


def test_a_gzipped_volume_with_a_flipped_bit_is_refused(tmp_path):
    path = write_nifti(tmp_path / "ct.nii.gz", HU.T, lps_affine())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "damaged or cut short" in refused(path, "nifti")


def test_headers_that_are_no_ct_volume_are_refused(tmp_path):
    lps, affine = HU[::-1].transpose(2, 1, 0), lps_affine()
    wrong = {
        "two": (lps[..., 0], {}, "has 2 dimensions (48, 40)"),
        "time": (lps[:, :, :6], {"dims": (48, 40, 3, 2)}, "has 4 dimensions (48, 40, 3, 2)"),
        "huge": (lps, {"dims": (30000, 30000, 30000)}, "30000x30000x30000 voxels, which is no CT volume"),
        "none": (lps, {"dims": (48, 0, 7)}, "48x0x7 voxels"),
        "colour": (lps, {"datatype": 128, "bits": 24}, "no plain numbers"),
        "bits": (lps, {"datatype": 16, "bits": 8}, "no plain numbers"),
        "lost": (lps, {"sform": 0}, "says nothing of its orientation"),
        "offset": (lps, {"offset": -5000}, "no plain numbers"),
    }
    for name, (array, fields, message) in wrong.items():
        assert message in refused(write_nifti(tmp_path / f"{name}.nii", array, affine, **fields), "nifti")


@pytest.mark.parametrize("element", [0.0, np.nan, np.inf])
def test_an_affine_that_is_none_is_refused_without_a_word_from_the_library(tmp_path, capfd, element):
    affine = lps_affine()
    affine[0, 0] = element
    path = write_nifti(tmp_path / "ct.nii", HU[::-1].transpose(2, 1, 0), affine)
    assert "its NIfTI header can't be followed" in refused(path, "nifti")
    assert capfd.readouterr() == ("", "")


def test_one_volume_in_time_is_a_volume(tmp_path):
    path = write_nifti(tmp_path / "ct.nii", HU[::-1].transpose(2, 1, 0), lps_affine(), dims=(48, 40, 7, 1))
    assert (read_volume(path, "nifti", where).hounsfield == HU).all()


def test_values_that_are_no_hu_are_refused_with_their_range(tmp_path):
    lps = HU[::-1].transpose(2, 1, 0)
    wrong = {
        "shifted": (lps + np.int16(1024), "its values go from 24 to 2023, and HU of air is -1000; subtract 1024"),
        "scaled": ((lps / 1000).astype(np.float32), "go from -1 to 0.999, which is no CT in HU"),
        "blank": (np.full_like(lps, -1000), "go from -1000 to -1000"),
        "nan": (np.where(lps > 990, np.nan, lps).astype(np.float32), "no number (NaN or infinite)"),
        "large": (lps * np.float32(1000), "which is no CT in HU"),
    }
    for name, (array, message) in wrong.items():
        assert message in refused(write_nifti(tmp_path / f"{name}.nii", array, lps_affine()), "nifti")


def test_slices_of_less_than_32_pixels_are_refused(tmp_path):
    assert "its axial slices are 31x40 pixels" in refused(write_dicom(tmp_path / "a.dcm", HU[0][:, :31]), "dicom")


def test_what_is_no_ct_slice_is_refused(tmp_path, capfd):
    coloured = np.zeros((40, 48, 3), np.uint8)
    wrong = {
        "modality": ({"Modality": "MR"}, "is of modality MR; only CT has HU"),
        "frames": ({"NumberOfFrames": 2, "PixelData": bytes(40 * 48 * 4)}, "holds several frames; convert it"),
        "colour": (
            {
                "SamplesPerPixel": 3,
                "PhotometricInterpretation": "RGB",
                "PlanarConfiguration": 0,
                **dict.fromkeys(("BitsAllocated", "BitsStored"), 8),
                "HighBit": 7,
                "PixelData": coloured.tobytes(),
            },
            "is a coloured DICOM picture",
        ),
        "coronal": ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "is not an axial slice"),
        "crooked": ({"ImageOrientationPatient": [1, 0, 0, 1, 1, 0]}, "its directions no right angle"),
        "flat": ({"ImageOrientationPatient": [0, 0, 0, 0, 1, 0]}, "its directions no right angle"),
        "short": ({"ImagePositionPatient": [0, 0]}, "its position is no point"),
        "large": ({"Rows": 1, "Columns": 5000, "PixelData": bytes(10000)}, "says it is 5000x1 pixels"),
        "no-pixels": ({"PixelData": None}, "is no DICOM picture: cut short, damaged, without pixels"),
    }
    for name, (elements, message) in wrong.items():
        assert message in refused(write_dicom(tmp_path / f"{name}.dcm", HU[0], **elements), "dicom")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_dicom_file_cut_short_is_refused(tmp_path, share):
    path = write_dicom(tmp_path / "a.dcm", HU[0])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "is no DICOM picture: cut short" in refused(path, "dicom")


def test_a_folder_of_several_series_is_refused_with_their_sizes_but_not_their_names(tmp_path):
    folder = write_series(tmp_path / "study", HU[:3], SeriesDescription="Thorax of Jane")
    for index in range(2):
        write_dicom(folder / f"x{index}", HU[index], height=index, SeriesInstanceUID="1.2.4")
    message = refused(folder, "series")
    assert "holds 2 series (of 3, 2 slices); put each into a folder of its own" in message
    assert not any(secret in message for secret in ("Jane", "4711", "1.2.3", "1.2.4"))


def test_slices_without_an_order_are_refused(tmp_path):
    twice = write_series(tmp_path / "twice", HU[:3])
    write_dicom(twice / "copy.dcm", HU[1], height=-5.0)
    message = refused(twice, "series", named=twice / "copy.dcm")
    assert "lies where 001.dcm lies, so the slices have no order" in message
    lost = write_series(tmp_path / "lost", HU[:2], ImagePositionPatient=None)
    assert "says no position" in refused(lost, "series", named=lost / "001.dcm")
    mixed = write_series(tmp_path / "mixed", HU[:2])
    write_dicom(mixed / "002.dcm", HU[2][:, :40], height=5)
    assert "has another size, direction or spacing than" in refused(mixed, "series", named=mixed / "002.dcm")


def test_a_folder_that_is_no_series_is_refused(tmp_path):
    assert "holds no DICOM file; name the folder of one series" in refused(tmp_path, "series")
    write_series(tmp_path / "study/series", HU[:2])
    assert "holds the folder series; name the folder of one series" in refused(tmp_path / "study", "series")
    (tmp_path / "study/series/picture.png").write_bytes(b"\x89PNG")
    named = tmp_path / "study/series/picture.png"
    assert "is no DICOM picture" in refused(tmp_path / "study/series", "series", named=named)


def test_a_link_out_of_the_series_is_refused(tmp_path):
    folder = write_series(tmp_path / "series", HU[:2])
    write_dicom(tmp_path / "outside.dcm", HU[2], height=9)
    (folder / "link.dcm").symlink_to(tmp_path / "outside.dcm")
    assert "is a link that leaves the folder" in refused(folder, "series", named=folder / "link.dcm")


def test_without_simpleitk_the_cure_is_its_installation(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    path = write_nifti(tmp_path / "ct.nii", HU.T, lps_affine())
    with pytest.raises(SourceError, match=r"need SimpleITK; pip install 'jcs-jax\[volumes\]'"):
        read_volume(path, "nifti", where)


def test_nifti_2_is_told_by_its_content(tmp_path):
    header = bytearray(540)
    header[:4], header[4:12] = (540).to_bytes(4, "big"), b"n+2\0\r\n\x1a\n"
    (tmp_path / "a").write_bytes(header)
    assert is_nifti(tmp_path / "a")
    (tmp_path / "b").write_bytes(nifti_bytes(HU.T)[:347])
    assert not is_nifti(tmp_path / "b")


@needs_data
def test_every_odd_file_is_read_or_refused_in_one_line(capfd):
    read, refused_files = [], []
    for path in sorted((DATA / "dicom_corpus").rglob("*")):
        kind = "series" if path.is_dir() else "nifti" if is_nifti(path) else "dicom"
        try:
            hounsfield = read_volume(path, kind, str).hounsfield
            assert hounsfield.dtype == np.int32 and hounsfield.min() < -700 and hounsfield.ndim == 3
            read.append(path.name)
        except SourceError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error) and ";" in str(error)
            refused_files.append(path.name)
    assert (len(read), len(refused_files)) == (58, 42)
    assert capfd.readouterr() == ("", "")


@needs_data
def test_a_real_series_is_read_as_pydicom_reads_its_files():
    folder = next((DATA / "lung_pet_ct_dx").rglob("*.dcm")).parent
    slices = sorted(map(pydicom.dcmread, folder.glob("*.dcm")), key=lambda item: -item.ImagePositionPatient[2])
    volume = read_volume(folder, "series", where)
    assert volume.hounsfield.shape == (64, 512, 512)
    assert volume.spacing == pytest.approx((*slices[0].PixelSpacing, 5.0))
    assert volume.pixel_spacing == pytest.approx(tuple(slices[0].PixelSpacing))
    for found, item in zip(volume.hounsfield, slices, strict=True):
        assert (found == item.pixel_array * item.RescaleSlope + item.RescaleIntercept).all()
