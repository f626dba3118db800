"""The folder of a volume: which files there are, what they show, and that the report names just them."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from chest_study import VARIABLES, ChestNetwork, chest, chest_preset, write_chest_dicom, write_chest_nifti
from PIL import Image

from jcs_jax import memory, read_study
from jcs_jax.diagnosis.predictor import Predictor
from jcs_jax.diagnosis.result import ModelCard
from jcs_jax.diagnosis.study_predictor import StudyPredictor, source_grid
from jcs_jax.report.dicom.pseudonyms import Pseudonyms
from jcs_jax.report.study_folder import NO_DICOM_SOURCE, NO_LESION, write_study

PSEUDONYMS = Pseudonyms(bytes(32))
CHEST, HEALTHY = chest(), chest(lesions=0)


@pytest.fixture(scope="module")
def predictor() -> StudyPredictor:
    card = ModelCard.of("chest", chest_preset().to_json())
    return StudyPredictor(Predictor.of(ChestNetwork(), VARIABLES, chest_preset(), card=card))


@pytest.fixture(scope="module")
def study(tmp_path_factory, predictor) -> tuple:
    """Diagnosis, maps and grid of a DICOM study."""
    volume = read_study(write_chest_dicom(tmp_path_factory.mktemp("study"), CHEST))
    return *predictor.diagnose(volume, "study"), source_grid(volume, headers=True)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory, predictor) -> tuple:
    volume = read_study(write_chest_nifti(tmp_path_factory.mktemp("healthy") / "healthy.nii", HEALTHY))
    return *predictor.diagnose(volume, "healthy"), source_grid(volume, headers=True)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("formats", "files"),
    [
        ((), []),
        (("html",), ["report.html"]),
        (("nifti",), ["lesions.nii.gz", "mask.nii.gz"]),
        (("seg",), ["segmentation.dcm"]),
        (("sr",), ["report.dcm"]),
        (("seg", "sr"), ["report.dcm", "segmentation.dcm"]),
    ],
)
def test_what_was_asked_for_is_written_and_named_beside_the_report(formats, files, tmp_path, study):
    report = write_study(tmp_path, *study, formats=formats, pseudonyms=PSEUDONYMS)
    assert _files(tmp_path) == sorted(["diagnosis.json", *files])
    assert sorted(name for name in report["files"].values() if name) == files
    assert json.loads((tmp_path / "diagnosis.json").read_text()) == json.loads(json.dumps(report))


def test_a_study_whose_arrays_leave_memory_has_the_same_results(tmp_path, monkeypatch, predictor):
    rescaled = {"RescaleIntercept": "-1023.5"}  # HU that are not whole numbers
    chests = [(CHEST, {}), (HEALTHY, {}), (CHEST, rescaled)]
    folders = [write_chest_dicom(tmp_path / str(number), one, **more) for number, (one, more) in enumerate(chests)]

    def write(output: Path) -> dict[str, bytes]:
        for source in folders:
            folder = output / source.name
            folder.mkdir(parents=True)
            volume = read_study(source)
            study = *predictor.diagnose(volume, "study"), source_grid(volume, headers=False)
            write_study(folder, *study, formats=("html", "png", "nifti"), pseudonyms=PSEUDONYMS)
        return {name: (output / name).read_bytes() for name in _files(output)}

    wanted = write(tmp_path / "in memory")
    monkeypatch.setattr(memory, "IN_MEMORY", 0)
    monkeypatch.setattr(memory, "_PASSED", 0)
    got = write(tmp_path / "paged")
    assert list(got) == list(wanted)
    assert [name for name in got if got[name] != wanted[name]] == []


def test_pictures_show_the_positive_slices(tmp_path, study):
    report = write_study(tmp_path, *study, formats=("png",), pseudonyms=PSEUDONYMS)
    for one, mask in zip(report["slices"], CHEST.mask, strict=True):
        names = [one["files"][kind] for kind in ("mask", "overlay", "activation")]
        assert all(names) is bool(mask.any())
        if mask.any():
            with Image.open(tmp_path / one["files"]["mask"]) as picture:
                np.testing.assert_array_equal(np.asarray(picture) > 0, mask)
        else:
            assert names == [None] * 3


def test_of_a_healthy_study_one_slice_is_shown(tmp_path, healthy):
    report = write_study(tmp_path, *healthy, formats=("png",), pseudonyms=PSEUDONYMS)
    shown = [one for one in report["slices"] if one["files"]["activation"]]
    assert [one["number"] for one in shown] == [report["case"]["highest_slice"]]
    assert shown[0]["files"]["mask"] is None


def test_the_number_of_a_lesion_is_its_value_in_the_file_of_lesions(tmp_path, study):
    diagnosis, maps, grid = study
    report = write_study(tmp_path, diagnosis, maps, grid, formats=("nifti",), pseudonyms=PSEUDONYMS)
    labels = np.asarray(nibabel.load(tmp_path / "lesions.nii.gz").dataobj)
    mask = np.asarray(nibabel.load(tmp_path / "mask.nii.gz").dataobj)
    np.testing.assert_array_equal(mask, labels > 0)
    voxel = 2.0 * 2.0 * 5.0
    for lesion in report["lesions"]["lesions"]:
        assert lesion["volume_ml"] == pytest.approx(np.count_nonzero(labels == lesion["number"]) * voxel / 1000)


def test_captures_stand_in_the_order_of_the_source_and_name_its_slices(tmp_path, study):
    report = write_study(tmp_path, *study, formats=("sc",), pseudonyms=Pseudonyms(bytes(32), keep=True))
    named = [pydicom.dcmread(tmp_path / name).SourceImageSequence[0] for name in report["files"]["captures"]]
    positive = np.flatnonzero(CHEST.mask.any(axis=(1, 2)))
    assert {one.ReferencedSOPInstanceUID for one in named} == {f"1.2.3.4.{index}" for index in positive}


def test_dicom_formats_need_a_dicom_source_and_a_segmentation_an_opacity(tmp_path, study, healthy):
    report = write_study(tmp_path, *healthy, formats=("seg", "sr", "sc"), pseudonyms=PSEUDONYMS)
    assert NO_DICOM_SOURCE in report["notes"]
    assert _files(tmp_path) == ["diagnosis.json"]
    assert NO_LESION not in report["notes"]


def test_an_empty_segmentation_is_not_written_but_told(tmp_path, predictor):
    volume = read_study(write_chest_dicom(tmp_path / "source", HEALTHY))
    found = predictor.diagnose(volume, "healthy")
    (tmp_path / "out").mkdir()
    report = write_study(
        tmp_path / "out", *found, source_grid(volume, headers=True), formats=("seg", "sr"), pseudonyms=PSEUDONYMS
    )
    assert NO_LESION in report["notes"]
    assert _files(tmp_path / "out") == ["diagnosis.json", "report.dcm"]
