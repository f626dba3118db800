import numpy as np
import pydicom
import pytest
from dicom_sources import FILED_BY, enhanced_header, instance_uid, read_headers, write_source
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage

from jcs_jax.report.dicom.pseudonyms import Pseudonyms
from jcs_jax.report.dicom.source import source_series

HIDDEN, KEPT = Pseudonyms(bytes(16)), Pseudonyms(bytes(16), keep=True)
GEOMETRY = {"ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns"}


@pytest.fixture(scope="module")
def headers(tmp_path_factory):
    return read_headers(write_source(tmp_path_factory.mktemp("source")))


def test_geometry_is_the_sources_to_the_last_digit(headers):
    for header, original in zip(source_series(headers, HIDDEN).headers, headers, strict=True):
        for keyword in GEOMETRY:
            assert str(header[keyword].value) == str(original[keyword].value)


def test_a_header_has_nothing_but_what_is_listed(headers):
    for header in source_series(headers, HIDDEN).headers:
        filled = {element.keyword for element in header if element.value not in (None, "")}
        assert filled == GEOMETRY | {
            "SpecificCharacterSet",
            "Modality",
            "SOPClassUID",
            "SOPInstanceUID",
            "StudyInstanceUID",
            "SeriesInstanceUID",
            "FrameOfReferenceUID",
            "PatientID",
            "PatientName",
            "PatientIdentityRemoved",
            "DeidentificationMethod",
        }


def test_with_keep_an_archive_can_file_it_with_its_source(headers):
    header = source_series(headers, KEPT).headers[2]
    assert {keyword: str(header[keyword].value) for keyword in FILED_BY} == FILED_BY
    assert header.SOPInstanceUID == instance_uid(2)
    assert "PatientIdentityRemoved" not in header


def test_values_that_break_the_rules_are_left_empty(headers, tmp_path):
    (path,) = write_source(tmp_path, 1)
    with pydicom.config.disable_value_validation():
        broken = pydicom.dcmread(path)
        broken.PatientBirthDate, broken.PatientSex, broken.StudyID = "1933-4-5", "female", "a study of some length"
        (header,) = source_series([broken], KEPT).headers
    assert not any((header.PatientBirthDate, header.PatientSex, header.StudyID))
    assert header.PatientID == FILED_BY["PatientID"]


def test_what_is_missing_is_made_up_the_same_way_for_all_slices(tmp_path):
    missing = {"StudyInstanceUID": "", "FrameOfReferenceUID": "", "SliceThickness": "", "PatientID": ""}
    series = source_series(read_headers(write_source(tmp_path, 3, step=(0, 0, -1.25), **missing)), KEPT)
    assert len({header.StudyInstanceUID for header in series.headers}) == 1
    assert len({header.FrameOfReferenceUID for header in series.headers}) == 1
    assert all(header.StudyInstanceUID.startswith("2.25.") for header in series.headers)
    assert [header.SliceThickness for header in series.headers] == [1.25] * 3


@pytest.mark.parametrize("pseudonyms", [HIDDEN, KEPT])
def test_slices_without_a_uid_are_told_apart(pseudonyms, tmp_path):
    slices = read_headers(write_source(tmp_path, 3))
    for header in slices:
        header.SOPInstanceUID = ""
    uids = {header.SOPInstanceUID for header in source_series(slices, pseudonyms).headers}
    assert len(uids) == 3
    assert all(uid.startswith("2.25.") for uid in uids)


def test_patients_without_an_id_are_not_taken_for_one(tmp_path):
    found = set()
    for study in ("1.2.3", "1.2.4"):
        (path,) = write_source(tmp_path / study, 1, PatientID="", StudyInstanceUID=study)
        found.add(source_series(read_headers([path]), HIDDEN).headers[0].PatientID)
    assert len(found) == 2


def test_frames_of_a_file_keep_their_numbers(headers):
    enhanced = enhanced_header(headers, order=[2, 0, 3, 1, 2])
    series = source_series([enhanced], KEPT, frames=[1, 3, 0, 2])
    assert [reference.frame for reference in series.references] == [2, 4, 1, 3]
    assert {reference.class_uid for reference in series.references} == {EnhancedCTImageStorage}
    assert len({header.SOPInstanceUID for header in series.headers}) == 4
    assert {header.SOPClassUID for header in series.headers} == {CTImageStorage}
    for header, original in zip(series.headers, headers, strict=True):
        assert header.ImagePositionPatient == original.ImagePositionPatient
        assert header.PixelSpacing == original.PixelSpacing
    assert series.files() == {instance_uid(0): [0, 1, 2, 3]}


def test_without_numbers_all_frames_are_taken_in_order(headers):
    series = source_series([enhanced_header(headers, order=[3, 2, 1, 0])], HIDDEN)
    heights = [float(header.ImagePositionPatient[2]) for header in series.headers]
    np.testing.assert_allclose(heights, [109, 106.5, 104, 101.5])


def test_headers_and_frames_must_match(headers):
    with pytest.raises(ValueError, match="4 headers for 3 frames"):
        source_series(headers, HIDDEN, frames=[0, 0, 0])
    with pytest.raises(ValueError, match="no headers"):
        source_series([], HIDDEN)


def test_a_private_kind_of_file_is_not_named(tmp_path):
    (path,) = write_source(tmp_path, 1, SOPClassUID="1.2.826.77001.8")
    assert source_series(read_headers([path]), HIDDEN).references[0].class_uid == CTImageStorage
    assert source_series(read_headers([path]), KEPT).references[0].class_uid == "1.2.826.77001.8"
