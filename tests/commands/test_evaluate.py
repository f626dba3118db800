"""`jcs evaluate` and its experiment twin, from flags to files."""

import json
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from jcs_jax import cli
from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.errors import InputError
from jcs_jax.evaluation import run
from jcs_jax.models.output import ModelOutput
from jcs_jax.models.presets import Preset
from jcs_jax.preprocessing import Preprocessing

REPOSITORY = Path(__file__).parents[2]


class Stub(nn.Module):
    def __call__(self, images, train=False):
        return ModelOutput(None, jnp.repeat(20 * (images[..., :1] - 0.5), 5, axis=-1), {})


def _source(names):
    image = np.zeros((16, 16), np.float32)
    image[:8] = 1
    return ArraySource([Example(image, mask=image.astype(np.uint8), name=name) for name in names])


@pytest.fixture
def flags(tmp_path, monkeypatch):
    """Flags of a run that works, with the checkpoint and the data set replaced by ones in memory."""
    preset = Preset("stub", "segmenter", {}, Preprocessing((16, 16), mean=(0, 0, 0), std=(1, 1, 1)))
    splits = {"fold0": _source("ab"), "fold1": _source("cd"), "bare": ArraySource([Example(np.zeros((4, 4)))])}
    monkeypatch.setattr(run, "load_model", lambda path: (Stub(), {}, preset))
    monkeypatch.setattr(run, "open_source", lambda data_dir, dataset, split: splits[split])
    return {
        "checkpoint": "runs/a",
        "data": "demo/clean",
        "split": "fold0",
        "data_dir": "data",
        "output": str(tmp_path / "results"),
    }


def _run(flags):
    return cli.main(["evaluate", *(f"--{name}={value}" for name, value in flags.items())])


def test_writes_the_results_and_shows_a_table(flags, capsys):
    assert _run(flags | {"train_split": "fold1"}) == 0
    document = json.loads((Path(flags["output"]) / "metrics.json").read_text())
    dice = document["summary"]["segmentation"]["dice"]
    assert (dice["value"], dice["n"], dice["n_absent"]) == (1.0, 2, 0)
    assert dice["interval"] == pytest.approx([0.342, 1], abs=1e-3)  # Wilson's, of two slices of unknown patients
    assert (document["checkpoint"], document["dataset"]) == ("runs/a", "demo/clean")
    assert (document["split"], document["train_split"]) == ("fold0", "fold1")
    assert (Path(flags["output"]) / "cases.csv").is_file()
    shown = capsys.readouterr().out
    assert "stub on 2 slices" in shown
    assert "1.0000" in shown
    assert "Research use only" in shown


def test_the_page_has_the_numbers(flags):
    assert _run(flags | {"train_split": "fold1"}) == 0
    page = (Path(flags["output"]) / "evaluation.html").read_text()
    assert "Evaluation of stub on demo/clean" in page


def test_folds_are_measured_together_each_with_its_model(flags, monkeypatch, capsys):
    asked = []

    def load(path):
        asked.append(path)
        return Stub(), {}, Preset("stub", "segmenter", {}, Preprocessing((16, 16), mean=(0, 0, 0), std=(1, 1, 1)))

    monkeypatch.setattr(run, "load_model", load)
    pattern = {"checkpoint": "runs/{fold}/model", "split": "{fold}", "train_split": "{others}", "folds": "2"}
    assert _run(flags | pattern) == 0
    document = json.loads((Path(flags["output"]) / "metrics.json").read_text())
    assert asked == ["runs/fold0/model", "runs/fold1/model"]
    assert (document["counts"]["slices"], document["folds"]) == (4, 2)
    assert _run(flags | {"folds": "2"}) == 2
    assert "needs {fold} in --checkpoint" in capsys.readouterr().err


def test_a_protocol_says_what_is_measured(flags, monkeypatch, capsys):
    asked = []

    def open_source(data_dir, dataset, split):
        asked.append((dataset, split))
        return _source("ab" if split == "test" else "cd")

    monkeypatch.setattr(run, "open_source", open_source)
    told = {name: flags[name] for name in ("checkpoint", "data_dir", "output")}
    assert _run(told | {"protocol": "covid_semiseg_50_48"}) == 0
    assert asked == [("covid_semiseg", "test"), ("covid_semiseg", "train")]
    shown = capsys.readouterr().out
    assert "Inf-Net" in shown
    assert "Caution:" in shown
    document = json.loads((Path(flags["output"]) / "metrics.json").read_text())
    assert document["protocol"] == "covid_semiseg_50_48"
    assert document["published"]
    assert _run(flags | {"protocol": "covid_semiseg_50_48"}) == 2
    assert "leave out --data, --split" in capsys.readouterr().err
    assert _run(told | {"protocol": "covid_semiseg_50_48", "save_thresholds": "t.json"}) == 2
    assert "leave out --protocol" in capsys.readouterr().err
    assert _run(told | {"protocol": "mine"}) == 2
    assert "covid_semiseg_50_48" in capsys.readouterr().err


def test_another_model_is_compared_on_the_same_slices(flags):
    assert _run(flags | {"against": "runs/b"}) == 0
    document = json.loads((Path(flags["output"]) / "metrics.json").read_text())
    numbers = {number["name"]: number for number in document["comparison"]["numbers"]}
    assert numbers["dice"]["difference"] == 0


def test_thresholds_are_chosen_on_one_split_and_used_on_another(flags, monkeypatch, tmp_path, capsys):
    weights = ["abc"]
    monkeypatch.setattr(run, "weights_digest", lambda path: weights[0])
    file = tmp_path / "thresholds.json"
    del flags["output"]
    assert _run(flags | {"split": "fold1", "save_thresholds": str(file)}) == 0
    assert "mask threshold 0.0039" in capsys.readouterr().out
    output = tmp_path / "results"
    flags |= {"output": str(output), "thresholds": str(file)}
    assert _run(flags) == 0
    document = json.loads((output / "metrics.json").read_text())
    assert document["thresholds"]["mask"] == pytest.approx(1 / 255)
    assert document["thresholds_chosen_on"] == "demo/clean:fold1"
    weights[0] = "def"
    assert _run(flags) == 2
    assert "another model's weights" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["checkpoint", "data", "split", "data_dir", "output"])
def test_a_missing_flag_is_named(flags, name, capsys):
    del flags[name]
    assert _run(flags) == 2
    assert f"missing --{name}" in capsys.readouterr().err


def test_bad_usage_is_one_line_and_writes_nothing(flags, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    cases = [
        (flags | {"split": "bare"}, "neither masks nor labels"),
        (flags | {"output": str(tmp_path / "file")}, "file: is a file"),
        (flags | {"output": str(tmp_path / "file" / "inside")}, "file: is a file"),
        (flags | {"batch_size": "0"}, "batch_size"),
    ]
    for options, message in cases:
        assert _run(options) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert cli.main(["evaluate", *(f"--{name}={value}" for name, value in flags.items()), "extra"]) == 2
    assert "'extra' belongs to no flag" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_an_unknown_checkpoint_is_one_line(flags, monkeypatch, capsys):
    def refuse(path):
        raise InputError(f"{path}: no checkpoint; name a folder that training wrote")

    monkeypatch.setattr(run, "load_model", refuse)
    assert _run(flags) == 2
    assert capsys.readouterr().err == "jcs evaluate: runs/a: no checkpoint; name a folder that training wrote\n"
    assert not Path(flags["output"]).exists()


def test_the_experiment_takes_the_same_flags_and_exit_codes(tmp_path):
    command = [sys.executable, str(REPOSITORY / "experiments" / "evaluate.py")]
    helped = subprocess.run([*command, "--help"], capture_output=True, text=True, cwd=tmp_path, check=False)
    for name in ("checkpoint", "data", "split", "data_dir", "output", "train_split", "batch_size"):
        assert f"--{name}" in helped.stdout
    refused = subprocess.run([*command, "--split=fold0"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert refused.returncode == 2
    assert "missing --checkpoint" in refused.stderr
    assert "Traceback" not in refused.stderr


class _LeftHalf(nn.Module):
    """Marks what is bright in the left half of the slice."""

    def __call__(self, images, train=False):
        seen = jnp.where(jnp.arange(images.shape[2])[:, None] < images.shape[2] // 2, images[..., :1], 0.0)
        return ModelOutput(None, jnp.repeat(20 * (seen - 0.5), 5, axis=-1), {})


def test_flip_averages_over_mirror_images_and_says_so(flags, monkeypatch, capsys):
    preset = Preset("stub", "segmenter", {}, Preprocessing((16, 16), mean=(0, 0, 0), std=(1, 1, 1)), mask_threshold=0.4)
    monkeypatch.setattr(run, "load_model", lambda path: (_LeftHalf(), {}, preset))
    results = {}
    for flip in ("False", "True"):
        assert _run(flags | {"flip": flip}) == 0
        document = json.loads((Path(flags["output"]) / "metrics.json").read_text())
        results[flip] = document["summary"]["segmentation"]["dice"]["value"]
        assert document.get("flip", False) is (flip == "True")
        assert any("mirror image" in note for note in document["notes"]) is (flip == "True")
    assert results == {"False": pytest.approx(2 / 3), "True": pytest.approx(1)}
    assert "mirror image" in capsys.readouterr().out


def test_stored_features_cannot_be_mirrored(flags, monkeypatch, capsys):
    features = ArraySource([Example(None, mask=np.ones((4, 4), np.uint8), vgg_features=np.zeros((4, 4, 2), np.uint8))])
    monkeypatch.setattr(run, "open_source", lambda data_dir, dataset, split: features)
    assert _run(flags | {"flip": "True"}) == 2
    told = capsys.readouterr().err
    assert "--flip: demo/clean holds stored features, not pictures to mirror; leave it out" in told
    assert told.count("\n") == 1
