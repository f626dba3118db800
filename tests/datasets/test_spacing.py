"""The millimetres of a slice: where they are told, which way round, and where nobody knows them."""

import csv
import struct

import numpy as np
import pytest
from ct_files import lps_affine, nifti_bytes, noise, write_dicom, write_nifti, write_picture, write_series, write_table
from prepared import build, prepare, refusal

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.spacing import pixel_spacing
from jcs_datasets.common.volumes import read_volume
from jcs_jax.data.sources import open_source

HU = noise(0, 3, 40, 48)
STORED = HU[::-1].transpose(2, 1, 0)  # as a NIfTI file stores it with `lps_affine`
HOUNSFIELD, PICTURES = "ct_manifest/hounsfield", "ct_manifest/pictures"
TURNED = [0, 1, 0, 1, 0, 0]  # the file's rows run from front to back
UNTOLD = [
    {"PixelSpacing": None},
    {"PixelSpacing": ""},
    {"PixelSpacing": [0, 0.5]},
    {"PixelSpacing": [-0.5, 0.5]},
    {"PixelSpacing": [0.5]},
    {"PixelSpacing": None, "ImagerPixelSpacing": [0.5, 0.5]},  # on the detector, not in the patient
    {"PixelSpacing": None, "PixelAspectRatio": [3, 4]},
]


@pytest.fixture
def itk():
    """The reader of DICOM and NIfTI, and what the tests write DICOM with."""
    pytest.importorskip("pydicom")
    return pytest.importorskip("SimpleITK")


@pytest.mark.parametrize("wrong", [0, -1, -0.5, np.nan, np.inf, -np.inf, 1e-4, 1e4])
def test_one_number_that_is_no_length_makes_the_pair_unknown(wrong):
    assert pixel_spacing(0.7, 0.9) == (0.7, 0.9)
    assert pixel_spacing(0.7, wrong) is pixel_spacing(wrong, 0.9) is None


def test_pixel_spacing_of_dicom_is_rows_first(itk, tmp_path):
    path = write_dicom(tmp_path / "a.dcm", HU[0], PixelSpacing=[0.7, 0.9])
    assert read_volume(path, "dicom", str).pixel_spacing == (0.7, 0.9)


def test_a_turned_dicom_slice_has_its_spacing_turned_with_it(itk, tmp_path):
    path = write_dicom(tmp_path / "a.dcm", HU[0], PixelSpacing=[0.7, 0.9], ImageOrientationPatient=TURNED)
    volume = read_volume(path, "dicom", str)
    assert (volume.hounsfield[0] == HU[0].T).all()
    assert volume.pixel_spacing == (0.9, 0.7)


@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
@pytest.mark.parametrize("elements", UNTOLD)
def test_dicom_without_a_pixel_spacing_is_not_taken_for_one_of_a_millimetre(itk, tmp_path, elements):
    volume = read_volume(write_dicom(tmp_path / "a.dcm", HU[0], **elements), "dicom", str)
    assert volume.pixel_spacing is None and (volume.hounsfield[0] == HU[0]).all()


def test_a_series_knows_its_spacing_only_if_every_slice_tells_it(itk, tmp_path):
    folder = write_series(tmp_path / "series", HU, PixelSpacing=[0.7, 0.9])
    assert read_volume(folder, "series", str).pixel_spacing == (0.7, 0.9)
    write_dicom(folder / "001.dcm", HU[1], height=-5.0, PixelSpacing=None)
    assert read_volume(folder, "series", str).pixel_spacing is None


def test_slices_of_two_spacings_are_no_stack(itk, tmp_path):
    folder = write_series(tmp_path / "series", HU, PixelSpacing=[0.7, 0.9])
    write_dicom(folder / "001.dcm", HU[1], height=-5.0, PixelSpacing=[0.9, 0.7])
    with pytest.raises(SourceError, match=r"001\.dcm: has another size, direction or spacing than 000\.dcm"):
        read_volume(folder, "series", str)


@pytest.mark.parametrize("grid", [(1, 1, 1), (0, 0, 0), (np.nan, 0.9, 5)])
def test_the_affine_of_nifti_counts_where_the_grid_says_otherwise(itk, tmp_path, grid):
    data = bytearray(nifti_bytes(STORED, lps_affine(spacing=(0.8, 0.9, 5.0))))
    struct.pack_into("<3f", data, 80, *grid)
    (tmp_path / "ct.nii").write_bytes(data)
    assert read_volume(tmp_path / "ct.nii", "nifti", str).pixel_spacing == pytest.approx((0.9, 0.8))


@pytest.mark.parametrize(("code", "millimetres"), [(0, 1.0), (1, 1e3), (2, 1.0), (3, 1e-3)])
def test_the_unit_of_nifti_is_followed(itk, tmp_path, code, millimetres):
    affine = np.diag([*[1 / millimetres] * 3, 1.0]) @ lps_affine(spacing=(0.8, 0.9, 5.0))
    data = bytearray(nifti_bytes(STORED, affine))
    data[123] = code
    (tmp_path / "ct.nii").write_bytes(data)
    assert read_volume(tmp_path / "ct.nii", "nifti", str).pixel_spacing == pytest.approx((0.9, 0.8))


@pytest.mark.parametrize(("column", "expected"), [(0.8, (0.9, 0.8)), (0.0, None)])
def test_nifti_without_an_affine_goes_by_its_grid(itk, tmp_path, column, expected):
    data = bytearray(nifti_bytes(STORED))
    struct.pack_into("<4f", data, 76, 1, column, 0.9, 5)
    struct.pack_into("<2h3f", data, 252, 1, 0, 0, 0, 1)  # a qform that turns RAS to LPS
    (tmp_path / "ct.nii").write_bytes(data)
    volume = read_volume(tmp_path / "ct.nii", "nifti", str)
    assert (volume.hounsfield == HU).all()
    assert volume.pixel_spacing == (expected and pytest.approx(expected))


def test_what_dicom_and_nifti_tell_is_stored_with_every_slice(itk, tmp_path):
    write_nifti(tmp_path / "own/ct.nii", STORED, lps_affine(spacing=(0.8, 0.9, 5.0)))
    write_series(tmp_path / "own/series", HU, PixelSpacing=[0.7, 0.5])
    write_dicom(tmp_path / "own/slice", HU[0], PixelSpacing=None)
    table = write_table(tmp_path / "own/list.csv", "image,split\nct.nii,train\nseries,train\nslice,train")
    records = build(HOUNSFIELD, table, tmp_path / "data")["train"]
    expected = [pytest.approx((0.9, 0.8))] * 3 + [pytest.approx((0.7, 0.5))] * 3 + [None]
    assert [record.spacing for record in records] == expected
    source = open_source(tmp_path / "data", HOUNSFIELD, "train")
    assert [source[index].spacing for index in range(7)] == [record.spacing for record in records]


@pytest.fixture
def folder(tmp_path):
    for index in range(3):
        write_picture(tmp_path / f"own/p{index}.png", index)
    return tmp_path / "own"


def test_the_spacing_of_pictures_is_what_the_manifest_tells(folder, tmp_path):
    table = """
    image,split,column_spacing,row_spacing
    p0.png,train,0.9,0.7
    p1.png,train,,
    p2.png,train,0.5,0.5
    """
    records = build(PICTURES, write_table(folder / "list.csv", table), tmp_path / "data")["train"]
    assert [record.spacing for record in records] == [pytest.approx((0.7, 0.9)), None, (0.5, 0.5)]
    assert open_source(tmp_path / "data", PICTURES, "train")[0].spacing == records[0].spacing


def test_pictures_of_which_nobody_tells_the_spacing_have_none(folder, tmp_path):
    table = write_table(folder / "list.csv", "image,split\np0.png,train")
    assert build(PICTURES, table, tmp_path / "data")["train"][0].spacing is None


def test_a_written_manifest_keeps_the_spacings(folder, tmp_path):
    table = write_table(folder / "list.csv", "image,row_spacing,column_spacing\np0.png,0.7,0.9\np1.png,,\np2.png,1,1")
    written = folder / "new.csv"
    before = build(PICTURES, table, tmp_path / "a", f"--manifest={written}")
    rows = list(csv.DictReader(written.read_text().splitlines()))
    assert [(row["row_spacing"], row["column_spacing"]) for row in rows] == [("0.7", "0.9"), ("", ""), ("1.0", "1.0")]
    assert build(PICTURES, written, tmp_path / "b") == before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("0.7,", "column_spacing is empty and the other spacing is not; write both in mm, or neither"),
        (",0.7", "row_spacing is empty and the other spacing is not"),
        ("0.7,0", "column_spacing '0' is not a number of mm from 0.001 to 1000; correct it"),
        ("-0.7,0.7", "row_spacing '-0.7' is not a number of mm"),
        ("nan,0.7", "row_spacing 'nan' is not a number of mm"),
        ("0.7,inf", "column_spacing 'inf' is not a number of mm"),
        ("0.7 mm,0.7", "row_spacing '0.7 mm' is not a number of mm"),
        ("0.0007,0.0007", "row_spacing '0.0007' is not a number of mm"),
    ],
)
def test_a_spacing_that_is_none_is_refused_with_its_row(folder, tmp_path, capsys, values, message):
    text = f"image,split,row_spacing,column_spacing\np0.png,train,0.7,0.7\np1.png,train,{values}"
    table = write_table(folder / "list.csv", text)
    assert prepare(PICTURES, table, tmp_path / "data") == 2
    refusal(capsys, f"jcs prepare: {table}, row 3: ", message)
    assert not (tmp_path / "data").exists()


def test_a_manifest_that_has_one_spacing_column_alone_is_refused(folder, tmp_path, capsys):
    table = write_table(folder / "list.csv", "image,split,row_spacing\np0.png,train,0.7")
    assert prepare(PICTURES, table, tmp_path / "data") == 2
    refusal(capsys, f"{table}, row 2: ", "column_spacing is empty")


def test_a_manifest_does_not_speak_for_a_header(itk, tmp_path, capsys):
    path = write_dicom(tmp_path / "own/slice", HU[0])
    text = "image,split,row_spacing,column_spacing\nslice,train,0.8,0.8"
    table = write_table(tmp_path / "own/list.csv", text)
    assert prepare(HOUNSFIELD, table, tmp_path / "data") == 2
    refusal(capsys, f"{path} ({table}, row 2): ", "is read from their headers; leave row_spacing and column_spacing")
