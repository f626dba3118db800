"""`jcs export` writes programs that `jcs diagnose --engine` runs, or says in one line why not and writes nothing."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from jcs_jax import cli
from jcs_jax.checkpoints import load_model, save_model
from jcs_jax.engines.names import ENGINES
from jcs_jax.errors import InputError
from jcs_jax.export import folder as export_folder
from jcs_jax.models.presets import build

pytestmark = pytest.mark.engines
PRESET = tiny.preset("joint", classes=2, norm="fixed_statistics")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Folders: model, its export with both forms, and two pictures to diagnose."""
    folder = tmp_path_factory.mktemp("made")
    variables = tiny.random_variables(build(PRESET), np.zeros((1, 32, 32, 3), np.float32))
    save_model(folder / "model", variables, PRESET, provenance={"seed": 0})
    (folder / "pictures").mkdir()
    for number in range(2):
        grey = np.random.default_rng(number).integers(0, 256, (40, 50)).astype(np.uint8)
        Image.fromarray(grey).save(folder / "pictures" / f"{number}.png")
    assert _export(folder, folder / "exported", "--formats", "onnx,stablehlo") == 0
    return folder


def _export(folder: Path, output: Path, *more: str) -> int:
    return cli.main(["export", "--checkpoint", str(folder / "model"), "--output", str(output), *more])


def _diagnose(folder: Path, checkpoint: str, output: Path, *more: str) -> int:
    wanted = ["--checkpoint", str(folder / checkpoint), "--output", str(output), "--formats=json"]
    return cli.main(["diagnose", str(folder / "pictures"), *wanted, *more])


def test_every_stage_is_there_in_every_form(made):
    names = {file.name for file in (made / "exported").iterdir()}
    assert names == {"export.json", "screen.onnx", "segment.onnx", "screen.stablehlo", "segment.stablehlo"}
    told = json.loads((made / "exported" / "export.json").read_text())
    assert told["notice"].startswith("Research use only")
    assert told["model"]["checkpoint"] == "model"
    assert told["preset"]["options"]["norm"] == "none"  # folded
    assert told["provenance"] == {"seed": 0}


def test_engines_diagnose_as_jax_does_and_say_who_computed(made, tmp_path):
    assert _diagnose(made, "model", tmp_path / "jax") == 0
    wanted = json.loads((tmp_path / "jax" / "pictures" / "diagnosis.json").read_text())
    assert (wanted["model"]["engine"], wanted["model"]["precision"]) == ("jax", "float32")
    for engine in ENGINES:
        assert _diagnose(made, "exported", tmp_path / engine, f"--engine={engine}") == 0
        told = json.loads((tmp_path / engine / "pictures" / "diagnosis.json").read_text())
        assert (told["model"]["engine"], told["model"]["precision"]) == (engine, "float32")
        assert told["model"]["weights_sha256"] == wanted["model"]["weights_sha256"]
        assert told["model"]["checkpoint"] == "model"
        for one, other in zip(told["slices"], wanted["slices"], strict=True):
            assert one["class_probability"] == pytest.approx(other["class_probability"], abs=1e-5)
            assert one["positive"] == other["positive"]
            assert one["lesion_share_of_picture"] == pytest.approx(other["lesion_share_of_picture"], abs=1e-3)


def test_jax_computes_in_bfloat16_if_asked_to(made, tmp_path):
    assert _diagnose(made, "model", tmp_path / "exact") == 0
    assert _diagnose(made, "model", tmp_path / "rough", "--precision=bfloat16") == 0
    exact, rough = (json.loads((tmp_path / n / "pictures" / "diagnosis.json").read_text()) for n in ("exact", "rough"))
    assert rough["model"]["precision"] == "bfloat16"
    for one, other in zip(rough["slices"], exact["slices"], strict=True):
        assert one["class_probability"] == pytest.approx(other["class_probability"], abs=0.1)
        assert one["class_probability"] != other["class_probability"]


def test_results_of_another_engine_are_not_taken_for_done(made, tmp_path, capsys):
    assert _diagnose(made, "model", tmp_path / "out") == 0
    capsys.readouterr()
    assert _diagnose(made, "exported", tmp_path / "out", "--engine=onnxruntime", "--skip_done") == 2
    assert "give another --output" in capsys.readouterr().err


def test_the_console_tells_what_was_written_and_how_near_it_is(made, tmp_path, capsys):
    assert _export(made, tmp_path / "out") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"wrote {tmp_path / 'out' / n}.onnx" for n in ("screen", "segment")
    ]
    assert all(line.endswith("of JAX") for line in lines)
    assert _export(made, tmp_path / "out", "--overwrite") == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "missing --output; see jcs export --help"),
        (["extra", "--output=x"], "'extra' belongs to no flag; see jcs export --help"),
        (["--output=x", "--formats=onnx,tflite"], "--formats=onnx,tflite: choose from onnx,stablehlo"),
        (["--output=x", "--formats="], "--formats=: choose from onnx,stablehlo"),
    ],
)
def test_bad_usage_is_one_line(made, arguments, reason, capsys):
    assert cli.main(["export", "--checkpoint", str(made / "model"), *arguments]) == 2
    assert capsys.readouterr().err == f"jcs export: {reason}\n"
    assert not Path("x").exists()


def test_what_is_in_the_way_is_kept(made, tmp_path, capsys):
    assert _export(made, made / "exported") == 2
    assert "exists already; name another --output or add --overwrite" in capsys.readouterr().err
    assert _export(made, made / "model", "--overwrite") == 2
    assert "exists and is no exported model folder; name another --output" in capsys.readouterr().err
    load_model(made / "model")


def test_without_the_extra_it_says_so(made, tmp_path, capsys, monkeypatch):
    for module in ("onnx_graph", "folder", "programs", "layouts", "translation"):
        monkeypatch.delitem(sys.modules, f"jcs_jax.export.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert _export(made, tmp_path / "out") == 2
    assert capsys.readouterr().err == "jcs export: onnx: exporting is an extra; pip install 'jcs-jax[onnx]'\n"
    assert not (tmp_path / "out").exists()


def test_a_program_that_computes_something_else_is_not_written(made, tmp_path, monkeypatch):
    monkeypatch.setattr(export_folder, "TOLERANCE", -1.0)
    with pytest.raises(InputError, match=r"model: as screen.onnx its probabilities differ from JAX's by up to"):
        export_folder.export_model(made / "model", tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["model", "--engine=openvino"], "no exported model here (export.json is missing); make it of a model folder"),
        (["exported"], "no model here (model.json is missing)"),
        (["exported", "--engine=onnxruntime", "--precision=bfloat16"], "onnxruntime computes in float32 only"),
    ],
)
def test_an_engine_and_a_folder_that_do_not_fit_are_one_line(made, tmp_path, arguments, reason, capsys):
    checkpoint, *more = arguments
    assert _diagnose(made, checkpoint, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_engine_needs_a_model_by_name(made, tmp_path, capsys):
    arguments = ["diagnose", str(made / "pictures"), "--output", str(tmp_path / "out"), "--engine=openvino"]
    assert cli.main(arguments) == 2
    assert "runs an exported model; make one with `jcs export --checkpoint jcs_tiny" in capsys.readouterr().err
