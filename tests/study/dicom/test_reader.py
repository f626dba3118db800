"""Whole studies in DICOM: what is chosen, sorted and said, and what is refused."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ct_files import noise, write_dicom, write_enhanced, write_series

from jcs_jax.errors import InputError
from jcs_jax.study.dicom.reader import read_dicom

CORPUS = Path(os.environ.get("JCS_DATA", Path(__file__).parents[4] / "shared/data")) / "dicom_corpus"
HU = noise(0, 5, 40, 48)  # slice 0 is the highest
UPWARDS = HU[::-1]


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_series(tmp_path / "study", HU)


def _refusal(source: Path, **options) -> str:
    with pytest.raises(InputError) as caught:
        read_dicom(source, **options)
    said = str(caught.value)
    assert str(source) in said
    assert "\n" not in said
    return said


def test_slices_are_sorted_by_where_they_lie(folder):
    volume = read_dicom(folder)
    np.testing.assert_array_equal(volume.hounsfield, UPWARDS)
    np.testing.assert_allclose(volume.heights, [0, 5, 10, 15, 20])
    np.testing.assert_allclose(volume.affine[:3, 3], [-16, -16, -20])
    np.testing.assert_allclose(volume.slice_thickness, 5)


def test_the_order_and_names_of_files_and_instance_numbers_mean_nothing(folder, tmp_path):
    expected = read_dicom(folder)
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(path.with_name(f"{(number * 7) % 11}.IMA"))
    found = read_dicom(folder)
    np.testing.assert_array_equal(found.hounsfield, expected.hounsfield)


def test_a_zip_file_and_a_dicomdir_are_read_like_the_folder(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.iterdir():
            archive.write(path, f"../../deep/{path.name}")
    (folder / "DICOMDIR").write_bytes(b"not looked into")
    for source in (tmp_path / "study.zip", folder / "DICOMDIR"):
        np.testing.assert_array_equal(read_dicom(source).hounsfield, UPWARDS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study", "study.zip"]


def test_padding_is_air_whatever_it_would_mean_in_hounsfield_units(tmp_path):
    stored = HU.copy()
    stored[:, :3] = 3000
    write_series(tmp_path / "study", stored, PixelPaddingValue=4024)
    assert (read_dicom(tmp_path / "study").hounsfield[:, :3] == -1024).all()


def test_the_chest_is_chosen_among_series(folder):
    write_series(
        folder / "head", noise(1, 9, 40, 48), SeriesInstanceUID="1.2.4", SeriesNumber=1, BodyPartExamined="HEAD"
    )
    write_dicom(folder / "scout.dcm", HU[0], SeriesInstanceUID="1.2.5", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_series(folder / "mr", noise(1, 9, 40, 48), SeriesInstanceUID="1.2.6", Modality="MR")
    volume = read_dicom(folder)
    np.testing.assert_array_equal(volume.hounsfield, UPWARDS)
    assert any("of 4 series number" in note for note in volume.notes)
    assert len(read_dicom(folder, series_uid="1.2.4").hounsfield) == 9
    assert "has no series" in _refusal(folder, series_uid="9.9")
    assert "is a scout" in _refusal(folder, series_uid="1.2.5")


def test_no_identifier_is_in_any_note_or_error(folder):
    write_series(folder / "b", HU, SeriesInstanceUID="1.2.4", SeriesDescription="Jane Doe chest")
    said = " ".join(read_dicom(folder).notes)
    assert not any(word in said for word in ("Doe", "Jane", "4711", "1.2."))


def test_missing_slices_are_counted_and_noted(folder):
    (folder / "002.dcm").unlink()
    volume = read_dicom(folder)
    assert "1 slice missing: gaps of up to 10.0 mm between slices of 5.00 mm" in volume.notes
    np.testing.assert_allclose(volume.heights, [0, 5, 15, 20])


def test_uneven_distances_are_noted(folder):
    write_dicom(folder / "between.dcm", HU[0], height=-7.0)
    assert "distances between slices are uneven: 2.00 to 5.00 mm" in read_dicom(folder).notes


def test_one_file_twice_is_one_slice(folder):
    (folder / "copy.dcm").write_bytes((folder / "002.dcm").read_bytes())
    volume = read_dicom(folder)
    np.testing.assert_array_equal(volume.hounsfield, UPWARDS)
    assert any(note.startswith("1 slice left out: they repeat a place") for note in volume.notes)


def test_of_two_scans_of_one_place_the_longer_is_taken(folder):
    for index, pixels in enumerate(noise(2, 3, 40, 48)):
        write_dicom(folder / f"second{index}.dcm", pixels, height=-5.0 * index, AcquisitionNumber=2)
    np.testing.assert_array_equal(read_dicom(folder).hounsfield, UPWARDS)


def test_two_slices_at_one_place_that_nothing_tells_apart_are_refused(folder):
    write_dicom(folder / "other.dcm", HU[1], height=-5.0)
    assert "1 of 6 slices lie where another lies" in _refusal(folder)


def test_slices_of_another_size_or_direction_are_left_out(folder):
    write_dicom(folder / "small.dcm", HU[0, :36], height=5.0)
    write_dicom(folder / "turned.dcm", HU[0], height=5.0, ImageOrientationPatient=[0, 1, 0, -1, 0, 0])
    volume = read_dicom(folder)
    assert len(volume.hounsfield) == 5
    assert "2 slices left out: they have another size, direction or spacing" in volume.notes


@pytest.mark.parametrize("degrees", [10.0, -20.0])
def test_a_tilted_gantry_is_kept_in_the_affine_and_told(degrees, tmp_path):
    angle = np.deg2rad(degrees)
    cosines = [1, 0, 0, 0, np.cos(angle), np.sin(angle)]
    for index, pixels in enumerate(HU):
        write_dicom(
            tmp_path / f"{index}.dcm",
            pixels,
            ImagePositionPatient=[-16, -16, -5.0 * index],
            ImageOrientationPatient=[f"{value:.12g}" for value in cosines],
        )
    volume = read_dicom(tmp_path)
    assert any(f"the gantry was tilted by {abs(degrees):.1f} degrees" in note for note in volume.notes)
    np.testing.assert_allclose(volume.voxel_volumes, 5 * np.cos(angle) * 0.64, rtol=1e-6)
    for index in (0, 4):
        np.testing.assert_allclose((volume.affine @ [index, 0, 0, 1])[:3], [-16, -16, -20 + 5 * index], atol=1e-9)


def test_a_stack_that_leans_more_than_a_gantry_is_refused(tmp_path):
    for index, pixels in enumerate(HU):
        write_dicom(tmp_path / f"{index}.dcm", pixels, ImagePositionPatient=[-16, -16 - 5.0 * index, -5.0 * index])
    assert "45.0 degrees" in _refusal(tmp_path)


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"Modality": "MR"}, "is of modality MR"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "is a scout"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "computed from others"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "is not axial"),
        ({"ImagePositionPatient": None}, "does not say where its slices lie"),
        ({"PixelSpacing": [0, 0]}, "does not say where its slices lie"),
        ({"RescaleIntercept": None}, "slope and intercept"),
        ({"RescaleIntercept": 0}, "subtract 1024"),
        ({"PixelData": b"short"}, "can't be decoded"),
        ({"SamplesPerPixel": 3}, "coloured"),
        ({"Rows": 9000}, "too large for CT"),
        ({"NumberOfFrames": 3}, "don't say where they lie"),
    ],
)
def test_what_is_no_chest_ct_is_refused_with_its_reason(elements, said, tmp_path):
    calm = np.clip(noise(0, 40, 48), -1000, 60)
    assert said in _refusal(write_dicom(tmp_path / "slice.dcm", calm, **elements))


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no files in {CORPUS}; set JCS_DATA")
def test_every_file_of_the_corpus_is_read_or_refused_in_one_line():
    read = 0
    for path in sorted(path for path in CORPUS.rglob("*") if path.is_file() and path.suffix != ".gz"):
        try:
            read += read_dicom(path).hounsfield.size > 0
        except InputError as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)
    assert read >= 30


def test_frames_of_an_enhanced_file_are_sorted_by_where_they_lie(tmp_path):
    order = [3, 0, 4, 1, 2]
    source = write_enhanced(tmp_path / "all.dcm", UPWARDS[order], [5.0 * index for index in order])
    volume = read_dicom(source)
    np.testing.assert_array_equal(volume.hounsfield, UPWARDS)
    np.testing.assert_allclose(volume.heights, [0, 5, 10, 15, 20])
    headers = volume.read_headers()
    assert headers.frames == [order.index(index) for index in range(5)]
    assert len({id(dataset) for dataset in headers.datasets}) == 1


def test_a_series_of_several_enhanced_files_is_one_volume(tmp_path):
    write_enhanced(tmp_path / "study" / "b.dcm", UPWARDS[:3], [0.0, 5.0, 10.0])
    write_enhanced(tmp_path / "study" / "a.dcm", UPWARDS[3:], [15.0, 20.0])
    volume = read_dicom(tmp_path / "study")
    np.testing.assert_array_equal(volume.hounsfield, UPWARDS)
    headers = volume.read_headers()
    assert headers.frames == [0, 1, 2, 0, 1]
    assert [dataset.NumberOfFrames for dataset in headers.datasets] == [3, 3, 3, 2, 2]
