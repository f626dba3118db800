"""`jcs pack` writes a packed model folder, or one line and nothing."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import tiny

from jcs_jax import cli, shipped
from jcs_jax.checkpoints import describe_model, load_model, save_model
from jcs_jax.models.presets import build

PRESET = tiny.preset("classifier")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    variables = tiny.random_variables(build(PRESET), np.zeros((1, 32, 32, 3), np.float32))
    return save_model(tmp_path_factory.mktemp("models") / "model", variables, PRESET, provenance={"data": "noise"})


def _pack(checkpoint: object, output: object, *more: str) -> int:
    return cli.main(["pack", "--checkpoint", str(checkpoint), "--output", str(output), *more])


def test_the_line_tells_folder_preset_size_and_precision(model, tmp_path, capsys):
    assert _pack(model, tmp_path / "packed") == 0
    size = (tmp_path / "packed/variables.safetensors").stat().st_size / 1e6
    told = f"wrote {tmp_path / 'packed'}: classifier_tiny, {size:.2f} MB as float32; no value rounded\n"
    assert capsys.readouterr().out == told
    assert describe_model(tmp_path / "packed") == (PRESET, {"data": "noise"})


def test_float16_tells_the_largest_rounding_and_where_it_is(model, tmp_path, capsys):
    assert _pack(model, tmp_path / "packed", "--dtype", "float16") == 0
    line = capsys.readouterr().out
    told = json.loads((tmp_path / "packed/model.json").read_text())["packed"]
    assert f"as float16; largest rounding {told['largest_rounding']:.3g}, in params/" in line
    stored = safetensors.numpy.load_file(tmp_path / "packed/variables.safetensors")
    assert {array.dtype.name for array in stored.values()} == {"float16"}
    assert line.strip().rpartition(" ")[2] in stored


def test_a_shipped_model_is_packed_by_name(model, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "WEIGHTS", model.parent)
    monkeypatch.chdir(tmp_path)
    assert _pack("model", "packed") == 0
    assert load_model("packed")[2] == PRESET


def test_a_model_in_the_way_is_replaced_only_with_overwrite(model, tmp_path, capsys):
    assert _pack(model, tmp_path / "packed") == 0
    assert _pack(model, tmp_path / "packed", "--dtype", "float16") == 2
    assert "exists already; name another --output or add --overwrite" in capsys.readouterr().err
    assert _pack(model, tmp_path / "packed", "--dtype", "float16", "--overwrite") == 0
    assert json.loads((tmp_path / "packed/model.json").read_text())["packed"]["dtype"] == "float16"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "missing --checkpoint, --output; see jcs pack --help"),
        (["--checkpoint", "absent"], "missing --output; see"),
        (["--checkpoint", "absent", "--output", "out", "more"], "'more' belongs to no flag; see"),
        (["--checkpoint", "absent", "--output", "out"], "absent: no model here"),
        (["--checkpoint", "absent", "--output", "there"], "there: exists and is no model folder"),
        (["--checkpoint", "absent", "--output", "file/out"], "file: is a file; name a folder for the model"),
        (["--checkpoint", "absent", "--output", "out", "--dtype", "int8"], "float32|float16"),
    ],
)
def test_bad_usage_is_one_line_exit_code_2_and_nothing_written(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    assert cli.main(["pack", *arguments]) == 2
    captured = capsys.readouterr()
    assert re.fullmatch(r"jcs pack: .+\n", captured.err)
    assert said in captured.err
    assert captured.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "there"]
