"""Many studies in one command: broken ones, parts of a list, earlier results, and names that must not collide."""

import json
from pathlib import Path

import numpy as np
import pytest
from chest_study import chest, chest_models, write_chest_dicom, write_chest_nifti
from ct_files import write_nifti, write_picture

from jcs_jax import cli

pytestmark = pytest.mark.usefixtures("chest_models")
__all__ = ["chest_models"]
CHEST = chest()


def _diagnose(output: Path, *inputs: object, model: str = "joint", flags: tuple = ()) -> int:
    given = ["--output", str(output), "--checkpoint", f"models/{model}", "--formats", "json"]
    return cli.main(["diagnose", *map(str, inputs), *given, *flags])


def _names(output: Path) -> list[str]:
    return sorted(path.name for path in output.iterdir())


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> list[Path]:
    """Six NIfTI files; not to be changed."""
    folder = tmp_path_factory.mktemp("studies")
    return [write_chest_nifti(folder / f"study{number}.nii", CHEST) for number in range(6)]


def _broken(folder: Path) -> dict[str, Path]:
    """Inputs that can't be diagnosed."""
    paths = {name: folder / name for name in ("missing", "empty", "truncated", "mask.nii.gz", "letter")}
    paths["empty"].mkdir()
    write_chest_dicom(paths["truncated"], CHEST)
    for path in paths["truncated"].iterdir():
        path.write_bytes(path.read_bytes()[:-3000])
    write_nifti(paths["mask.nii.gz"], CHEST.mask.astype(np.uint8))
    paths["letter"].write_text("Dear colleague,\n" * 30)
    return paths


def test_of_30_studies_5_broken_ones_are_listed_in_one_line_each(tmp_path, capsys):
    good = [write_chest_nifti(tmp_path / f"good{number:02d}.nii", CHEST) for number in range(25)]
    broken = _broken(tmp_path)
    inputs = [*good]
    for place, path in zip((0, 7, 8, 20, 29), broken.values(), strict=True):
        inputs.insert(place, path)
    assert _diagnose(tmp_path / "out", *inputs) == 1
    assert _names(tmp_path / "out") == sorted(path.stem for path in good)
    assert all((tmp_path / "out" / path.stem / "diagnosis.json").is_file() for path in good)
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 5
    for line, path in zip(lines, broken.values(), strict=True):
        assert line.startswith(f"jcs diagnose: {path}")
        assert "unexpected" not in line
        assert ";" in line
    assert captured.out.count("failed") == 5
    assert captured.out.count("done") == 25


def test_an_error_names_the_source_where_the_stage_knows_only_the_case(tmp_path, capsys):
    tissue = np.where(np.arange(64)[:, None, None] < 4, -1000, 40).astype(np.int16) * np.ones((1, 64, 20), np.int16)
    path = write_nifti(tmp_path / "leg.nii.gz", tissue, np.diag([-2.0, -2.0, 5.0, 1.0]))
    assert _diagnose(tmp_path / "out", path) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"jcs diagnose: {path}: no lungs found")
    assert "leg: no" not in line


def test_parts_of_a_list_are_disjoint_and_together_whole(tmp_path, studies):
    (tmp_path / "list.txt").write_text("# all\n\n" + "\n".join(map(str, studies[1:])) + "\n", encoding="utf-8-sig")
    seen = []
    for part in ("1/3", "2/3", "3/3"):
        flags = ("--case_list", str(tmp_path / "list.txt"), "--shard", part)
        assert _diagnose(tmp_path / part.replace("/", "of"), studies[0], flags=flags) == 0
        seen += _names(tmp_path / part.replace("/", "of"))
    assert sorted(seen) == [path.stem for path in studies]


def test_a_part_without_cases_is_done_at_once(tmp_path, studies, capsys):
    assert _diagnose(tmp_path / "out", studies[0], flags=("--shard", "2/2")) == 0
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "out").exists()


def test_done_studies_are_left_alone_and_the_others_done(tmp_path, studies):
    assert _diagnose(tmp_path, *studies[:2]) == 0
    mark = tmp_path / "study0" / "seen"
    mark.touch()
    (tmp_path / ".study1.0123abcd.old").mkdir()
    assert _diagnose(tmp_path, *studies[:3], flags=("--skip_done",)) == 0
    assert mark.exists()
    assert _names(tmp_path) == ["study0", "study1", "study2"]


@pytest.mark.parametrize(
    ("model", "flags"), [("one_sided", ()), ("joint", ("--classifier", "models/classifier")), ("other/joint", ())]
)
def test_results_of_other_networks_are_not_taken_for_done(model, flags, tmp_path, studies, capsys):
    assert _diagnose(tmp_path, studies[0]) == 0
    before = (tmp_path / "study0" / "diagnosis.json").read_bytes()
    capsys.readouterr()
    assert _diagnose(tmp_path, studies[0], model=model, flags=("--skip_done", *flags)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"jcs diagnose: {tmp_path / 'study0' / 'diagnosis.json'}: joint (jcs-diagnosis/2) made it")
    assert "their weights, thresholds or versions differ" in line
    assert (tmp_path / "study0" / "diagnosis.json").read_bytes() == before


def test_what_is_no_report_is_not_taken_for_done(tmp_path, studies, capsys):
    (tmp_path / "study0").mkdir()
    (tmp_path / "study0" / "diagnosis.json").write_text('{"schema": []}')
    assert _diagnose(tmp_path, studies[0], flags=("--skip_done",)) == 2
    assert "is no report of a diagnosis; move its folder away" in capsys.readouterr().err


def test_pictures_are_left_alone_when_done_though_another_network_screens(tmp_path, monkeypatch):
    picture = write_picture(tmp_path / "slice.png")
    flags = ("--classifier", "models/classifier")
    assert _diagnose(tmp_path / "out", picture, flags=flags) == 0
    assert _diagnose(tmp_path / "out", picture, flags=(*flags, "--skip_done")) == 0


def test_earlier_results_are_replaced_only_if_asked_for(tmp_path, studies, capsys):
    assert _diagnose(tmp_path, studies[0]) == 0
    assert _diagnose(tmp_path, studies[0]) == 2
    assert "already exists; give --overwrite" in capsys.readouterr().err
    assert _diagnose(tmp_path, studies[0], model="one_sided", flags=("--overwrite",)) == 0
    report = json.loads((tmp_path / "study0" / "diagnosis.json").read_text())
    assert report["model"]["checkpoint"] == "one_sided"
    assert _names(tmp_path) == ["study0"]


def test_a_number_in_place_of_a_name_never_takes_anothers_folder(tmp_path):
    named = write_chest_dicom(tmp_path / "Doe_Jane", CHEST)
    same = write_chest_nifti(tmp_path / "case-0001.nii", CHEST)
    assert _diagnose(tmp_path / "out", named, same) == 0
    assert _names(tmp_path / "out") == ["case-0001", "case-0001x"]
    sources = {path.name: json.loads((path / "diagnosis.json").read_text()) for path in (tmp_path / "out").iterdir()}
    assert sources["case-0001x"]["case"]["source"] == "dicom"
    for part in ("1/2", "2/2"):
        assert _diagnose(tmp_path / "parts", named, same, flags=("--shard", part)) == 0
    assert _names(tmp_path / "parts") == _names(tmp_path / "out")
