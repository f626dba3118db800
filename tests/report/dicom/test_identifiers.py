"""What leaves the machine: all kinds of results of sources full of identifiers, searched byte by byte."""

import importlib
import warnings

import numpy as np
import pydicom
import pytest
from dicom_sources import (
    COLUMNS,
    FILED_BY,
    PATIENT_ID,
    ROWS,
    STUDY_UID,
    decision,
    enhanced_header,
    instance_uid,
    lesion_report,
    planted_words,
    read_headers,
    scattered_labels,
    write_source,
)
from pydicom.uid import UID

from jcs_jax.errors import InputError
from jcs_jax.report.dicom import instances
from jcs_jax.report.dicom.capture import write_captures
from jcs_jax.report.dicom.instances import Algorithm
from jcs_jax.report.dicom.pseudonyms import Pseudonyms
from jcs_jax.report.dicom.seg import write_segmentation
from jcs_jax.report.dicom.source import source_series
from jcs_jax.report.dicom.sr import write_report

ALGORITHM = Algorithm("jcs-joint", "0.1.0")


def _write_all(folder, *, keep, enhanced=False, **elements):
    """A segmentation, a report and two pictures; their paths."""
    headers = read_headers(write_source(folder / "source", **elements))
    frames = [1, 3, 0, 2] if enhanced else None
    given = [enhanced_header(headers, order=[2, 0, 3, 1])] if enhanced else headers
    series = source_series(given, Pseudonyms(bytes(range(16)), keep=keep), frames=frames)
    report = lesion_report(3)
    labels = scattered_labels((4, ROWS, COLUMNS), 3)
    segmentation = write_segmentation(folder / "seg.dcm", labels, report.lesions, series, algorithm=ALGORITHM)
    write_report(folder / "sr.dcm", report, decision(), series, algorithm=ALGORITHM, segmentation=segmentation)
    pictures = [(index, np.full((8, 9, 3), index, np.uint8)) for index in range(2)]
    captures = write_captures(folder / "sc", pictures, series, algorithm=ALGORITHM)
    return [folder / "seg.dcm", folder / "sr.dcm", *captures]


@pytest.fixture(scope="module", params=[False, True], ids=["slices", "enhanced"])
def hidden(request, tmp_path_factory):
    return _write_all(tmp_path_factory.mktemp("hidden"), keep=False, enhanced=request.param)


@pytest.fixture(scope="module", params=[False, True], ids=["slices", "enhanced"])
def kept(request, tmp_path_factory):
    return _write_all(tmp_path_factory.mktemp("kept"), keep=True, enhanced=request.param)


def test_no_identifier_of_the_source_is_in_any_file(hidden):
    words = planted_words()
    assert len(words) >= 50
    for path in hidden:
        data = path.read_bytes()
        found = [word for word in words for code in ("latin-1", "utf-8") if word.encode(code) in data]
        assert found == []


def test_the_search_would_find_them(tmp_path):
    (path,) = write_source(tmp_path, 1)
    data = path.read_bytes()
    missed = [word for word in planted_words() if word.encode("latin-1") not in data]
    assert missed == [instance_uid(index) for index in (1, 2, 3)]


def test_files_say_that_the_identity_was_removed(hidden):
    for path in hidden:
        dataset = pydicom.dcmread(path)
        assert dataset.PatientIdentityRemoved == "YES"
        assert dataset.DeidentificationMethod
        assert not any((dataset.StudyDate, dataset.StudyTime, dataset.PatientBirthDate, dataset.AccessionNumber))
        assert dataset.PatientID.startswith("JCS-")
        assert not any(element.tag.is_private for element in dataset.iterall())


def test_results_stay_together_under_pseudonyms(hidden):
    read = [pydicom.dcmread(path) for path in hidden]
    assert len({dataset.StudyInstanceUID for dataset in read}) == 1
    assert len({dataset.PatientID for dataset in read}) == 1


def test_with_keep_they_are_filed_with_their_source(kept):
    for path in kept:
        data = path.read_bytes()
        assert PATIENT_ID.encode() in data
        assert STUDY_UID.encode() in data
        dataset = pydicom.dcmread(path)
        found = FILED_BY.keys() - {"SeriesInstanceUID", "FrameOfReferenceUID"}
        assert {key: str(dataset[key].value) for key in found} == {key: FILED_BY[key] for key in found}
        assert "PatientIdentityRemoved" not in dataset
    assert pydicom.dcmread(kept[0]).FrameOfReferenceUID == FILED_BY["FrameOfReferenceUID"]


def test_with_keep_nothing_is_written_that_does_not_file_it(kept):
    filed = [*FILED_BY.values(), *(instance_uid(index) for index in range(4)), "Müller", "Plantée"]
    for path in kept:
        data = path.read_bytes()
        assert [word for word in planted_words() if word not in filed and word.encode() in data] == []


def test_results_are_new_series_with_numbers_of_their_own(kept):
    read = [pydicom.dcmread(path) for path in kept]
    assert FILED_BY["SeriesInstanceUID"] not in {dataset.SeriesInstanceUID for dataset in read}
    assert len({dataset.SeriesInstanceUID for dataset in read}) == 3
    assert len({dataset.SeriesNumber for dataset in read}) == 3
    assert len({dataset.SOPInstanceUID for dataset in read}) == 4
    assert all(UID(dataset.SOPInstanceUID).is_valid for dataset in read)


def test_every_element_keeps_the_rules_of_its_kind(hidden, kept, monkeypatch):
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.RAISE)
    for path in (*hidden, *kept):
        assert len([element.value for element in pydicom.dcmread(path).iterall()]) > 20


def test_a_source_that_breaks_the_rules_is_written_without_a_word(tmp_path, capsys, caplog):
    with warnings.catch_warnings(record=True) as said, pydicom.config.disable_value_validation():
        warnings.simplefilter("always")
        paths = _write_all(tmp_path, keep=True, StudyInstanceUID="1.02.3", PatientName="Doe", PatientID="x" * 70)
    assert said == []
    assert "".join(capsys.readouterr()) == ""
    assert caplog.records == []
    for path in paths:
        assert b"1.02.3" in path.read_bytes()
        assert b"xxxx" not in path.read_bytes()


def test_without_highdicom_the_cure_is_told(tmp_path, monkeypatch):
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(instances.importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"pip install 'jcs-jax\[dicom\]'"):
        _write_all(tmp_path, keep=False)
    monkeypatch.undo()
    assert importlib.import_module("highdicom")


@pytest.mark.parametrize("text", ["", "a" * 65, "Müller", "a\nb", "a\\b"])
def test_a_name_of_the_algorithm_that_dicom_can_not_hold_is_refused(text):
    with pytest.raises(ValueError, match="printable ASCII"):
        Algorithm("jcs-joint", text)
