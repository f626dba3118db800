"""The command that makes the shipped weights: what it runs, in what order, and that every flag is there."""

import importlib
import importlib.util
import json
import re
from pathlib import Path

import chain
import pytest
from absl import flags

from jcs_jax.shipped import DEFAULT_MODEL, WEIGHTS

ROOT = Path(__file__).parents[1]
LARGEST = 8_000_000  # bytes, of the file of weights inside the wheel


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("jcs_tiny", ROOT / "experiments/jcs_tiny.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_but_training_is_understood_by_its_verb(script, tmp_path):
    commands = [*script.preparation(tmp_path / "copies", tmp_path), *script.finish(tmp_path, tmp_path / "model")]
    assert [verb for verb, *_ in commands] == ["prepare"] * 5 + ["calibrate", "pack"] + ["evaluate"] * 3
    for verb, *arguments in commands:
        values = flags.FlagValues()
        importlib.import_module(f"jcs_jax.commands.{verb}").define_flags(values)
        left = values([verb, *arguments])[1:]
        assert len(left) == (verb == "prepare")


def test_stages_start_from_each_other_with_the_options_given(script, tmp_path):
    commands, model = chain.training(script.STAGES, tmp_path, tmp_path / "data", ["steps=3"])
    assert len(commands) == 4
    before = ""
    for verb, *arguments in commands:
        given = dict(argument.lstrip("-").split("=", 1) for argument in arguments)
        assert (verb, given["config.steps"]) == ("train", "3")
        assert given.get("config.init_from", "") == before
        assert (ROOT / given["config"].rpartition(":")[0]).is_file()
        before = given["workdir"]
    assert model == Path(before) / "model"


def test_what_is_prepared_is_left_alone(script, tmp_path):
    (tmp_path / "data/ucsd_covid_ct/default").mkdir(parents=True)
    prepared = [arguments[1] for arguments in script.preparation(tmp_path, tmp_path)]
    assert "ucsd_covid_ct" not in prepared
    assert len(prepared) == 4


@pytest.mark.parametrize(("arguments", "said"), [([], "missing --source_dir"), (["--nothing=1"], "nothing")])
def test_bad_usage_is_one_line(script, capsys, arguments, said):
    assert script.main(arguments) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1


def test_the_shipped_weights_are_of_this_command_small_and_tell_nothing_of_the_machine(script):
    folder = WEIGHTS / DEFAULT_MODEL
    assert (folder / "variables.safetensors").stat().st_size < LARGEST
    described = json.loads((folder / "model.json").read_text())
    data = described["provenance"]["config"]["data"]
    trained = {f"{data['dataset']}:{data['train_split']}", *data["also_train_on"].split(",")}
    held_back = {*script.CALIBRATED_ON, *script.MEASURED_ON}
    assert not trained & held_back
    (learned,) = [part for part in trained if part.startswith("ucsd")]
    (kept,) = [part for part in script.CALIBRATED_ON if part.startswith("ucsd")]
    assert not _rows(learned) & _rows(kept)
    assert described["provenance"]["calibration"]["data"] == ", ".join(script.CALIBRATED_ON)
    assert str(Path.home()) not in json.dumps(described)
    assert "data_dir" not in data


def _rows(part: str) -> set[int]:
    """What `train[2:4]+train[7:]` takes of 425 slices."""
    pieces = re.findall(r"train\[(\d*):(\d*)\]", part)
    assert len(pieces) == part.count("train")
    return {row for first, end in pieces for row in range(int(first or 0), int(end or 425))}
