"""Running a sweep one run after the other, with the processes replaced by a stub."""

import json

import pytest

from jcs_jax.sweep import processes
from jcs_jax.sweep.execution import print_failures, run_all
from jcs_jax.sweep.plan import Run
from jcs_jax.sweep.record import run_folder

RUNS = [
    Run(f"seed={seed}", "", "", "config.py:modern", (f"--config.seed={seed}",), {"seed": seed}) for seed in range(3)
]


@pytest.fixture
def stub(monkeypatch, tmp_path):
    """What each run does: its exit code, whether it was asked to stop, whether it finishes, and its AUC."""
    plan, commands = {}, []

    def run_logged(command, log, on_stop):
        commands.append(command)
        log.parent.mkdir(parents=True, exist_ok=True)
        code, stopped, finishes, auc = plan.get(log.parent.name, (0, False, True, None))
        log.write_text(f"$ command\nthe end of {log.parent.name}\n")
        if finishes:
            (log.parent / "finished.json").write_text("{}")
        if auc is not None:
            (log.parent / "evaluation").mkdir()
            summary = {"classification": {"auc": {"value": auc, "n": 9, "n_absent": 0}}}
            (log.parent / "evaluation/metrics.json").write_text(json.dumps({"summary": summary}))
        if stopped:
            on_stop()
        return code, stopped

    monkeypatch.setattr(processes, "run_logged", run_logged)
    plan["commands"] = commands
    return plan


def _all(workdir):
    return run_all(list(enumerate(RUNS)), len(RUNS), workdir)


def test_each_run_is_a_training_with_its_flags_and_folder(stub, tmp_path):
    assert _all(tmp_path) == []
    assert len(stub["commands"]) == 3
    command = stub["commands"][1]
    assert command[: len(processes.JCS)] == list(processes.JCS)
    assert command[len(processes.JCS) :] == [
        "train",
        "--config=config.py:modern",
        f"--workdir={tmp_path}/runs/seed=1",
        "--config.seed=1",
    ]


def test_a_line_per_run_says_number_name_minutes_and_result(stub, tmp_path, capsys):
    stub["seed=1"] = (0, False, True, 0.875)
    stub["seed=2"] = (2, False, False, None)
    _all(tmp_path)
    assert capsys.readouterr().err.splitlines() == [
        "1 of 3  seed=0: 0.0 min, finished",
        "2 of 3  seed=1: 0.0 min, finished, classification/auc 0.875",
        "3 of 3  seed=2: 0.0 min, exit code 2",
    ]


def test_a_failed_run_does_not_stop_the_others_and_is_listed_at_the_end(stub, tmp_path, capsys):
    stub["seed=0"] = (1, False, False, None)
    failures = _all(tmp_path)
    assert len(stub["commands"]) == 3
    ((failure),) = failures
    assert (failure.run, failure.reason, failure.last_line) == (RUNS[0], "exit code 1", "the end of seed=0")
    capsys.readouterr()
    print_failures(failures)
    assert capsys.readouterr().err.splitlines() == [
        "Failed or stopped:",
        "  seed=0 (exit code 1): the end of seed=0",
        f"    {tmp_path}/runs/seed=0/log.txt",
    ]


def test_no_list_without_failures(capsys):
    print_failures([])
    assert capsys.readouterr().err == ""


def test_a_finished_run_is_not_run_again(stub, tmp_path, capsys):
    run_folder(tmp_path, RUNS[0]).mkdir(parents=True)
    (run_folder(tmp_path, RUNS[0]) / "finished.json").write_text("{}")
    assert _all(tmp_path) == []
    assert len(stub["commands"]) == 2
    assert "1 of 3  seed=0: finished before\n" in capsys.readouterr().err


def test_after_a_run_that_was_asked_to_stop_no_other_starts(stub, tmp_path, capsys):
    stub["seed=1"] = (0, True, False, None)
    ((failure),) = _all(tmp_path)
    assert failure.run is RUNS[1]
    assert len(stub["commands"]) == 2
    assert "stopped; the same command goes on with it" in failure.reason
    assert "stopping seed=1, which saves its state" in capsys.readouterr().err


def test_a_request_to_stop_counts_although_the_run_could_finish(stub, tmp_path):
    stub["seed=0"] = (0, True, True, None)
    assert _all(tmp_path) == []
    assert len(stub["commands"]) == 1


def test_a_run_that_a_signal_ended_says_which(stub, tmp_path):
    stub["seed=2"] = (-9, False, False, None)
    assert [failure.reason for failure in _all(tmp_path)] == ["ended by SIGKILL"]


def test_a_run_that_ends_with_0_before_it_is_complete_is_not_finished(stub, tmp_path):
    stub["seed=0"] = (0, False, False, None)
    ((failure),) = _all(tmp_path)
    assert failure.run is RUNS[0]
    assert "stopped" in failure.reason
    assert len(stub["commands"]) == 3
    del stub["seed=0"]
    assert _all(tmp_path) == []
    assert len(stub["commands"]) == 4


def test_a_run_that_another_process_is_at_is_left_to_it(monkeypatch, tmp_path):
    def run_logged(command, log, on_stop):
        raise processes.AlreadyRunningError

    monkeypatch.setattr(processes, "run_logged", run_logged)
    assert [failure.reason for failure in _all(tmp_path)] == ["another process is at it"] * 3


def test_a_single_run_keeps_its_number(stub, tmp_path, capsys):
    run_all([(2, RUNS[2])], 3, tmp_path)
    assert capsys.readouterr().err == "3 of 3  seed=2: 0.0 min, finished\n"
