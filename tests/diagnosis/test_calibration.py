"""Temperature, threshold and what is familiar: by hand, by other libraries, and on patients nobody has seen."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve

from jcs_jax.diagnosis.calibration import (
    LEAST_TEMPERATURE,
    MOST_TEMPERATURE,
    fit_familiar,
    fit_rule,
    fit_temperature,
    fit_threshold,
    probabilities,
    temperature_notes,
)
from jcs_jax.diagnosis.decision import decide
from jcs_jax.diagnosis.result.decision import INFECTED, UNINFECTED
from jcs_jax.errors import InputError
from jcs_jax.models.operating_point import PatientRule


def _truth(text: str) -> np.ndarray:
    """Of patients, from `+` and `-`."""
    return np.array([sign == "+" for sign in text])


def _patients(rng: np.random.Generator, patients: int, slices: int = 12, *, shift: float = 0.0) -> np.ndarray:
    """Features of slices, those of one patient alike: two thirds of the variance lies between patients."""
    loading = np.random.default_rng(1).normal(size=(6, 32))
    between, within = rng.normal(size=(patients, 1, 6)), rng.normal(size=(patients, slices, 6))
    features = (math.sqrt(2 / 3) * between + math.sqrt(1 / 3) * within) @ loading + shift
    return np.maximum(features.reshape(-1, 32), 0)


def test_temperature_by_hand():
    """Three of four patients with log-odds of 2 are infected: calibrated is log 3."""
    scores, infected = np.full(4, 2.0), _truth("+++-")
    assert fit_temperature(scores, infected) == pytest.approx(2 / math.log(3), rel=1e-6)
    assert fit_temperature(-scores, ~infected) == pytest.approx(2 / math.log(3), rel=1e-6)
    assert probabilities(scores, 2 / math.log(3)) == pytest.approx([0.75] * 4)


@pytest.mark.parametrize("true_temperature", [0.3, 1.0, 4.0])
def test_temperature_is_that_of_a_logistic_regression_without_intercept(true_temperature):
    rng = np.random.default_rng(3)
    scores = rng.normal(size=400) * 3
    infected = rng.random(400) < 1 / (1 + np.exp(-scores / true_temperature))
    regression = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(scores[:, np.newaxis], infected)
    found = fit_temperature(scores, infected)
    assert found == pytest.approx(1 / regression.coef_[0, 0], rel=1e-4)
    assert found == pytest.approx(true_temperature, rel=0.3)
    assert temperature_notes(found, scores, infected) == ()


def test_patients_told_apart_without_error_leave_room_for_one_by_hand():
    """Two of each kind count as told right by 3 / 4, forty by 41 / 42."""
    for each, odds in ((2, 3), (40, 41)):
        scores, infected = np.repeat([2.0, -2.0], each), np.repeat([True, False], each)
        temperature = fit_temperature(scores, infected)
        assert temperature == pytest.approx(2 / math.log(odds), rel=1e-6)
        assert "tells all patients apart" in temperature_notes(temperature, scores, infected)[0]
    assert fit_temperature(np.array([2000.0, -2000.0]), _truth("+-")) == MOST_TEMPERATURE
    assert fit_temperature(np.array([1e-3, -1e-3]), _truth("+-")) == LEAST_TEMPERATURE


def test_log_odds_that_mislead_run_into_the_highest_temperature():
    scores, infected = np.array([-1.0, -2.0, 1.0, 3.0]), _truth("++--")
    temperature = fit_temperature(scores, infected)
    assert temperature == MOST_TEMPERATURE
    assert "bound of 20" in temperature_notes(temperature, scores, infected)[0]


def test_one_small_error_among_large_margins_runs_into_the_lowest_temperature():
    scores, infected = np.array([0.2, 0.2, 0.2, -1e-3, -0.2]), _truth("++++-")
    temperature = fit_temperature(scores, infected)
    assert temperature == LEAST_TEMPERATURE
    assert "bound of 0.05" in temperature_notes(temperature, scores, infected)[0]


def test_the_threshold_is_the_middle_of_the_gap_between_the_classes():
    assert fit_threshold(np.array([0.1, 0.3, 0.7, 0.8]), _truth("--++")) == 0.5


def test_of_equally_good_thresholds_the_one_in_the_widest_gap_is_chosen():
    """Between 0.2 and 0.3, and between 0.5 and 0.9, one of four patients is wrong."""
    assert fit_threshold(np.array([0.2, 0.3, 0.5, 0.9]), _truth("-+-+")) == pytest.approx(0.7)
    assert fit_threshold(np.array([0.2, 0.45, 0.5, 0.6]), _truth("-+-+")) == pytest.approx(0.325)
    assert fit_threshold(np.array([0.125, 0.25, 0.5, 0.625]), _truth("-+-+")) == 0.1875  # the lower of equal ones


def test_the_threshold_has_the_highest_youden_index_that_scikit_learn_finds():
    rng = np.random.default_rng(0)
    for _ in range(20):
        infected = rng.random(30) < 0.4
        probability = np.round(np.clip(rng.normal(0.4 + 0.2 * infected, 0.2), 0, 1), 2)
        false_alarms, hits, _ = roc_curve(infected, probability)
        called = probability >= fit_threshold(probability, infected)
        assert called[infected].mean() - called[~infected].mean() == pytest.approx((hits - false_alarms).max())


def test_neighbouring_floats_are_told_apart():
    low, high = 1 - 2**-52, 1 - 2**-53
    assert (low + high) / 2 == low
    assert fit_threshold(np.array([0.1, low, high]), _truth("--+")) == high


@pytest.mark.parametrize(("probability", "truth"), [([0.5, 0.5], "+-"), ([0.1, 0.9], "+-"), ([0.1, 0.1, 0.9], "-+-")])
def test_answers_no_better_than_chance_give_no_threshold(probability, truth):
    with pytest.raises(InputError, match="no better than chance"):
        fit_threshold(np.array(probability), _truth(truth))


def test_a_decision_uses_the_fitted_rule():
    scores, infected = np.array([-1.0, 1.0, 3.0, 4.0]), _truth("--++")
    rule = fit_rule(scores, infected, share=1.0, indecision=0.01, chosen_on="made up")
    assert (rule.share, rule.indecision, rule.chosen_on) == (1.0, 0.01, "made up")
    low, high = probabilities(np.array([1.0, 3.0]), rule.temperature)
    assert rule.threshold == pytest.approx((low + high) / 2)
    options: dict[str, Any] = {"extents": np.full(4, 20.0), "lung_bearing": np.ones(4, bool), "millimetres": True}
    answers = {}
    for score in (1.0, 3.0):
        log_odds = np.full(4, score)
        answers[score] = decide(log_odds, log_odds > 0, rule, **options).answer
    assert answers == {1.0: UNINFECTED, 3.0: INFECTED}
    uncalibrated = decide(np.ones(4), np.ones(4) > 0, PatientRule(), **options)
    assert uncalibrated.answer == INFECTED


def test_mean_deviation_and_limit_by_hand():
    """One feature, two patients of one slice each: held out, each is far from the other's floor."""
    familiar = fit_familiar(np.array([[1.0], [3.0]]), np.array([0, 1]))
    assert (familiar.mean, familiar.deviation) == ((2.0,), (1.0,))
    assert familiar.limit == pytest.approx(2 / 0.1)


def test_distances_are_from_the_other_patients():
    rng = np.random.default_rng(0)
    features, patients = rng.normal(size=(60, 5)), np.repeat(np.arange(6), 10)
    distances = np.empty(60)
    for patient in range(6):
        own = patients == patient
        standardised = (features[own] - features[~own].mean(axis=0)) / features[~own].std(axis=0)
        distances[own] = np.sqrt((standardised**2).mean(axis=1))
    assert fit_familiar(features, patients).limit == pytest.approx(np.sort(distances)[-1])  # 99 % of 60
    order = rng.permutation(60)
    assert fit_familiar(features[order], patients[order]).limit == pytest.approx(np.sort(distances)[-1])


def test_a_patient_of_one_slice_weighs_as_much_as_one_of_many():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(size=(600, 5)), np.full((1, 5), 4.0)])
    familiar = fit_familiar(features, np.array([*np.repeat(np.arange(3), 200), 3]))
    alone = (4 - features[:600].mean(axis=0)) / features[:600].std(axis=0)
    assert familiar.limit == pytest.approx(np.sqrt((alone**2).mean()))


def test_a_feature_that_never_moves_is_kept_from_drowning_the_others():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 5))
    features[:, 2] = 0
    features[:, 3] *= 1e-9
    familiar = fit_familiar(features, np.repeat(np.arange(8), 5))
    least = np.median(np.delete(features.std(axis=0), 2)) / 10
    assert familiar.deviation[2] == pytest.approx(least)
    assert familiar.deviation[3] == pytest.approx(least)
    with pytest.raises(InputError, match="the same on every slice"):
        fit_familiar(np.ones((8, 3)), np.repeat(np.arange(4), 2))


@pytest.mark.parametrize("count", [10, 30])
def test_new_patients_of_the_same_kind_stay_below_the_limit_and_others_exceed_it(count):
    rng = np.random.default_rng(count)
    alike: list[bool] = []
    different: list[bool] = []
    for _ in range(10):
        familiar = fit_familiar(_patients(rng, count), np.repeat(np.arange(count), 12))
        for found, shift in ((alike, 0.0), (different, 8.0)):
            distances = familiar.distance(_patients(rng, 60, shift=shift)).reshape(60, 12)
            found += list(np.median(distances, axis=1) > familiar.limit)
    assert np.mean(alike) < 0.05
    assert np.mean(different) > 0.95


def test_what_is_familiar_survives_json():
    familiar = fit_familiar(_patients(np.random.default_rng(0), 6), np.repeat(np.arange(6), 12))
    assert type(familiar).from_json(dataclasses.asdict(familiar)) == familiar
    assert all(type(value) is float for value in (*familiar.mean, *familiar.deviation, familiar.limit))
