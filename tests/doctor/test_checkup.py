"""All checks together, and what is written of them."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from two_convolutions import TwoConvolutions

from jcs_jax.data.examples import ArraySource
from jcs_jax.doctor.checkup import examine
from jcs_jax.doctor.findings import Checkup, Finding, percent, some
from jcs_jax.doctor.reports import checkup_report, print_checkup, to_text, verdict
from jcs_jax.errors import InputError
from jcs_jax.notice import RESEARCH_USE
from jcs_jax.training import setup


@pytest.fixture
def run(monkeypatch, config, grey):
    """Function of examples and other splits that gives the checkup of a run on them."""
    monkeypatch.setattr(setup, "network_of", lambda config, preset: TwoConvolutions())
    config.model.name = "joint_tiny"
    config.model.input_size = 32
    config.optimizer.learning_rate = 0.03
    config.data.data_dir = "/home/somebody/data"

    def start(examples=grey, *, trial=True, **splits):
        if not trial:
            config.init_from = "absent"  # ends the checks of the network before anything is compiled
        sources = {"training": ArraySource(examples), **{name: ArraySource(part) for name, part in splits.items()}}
        return examine(config, sources, steps=0)

    return start


def severities(checkup):
    return {finding.check: finding.severity for finding in checkup.findings}


@pytest.fixture(scope="module")
def sound():
    """A checkup that found nothing, made by hand."""
    numbers = {"share": np.float32(1 / 3), "dice": float("nan"), "shape": (2, 3), "by_label": {"0": 1}}
    return Checkup((Finding("masks", "ok", "well", numbers=numbers),), None, {"seed": 0})


def test_every_check_has_its_say_in_the_order_of_the_run(run):
    checkup = run()
    assert list(severities(checkup)) == [
        "splits",
        "labels",
        "masks",
        "labels and masks",
        "pictures",
        "position of masks",
        "to beat",
        "first batch",
        "initial weights",
        "untrained network",
        "losses",
        "gradients",
        "learns a batch",
    ]
    assert checkup.findings[-1].found == "not tried: --steps 0"
    assert checkup.count("error") == 0
    assert checkup.first_batch is not None


def test_without_masks_and_labels_nothing_is_trained_in_vain(run, grey):
    checkup = run([dataclasses.replace(one, mask=None, label=-1) for one in grey])
    found = severities(checkup)
    assert (found["labels"], found["masks"], found["losses"]) == ("error", "error", "error")
    assert checkup.findings[-1].found == "not tried: there is nothing to learn"


def test_slices_to_be_restored_need_neither_masks_nor_labels(run, config, grey):
    config.loss.segmentation = "restoration"
    config.loss.classification_weight = 0.0
    checkup = run([dataclasses.replace(one, mask=None, label=-1) for one in grey])
    assert [one.found for one in checkup.findings if one.severity != "ok"] == ["no gradient reaches class_head"]
    assert checkup.findings[-1].found.startswith("not tried: slices are damaged anew at every step")
    (losses,) = (finding for finding in checkup.findings if finding.check == "losses")
    assert losses.numbers["segmentation_loss"]["value"] > 0


def test_a_restoration_that_no_run_can_have_is_an_error(run, config):
    config.loss.segmentation = "restoration"
    config.data.eval_split = "validation"
    (refused,) = (finding for finding in run().findings if finding.check == "network")
    assert (refused.severity, refused.cure) == (
        "error",
        "leave config.validation.split and config.data.eval_split empty",
    )


def test_a_validation_that_cannot_be_measured_is_an_error(run, config, grey):
    config.validation.metric = "dice"
    checkup = run(trial=False, validation=[one for one in grey if not one.label])
    assert severities(checkup)["validation"] == "error"


def test_a_batch_that_this_machines_devices_cannot_share_is_a_warning(run, config):
    config.accumulate = 3
    finding = next(one for one in run(trial=False).findings if one.check == "devices")
    assert finding.severity == "warning"
    assert "choose a multiple of 3" in finding.cure


def test_a_batch_that_cannot_be_made_is_an_error_and_no_picture(run, config):
    config.data.augment = "strong"
    checkup = run(trial=False)
    assert severities(checkup)["first batch"] == "error"
    assert checkup.first_batch is None


def test_weights_that_are_not_there_are_an_error_with_the_cure_apart(run):
    finding = run(trial=False).findings[-1]
    assert (finding.check, finding.severity) == ("network", "error")
    assert "absent is neither a model folder nor a finished run" in finding.found
    assert finding.cure.startswith("name one")


def test_a_network_that_does_not_fit_is_an_error_and_what_was_found_of_the_data_stays(run, monkeypatch):
    def too_large(*arguments):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 GiB\nmore")

    monkeypatch.setattr("jcs_jax.doctor.checkup.Trial", too_large)
    finding = run().findings[-1]
    assert finding.severity == "error"
    assert finding.found == "it can't be run here: RESOURCE_EXHAUSTED: Out of memory allocating 9 GiB"


def test_an_empty_training_split_is_refused(run):
    with pytest.raises(InputError, match="the training split is empty"):
        run([])


def test_a_config_that_no_run_can_have_is_refused(run, config):
    config.steps = 0
    with pytest.raises(InputError, match=r"config\.steps is 0"):
        run()


def test_the_report_holds_no_path_and_only_what_json_can_hold(run, sound):
    report = checkup_report(run(trial=False))
    assert "somebody" not in to_text(report)
    assert report["schema"] == "jcs-doctor/1"
    assert report["research_use"] == RESEARCH_USE
    assert report["config"]["model"]["name"] == "joint_tiny"
    numbers = json.loads(to_text(checkup_report(sound)))["findings"][0]["numbers"]
    assert numbers == {"share": 0.333333, "dice": None, "shape": [2, 3], "by_label": {"0": 1}}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["ok"], "Nothing found that speaks against this run."),
        (["ok", "warning"], "No error, 1 warning: look at it before you train."),
        (["error", "warning", "warning"], "1 error, 2 warnings: cure the errors before you train."),
    ],
)
def test_the_verdict_counts_errors_and_warnings(found, expected):
    assert verdict(Checkup([Finding("x", severity, "y") for severity in found], None, {})) == expected


def test_every_finding_is_printed_with_its_cure_and_nothing_is_taken_for_markup(capsys):
    print_checkup(Checkup([Finding("masks", "error", "values [0, 255]", "divide [bold]them[/bold]")], None, {}))
    said = capsys.readouterr().out
    assert "values [0, 255]" in said
    assert "Cure: divide [bold]them[/bold]." in said
    assert RESEARCH_USE in said


def test_a_few_names_stand_for_many_and_small_shares_keep_two_digits():
    assert some(["a", "b", "c", "d"]) == " (a, b, c, ...)"
    assert some(["", ""]) == ""
    assert percent(0.00123) == "0.12 %"
    assert percent(0.256) == "25.6 %"
