"""`sweep.json`: a folder holds one sweep, which may grow."""

import dataclasses
import json

import pytest

from jcs_jax.errors import InputError
from jcs_jax.sweep.plan import Plan, Run
from jcs_jax.sweep.record import is_begun, is_finished, join_record, read_record, run_folder, write_record


def _run(seed, steps=10, threads=2):
    return Run(
        f"seed={seed}",
        "",
        "",
        "config.py",
        (f"--config.seed={seed}",),
        {"seed": seed, "steps": steps, "data": {"threads": threads, "weights": [1.0, 1.0]}},
    )


def _plan(*runs):
    return Plan(("seed",), runs)


def _begin(workdir, run):
    run_folder(workdir, run).mkdir(parents=True)
    (run_folder(workdir, run) / "config.json").touch()


def test_what_is_written_is_read_again(tmp_path):
    plan = _plan(_run(0), _run(1))
    write_record(tmp_path / "sweep", plan)
    assert read_record(tmp_path / "sweep") == plan
    assert "Research use only" in (tmp_path / "sweep/sweep.json").read_text()


def test_a_folder_without_a_sweep_has_no_record(tmp_path):
    assert read_record(tmp_path / "absent") is None
    assert join_record(tmp_path / "absent", _plan(_run(0))) == _plan(_run(0))
    assert not (tmp_path / "absent").exists()


def test_runs_may_be_added_and_begun_ones_stay(tmp_path):
    write_record(tmp_path, _plan(_run(0), _run(1), _run(2)))
    _begin(tmp_path, _run(0))
    _begin(tmp_path, _run(1))
    assert join_record(tmp_path, _plan(_run(1), _run(3))) == _plan(_run(1), _run(3), _run(0))


def test_a_begun_run_of_another_config_is_refused_with_what_differs(tmp_path):
    write_record(tmp_path, _plan(_run(0), _run(1)))
    _begin(tmp_path, _run(1))
    with pytest.raises(InputError, match=r"seed=1 was started with another config \(steps was 10, now 20\)"):
        join_record(tmp_path, _plan(_run(0), _run(1, steps=20)))


def test_an_option_that_is_new_in_the_config_is_a_difference(tmp_path):
    write_record(tmp_path, _plan(_run(0)))
    _begin(tmp_path, _run(0))
    grown = dataclasses.replace(_run(0), options={**_run(0).options, "dtype": "auto"})
    with pytest.raises(InputError, match="dtype was 'absent', now 'auto'"):
        join_record(tmp_path, _plan(grown))


def test_options_that_change_nothing_may_differ(tmp_path):
    write_record(tmp_path, _plan(_run(0)))
    _begin(tmp_path, _run(0))
    changed = _plan(_run(0, threads=8))
    assert join_record(tmp_path, changed, free=("data.threads",)) == changed
    with pytest.raises(InputError, match=r"data\.threads was 2, now 8"):
        join_record(tmp_path, changed)


def test_a_run_that_only_failed_to_start_may_change(tmp_path):
    write_record(tmp_path, _plan(_run(0)))
    run_folder(tmp_path, _run(0)).mkdir(parents=True)
    (run_folder(tmp_path, _run(0)) / "log.txt").touch()
    assert not is_begun(tmp_path, _run(0))
    assert join_record(tmp_path, _plan(_run(0, steps=20))) == _plan(_run(0, steps=20))


def test_another_sweeps_folder_is_refused(tmp_path):
    write_record(tmp_path, _plan(_run(0)))
    _begin(tmp_path, _run(0))
    with pytest.raises(InputError, match=r"holds another sweep \(with seed=0\); take another --workdir"):
        join_record(tmp_path, _plan(_run(5)))


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": "jcs-sweep/1"}', '{"format": "jcs-sweep/1", "axes": [], "runs": {"a": {}}}']
)
def test_a_damaged_record_is_refused(tmp_path, text):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(InputError, match=r"sweep\.json: is no record of a sweep"):
        read_record(tmp_path)


def test_a_record_of_a_later_format_is_refused(tmp_path):
    (tmp_path / "sweep.json").write_text(json.dumps({"format": "jcs-sweep/9"}))
    with pytest.raises(InputError, match="'jcs-sweep/9', not jcs-sweep/1"):
        read_record(tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: is a file"):
        read_record(tmp_path / "file")


def test_a_run_is_finished_when_training_says_so(tmp_path):
    _begin(tmp_path, _run(0))
    assert not is_finished(tmp_path, _run(0))
    (run_folder(tmp_path, _run(0)) / "finished.json").write_text("{}")
    assert is_finished(tmp_path, _run(0))
