"""The whole command with a model folder, in processes: killed in the middle, and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import pytest
import tiny
from chest_study import Chest, chest, write_chest_dicom, write_chest_nifti

from jcs_jax.checkpoints import save_model
from jcs_jax.models.presets import build

LAUNCHER = Path(__file__).parents[2] / "experiments" / "diagnose.py"
COUNT = 6
WHOLE = chest()
SLAB = Chest(WHOLE.hounsfield[8:18], WHOLE.mask[8:18], WHOLE.affine)  # enough for a decision


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model folder; not to be changed."""
    preset = tiny.preset("classifier")
    variables = tiny.random_variables(build(preset), jnp.zeros((1, tiny.SIDE, tiny.SIDE, 3)))
    return save_model(tmp_path_factory.mktemp("models") / "classifier", variables, preset, provenance={})


def _start(output: Path, model: Path, *flags: str, inputs: list[Path]) -> subprocess.Popen:
    given = [*map(str, inputs), f"--output={output}", f"--checkpoint={model}", "--formats=json,html", *flags]
    kept = {"JAX_COMPILATION_CACHE_DIR": str(model.parent), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return subprocess.Popen(
        [sys.executable, str(LAUNCHER), *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **kept, "JAX_PLATFORMS": "cpu"},
    )


def _visible(output: Path) -> list[str]:
    """Names of the cases that a reader sees."""
    return sorted(path.name for path in output.iterdir() if not path.name.startswith(".")) if output.is_dir() else []


def _hidden(output: Path) -> list[Path]:
    return [path for path in output.iterdir() if path.name.startswith(".")] if output.is_dir() else []


def _check_whole(folder: Path) -> None:
    report = json.loads((folder / "diagnosis.json").read_text())
    assert (folder / report["files"]["html"]).read_text().rstrip().endswith("</html>")


def _watch(process: subprocess.Popen, output: Path, *, until=lambda: False) -> None:
    """Every case must be whole when it is seen first."""
    seen, deadline = set(), time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and not until():
        for name in set(_visible(output)) - seen:
            _check_whole(output / name)
            seen.add(name)
        time.sleep(0.005)


def _broken(folder: Path, whole: Path) -> list[Path]:
    paths = [folder / "cut.nii", folder / "missing", folder / "text"]
    paths[0].write_bytes(whole.read_bytes()[:5000])
    paths[2].write_text("no CT")
    return paths


@pytest.mark.parametrize(("first", "then"), [("1", "2"), pytest.param("2", "1", marks=pytest.mark.slow)])
def test_a_killed_run_leaves_whole_cases_only_and_is_finished_by_the_next(first, then, tmp_path, model):
    good = [write_chest_nifti(tmp_path / f"study{number}.nii", SLAB) for number in range(COUNT - 1)]
    named = write_chest_dicom(tmp_path / "Doe-Jane", SLAB)
    cut, missing, text = _broken(tmp_path, good[0])
    inputs, output = [cut, *good[:3], missing, *good[3:], named, text], tmp_path / "out"
    killed = _start(output, model, "--workers", first, inputs=inputs)
    _watch(killed, output, until=lambda: len(_visible(output)) >= 2 and _hidden(output))
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    kept = {name: (output / name / "diagnosis.json").stat().st_ino for name in _visible(output)}
    assert 2 <= len(kept) < COUNT
    assert _hidden(output)
    for name in kept:
        _check_whole(output / name)
    again = _start(output, model, "--workers", then, "--skip_done", inputs=inputs)
    _watch(again, output)
    said, errors = again.communicate()
    assert again.returncode == 1
    lines = errors.splitlines()
    assert len(lines) == 3
    for line, path in zip(lines, (cut, missing, text), strict=True):
        assert line.startswith(f"jcs diagnose: {path}: ")
    names = [*(path.stem for path in good), f"case-{inputs.index(named) + 1:04d}"]
    rows = [line.split("│")[1].strip() for line in said.splitlines() if line.startswith("│")]
    assert rows == [*names, "cut", "missing", "text"]
    assert _visible(output) == sorted(names)
    assert _hidden(output) == []
    assert {name: (output / name / "diagnosis.json").stat().st_ino for name in kept} == kept
