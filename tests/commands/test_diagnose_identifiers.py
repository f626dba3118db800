"""Sixty identifiers of a patient are planted in a DICOM study; none is in any result unless it was asked for."""

import gzip
import json
import secrets
from pathlib import Path

import numpy as np
import pydicom
import pytest
from chest_study import SLICES, chest, chest_models, write_chest_dicom
from dicom_sources import DEVICE_SECRETS, FILED_BY, PATIENT_ID, PRIVATE, STUDY_UID

from jcs_jax import cli

pytestmark = pytest.mark.usefixtures("chest_models")
__all__ = ["chest_models"]
CHEST = chest()
FORMATS = "json,html,png,nifti,seg,sr,sc"
MORE = {
    "PatientBirthTime": "091011.121314",
    "PatientBirthName": "Born^Planted",
    "OtherPatientNames": "Alias^Planted",
    "ScheduledProcedureStepID": "SPS-PLANTED-20",
    "RequestedProcedureID": "REQ-PLANTED-21",
    "FillerOrderNumberImagingServiceRequest": "FILL-PLANTED-22",
    "AcquisitionUID": "1.2.826.77001.8",
    "InstanceCreatorUID": "1.2.826.77001.7",
    "PatientReligiousPreference": "creed planted 23",
    "ContrastBolusAgent": "agent planted 24",
}
PLANTED = {**FILED_BY, **DEVICE_SECRETS, **MORE}


def _planted_study(folder: Path) -> Path:
    """Named after the patient, in files named after their UIDs."""
    study = folder / f"{PATIENT_ID}_Muller-PLANTEE_1991-02-02"
    named = {key: value for key, value in PLANTED.items() if key not in ("SOPInstanceUID",)}
    write_chest_dicom(
        study,
        CHEST,
        SpecificCharacterSet="ISO_IR 100",
        **{**named, "SOPInstanceUID": lambda index: f"1.2.826.77001.4.{index}"},
    )
    for path in sorted(study.iterdir()):
        dataset = pydicom.dcmread(path)
        dataset.private_block(0x0009, "PLANTED MAKER", create=True).add_new(0x01, "LO", PRIVATE)
        dataset.save_as(path.with_name(f"CT.{dataset.SOPInstanceUID}.dcm"))
        path.unlink()
    return study


def _words() -> list[str]:
    """What must not be found."""
    texts = [value for value in PLANTED.values() if len(value) > 1]
    parts = ["Müller", "Plantée", "PLANTED MAKER", PRIVATE, "19910202", "1991-02-02"]
    return [*texts, *parts, *(f"1.2.826.77001.4.{index}" for index in range(SLICES))]


def _leaks(data: bytes) -> list[str]:
    """Words in bytes, in any capitals, in the encodings that files use."""
    lower = data.lower()
    return [
        word
        for word in _words()
        if any(word.lower().encode(code) in lower for code in ("utf-8", "latin-1", "utf-16-le"))
    ]


def _contents(folder: Path) -> dict[str, bytes]:
    """Every file, and what compressed ones hold; beside it the names themselves."""
    found = {"names": " ".join(path.relative_to(folder).as_posix() for path in folder.rglob("*")).encode()}
    for path in folder.rglob("*"):
        if path.is_file():
            found[path.name] = path.read_bytes()
            if path.suffix == ".gz":
                found[f"in {path.name}"] = gzip.decompress(path.read_bytes())
    return found


def _diagnose(study: Path, output: Path, *flags: str) -> int:
    return cli.main(
        ["diagnose", str(study), "--output", str(output), "--checkpoint", "models/joint", "--formats", FORMATS, *flags]
    )


def test_at_least_sixty_are_planted_and_would_be_found(tmp_path):
    study = _planted_study(tmp_path)
    assert len(set(_words())) >= 60
    source = b"".join(path.read_bytes() for path in study.iterdir()) + study.name.encode()
    assert set(_leaks(source)) == set(_words())


def test_no_result_and_no_output_tells_who_the_patient_is(tmp_path, capfd):
    study = _planted_study(tmp_path)
    assert _diagnose(study, tmp_path / "out", "--timings") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["case-0001"]
    captured = capfd.readouterr()
    assert captured.err == ""
    contents = {**_contents(tmp_path / "out"), "stdout": captured.out.encode()}
    assert {name for name in contents if name.endswith((".dcm", ".gz", ".png", ".html", ".json"))}
    assert {name: found for name, data in contents.items() if (found := _leaks(data))} == {}
    assert json.loads(contents["diagnosis.json"])["files"]["sr"] == "report.dcm"


def test_identifiers_are_kept_in_dicom_results_if_asked_for(tmp_path):
    study = _planted_study(tmp_path)
    assert _diagnose(study, tmp_path / "out", "--keep_identifiers") == 0
    folder = tmp_path / "out" / study.name
    results = list(folder.rglob("*.dcm"))
    assert len(results) == 2 + np.count_nonzero(CHEST.mask.any(axis=(1, 2)))
    for path in results:
        dataset = pydicom.dcmread(path)
        assert (dataset.PatientID, dataset.StudyInstanceUID) == (PATIENT_ID, STUDY_UID)
        assert dataset.AccessionNumber == FILED_BY["AccessionNumber"]
        assert not [word for word in DEVICE_SECRETS.values() if word.encode() in path.read_bytes()]


@pytest.mark.parametrize("same_key", [True, False])
def test_pseudonyms_are_the_same_with_the_same_key_only(same_key, tmp_path):
    study, found = _planted_study(tmp_path), []
    for run in range(2):
        key = tmp_path / f"key{0 if same_key else run}"
        if not key.exists():
            key.write_bytes(secrets.token_bytes(32).hex().encode())
        given = ["--checkpoint", "models/joint", "--formats", "sr", "--pseudonym_key", str(key)]
        assert cli.main(["diagnose", str(study), "--output", str(tmp_path / f"out{run}"), *given]) == 0
        (folder,) = (tmp_path / f"out{run}").iterdir()
        dataset = pydicom.dcmread(folder / "report.dcm")
        found.append((folder.name, dataset.PatientID, dataset.StudyInstanceUID))
    assert all((first == second) is same_key for first, second in zip(*found, strict=True))


def test_a_result_named_after_its_place_is_never_taken_for_another_patients(tmp_path, capsys):
    study = _planted_study(tmp_path)
    given = ["diagnose", str(study), "--output", str(tmp_path / "out"), "--checkpoint", "models/joint"]
    assert cli.main(given) == 0
    capsys.readouterr()
    assert cli.main([*given, "--skip_done"]) == 2
    assert "may another patient's; give --pseudonym_key to both runs" in capsys.readouterr().err
    (tmp_path / "key").write_text("0123456789abcdef")
    with_key = [*given, "--pseudonym_key", str(tmp_path / "key"), "--skip_done"]
    assert cli.main(with_key) == 0
    mark = next(path for path in (tmp_path / "out").iterdir() if path.name != "case-0001") / "seen"
    mark.touch()
    assert cli.main(with_key) == 0
    assert mark.exists()
