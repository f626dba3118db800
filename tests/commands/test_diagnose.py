"""`jcs diagnose` from the command line's side: folders, exit codes, one line per error."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import stub_network
from PIL import Image
from stub_network import VARIABLES, StubNetwork, square

import jcs_jax
from jcs_jax import cli
from jcs_jax.errors import InputError
from jcs_jax.report import json_report

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def _stub_checkpoint(monkeypatch):
    loaded = (StubNetwork(), VARIABLES, stub_network.preset())
    monkeypatch.setattr(jcs_jax, "load_model", lambda name: loaded, raising=False)


def _picture(path: Path, intensity: np.ndarray | None = None, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = square() if intensity is None else intensity
    Image.fromarray(np.round(values * 255).astype(np.uint8)).save(path, **options)
    return path


def _diagnose(output: Path, *inputs: Path, flags=("--checkpoint", "stub")) -> int:
    return cli.main(["diagnose", *map(str, inputs), "--output", str(output), *flags])


def _report(folder: Path) -> dict:
    report = json.loads((folder / "diagnosis.json").read_text())
    jsonschema.validate(report, json_report.schema())
    return report


def test_slice_gets_a_folder_with_report_and_pictures(tmp_path, output, capsys):
    assert _diagnose(output, _picture(tmp_path / "my slice.png")) == 0
    folder = output / "my slice"
    assert sorted(path.name for path in folder.iterdir()) == [
        "activation.png", "diagnosis.json", "mask.png", "overlay.png", "report.html",
    ]  # fmt: skip
    report = _report(folder)
    (values,) = report["slices"]
    assert values["class_probability"] == pytest.approx(stub_network.probability(square()), abs=1e-5)
    assert values["lesion_share_of_picture"] == 1 / 16
    assert values["map_mask_agreement"]["pointing_hit"] is True
    mask = np.asarray(Image.open(folder / "mask.png"))
    np.testing.assert_array_equal(mask, np.where(square() > 0.5, 255, 0))
    captured = capsys.readouterr()
    assert captured.out.rstrip().endswith("Research use only: not a medical device.")
    assert captured.err == ""


def test_report_names_neither_paths_nor_the_user(tmp_path, output):
    _diagnose(output, _picture(tmp_path / "secret folder" / "a.png"))
    text = (output / "a" / "diagnosis.json").read_text()
    assert "secret folder" not in text
    assert str(tmp_path) not in text


def test_folder_is_one_case_with_numbered_pictures_in_natural_order(tmp_path, output):
    for number in (10, 2, 1):
        _picture(tmp_path / "study" / f"slice{number}.jpg", square(number / 10))
    assert _diagnose(output, tmp_path / "study", flags=("--checkpoint", "stub", "--batch_size", "2")) == 0
    report = _report(output / "study")
    assert [values["file"] for values in report["slices"]] == ["slice1.jpg", "slice2.jpg", "slice10.jpg"]
    assert report["case"]["slices"] == 3
    assert report["case"]["highest_slice"] == 3
    assert (output / "study" / "0003_overlay.png").is_file()


def test_one_bad_case_is_listed_and_the_others_are_done(tmp_path, output, capsys):
    good, missing = _picture(tmp_path / "good.png"), tmp_path / "missing.png"
    _picture(tmp_path / "study" / "a.png")
    (tmp_path / "study" / "b.png").write_bytes(b"broken")
    assert _diagnose(output, missing, good, tmp_path / "study") == 1
    assert [path.name for path in output.iterdir()] == ["good"]
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 2
    assert lines[0] == f"jcs diagnose: {missing}: no such file; check the path"
    assert lines[1].startswith(f"jcs diagnose: {tmp_path / 'study' / 'b.png'}: not a readable")
    assert "failed" in captured.out


def _bad_inputs(folder: Path) -> dict[str, Path]:
    grey = np.arange(64 * 64).reshape(64, 64).astype(np.uint8)
    alpha = np.dstack([grey, grey, grey, grey])
    files = {name: folder / f"{name}.png" for name in ("missing", "no_image", "empty", "dot", "deep", "see_through")}
    files["no_image"].write_text("hello")
    files["empty"].touch()
    Image.fromarray(grey[:1, :1]).save(files["dot"])
    Image.fromarray(grey.astype(np.uint16) * 256).save(files["deep"])
    Image.fromarray(alpha).save(files["see_through"])
    files["no_pictures"] = folder / "no_pictures"
    files["no_pictures"].mkdir()
    return files


@pytest.mark.parametrize("kind", ["missing", "no_image", "empty", "dot", "deep", "see_through", "no_pictures"])
def test_bad_input_is_one_line_exit_code_2_and_nothing_written(tmp_path, output, capsys, kind):
    path = _bad_inputs(tmp_path)[kind]
    before = sorted(tmp_path.rglob("*"))
    assert _diagnose(output, path) == 2
    captured = capsys.readouterr()
    assert re.fullmatch(rf"jcs diagnose: {re.escape(str(path))}: .+; .+\n", captured.err)
    assert captured.out == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["--output", "out", "--checkpoint", "stub"],
        ["a.png", "--checkpoint", "stub"],
        ["a.png", "--output", "out", "--checkpoint", ""],
        ["a.png", "--output", "out", "--checkpoint", "stub", "--batch_size", "0"],
        ["a.png", "--output", "out", "--checkpoint", "stub", "--unknown", "1"],
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    _picture(tmp_path / "a.png")
    assert cli.main(["diagnose", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_unknown_checkpoint_is_bad_usage_and_nothing_written(tmp_path, output, monkeypatch, capsys):
    def refuse(name):
        raise InputError(f"{name}: no model here; name a model folder")

    monkeypatch.setattr(jcs_jax, "load_model", refuse, raising=False)
    assert _diagnose(output, _picture(tmp_path / "a.png")) == 2
    assert capsys.readouterr().err == "jcs diagnose: stub: no model here; name a model folder\n"
    assert not output.exists()


def test_existing_result_is_kept_without_overwrite_and_replaced_with_it(tmp_path, output, capsys):
    picture = _picture(tmp_path / "a.png")
    assert _diagnose(output, picture) == 0
    (output / "a" / "mine.txt").write_text("kept")
    assert _diagnose(output, picture) == 2
    assert "already exists; give --overwrite" in capsys.readouterr().err
    assert (output / "a" / "mine.txt").read_text() == "kept"
    assert _diagnose(output, picture, flags=("--checkpoint", "stub", "--overwrite")) == 0
    assert not (output / "a" / "mine.txt").exists()


def test_overwrite_never_takes_a_folder_that_is_no_result(tmp_path, output):
    (output / "a").mkdir(parents=True)
    (output / "a" / "thesis.txt").write_text("years of work")
    assert _diagnose(output, _picture(tmp_path / "a.png"), flags=("--checkpoint", "stub", "--overwrite")) == 2
    assert (output / "a" / "thesis.txt").read_text() == "years of work"


def test_failed_overwrite_keeps_the_earlier_result(tmp_path, output, monkeypatch):
    picture = _picture(tmp_path / "a.png")
    _diagnose(output, picture)
    before = (output / "a" / "diagnosis.json").read_bytes()
    broken = {"params": {"class_head": {"kernel": np.full((2, 2), np.nan, np.float32)}}}
    loaded = (StubNetwork(), broken, stub_network.preset())
    monkeypatch.setattr(jcs_jax, "load_model", lambda name: loaded, raising=False)
    assert _diagnose(output, picture, flags=("--checkpoint", "stub", "--overwrite")) == 2
    assert (output / "a" / "diagnosis.json").read_bytes() == before
    assert [path.name for path in output.iterdir()] == ["a"]


def test_output_that_is_a_file_is_bad_input(tmp_path, output, capsys):
    output.write_text("a file")
    assert _diagnose(output, _picture(tmp_path / "a.png")) == 2
    assert capsys.readouterr().err == f"jcs diagnose: {output}: not a folder; give another --output\n"
    assert output.read_text() == "a file"


def test_results_are_the_same_every_time(tmp_path):
    picture = _picture(tmp_path / "a.png")
    for run in ("one", "two"):
        assert _diagnose(tmp_path / run, picture) == 0
    for path in (tmp_path / "one" / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / "a" / path.name).read_bytes()


def test_help_names_flags_and_exit_codes(capsys):
    assert cli.main(["diagnose", "--help"]) == 0
    text = capsys.readouterr().out
    for word in ("--output", "--checkpoint", "--[no]overwrite", "batch_size", "Exit code", "Research use only"):
        assert word in text


def test_launcher_in_experiments_is_the_same_command():
    launcher = [sys.executable, str(REPOSITORY / "experiments" / "diagnose.py"), "absent.png"]
    run = subprocess.run([*launcher, "--output=out", "--checkpoint=x"], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == "jcs diagnose: absent.png: no such file; check the path\n"
