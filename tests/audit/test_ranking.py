import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from jcs_jax.audit.ranking import clustered_auc, cross_fitted_auc


def ordinary(count, seed=0, signal=0.8):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    return rng.normal(size=count) + signal * labels, labels


def delong_error(scores, labels):
    """The textbook's double loop."""
    infected, uninfected = scores[labels == 1], scores[labels == 0]
    wins = (infected[:, None] > uninfected) + 0.5 * (infected[:, None] == uninfected)
    by_infected, by_uninfected = wins.mean(axis=1), wins.mean(axis=0)
    return math.sqrt(by_infected.var(ddof=1) / len(infected) + by_uninfected.var(ddof=1) / len(uninfected))


def test_the_area_counts_ties_half():
    auc = clustered_auc(np.array([1.0, 2, 2, 3]), np.array([0, 0, 1, 1]), np.arange(4))
    assert auc.value == 3.5 / 4
    assert (auc.infected, auc.uninfected) == (2, 2)


@pytest.mark.parametrize("seed", range(3))
def test_with_one_slice_a_patient_it_is_scikit_learns_area_and_delongs_error(seed):
    scores, labels = ordinary(70, seed)
    scores = np.round(scores, 1)  # ties
    auc = clustered_auc(scores, labels, np.arange(70))
    assert auc.value == pytest.approx(roc_auc_score(labels, scores))
    assert auc.error == pytest.approx(delong_error(scores, labels))


def test_repeating_the_slices_of_every_patient_makes_nothing_more_certain():
    scores, labels = ordinary(60)
    once = clustered_auc(scores, labels, np.arange(60))
    thrice = clustered_auc(np.tile(scores, 3), np.tile(labels, 3), np.tile(np.arange(60), 3))
    assert thrice.value == pytest.approx(once.value)
    assert thrice.error == pytest.approx(once.error, rel=0.01)


def test_the_error_is_that_of_drawing_patients_anew():
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(0, 2, 60), 4)
    groups = np.repeat(np.arange(60), 4)
    scores = np.repeat(rng.normal(size=60), 4) + 0.4 * rng.normal(size=240) + labels
    drawn = []
    for _ in range(300):
        chosen = np.concatenate([np.flatnonzero(groups == group) for group in rng.integers(0, 60, 60)])
        drawn.append(roc_auc_score(labels[chosen], scores[chosen]))
    assert clustered_auc(scores, labels, groups).error == pytest.approx(np.std(drawn), rel=0.2)


def test_the_interval_stays_within_0_and_1():
    scores = np.array([0.0, 1, 2, 3, 6, 5, 7, 8, 9, 10])
    auc = clustered_auc(scores, np.repeat([0, 1], 5), np.arange(10))
    assert auc.interval[1] == 1
    assert 0 < auc.interval[0] < auc.value == 0.96


def test_without_a_class_there_is_no_area():
    nothing = clustered_auc(np.zeros(3), np.ones(3, int), np.arange(3))
    assert math.isnan(nothing.value)
    assert all(map(math.isnan, nothing.interval))


def test_under_five_patients_of_a_class_the_interval_says_nothing():
    labels = np.repeat([0, 1], 20)
    for patients, known in ((4, False), (5, True)):
        groups = np.concatenate([np.arange(20), 20 + np.arange(20) % patients])
        auc = clustered_auc(np.arange(40.0), labels, groups)
        assert auc.value == 1
        assert auc.interval == ((1, 1) if known else (0, 1))


def test_a_category_that_is_the_class_is_found_out():
    labels = np.array([0, 1] * 20)
    auc = cross_fitted_auc(["b" if label else "a" for label in labels], labels, np.arange(40))
    assert (auc.value, auc.infected, auc.uninfected) == (1, 20, 20)


def test_many_categories_that_tell_nothing_score_a_half_on_average():
    rng = np.random.default_rng(0)
    values, naive = [], []
    for _ in range(40):
        labels, categories = rng.integers(0, 2, 80), rng.integers(0, 30, 80)
        values.append(cross_fitted_auc(categories.tolist(), labels, np.arange(80)).value)
        share = np.array([labels[categories == category].mean() for category in categories])
        naive.append(roc_auc_score(labels, share))
    assert np.mean(values) == pytest.approx(0.5, abs=0.02)
    assert np.mean(naive) > 0.75


def test_a_category_of_one_patient_tells_nothing():
    labels = np.repeat([0, 1] * 10, 5)
    groups = np.repeat(np.arange(20), 5)
    assert cross_fitted_auc(groups.tolist(), labels, groups).value == pytest.approx(0.5)


def test_two_patients_are_too_few_to_learn_a_category():
    assert math.isnan(cross_fitted_auc(["a", "b"], np.array([0, 1]), np.arange(2)).value)
