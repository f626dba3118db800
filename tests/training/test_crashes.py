"""Runs that are killed, asked to stop or fail: the same command goes on with them, and their end has the same bits."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
import tiny
from mounts import close_disk, fill_up, small_disk

from jcs_jax import cli
from jcs_jax.checkpoints import load_model
from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.errors import InputError
from jcs_jax.training import data, loop, setup
from jcs_jax.training.config import default_config
from jcs_jax.training.state import NEVER
from jcs_jax.training.workdir import Workdir

ROOT = Path(__file__).parents[2]
STEPS = 12


def _source(bad: str = "") -> ArraySource:
    rng = np.random.default_rng(0)
    examples = []
    for index in range(5):
        image = rng.random((32, 32), np.float32)
        if str(index) == bad:
            image[3, 3] = np.nan
        examples.append(Example(image, label=index % 2, name=str(index)))
    return ArraySource(examples)


def _config(**changes) -> ml_collections.ConfigDict:
    config = default_config()
    config.model.name, config.model.input_size = "classifier_tiny", 32
    config.model.options = {**tiny.OPTIONS["classifier"], "norm": "none"}
    config.steps, config.batch_size, config.log_every, config.checkpoint.every = STEPS, 2, 1, 4
    config.data.augment, config.tensorboard = "none", False
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    return config


@functools.partial(jax.jit, donate_argnums=0)
def _add(state, seen):
    """In place of the network's step: one that compiles at once, and depends on state and batch as that does."""
    running = (state.failed_step == NEVER) & jnp.isfinite(seen)
    failed = jnp.where((state.failed_step == NEVER) & ~running, state.step, state.failed_step)
    old = {"params": state.params, "ema_params": state.ema_params, "step": state.step}
    new = jax.tree.map(lambda leaf: (leaf * 0.9 + seen).astype(leaf.dtype), old) | {"step": state.step + 1}
    new = jax.tree.map(lambda one, two: jnp.where(running, one, two), new, old)
    return state.replace(**new, failed_step=failed), {"loss": seen, "failed_step": failed}


def _steps_that_only_add(before_step) -> object:
    """A maker of such steps; `before_step` is called with the number of those taken before each."""

    def step(state, batch):
        before_step(int(state.step))
        return _add(state, batch["image"].mean())

    return lambda *arguments, **options: step


def _initial_variables(model, *, seed, input_size) -> dict:
    return tiny.random_variables(model, jnp.zeros((1, *input_size, 3)), seed=seed)


@pytest.fixture
def at(monkeypatch) -> dict:
    """What is to be called before the step that follows so many steps."""
    calls = {}
    monkeypatch.setattr(loop, "make_train_step", _steps_that_only_add(lambda taken: calls.get(taken, int)()))
    monkeypatch.setattr(setup, "initial_variables", _initial_variables)
    return calls


def _stop_asked() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _lines(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def _same(one, two) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return all(np.asarray(first).tobytes() == np.asarray(second).tobytes() for first, second in pairs)


def _check_end(folder: Path, alone: Path) -> None:
    """A finished run has the bits of one that was left alone, and nothing that was in the making."""
    assert _same(load_model(folder / "model")[1], load_model(alone / "model")[1])
    assert _lines(folder) == _lines(alone)
    names = {path.name for path in folder.rglob("*")}
    assert not [name for name in names if "tmp" in name or name.endswith(".old") or name == "deleted"]
    assert (folder / "checkpoints" / str(_lines(folder)[-1]["step"])).is_dir()


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """A run that nothing happened to; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "alone"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "make_train_step", _steps_that_only_add(int))
        patched.setattr(setup, "initial_variables", _initial_variables)
        loop.train(_config(), folder, _source())
    return folder


@pytest.mark.parametrize("taken", [0, 6, STEPS - 2])
def test_a_run_that_was_asked_to_stop_loses_nothing(taken, at, alone, tmp_path):
    at[taken] = _stop_asked
    stopped = loop.train(_config(), tmp_path / "run", _source())
    assert not stopped.finished
    assert stopped.state.step == taken + 1
    assert _lines(tmp_path / "run")[-1]["step"] == taken + 1
    at.clear()
    outcome = loop.train(_config(), tmp_path / "run", _source())
    assert outcome.finished
    _check_end(tmp_path / "run", alone)


def test_a_run_that_is_asked_to_stop_at_its_last_step_comes_to_its_end(at, alone, tmp_path):
    at[STEPS - 1] = _stop_asked
    assert loop.train(_config(), tmp_path / "run", _source()).finished
    _check_end(tmp_path / "run", alone)


def test_a_run_that_is_stopped_at_every_step_comes_to_the_same_end(at, tmp_path):
    config = _config(steps=4)
    loop.train(config, tmp_path / "alone", _source())
    at.update(dict.fromkeys(range(4), _stop_asked))
    for step in range(1, 5):
        outcome = loop.train(config, tmp_path / "run", _source())
        assert outcome.state.step == step
        assert outcome.finished == (step == 4)
    _check_end(tmp_path / "run", tmp_path / "alone")


class _Laggard:
    """Checkpoints whose writing always takes until it is waited for."""

    def __init__(self, folder, *, keep):
        self.written = self.started = 0

    def save(self, step, state, run, *, score=None):
        self.written, self.started = self.started, step

    def unsaved(self, step):
        return step - self.written

    def wait(self):
        self.written = self.started

    def restore_newest(self, like):
        return None

    def close(self):
        self.wait()


@pytest.mark.parametrize("every", [1, 2, 3, 8])
def test_however_slow_the_disk_a_crash_costs_no_more_steps_than_promised(every, at, tmp_path, monkeypatch):
    losses = []

    class Checkpoints(_Laggard):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            monkeypatch.setattr(Workdir, "log", lambda _, step, values: losses.append(step - self.written))

    monkeypatch.setattr(loop, "RunCheckpoints", Checkpoints)
    loop.train(_config(steps=24, checkpoint__every=every), tmp_path / "run", _source())
    assert len(losses) == 24
    assert max(losses) == every


class CrashError(Exception):
    """Stands for a power cut where nothing depends on how abrupt it is."""


def _crash() -> None:
    raise CrashError


def test_a_run_that_crashed_before_its_first_checkpoint_begins_anew_and_logs_all_once(at, tmp_path):
    leakage = {"names": 1}
    loop.train(_config(), tmp_path / "alone", _source(), leakage=leakage)
    at[1] = _crash
    with pytest.raises(CrashError):
        loop.train(_config(), tmp_path / "run", _source(), leakage=leakage)
    assert _lines(tmp_path / "run")
    at.clear()
    loop.train(_config(), tmp_path / "run", _source(), leakage=leakage)
    assert [line for line in _lines(tmp_path / "run") if "leakage" in line] == [{"step": 0, "leakage": leakage}]
    _check_end(tmp_path / "run", tmp_path / "alone")


def test_a_run_that_crashed_while_it_wrote_its_model_writes_it_again(at, alone, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(alone, folder)
    (folder / "model").rename(folder / ".model.0123abcd.old")
    (folder / ".model.89abcdef.tmp/variables.orbax-checkpoint-tmp").mkdir(parents=True)
    shutil.copy(folder / "metrics.jsonl", folder / ".metrics.jsonl.0123abcd.tmp")
    at.update(dict.fromkeys(range(STEPS), _crash))  # no step is taken again
    assert loop.train(_config(), folder, _source()).finished
    _check_end(folder, alone)


class _Scores:
    """A validation that finds step 4 the best one."""

    def __init__(self, *arguments, **options):
        pass

    def __call__(self, state) -> dict[str, float]:
        return {"dice": 0.9 if int(state.step) == 4 else int(state.step) / 100}

    def score(self, measured: dict[str, float]) -> float:
        return measured["dice"]


@pytest.mark.parametrize("damaged", ["the best", "the best and newest", "the description of the best"])
def test_a_validated_run_ends_with_its_best_step_or_says_that_it_is_damaged(damaged, at, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(loop, "Validation", _Scores)
    config, folder, best = _config(validation__every=2), tmp_path / "run", tmp_path / "run/checkpoints/4"

    def train() -> dict[str, float]:
        return loop.train(config, folder, _source(), validation_source=_source()).validation

    at[3 if damaged == "the best and newest" else 9] = _stop_asked
    train()
    at.clear()
    (best / ("run/metadata" if "description" in damaged else "state/manifest.ocdbt")).write_bytes(b"")
    if damaged == "the best":  # its arrays are read only when the model is written
        with pytest.raises(InputError, match=f"{best}: the best step is damaged; delete that folder and run the same"):
            train()
        assert not (folder / "model").exists()
        shutil.rmtree(best)
        assert train() == {"dice": 0.12, "step": 12}
    elif damaged == "the best and newest":  # it is computed again
        assert train() == {"dice": 0.9, "step": 4}
    else:
        assert train() == {"dice": 0.12, "step": 12}
    assert f"{best} is damaged (" in caplog.text


def _checked_state(folder: Path, step: int) -> list[np.ndarray]:
    """All that a checkpoint holds, as the run itself reads it."""
    parts = loop._assemble(_config(), folder, _source(), None)
    checkpoints = loop.RunCheckpoints(folder / "checkpoints", keep=2)
    found = checkpoints.restore_newest(parts.layout.described(parts.shapes))
    checkpoints.close()
    assert found.run["step"] == found.run["data"]["step"] == int(found.state.step) == step
    assert found.state.failed_step == NEVER
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(found.state)]


@pytest.mark.parametrize(("every", "log_every"), [(1, 1), (4, 5), (100, 1)])
def test_a_run_whose_loss_is_not_finite_stops_at_its_last_good_state(every, log_every, at, tmp_path):
    # Five slices in batches of two, shuffled with this seed: slice 3 comes in the second batch for the first time.
    changes = {"checkpoint__every": every, "log_every": log_every}
    for _ in range(2):  # the same command again comes to the same stop
        with pytest.raises(InputError) as caught:
            loop.train(_config(**changes), tmp_path / "run", _source(bad="3"))
        said = str(caught.value)
        assert said.startswith("step 2: the loss or its gradient is not finite; the slices of that batch are named in ")
        assert "\n" not in said
        document = json.loads((tmp_path / "run/failed_batch.json").read_text())
        assert document["step"] == 2
        assert "3" in document["slices"]
        assert len(document["slices"]) == 2
        assert all(np.isfinite(array).all() for array in _checked_state(tmp_path / "run", step=1))
        assert not (tmp_path / "run/model").exists()


@pytest.mark.slow
def test_the_networks_own_steps_stop_at_a_slice_that_is_not_finite(monkeypatch, tmp_path):
    monkeypatch.setattr(setup, "initial_variables", _initial_variables)
    with pytest.raises(InputError, match="step 2: the loss or its gradient is not finite"):
        loop.train(_config(), tmp_path / "run", _source(bad="3"))
    assert all(np.isfinite(array).all() for array in _checked_state(tmp_path / "run", step=1))


def test_a_run_that_fails_at_its_first_step_has_saved_nothing(at, tmp_path):
    source = ArraySource([Example(np.full((32, 32), np.nan, np.float32), label=0, name="a")])
    with pytest.raises(InputError, match="step 1: the loss or its gradient is not finite"):
        loop.train(_config(), tmp_path / "run", source)
    assert list((tmp_path / "run/checkpoints").iterdir()) == []


CONFIG = """
from jcs_jax.training.config import default_config

def get_config():
    config = default_config()
    config.model.name, config.model.input_size = "classifier_tiny", 32
    config.model.options = {"stem": (4, 4, 4), "planes": (4, 4, 4, 4), "depths": (1, 1, 1, 1), "norm": "none"}
    config.steps, config.batch_size, config.log_every, config.checkpoint.every = 12, 2, 1, 4
    config.data.augment, config.tensorboard = "none", False
    return config
"""


@pytest.fixture
def jcs_train(at, tmp_path, monkeypatch, capfd):
    """Runs `jcs train` in a folder; its exit code and what it said on stderr."""
    monkeypatch.delitem(sys.modules, "config_config", raising=False)
    monkeypatch.setattr(data, "open_data", lambda config: data.RunData(_source(), None, None, []))
    (tmp_path / "config.py").write_text(CONFIG)

    def train(folder: Path, *flags: str) -> tuple[int, str]:
        capfd.readouterr()
        code = cli.main(["train", f"--config={tmp_path / 'config.py'}", f"--workdir={folder}", *flags])
        return code, capfd.readouterr().err

    return train


# ml_collections loads config files in a way that Python will drop one day.
from_a_config_file = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@from_a_config_file
def test_sigterm_ends_the_command_with_0_and_says_how_to_go_on(at, alone, jcs_train, tmp_path):
    at[5] = _stop_asked
    code, said = jcs_train(tmp_path / "run")
    assert code == 0
    assert "stopped after step 6, all is saved; resume with: " in said
    assert not (tmp_path / "run/finished.json").exists()
    at.clear()
    code, said = jcs_train(tmp_path / "run")
    assert code == 0
    assert "going on from step 6 of 12" in said
    assert (tmp_path / "run/finished.json").exists()
    _check_end(tmp_path / "run", alone)


@from_a_config_file
def test_a_damaged_newest_step_is_told_aloud_and_the_end_is_the_same(at, alone, jcs_train, tmp_path, caplog):
    at[9] = _stop_asked
    jcs_train(tmp_path / "run")
    at.clear()
    (tmp_path / "run/checkpoints/10/state/manifest.ocdbt").write_bytes(b"")
    code, said = jcs_train(tmp_path / "run")
    assert code == 0
    assert f"{tmp_path}/run/checkpoints/10 is damaged (" in caplog.text
    assert "going on from step 8 of 12" in said
    assert (tmp_path / "run/checkpoints-damaged/10").is_dir()
    _check_end(tmp_path / "run", alone)


@from_a_config_file
@pytest.mark.parametrize("room", [0.2, 0.6])
def test_a_full_disk_is_one_line_and_after_room_is_made_the_end_is_the_same(room, at, alone, jcs_train, tmp_path):
    with small_disk(tmp_path / "disk", "3m") as disk:
        at[5] = _stop_asked
        jcs_train(disk / "run")
        at.clear()
        step = disk / "run/checkpoints/6"
        ballast = fill_up(disk, left=int(room * sum(path.stat().st_blocks * 512 for path in step.rglob("*"))))
        code, said = jcs_train(disk / "run")
        assert code == 2
        line = said.splitlines()[-1]
        assert line == (
            f"jcs train: {disk}/run/checkpoints: can't be written (No space left on device); "
            "make room and run the same command again: it goes on from the last saved step"
        )
        assert "Traceback" not in said
        assert "Error" not in said
        assert {"4", "6"} <= {path.name for path in (disk / "run/checkpoints").iterdir()}
        ballast.unlink()
        code, said = jcs_train(disk / "run")
        assert code == 0
        assert "damaged" not in said
        _check_end(disk / "run", alone)


@from_a_config_file
def test_a_folder_that_can_only_be_read_is_one_line_and_stays_as_it_is(at, jcs_train, tmp_path):
    with small_disk(tmp_path / "disk", "3m") as disk:
        at[5] = _stop_asked
        jcs_train(disk / "run")
        close_disk(disk)
        for folder in (disk / "run", disk / "new"):
            code, said = jcs_train(folder)
            assert code == 2
            assert said == (
                f"jcs train: {folder}: can't be written (Read-only file system); "
                "name another --workdir or change its permissions\n"
            )


@from_a_config_file
def test_the_folder_of_another_config_is_one_line_and_stays_as_it_is(at, alone, jcs_train):
    before = {path: path.stat().st_mtime_ns for path in alone.rglob("*")}
    code, said = jcs_train(alone, "--config.seed=7")
    assert code == 2
    assert said == (
        f"jcs train: {alone}: holds a run of another config: seed was 0 and is 7; name another --workdir or undo that\n"
    )
    assert {path: path.stat().st_mtime_ns for path in alone.rglob("*")} == before


def _wait(process: subprocess.Popen, happened) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_run_that_was_killed_while_it_saved_comes_to_the_same_end(at, alone, tmp_path):
    folder = tmp_path / "run"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT / "tests/support")}
    with subprocess.Popen([sys.executable, __file__, str(folder)], env=environment) as process:
        _wait(process, lambda: any(folder.glob("checkpoints/8.*")))
        process.kill()
    assert process.returncode == -signal.SIGKILL
    reached = _lines(folder)[-1]["step"]
    steps = [int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdecimal()]
    assert 8 <= reached < STEPS
    assert reached - max(steps) <= 4
    assert loop.train(_config(), folder, _source()).finished
    _check_end(folder, alone)


@pytest.mark.slow
def test_kills_corruptions_and_requests_to_stop_at_random_moments(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/crash_safety.py"), "--kills=3", "--corruptions=2", "--terms=2"]
    done = subprocess.run(command, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, check=False)
    figures = json.loads(done.stdout)
    assert figures["faults"] == []
    assert done.returncode == 0
    assert figures["worst_loss"] <= figures["checkpoint_every"]


if __name__ == "__main__":
    loop.make_train_step = _steps_that_only_add(lambda taken: time.sleep(0.02))
    setup.initial_variables = _initial_variables
    loop.train(_config(), Path(sys.argv[1]), _source())
