"""`jcs sweep`: from flags to runs, table and exit code; bad usage is one line and writes nothing."""

import subprocess
import sys
import types
from pathlib import Path

import pytest

from jcs_jax import cli
from jcs_jax.sweep import processes

CONFIG = """
from jcs_jax.training.config import default_config

def get_config(recipe="modern"):
    config = default_config()
    config.optimizer.name = recipe
    config.data.data_dir = "nowhere"
    return config
"""
GRID = """
[axes]
seed = [0, 1]
[variants.reference]
config = "{folder}/config.py:reference"
[variants.modern]
data.mixing.alpha = 0.4
"""
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.fixture
def flags(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "config_config", raising=False)
    (tmp_path / "config.py").write_text(CONFIG)
    (tmp_path / "grid.toml").write_text(GRID.format(folder=tmp_path))
    return {"config": tmp_path / "config.py", "workdir": tmp_path / "sweep", "grid": tmp_path / "grid.toml"}


@pytest.fixture
def trained(monkeypatch):
    """The arguments of the training runs that were started; they finish, but for those whose name is in `failing`."""
    started, failing = [], set()

    def run_logged(command, log, on_stop):
        started.append(command[len(processes.JCS) :])
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("$ command\nout of memory\n")
        if log.parent.name in failing:
            return 1, False
        (log.parent / "finished.json").write_text('{"validation": {"auc": 0.75}}')
        return 0, False

    monkeypatch.setattr(processes, "run_logged", run_logged)
    return types.SimpleNamespace(started=started, failing=failing)


def _sweep(flags, *more):
    return cli.main(["sweep", *(f"--{name}={value}" for name, value in flags.items()), *more])


def _refused(capsys, flags, *more):
    """The one line of a refused sweep, which has written nothing."""
    folder = Path(flags.get("config", flags.get("workdir"))).parent
    before = sorted(folder.rglob("*"))
    assert _sweep(flags, *more) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1, said.err
    assert [path for path in sorted(folder.rglob("*")) if path not in before and "__pycache__" not in path.parts] == []
    return said.err


def test_a_grid_is_run_and_tabulated(flags, trained, capsys):
    assert _sweep(flags, "--config.steps=7", "--metrics=validation/auc") == 0
    assert [arguments[0] for arguments in trained.started] == ["train"] * 4
    assert trained.started[-1][1:] == [
        f"--config={flags['config']}",
        f"--workdir={flags['workdir']}/runs/modern-seed=1",
        "--config.steps=7",
        "--config.data.mixing.alpha=0.4",
        "--config.seed=1",
    ]
    said = capsys.readouterr()
    assert "modern" in said.out
    assert "0.750 ± 0.000" in said.out
    assert "4 of 4  modern-seed=1" in said.err
    assert {path.name for path in flags["workdir"].iterdir()} == {"sweep.json", "results.csv", "results.md", "runs"}
    assert _sweep(flags, "--config.steps=7") == 0
    assert len(trained.started) == 4


def test_the_exit_code_is_1_when_a_run_failed_and_the_next_start_runs_only_that(flags, trained, capsys):
    trained.failing.add("reference-seed=1")
    assert _sweep(flags) == 1
    said = capsys.readouterr()
    assert "reference-seed=1 (exit code 1): out of memory" in said.err
    assert "3 of 4 runs are finished" in said.out
    trained.failing.clear()
    assert _sweep(flags) == 0
    assert len(trained.started) == 5


def test_the_exit_code_is_1_when_a_request_to_stop_left_runs_undone(flags, trained, monkeypatch):
    finish = processes.run_logged
    monkeypatch.setattr(processes, "run_logged", lambda *run: (finish(*run)[0], True))
    assert _sweep(flags) == 1
    assert len(trained.started) == 1
    assert _sweep(flags, "--index=0") == 0


def test_an_index_runs_one_and_makes_no_table(flags, trained):
    assert _sweep(flags, "--index=2") == 0
    ((arguments),) = trained.started
    assert "--config.seed=0" in arguments
    assert not (flags["workdir"] / "results.csv").exists()
    assert _sweep({"workdir": flags["workdir"]}, "--table") == 0
    assert (flags["workdir"] / "results.csv").read_text().count("yes") == 1


def test_slurm_writes_a_script_and_runs_nothing(flags, trained, capsys):
    assert _sweep(flags, "--slurm", "--config.steps=7") == 0
    assert trained.started == []
    assert f"sbatch {flags['workdir']}/sweep.sbatch" in capsys.readouterr().out
    text = (flags["workdir"] / "sweep.sbatch").read_text()
    assert "--array=0-3" in text
    assert "--config.steps=7" in text


def test_another_config_in_the_folder_is_refused_and_places_are_not_part_of_it(flags, trained, capsys):
    assert _sweep(flags) == 0
    capsys.readouterr()
    line = _refused(capsys, flags, "--config.steps=7")
    assert "reference-seed=0 was started with another config (steps was 1000, now 7)" in line
    flags["config"].write_text(CONFIG.replace("return", "config.batch_size = 3\n    return"))
    assert "batch_size was 8, now 3" in _refused(capsys, flags)
    flags["config"].write_text(CONFIG)
    assert _sweep(flags, "--config.data.data_dir=elsewhere") == 0


@pytest.mark.parametrize("missing", ["config", "workdir", "grid"])
def test_a_missing_flag_is_named(flags, capsys, missing):
    del flags[missing]
    assert f"missing --{missing}" in _refused(capsys, flags)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--index=4"], "--index=4: the grid has 4 runs; give 0 to 3"),
        (["--index=-1"], "--index=-1: the grid has 4 runs"),
        (["--index=0", "--slurm"], "--index, --slurm and --table exclude one another"),
        (["--slurm", "--table"], "exclude one another"),
        (["--table"], "no sweep has been started there"),
        (["grid.toml"], "grid.toml: jcs sweep takes no arguments"),
        (["--config.seed=3"], "seed is set by the command line and by [axes]"),
        (["--config.stepz=3"], "no such option; the nearest is config.steps"),
        (["--config.steps=0"], "run reference-seed=0: config.steps is 0"),
        (["--grid=absent.toml"], "absent.toml: no grid can be read there"),
        (["--config=absent.py"], "absent.py"),
    ],
)
def test_bad_usage_is_one_line_and_writes_nothing(flags, trained, capsys, more, message):
    assert message in _refused(capsys, flags, *more)
    assert trained.started == []


def test_an_option_that_the_config_lacks_is_refused_with_the_nearest_before_anything_starts(flags, capsys):
    flags["grid"].write_text("[axes]\noptimiser.learning_rate = [1e-3]")
    line = _refused(capsys, flags)
    assert "grid.toml: [axes] optimiser.learning_rate: no such option; the nearest is optimizer.learning_rate" in line


def test_a_file_in_place_of_the_workdir_is_refused(flags, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert "file: is a file" in _refused(capsys, flags | {"workdir": tmp_path / "file"})
    assert "file: is a file" in _refused(capsys, flags | {"workdir": tmp_path / "file/inside"})


def test_an_unknown_column_is_refused_when_runs_are_finished(flags, trained, capsys):
    assert _sweep(flags) == 0
    capsys.readouterr()
    assert _sweep({"workdir": flags["workdir"]}, "--table", "--metrics=validation/acu") == 2
    assert "did you mean 'validation/auc'" in capsys.readouterr().err


def test_the_script_of_the_clone_refuses_with_the_same_line_and_exit_code(tmp_path):
    command = [sys.executable, str(ROOT / "experiments/sweep.py"), f"--workdir={tmp_path / 'none'}", "--table"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no sweep has been started there" in done.stderr
    assert "Traceback" not in done.stderr
