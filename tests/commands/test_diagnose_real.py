"""`jcs diagnose` on files of real scanners and archives: those of a corpus of odd ones, and one series of the chest."""

import json
import os
import time
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
import stub_network
from stub_network import VARIABLES, StubNetwork

import jcs_jax
from jcs_jax import cli

DATA = Path(os.environ.get("JCS_DATA", Path(__file__).parents[3] / "shared/data"))
CORPUS, SERIES = DATA / "dicom_corpus", DATA / "lung_pet_ct_dx"
LONGEST = 10.0  # seconds for a file, on a machine that is not busy
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no files in {CORPUS}; set JCS_DATA")
needs_series = pytest.mark.skipif(not SERIES.is_dir(), reason=f"no files in {SERIES}; set JCS_DATA")


@pytest.fixture(autouse=True)
def _stub_checkpoint(monkeypatch):
    loaded = (StubNetwork(), VARIABLES, stub_network.preset())
    monkeypatch.setattr(jcs_jax, "load_model", lambda name: loaded, raising=False)


def _diagnose(output: Path, *inputs: Path, formats: str = "nifti,seg,sr,sc") -> int:
    given = ["--output", str(output), "--checkpoint", "stub", "--formats", formats, "--segment_all"]
    return cli.main(["diagnose", *map(str, inputs), *given])


@needs_corpus
def test_every_file_of_the_corpus_gives_a_result_or_one_line(tmp_path, capfd):
    files = sorted(path for path in CORPUS.rglob("*") if path.is_file())
    done = 0
    for number, path in enumerate(files):
        start = time.process_time()
        code = _diagnose(tmp_path / str(number), path)
        assert time.process_time() - start < LONGEST, path
        captured = capfd.readouterr()
        if code == 0:
            done += 1
            assert captured.err == ""
            assert len(list((tmp_path / str(number)).glob("*/diagnosis.json"))) == 1
            continue
        (line,) = captured.err.splitlines()
        assert (code, captured.out) == (2, "")
        assert line.startswith(f"jcs diagnose: {path}: ")
        assert "unexpected" not in line
        assert not list(tmp_path.glob(f"{number}/*"))
    assert (len(files), done) == (85, 5)


@needs_corpus
def test_folders_of_the_corpus_give_a_result_or_one_line(tmp_path, capfd):
    folders = sorted(
        path for path in CORPUS.rglob("*") if path.is_dir() and any(one.is_file() for one in path.iterdir())
    )
    assert _diagnose(tmp_path, CORPUS, *folders, formats="sr") == 1
    captured = capfd.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) + len(list(tmp_path.glob("*/diagnosis.json"))) == len(folders) + 1
    assert all(any(line.startswith(f"jcs diagnose: {path}") for path in (CORPUS, *folders)) for line in lines)
    assert "unexpected" not in captured.err


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> tuple[Path, Path]:
    """The folder of the real series, and that of its result, with identifiers so that slices can be found again."""
    (series,) = {path.parent for path in SERIES.rglob("*.dcm")}
    output = tmp_path_factory.mktemp("result")
    with pytest.MonkeyPatch.context() as patched:
        loaded = (StubNetwork(), VARIABLES, stub_network.preset())
        patched.setattr(jcs_jax, "load_model", lambda name: loaded, raising=False)
        flags = ["--segment_all", "--keep_identifiers", "--formats", "nifti,seg"]
        assert cli.main(["diagnose", str(series), "--output", str(output), "--checkpoint", "stub", *flags]) == 0
    (folder,) = output.iterdir()
    return series, folder


def _source(series: Path) -> SimpleITK.Image:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    return reader.Execute()


@needs_series
def test_masks_of_a_real_series_lie_on_its_voxels(result):
    series, folder = result
    source, mask = _source(series), SimpleITK.ReadImage(str(folder / "mask.nii.gz"))
    lesions = SimpleITK.ReadImage(str(folder / "lesions.nii.gz"))
    found = SimpleITK.Resample(mask, source, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor, 7)
    mask_values, found_values = SimpleITK.GetArrayFromImage(mask), SimpleITK.GetArrayFromImage(found)
    assert set(np.unique(found_values)) == {0, 1}  # no voxel of the source lies outside
    assert mask_values.sum() == found_values.sum()
    assert sorted(mask.GetSize()) == sorted(source.GetSize())
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(lesions) > 0, mask_values > 0)
    for corner in np.ndindex(2, 2, 2):
        index = [int(one * (size - 1)) for one, size in zip(corner, source.GetSize(), strict=True)]
        place = mask.TransformPhysicalPointToContinuousIndex(source.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose(place, np.rint(place), atol=1e-3)


@needs_series
def test_the_segmentation_of_a_real_series_is_the_mask_voxel_by_voxel(result):
    series, folder = result
    source = _source(series)
    expected = SimpleITK.Resample(
        SimpleITK.ReadImage(str(folder / "lesions.nii.gz")),
        source,
        SimpleITK.Transform(),
        SimpleITK.sitkNearestNeighbor,
    )
    headers = {}
    for path in series.glob("*.dcm"):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        headers[round(float(header.ImagePositionPatient[2]), 3)] = header.SOPInstanceUID
    heights = [round(source.TransformIndexToPhysicalPoint((0, 0, index))[2], 3) for index in range(source.GetSize()[2])]
    found = highdicom.seg.segread(folder / "segmentation.dcm").get_pixels_by_source_instance(
        source_sop_instance_uids=[headers[height] for height in heights],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(found, np.minimum(SimpleITK.GetArrayFromImage(expected), 51))


@needs_series
def test_volumes_of_a_real_series_are_those_of_its_voxels(result):
    series, folder = result
    voxel = float(np.prod(_source(series).GetSpacing()))
    labels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "lesions.nii.gz")))
    report = json.loads((folder / "diagnosis.json").read_text())["lesions"]
    assert report["count"] == labels.max() > 0
    assert report["volume_ml"] == pytest.approx(np.count_nonzero(labels) * voxel / 1000, rel=1e-6)
    for lesion in report["lesions"]:
        volume = np.count_nonzero(labels == lesion["number"]) * voxel / 1000
        assert lesion["volume_ml"] == pytest.approx(volume, rel=1e-6, abs=5e-7)  # six decimals
