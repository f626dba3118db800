"""Names of folders that tell who the patient is."""

from pathlib import Path

import pytest
from ct_files import noise, write_dicom
from pydicom.dataset import Dataset

from jcs_jax.study.dicom.identifiers import names_patient

OTHER = Dataset()
OTHER.PatientID = "OLD-0815"
ELEMENTS = {
    "SpecificCharacterSet": "ISO_IR 192",
    "PatientName": "Müller^Jo=山田^太郎",
    "PatientID": "AB-12.34",
    "PatientBirthDate": "19330405",
    "StudyDate": "20070404",
    "StudyID": "7",
    "StudyInstanceUID": "1.2.826.99.1",
    "AccessionNumber": "ACC 77-8",
    "OtherPatientIDsSequence": [OTHER],
}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_dicom(folder / "0.dcm", noise(0), **ELEMENTS)
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "MÜLLER chest", "muller", "Mu\u0308ller", "Jo", "ct_jo_2", "山田 CT", "AB-12.34", "ab1234", "x(AB_12_34)",
        "19330405", "05.04.1933", "1933-04-05", "04_04_2007_Chest", "CT 070404", "1.2.826.99.1", "acc77-8", "old0815",
    ],
)  # fmt: skip
def test_names_with_an_identifier_are_known(name, study):
    assert names_patient(name, study)


@pytest.mark.parametrize("name", ["chest", "case 7", "journal", "study-12", "2007", "1.2.826", "山"])
def test_other_names_are_left_alone(name, study):
    assert not names_patient(name, study)


def test_one_file_that_can_not_be_read_hides_nothing(study, tmp_path):
    (tmp_path / "000").write_bytes(b"no DICOM")
    (tmp_path / "001.dcm").write_bytes((study / "0.dcm").read_bytes())
    assert names_patient("Muller", tmp_path)


def test_series_after_the_first_are_looked_at_too(study, tmp_path):
    write_dicom(tmp_path / "0.dcm", noise(0), PatientName="", PatientID="")
    (tmp_path / "1.dcm").write_bytes((study / "0.dcm").read_bytes())
    assert names_patient("Muller", tmp_path)


def test_what_can_not_be_read_tells_nothing(tmp_path):
    assert not names_patient("Muller", tmp_path / "missing")
    assert not names_patient("Muller", tmp_path)
