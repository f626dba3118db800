"""`jcs diagnose` on whole studies of which every opaque voxel is known: DICOM and NIfTI in, all formats out."""

import json
import zipfile
from pathlib import Path

import highdicom
import jsonschema
import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from chest_study import (
    OPACITY,
    RAS_FROM_LPS,
    SLICES,
    Chest,
    chest,
    chest_models,
    write_chest_dicom,
    write_chest_nifti,
)

from jcs_jax import cli
from jcs_jax.diagnosis.stages import Stages
from jcs_jax.report import json_report
from jcs_jax.report.study_folder import NO_DICOM_SOURCE, NO_LESION

__all__ = ["chest_models"]
pytestmark = pytest.mark.usefixtures("chest_models")
ALL_FORMATS = "json,html,png,nifti,seg,sr,sc"
FOR_MACHINES = "nifti,seg,sr,sc"
CHEST, HEALTHY = chest(), chest(lesions=0)
POSITIVE = np.flatnonzero(CHEST.mask.any(axis=(1, 2)))


def _diagnose(output: Path, *inputs: Path, model: str = "joint", formats: str = "json", flags: tuple = ()) -> int:
    given = ["--output", str(output), "--checkpoint", f"models/{model}", "--formats", formats]
    return cli.main(["diagnose", *map(str, inputs), *given, *flags])


def _report(folder: Path) -> dict:
    report = json.loads((folder / "diagnosis.json").read_text())
    jsonschema.validate(report, json_report.schema())
    return report


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """`series` and `chest.nii.gz`; not to be changed."""
    folder = tmp_path_factory.mktemp("sources")
    write_chest_dicom(folder / "series", CHEST)
    write_chest_nifti(folder / "chest.nii.gz", CHEST)
    return folder


@pytest.fixture
def counted(monkeypatch) -> dict[str, int]:
    """How many slices went through each stage."""
    seen = {"screen": 0, "segment": 0}

    def counting(stage):
        real = getattr(Stages, stage)

        def count(self, inputs, *others):
            seen[stage] += len(inputs)
            return real(self, inputs, *others)

        return count

    for stage in seen:
        monkeypatch.setattr(Stages, stage, counting(stage))
    return seen


def _opaque_places(path: Path) -> set[tuple[float, ...]]:
    """LPS mm of the voxels that aren't 0, by SimpleITK."""
    image = SimpleITK.ReadImage(str(path))
    indices = np.argwhere(SimpleITK.GetArrayFromImage(image).T)
    return {_place(image.TransformIndexToPhysicalPoint([int(one) for one in index])) for index in indices}


def _place(point: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in np.round(point, 2) + 0.0)


def _planted_places(one: Chest) -> set[tuple[float, ...]]:
    return {_place((one.affine @ [*index, 1])[:3]) for index in np.argwhere(one.mask)}


def test_a_dicom_study_gives_every_format_and_a_decision(tmp_path, sources, capsys):
    assert _diagnose(tmp_path / "out", sources / "series", formats=ALL_FORMATS) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.rstrip().endswith("Research use only: not a medical device.")
    folder = tmp_path / "out" / "series"
    report = _report(folder)
    named = report["files"]
    assert [named[kind] for kind in ("html", "mask_nifti", "lesions_nifti", "seg", "sr")] == [
        "report.html", "mask.nii.gz", "lesions.nii.gz", "segmentation.dcm", "report.dcm",
    ]  # fmt: skip
    assert len(named["captures"]) == len(POSITIVE)
    pictures = [name for one in report["slices"] for name in one["files"].values() if name]
    assert len(pictures) == 3 * len(POSITIVE)
    flat = [name for value in named.values() for name in ([value] if isinstance(value, str) else value)]
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"diagnosis.json", *flat, *pictures}
    assert report["case"]["source"] == "dicom"
    assert report["case"]["positive_slices"] == len(POSITIVE)
    assert report["decision"]["answer"] == "infected"
    assert [place for place, one in enumerate(report["slices"]) if one["positive"]] == POSITIVE.tolist()
    _check_lesions(report)
    _check_masks(folder)


def _check_lesions(report: dict) -> None:
    """Against the planted voxels."""
    spacing, thickness = report["geometry"]["pixel_spacing_mm"], report["geometry"]["slice_thickness_mm"]
    voxel = spacing[0] * spacing[1] * thickness
    assert report["lesions"]["count"] == 4
    assert report["lesions"]["volume_ml"] == pytest.approx(CHEST.mask.sum() * voxel / 1000, rel=1e-6)
    assert [one["mean_hu"] for one in report["lesions"]["lesions"]] == [OPACITY] * 4


def _check_masks(folder: Path) -> None:
    """NIfTI and SEG show the planted voxels, at the same places in the patient."""
    planted = _planted_places(CHEST)
    assert _opaque_places(folder / "mask.nii.gz") == planted
    assert _opaque_places(folder / "lesions.nii.gz") == planted
    segmentation = highdicom.seg.segread(folder / "segmentation.dcm").get_volume(combine_segments=True)
    points = segmentation.map_indices_to_reference(np.argwhere(segmentation.array))
    assert {_place(point) for point in points} == planted
    image = nibabel.load(folder / "lesions.nii.gz")
    labels = {
        _place((RAS_FROM_LPS @ image.affine @ [*at, 1])[:3]): image.dataobj[*at] for at in np.argwhere(image.dataobj)
    }
    for index, point in zip(np.argwhere(segmentation.array), points, strict=True):
        assert segmentation.array[*index] == labels[_place(point)]


def test_captures_refer_to_the_slices_they_show(tmp_path, sources):
    _diagnose(tmp_path / "out", sources / "series", formats="sc", flags=("--keep_identifiers",))
    captures = [pydicom.dcmread(path) for path in sorted((tmp_path / "out" / "series" / "captures").iterdir())]
    shown = [one.SourceImageSequence[0].ReferencedSOPInstanceUID for one in captures]
    assert sorted(shown) == sorted(f"1.2.3.4.{index}" for index in POSITIVE)


@pytest.mark.parametrize("kind", ["zip", "DICOMDIR", "nifti", "downwards"])
def test_every_way_to_hand_in_a_study_gives_the_same_lesions(kind, tmp_path, sources):
    assert _diagnose(tmp_path / "first", sources / "series") == 0
    source = _handed_in(kind, tmp_path, sources)
    assert _diagnose(tmp_path / "second", source) == 0
    (first,), (second,) = ((tmp_path / run).iterdir() for run in ("first", "second"))
    one, other = _report(first), _report(second)
    for part in ("decision", "lesions", "geometry", "slices"):
        assert one[part] == other[part]


def _handed_in(kind: str, folder: Path, sources: Path) -> Path:
    if kind == "zip":
        with zipfile.ZipFile(folder / "study.zip", "w") as archive:
            for path in (sources / "series").iterdir():
                archive.write(path, f"a/b/{path.name}")
        return folder / "study.zip"
    if kind == "DICOMDIR":
        write_chest_dicom(folder / "disc" / "IMAGES", CHEST)
        (folder / "disc" / "DICOMDIR").write_bytes(b"")
        return folder / "disc" / "DICOMDIR"
    if kind == "downwards":
        return write_chest_nifti(folder / "turned.nii", CHEST, ((0, 2, 1), (-1, 1, -1)))
    return sources / "chest.nii.gz"


def test_dicom_formats_of_a_nifti_source_are_left_out_with_a_note(tmp_path, sources):
    assert _diagnose(tmp_path, sources / "chest.nii.gz", formats=FOR_MACHINES) == 0
    report = _report(tmp_path / "chest")
    assert NO_DICOM_SOURCE in report["notes"]
    assert [report["files"][kind] for kind in ("seg", "sr", "captures")] == [None] * 3
    assert not list(tmp_path.rglob("*.dcm"))
    assert _opaque_places(tmp_path / "chest" / "mask.nii.gz") == _planted_places(CHEST)


def test_a_healthy_study_has_an_empty_mask_and_no_segmentation(tmp_path):
    assert _diagnose(tmp_path / "out", write_chest_dicom(tmp_path / "series", HEALTHY), formats=FOR_MACHINES) == 0
    report = _report(tmp_path / "out" / "series")
    assert NO_LESION in report["notes"]
    assert report["decision"]["answer"] == "not infected"
    assert report["decision"]["probability"] == pytest.approx(1 / (1 + np.exp(2)), abs=1e-6)
    assert (report["lesions"]["count"], report["files"]["seg"]) == (0, None)
    assert not np.asarray(nibabel.load(tmp_path / "out" / "series" / "mask.nii.gz").dataobj).any()


def test_only_positive_slices_are_segmented(tmp_path, sources, counted):
    _diagnose(tmp_path, sources / "chest.nii.gz")
    assert counted == {"screen": SLICES, "segment": len(POSITIVE)}
    slices = _report(tmp_path / "chest")["slices"]
    assert [place for place, one in enumerate(slices) if one["segmented"]] == POSITIVE.tolist()
    assert all((one["lesion_share_of_picture"] is None) == (not one["segmented"]) for one in slices)


def test_all_slices_are_segmented_if_asked_for(tmp_path, sources, counted):
    _diagnose(tmp_path, sources / "chest.nii.gz", flags=("--segment_all", "--batch_size", "5"))
    assert counted == {"screen": SLICES, "segment": SLICES}
    report = _report(tmp_path / "chest")
    assert all(one["segmented"] for one in report["slices"])
    _check_lesions(report)


@pytest.mark.parametrize(("classifier", "segmented"), [("classifier", len(POSITIVE)), ("alarmist", SLICES)])
def test_another_network_can_screen(classifier, segmented, tmp_path, sources, counted):
    flags = ("--classifier", f"models/{classifier}")
    assert _diagnose(tmp_path, sources / "chest.nii.gz", model="segmenter", flags=flags) == 0
    assert counted == {"screen": SLICES, "segment": segmented}
    report = _report(tmp_path / "chest")
    assert (report["model"]["checkpoint"], report["screening_model"]["checkpoint"]) == ("segmenter", classifier)
    _check_lesions(report)


def test_a_network_without_class_head_can_not_screen(tmp_path, sources, capsys):
    flags = ("--classifier", "models/segmenter")
    assert _diagnose(tmp_path / "out", sources / "chest.nii.gz", flags=flags) == 2
    assert capsys.readouterr().err.startswith("jcs diagnose: segmenter: has no class head")
    assert not (tmp_path / "out").exists()


def test_a_segmenter_alone_segments_all_and_decides_nothing(tmp_path, sources, counted):
    assert _diagnose(tmp_path, sources / "series", model="segmenter", formats=FOR_MACHINES) == 0
    assert counted == {"screen": 0, "segment": SLICES}
    report = _report(tmp_path / "series")
    assert (report["decision"], report["activation"]) == (None, None)
    _check_lesions(report)
    _check_masks(tmp_path / "series")


def test_a_classifier_alone_decides_and_measures_nothing(tmp_path, sources):
    assert _diagnose(tmp_path, sources / "series", model="classifier", formats=FOR_MACHINES) == 0
    report = _report(tmp_path / "series")
    assert (report["decision"]["answer"], report["lesions"]) == ("infected", None)
    assert [report["files"][kind] for kind in ("mask_nifti", "lesions_nifti", "seg")] == [None] * 3
    assert report["files"]["sr"] == "report.dcm"
    assert len(report["files"]["captures"]) == len(POSITIVE)


def test_mirrored_slices_are_averaged_if_asked_for(tmp_path, sources):
    """A network that is blind on one half sees the whole with the mirror image."""
    for run, flags in (("plain", ("--segment_all",)), ("both", ("--segment_all", "--flip"))):
        assert _diagnose(tmp_path / run, sources / "chest.nii.gz", model="one_sided", flags=flags, formats="nifti") == 0
    planted = _planted_places(CHEST)
    middle = (CHEST.affine @ [0, 0, CHEST.mask.shape[2] // 2, 1])[0]
    seen = {place for place in planted if place[0] < middle}
    assert 0 < len(seen) < len(planted)
    assert _opaque_places(tmp_path / "plain" / "chest" / "mask.nii.gz") == seen
    assert _opaque_places(tmp_path / "both" / "chest" / "mask.nii.gz") == planted


def test_a_slab_of_lung_is_too_little_for_a_decision(tmp_path):
    one = Chest(CHEST.hounsfield[8:14], CHEST.mask[8:14], CHEST.affine)
    assert _diagnose(tmp_path, write_chest_nifti(tmp_path / "slab.nii.gz", one)) == 0
    decision = _report(tmp_path / "slab")["decision"]
    assert decision["answer"] == "can't tell"
    assert decision["reasons"] == ["only 6 slices with lung over 30 mm; a decision needs at least 3 slices over 40 mm"]


def test_the_same_command_with_the_same_key_gives_the_same_results(tmp_path, sources):
    """Byte for byte; DICOM results tell when they were made, and have the same UIDs."""
    (tmp_path / "key").write_bytes(b"0123456789abcdef")
    for run in ("one", "two"):
        flags = ("--pseudonym_key", str(tmp_path / "key"))
        assert _diagnose(tmp_path / run, sources / "series", formats=ALL_FORMATS, flags=flags) == 0
    files = [path for path in sorted((tmp_path / "one").rglob("*")) if path.is_file()]
    for path in files:
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        if path.suffix == ".dcm":
            first, second = pydicom.dcmread(path), pydicom.dcmread(other)
            assert (first.SOPInstanceUID, first.PatientID) == (second.SOPInstanceUID, second.PatientID)
        else:
            assert path.read_bytes() == other.read_bytes(), path.name
