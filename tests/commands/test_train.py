"""`jcs train`: bad usage is one line and exit code 2 before anything is written; a good run is measured."""

import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from jcs_jax import cli
from jcs_jax.commands import evaluate
from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.errors import InputError
from jcs_jax.training import data, loop

CONFIG = """
from jcs_jax.training.config import default_config

def get_config():
    config = default_config()
    config.data.data_dir = "nowhere"
    return config
"""
ROOT = Path(__file__).parents[2]
# ml_collections loads config files in a way that Python will drop one day.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # the file of the test before, as it was loaded
    path = tmp_path / "config.py"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def calls(monkeypatch):
    """A run whose data are in memory and whose training and measurement are only written down."""
    one, two, three, four = np.arange(64, dtype=np.float32).reshape(4, 4, 4)
    splits = {
        "train": ArraySource([Example(one, name="a", patient="1"), Example(two, name="b")], {"warning": "synthetic"}),
        "test": ArraySource([Example(three, name="c", patient="2")]),
        "leak": ArraySource([Example(four, name="d", patient="1")]),
        "copy": ArraySource([Example(two, name="e", patient="3")]),
    }
    noted = types.SimpleNamespace(train=[], measure=[])

    def open_source(data_dir, dataset, split):
        if split not in splits:
            raise InputError(f"split '{split}': no such split")
        return splits[split]

    def train(*run, validation_source, leakage):
        noted.train.append((*run, leakage))
        noted.validation = validation_source
        return loop.Outcome(types.SimpleNamespace(step=3), None, noted.finished, {"dice": 0.5, "step": 2})

    noted.finished = True
    monkeypatch.setattr(data, "open_source", open_source)
    monkeypatch.setattr(loop, "train", train)
    monkeypatch.setattr(evaluate, "measure", lambda *told: noted.measure.append(told))
    return noted


def _train(*arguments) -> int:
    return cli.main(["train", *map(str, arguments)])


def _refused(capsys, tmp_path, *arguments) -> str:
    """The one line of a refused run, which has written nothing."""
    before = sorted(tmp_path.rglob("*"))
    assert _train(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    assert [
        path for path in sorted(tmp_path.rglob("*")) if path not in before and "__pycache__" not in path.parts
    ] == []
    return captured.err


@pytest.mark.parametrize("given", [[], ["config"], ["workdir"]])
def test_both_flags_are_needed(given, config, tmp_path, capsys):
    flags = {"config": f"--config={config}", "workdir": f"--workdir={tmp_path / 'run'}"}
    assert "--config and --workdir are both needed" in _refused(capsys, tmp_path, *(flags[name] for name in given))


def test_an_argument_is_refused_by_name(config, tmp_path, capsys):
    line = _refused(capsys, tmp_path, "config.py", f"--config={config}", f"--workdir={tmp_path / 'run'}")
    assert "config.py: jcs train takes no arguments" in line


def test_a_missing_config_is_refused_by_name(tmp_path, capsys):
    line = _refused(capsys, tmp_path, f"--config={tmp_path}/absent.py", f"--workdir={tmp_path / 'run'}")
    assert "absent.py: no config can be read there; name a Python file" in line


@pytest.mark.parametrize(
    ("source", "message"),
    [("def get_config(", "never closed"), ("x = 1", "get_config"), ("import nothing_like_this", "nothing_like_this")],
    ids=["syntax", "no get_config", "import"],
)
def test_a_broken_config_is_refused(source, message, config, tmp_path, capsys):
    config.write_text(source)
    line = _refused(capsys, tmp_path, f"--config={config}", f"--workdir={tmp_path / 'run'}")
    assert message in line
    assert "correct the flag or the file" in line


def test_a_config_that_raises_is_told_in_its_last_words(tmp_path, capsys):
    (tmp_path / "picky.py").write_text("def get_config(word):\n    raise ValueError(f'no recipe {word}')")
    line = _refused(capsys, tmp_path, f"--config={tmp_path}/picky.py:foo", f"--workdir={tmp_path / 'run'}")
    assert line == f"jcs train: flag --config={tmp_path}/picky.py:foo: no recipe foo\n"


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.stepz=3", "--config.stepz: no such option; the nearest is config.steps"),
        (
            "--config.learning_rate=1",
            "--config.learning_rate: no such option; the nearest is config.optimizer.learning",
        ),
        ("--config.steps=many", "--config.steps=many"),
        ("--config.model.options.norm=batch", "norm"),
        ("--configs=3", "configs"),
    ],
)
def test_an_option_that_is_not_there_or_of_the_wrong_type_is_refused(flag, message, config, tmp_path, capsys):
    assert message in _refused(capsys, tmp_path, f"--config={config}", f"--workdir={tmp_path / 'run'}", flag)


def test_a_data_set_that_is_not_there_is_refused_with_the_cure(config, tmp_path, capsys):
    line = _refused(capsys, tmp_path, f"--config={config}", f"--workdir={tmp_path / 'run'}")
    assert "no prepared data set; run `jcs prepare chest_phantom" in line


def test_overrides_reach_the_run(calls, config, tmp_path):
    flags = [
        f"--config={config}",
        f"--workdir={tmp_path / 'run'}",
        "--config.steps=7",
        "--config.loss.label_smoothing=0.5",
    ]
    assert _train(*flags) == 0
    ((options, workdir, source, _),) = calls.train
    assert (options.steps, options.loss.label_smoothing) == (7, 0.5)
    assert workdir == tmp_path / "run"
    assert len(source) == 2
    assert calls.measure == []


def test_the_result_is_measured_on_the_evaluation_split(calls, config, tmp_path):
    workdir = tmp_path / "run"
    assert _train(f"--config={config}", f"--workdir={workdir}", "--config.data.eval_split=test") == 0
    ((task, output),) = calls.measure
    assert task.checkpoint == str(workdir / "model")
    assert output == workdir / "evaluation"
    assert (task.split, task.train_split) == ("test", "train")


def test_an_unknown_evaluation_split_is_refused_before_the_training(calls, config, tmp_path, capsys):
    flags = [f"--config={config}", f"--workdir={tmp_path / 'run'}", "--config.data.eval_split=tset"]
    assert "'tset'" in _refused(capsys, tmp_path, *flags)
    assert calls.train == []


@pytest.mark.parametrize("split", ["train", "leak", "copy"])
def test_a_split_that_shares_slices_or_patients_is_refused_before_the_training(calls, config, tmp_path, capsys, split):
    flags = [f"--config={config}", f"--workdir={tmp_path / 'run'}", f"--config.data.eval_split={split}"]
    assert "config.data.allow_leakage=True" in _refused(capsys, tmp_path, *flags)
    assert calls.train == []


@pytest.mark.parametrize("flag", ["--allow_leakage", "--config.data.allow_leakage=True"])
def test_leakage_may_be_allowed_and_is_then_written_down(calls, config, tmp_path, flag):
    flags = [f"--config={config}", f"--workdir={tmp_path / 'run'}", "--config.data.eval_split=leak"]
    assert _train(*flags, flag) == 0
    ((options, _, _, leakage),) = calls.train
    assert options.data.allow_leakage
    assert leakage == {"names": 0, "patients": 1, "pictures": 0}
    assert len(calls.measure) == 1


def test_a_finished_run_is_told_and_left_alone(calls, config, tmp_path, capsys):
    flags = [f"--config={config}", f"--workdir={tmp_path / 'run'}"]
    assert _train(*flags) == 0
    assert json.loads((tmp_path / "run/finished.json").read_text()) == {
        "steps": 1000,
        "validation": {"dice": 0.5, "step": 2},
    }
    assert _train(*flags) == 0
    assert len(calls.train) == 1
    assert "this run is finished" in capsys.readouterr().err


def test_a_run_that_was_asked_to_stop_says_how_to_go_on_and_is_not_finished(calls, config, tmp_path, capsys):
    calls.finished = False
    assert _train(f"--config={config}", f"--workdir={tmp_path / 'run'}", "--config.data.eval_split=test") == 0
    assert "stopped after step 3, all is saved; resume with: " in capsys.readouterr().err
    assert calls.measure == []
    assert not (tmp_path / "run/finished.json").exists()


def test_the_validation_split_is_opened(calls, config, tmp_path):
    assert _train(f"--config={config}", f"--workdir={tmp_path / 'run'}", "--config.validation.split=test") == 0
    assert len(calls.validation) == 1


@pytest.mark.parametrize(("validation", "evaluation"), [("copy", ""), ("test", "test")])
def test_the_validation_split_must_be_disjoint_too(calls, config, tmp_path, validation, evaluation):
    splits = [f"--config.validation.split={validation}", f"--config.data.eval_split={evaluation}"]
    assert _train(f"--config={config}", f"--workdir={tmp_path / 'run'}", *splits) == 2
    assert calls.train == []


def test_the_script_of_the_clone_refuses_with_the_same_line_and_exit_code(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "experiments/train.py"),
        "--config=absent.py",
        f"--workdir={tmp_path / 'run'}",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "absent.py: no config can be read there" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
