"""The table of a sweep: mean and spread by hand, and what stands where a number is missing."""

import csv
import json
import re

import pytest

from jcs_jax.errors import InputError
from jcs_jax.sweep.plan import Plan, Run
from jcs_jax.sweep.record import run_folder
from jcs_jax.sweep.table import summarise, tabulate


def _run(variant, rate, seed, fold=""):
    name = f"{variant}-{fold}-{rate}-{seed}"
    return Run(name, variant, fold, "config.py", (), {"seed": seed, "optimizer": {"learning_rate": rate}})


def _plan(*runs):
    return Plan(("optimizer.learning_rate", "seed"), runs)


def _finish(workdir, run, summary=None, validation=None):
    folder = run_folder(workdir, run)
    (folder / "evaluation").mkdir(parents=True)
    document = {"finished": True} if validation is None else {"validation": validation}
    (folder / "finished.json").write_text(json.dumps(document))
    if summary is not None:
        groups = {
            group: {name: {"value": value, "n": 5, "n_absent": 0} for name, value in numbers.items()}
            for group, numbers in summary.items()
        }
        (folder / "evaluation/metrics.json").write_text(json.dumps({"summary": groups}))


def _auc(value):
    return {"classification/auc": value}


def test_mean_and_standard_deviation_over_seeds_by_hand():
    runs = [_run("a", 0.1, seed) for seed in range(3)]
    summary = summarise(_plan(*runs), dict(zip((run.name for run in runs), map(_auc, (0.7, 0.8, 0.9)), strict=True)))
    assert summary.headings == ("variant", "optimizer.learning_rate", "runs", "classification/auc")
    assert summary.rows == (("a", "0.1", "3 of 3", "0.800 ± 0.100"),)
    assert summary.note == "Mean ± standard deviation over seeds; 3 of 3 runs are finished."


def test_folds_and_seeds_are_averaged_together():
    runs = [_run("a", 0.1, seed, fold) for fold in ("x", "y") for seed in (0, 1)]
    numbers = dict(zip((run.name for run in runs), map(_auc, (0.5, 0.5, 0.9, 0.9)), strict=True))
    summary = summarise(_plan(*runs), numbers)
    assert summary.rows == (("a", "0.1", "4 of 4", "0.700 ± 0.231"),)  # the root of 4 x 0.04 / 3
    assert "over seeds and 2 folds" in summary.note


def test_a_small_mean_and_its_spread_have_the_same_digits():
    runs = [_run("a", 0.1, seed) for seed in range(2)]
    numbers = dict(zip((run.name for run in runs), map(_auc, (0.0002, 0.0004)), strict=True))
    assert summarise(_plan(*runs), numbers).rows[0][3] == "0.00030 ± 0.00014"
    assert summarise(_plan(*runs), {runs[0].name: _auc(0.0)}).rows[0][3] == "0.000"


def test_every_combination_has_a_row_and_missing_cells_are_dashes():
    runs = [_run("a", 0.1, 0), _run("a", 0.2, 0), _run("b", 0.1, 0), _run("b", 0.1, 1)]
    numbers = {runs[0].name: {**_auc(0.5), "segmentation/dice": 0.25}, runs[2].name: _auc(0.75), runs[3].name: {}}
    summary = summarise(_plan(*runs), numbers)
    assert summary.rows == (
        ("a", "0.1", "1 of 1", "0.500", "0.250"),
        ("a", "0.2", "0 of 1", "-", "-"),
        ("b", "0.1", "2 of 2", "0.750 (n = 1)", "-"),
    )


def test_baselines_stand_behind_their_number_and_other_numbers_only_when_asked_for():
    numbers = {
        "classification/auc": 0.9,
        "classification/f1": 0.8,
        "segmentation/dice": 0.7,
        "baseline_all_lung/dice": 0.2,
        "baseline_all_lung/iou": 0.1,
        "baseline_mean_brightness/auc": 0.6,
        "validation/loss": 0.00012345,
    }
    run = _run("", 0.1, 0)
    shown = ("classification/auc", "baseline_mean_brightness/auc", "segmentation/dice", "baseline_all_lung/dice")
    assert summarise(_plan(run), {run.name: numbers}).headings[2:] == shown
    asked = summarise(_plan(run), {run.name: numbers}, ["validation/loss"])
    assert asked.headings == ("optimizer.learning_rate", "runs", "validation/loss")
    assert asked.rows == (("0.1", "1 of 1", "0.00012"),)


def test_a_number_that_no_run_has_is_refused_with_the_nearest():
    run = _run("a", 0.1, 0)
    with pytest.raises(InputError, match="no run has 'classification/acu', did you mean 'classification/auc'"):
        summarise(_plan(run), {run.name: _auc(0.5)}, ["classification/acu"])
    assert summarise(_plan(run), {}, ["classification/acu"]).rows == (("a", "0.1", "0 of 1", "-"),)


def test_files_and_terminal_say_the_same(tmp_path, capsys):
    runs = [_run("a", 0.1, 0), _run("a", 0.1, 1), _run("b", 0.1, 0)]
    _finish(tmp_path, runs[0], {"classification": {"auc": 0.25, "f1": None}}, {"auc": 0.5, "step": 400, "name": "auc"})
    _finish(tmp_path, runs[1], {"classification": {"auc": 0.75, "f1": 0.5}})
    tabulate(tmp_path, _plan(*runs))
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert rows[0] == {
        "name": "a--0.1-0",
        "finished": "yes",
        "variant": "a",
        "fold": "",
        "optimizer.learning_rate": "0.1",
        "seed": "0",
        "classification/auc": "0.25",
        "validation/auc": "0.5",
        "validation/step": "400",
        "classification/f1": "",
    }
    assert (rows[1]["classification/f1"], rows[1]["validation/auc"]) == ("0.5", "")
    assert (rows[2]["finished"], rows[2]["classification/auc"]) == ("no", "")
    written = (tmp_path / "results.md").read_text()
    assert "| a | 0.1 | 2 of 2 | 0.500 ± 0.354 |" in written
    assert "| b | 0.1 | 0 of 1 | - |" in written
    shown = capsys.readouterr().out
    assert re.search(r"a +0\.1 +2 of 2 +0\.500 ± 0\.354", shown)
    for text in (written, shown):
        assert "2 of 3 runs are finished" in text
        assert "Research use only" in text


def test_numbers_of_an_unfinished_run_are_left_out(tmp_path):
    run = _run("a", 0.1, 0)
    _finish(tmp_path, run, {"classification": {"auc": 0.25}})
    (run_folder(tmp_path, run) / "finished.json").unlink()
    tabulate(tmp_path, _plan(run))
    assert "0.25" not in (tmp_path / "results.csv").read_text()


@pytest.mark.parametrize("text", ["{", "[1]", "3"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, text):
    run = _run("a", 0.1, 0)
    _finish(tmp_path, run, {})
    (run_folder(tmp_path, run) / "evaluation/metrics.json").write_text(text)
    with pytest.raises(InputError, match=r"metrics\.json: can't be read; delete it"):
        tabulate(tmp_path, _plan(run))
    assert not (tmp_path / "results.csv").exists()
