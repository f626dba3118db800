"""Processes side by side: every case once, and a process that dies costs its case alone."""

import multiprocessing
from pathlib import Path

import odd_workers
import pytest

from jcs_jax.batch import workers
from jcs_jax.batch.options import Options
from jcs_jax.batch.runner import Outcome
from jcs_jax.errors import InputError
from jcs_jax.study.cases import find_cases


@pytest.fixture(autouse=True)
def _odd_workers(monkeypatch):
    monkeypatch.setattr(workers, "_work", odd_workers.work)


def _run(output: Path, names: list[str], *, count: int = 2, checkpoint: str = "") -> tuple[Outcome, int]:
    """What became of the cases, and how often the bar moved on."""
    outcome, moved = Outcome(), []
    planned = [(case, "nifti") for case in find_cases([f"in/{name}.nii" for name in names])]
    options = Options(output, checkpoint)
    workers.run_side_by_side(planned, options, outcome, workers=count, advance=lambda: moved.append(1))
    assert multiprocessing.active_children() == []
    return outcome, len(moved)


def test_two_processes_share_the_cases(tmp_path):
    names = [f"case{number}" for number in range(20)]
    outcome, moved = _run(tmp_path, names)
    assert sorted(outcome.reports) == sorted(names)
    assert 1 <= len({report["process"] for report in outcome.reports.values()}) <= 2
    assert (outcome.failures, moved) == ({}, 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_killed_process_costs_its_case_and_leaves_nothing_behind(tmp_path):
    outcome, moved = _run(tmp_path, ["a", "killed", "b", "bad", "c"])
    assert sorted(outcome.reports) == ["a", "b", "c"]
    assert outcome.failures == {
        "killed": "in/killed.nii: its process ended by itself (exit code -9); memory may have run out: use fewer "
        "--workers",
        "bad": "in/bad.nii: is bad; mend it",
    }
    assert moved == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_every_process_may_die(tmp_path):
    outcome, _ = _run(tmp_path, ["killed1", "killed2", "killed3", "a"], count=1)
    assert sorted(outcome.failures) == ["killed1", "killed2", "killed3"]
    assert list(outcome.reports) == ["a"]


def test_there_are_no_more_processes_than_cases(tmp_path, monkeypatch):
    started, start = [], workers._start
    monkeypatch.setattr(workers, "_start", lambda options: started.append(1) or start(options))
    _run(tmp_path, ["a", "b"], count=5)
    assert 1 <= len(started) <= 2


def test_a_model_that_can_not_be_loaded_is_told_once(tmp_path):
    with pytest.raises(InputError, match="no model: name a model folder"):
        _run(tmp_path, ["a", "b", "c"], checkpoint="no model")
    assert list(tmp_path.iterdir()) == []


def test_any_other_error_of_loading_is_told_too_and_without_a_traceback(tmp_path, capfd):
    with pytest.raises(RuntimeError, match="KeyError: 'weights'"):
        _run(tmp_path, ["a", "b", "c"], checkpoint="odd")
    assert capfd.readouterr().err == ""
