"""Learning a few slices by heart: with a network of two convolutions, through the run's own step."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from two_convolutions import TwoConvolutions

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.doctor.attempts import Answer
from jcs_jax.doctor.learning import check_learning, describe
from jcs_jax.doctor.masks import MaskLook
from jcs_jax.doctor.recording import recording
from jcs_jax.doctor.sample import Member
from jcs_jax.doctor.trial import Trial, choose_trial
from jcs_jax.errors import InputError
from jcs_jax.models.presets import get_preset
from jcs_jax.training import setup
from jcs_jax.training.config import default_config

STEPS, RATE = 40, 0.03
PRESET = get_preset("joint_tiny")


class Scaled:
    """The trial of a config whose learning rate is that many times another one's; nothing is compiled again."""

    def __init__(self, given, factor):
        self._given, self._factor = given, factor

    def train(self, steps, *, rate=1.0):
        return dataclasses.replace(self._given.train(steps, rate=rate * self._factor), rate=rate)


def easy_slice(number):
    """A slice whose lesion is all that is bright; every other one has none."""
    mask = np.zeros((32, 32), np.uint8)
    if number % 2:
        mask[8:20, 4 + number : 20 + number] = 1
    return Example(0.3 + 0.5 * mask.astype(np.float32), mask=mask, label=number % 2, name=str(number))


def make_trial(**options):
    """A trial on four easy slices; options of the config may differ."""
    config = default_config()
    config.model.input_size = 32
    config.optimizer.learning_rate = RATE
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in options.items()})
    source = ArraySource([easy_slice(number) for number in range(4)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "network_of", lambda config, preset: TwoConvolutions())
        return Trial(config, setup.preset_of(config), source, (1, 0, 3, 2))


@pytest.fixture(scope="module")
def trial():
    """The trial that all tests share, so that its step is compiled once."""
    return make_trial()


def judge(given, attempt, *, rate=RATE, doubts=(), preset=PRESET):
    return check_learning(given, attempt, STEPS, learning_rate=rate, preset=preset, doubts=doubts)


def test_slices_that_can_be_learned_are_learned_and_training_ends_sooner(trial):
    attempt = trial.train(200)
    assert attempt.fitted
    assert len(attempt.losses) < 200
    assert attempt.after.dice > 0.7
    assert attempt.after.right == (4, 4)
    assert attempt.fell_to < 0.5
    finding = judge(trial, attempt)
    assert finding.severity == "ok"
    assert "4 of 4 slices classified right" in finding.found


def test_attempts_start_from_the_same_state(trial):
    first, second = trial.train(3), trial.train(3)
    assert first == second
    assert trial.untrained() == first.before


def test_the_factor_of_the_learning_rate_is_that_of_the_update(trial):
    whole, tenth = trial.train(1), trial.train(1, rate=0.1)
    assert tenth.ratio == pytest.approx(whole.ratio / 10, rel=0.05)
    assert tenth.gradients == whole.gradients


class Scripted:
    """A trial that fits at one learning rate only."""

    def __init__(self, attempt, fits_at):
        self._attempt, self._fits_at, self.tried = attempt, fits_at, []

    def train(self, steps, *, rate=1.0):
        self.tried.append(rate)
        answer = Answer(0.9 if rate == self._fits_at else 0.0, 1.0, 0.5, (4, 4), True)
        return dataclasses.replace(self._attempt, rate=rate, losses=[8.0, 3.0], after=answer, ratio=0.1 * rate)


def test_after_large_updates_a_lower_rate_is_tried_first_and_the_one_that_works_is_named(trial):
    given = Scripted(trial.train(1), fits_at=0.1)
    finding = judge(given, given.train(STEPS))
    assert given.tried == [1.0, 0.1]
    assert finding.severity == "error"
    assert finding.cure == "the rate is too high: set config.optimizer.learning_rate=0.003 or less"


def test_a_rate_that_is_too_low_is_a_warning(trial):
    given = Scaled(trial, 0.1)
    finding = judge(given, given.train(STEPS), rate=0.1 * RATE)
    assert finding.severity == "warning"
    assert f"config.optimizer.learning_rate={RATE}" in finding.cure


def test_a_rate_of_almost_nothing_is_an_error_after_three_attempts(trial):
    given = Scaled(trial, 1e-6)
    finding = judge(given, given.train(STEPS), rate=1e-6)
    assert finding.severity == "error"
    assert [attempt["learning_rate"] for attempt in finding.numbers["attempts"]] == pytest.approx([1e-6, 1e-5, 1e-4])
    assert "not with a learning rate of 1e-05 or 0.0001 either" in finding.found
    assert finding.cure.startswith("look at the first batch")


def test_a_small_loss_and_wrong_answers_point_to_batch_norm(trial):
    wrong = Answer(0.1, 0.9, 0.1, (2, 4), True)
    attempt = dataclasses.replace(trial.train(1), losses=[8.0, 4.0, 0.2], after=wrong)
    batch_norm = dataclasses.replace(PRESET, options={**PRESET.options, "norm": "batch"})
    given = Scaled(trial, 1e-6)
    assert "batch norm" in judge(given, attempt, preset=batch_norm).cure
    assert "more --steps" in judge(given, attempt).cure


def test_an_all_black_mask_is_named_with_its_highest_probability(trial):
    attempt = trial.train(1)
    black = dataclasses.replace(attempt, after=Answer(0.0, 0.31, 0.02, None, True))
    assert "the mask is all black (highest probability 0.31, threshold 0.5)" in describe(black, 0.5)
    assert "all black" not in describe(black, 0.3)


def test_what_else_was_found_is_the_first_suspect(trial):
    given = Scaled(trial, 1e-6)
    assert judge(given, given.train(2), doubts=["masks", "labels"]).cure == "cure first: masks, labels"


def test_a_slice_that_is_no_number_stops_the_attempt_at_once(trial, monkeypatch):
    monkeypatch.setattr(trial, "batch", {**trial.batch, "image": np.full_like(trial.batch["image"], np.nan)})
    attempt = trial.train(STEPS)
    assert attempt.failed_step == 0
    assert len(attempt.losses) == 1
    assert not attempt.fitted
    assert not attempt.before.finite
    assert "no longer finite at step 0" in judge(trial, attempt).found


def test_losses_of_weight_0_are_not_asked_for():
    answer = make_trial(loss__classification_weight=0.0, loss__segmentation_weight=0.0).untrained()
    assert answer.right is None
    assert math.isnan(answer.dice) and math.isnan(answer.highest)


def test_frozen_and_random_parts_are_told():
    given = make_trial(optimizer__learning_rate_factors={"encoder": 0.0})
    assert given.frozen == ["encoder"]
    assert given.random_parts == given.parts == ["class_head", "encoder", "heads"]


def test_an_unknown_part_is_refused_as_in_the_run():
    with pytest.raises(InputError, match="has no part vgg"):
        make_trial(optimizer__learning_rate_factors={"vgg": 0.1})


def test_a_watched_optimiser_moves_the_parameters_as_before():
    params = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([0.0])}
    gradients = {"a": jnp.array([0.3, 0.4]), "b": jnp.array([2.0])}
    plain = optax.sgd(0.1)
    watched = recording(plain)
    expected, _ = plain.update(gradients, plain.init(params), params)
    updates, state = watched.update(gradients, watched.init(params), params)
    np.testing.assert_array_equal(updates["a"], expected["a"])
    assert float(state.gradients["a"]) == pytest.approx(0.5)
    assert float(state.gradients["b"]) == pytest.approx(2.0)
    assert float(state.ratio) == pytest.approx(0.1 * math.hypot(0.5, 2.0) / 5.0)


def member(position, label, share):
    look = None if share is None else MaskLook("", label, (4, 4), (4, 4), (0.0, 1.0), share, share > 0)
    return Member(position, label, look)


def test_a_segmenter_is_tried_on_the_largest_lesions():
    members = [member(number, 1, share) for number, share in enumerate((0.1, 0.0, 0.3, None, 0.2))]
    assert choose_trial(members, 3, classifies=False) == [2, 4, 0]


def test_a_classifier_is_tried_on_both_classes_in_turn():
    members = [member(0, 1, 0.1), member(1, 1, 0.2), member(2, -1, None), member(3, 0, 0.0), member(4, 0, 0.0)]
    assert choose_trial(members, 8, classifies=True) == [1, 3, 0, 4]
    assert choose_trial(members[:3], 8, classifies=True) == [1, 2, 0]
