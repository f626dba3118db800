"""What is said of a network before it is trained."""

import math

import pytest

from jcs_jax.doctor.attempts import Answer, Attempt
from jcs_jax.doctor.network import check_gradients, check_losses, check_untrained, check_weights
from jcs_jax.models.presets import get_preset

PARTS = ["class_head", "res2net"]
TINY, REFERENCE = get_preset("classifier_tiny"), get_preset("classifier")


def answer(mean=0.5, highest=0.6, finite=True):
    return Answer(0.1, highest, mean, None, finite)


def attempt(failed_step=-1, **gradients):
    return Attempt(1.0, [1.0], {}, 1.0, gradients, 1e-3, failed_step, answer(), answer())


def test_random_weights_are_fine_where_norms_learn():
    finding = check_weights(TINY, PARTS, PARTS, [], given=False)
    assert (finding.severity, finding.found) == ("ok", "loaded: nothing; random: class_head, res2net")


def test_random_weights_with_frozen_norms_are_a_warning():
    assert check_weights(REFERENCE, PARTS, PARTS, [], given=False).severity == "warning"
    assert check_weights(REFERENCE, PARTS, [], [], given=True).severity == "ok"


def test_weights_of_which_none_arrived_are_an_error():
    assert check_weights(TINY, PARTS, PARTS, [], given=True).severity == "error"
    assert check_weights(TINY, PARTS, ["class_head"], [], given=True).severity == "ok"


def test_a_frozen_part_that_starts_at_random_is_a_warning():
    finding = check_weights(TINY, PARTS, PARTS, ["res2net"], given=False)
    assert finding.severity == "warning"
    assert finding.found.startswith("res2net will stay random")


@pytest.mark.parametrize(
    ("given", "severity"),
    [
        (answer(), "ok"),
        (answer(mean=0.999), "warning"),
        (answer(mean=0.001), "warning"),
        (answer(finite=False), "error"),
    ],
)
def test_the_untrained_output_is_judged(given, severity):
    (finding,) = check_untrained(given)
    assert finding.severity == severity


def test_nothing_is_said_of_a_sound_classifier():
    assert check_untrained(answer(mean=math.nan)) == []


def test_losses_are_told_with_their_weights():
    finding = check_losses({"map_loss": 0.5, "segmentation_loss": 8.0}, {"map_loss": 2.0, "segmentation_loss": 1.0})
    assert (finding.severity, finding.found) == ("ok", "map_loss 0.5 x 2, segmentation_loss 8 x 1")


@pytest.mark.parametrize(
    ("parts", "weights", "severity"),
    [
        ({"segmentation_loss": 0.0}, {}, "error"),
        ({"segmentation_loss": 8.0}, {"segmentation_loss": 0.0}, "error"),
        ({}, {}, "error"),
        ({"segmentation_loss": 8.0, "classification_loss": 0.0}, {}, "warning"),
        ({"segmentation_loss": 8.0, "classification_loss": 0.0}, {"classification_loss": 0.0}, "ok"),
    ],
)
def test_a_loss_that_stays_zero_is_found(parts, weights, severity):
    assert check_losses(parts, weights).severity == severity


def test_gradients_are_told_by_part_and_dead_or_exploding_ones_found():
    assert check_gradients(attempt(a=3.0, b=4.0), []).found == "norm 5 (a 3, b 4)"
    dead = check_gradients(attempt(a=3.0, b=0.0), [])
    assert (dead.severity, dead.found) == ("warning", "no gradient reaches b")
    assert check_gradients(attempt(a=3.0, b=0.0), ["b"]).found == "norm 3 (a 3); frozen: b"
    assert check_gradients(attempt(a=3e4), []).severity == "warning"


@pytest.mark.parametrize("given", [attempt(failed_step=0, a=0.0), attempt(a=math.nan)])
def test_a_gradient_that_is_no_number_is_an_error(given):
    assert check_gradients(given, []).severity == "error"
