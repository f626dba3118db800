"""Two models on the same slices: the difference, its interval and the test by swapping."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from jcs_jax.evaluation.clusters import Clusters
from jcs_jax.evaluation.intervals import bootstrap_interval
from jcs_jax.evaluation.paired import paired_difference
from jcs_jax.evaluation.paired_statistics import PairedAuc, PairedMean

FIRST, SECOND = np.zeros((1, 120), bool), np.ones((1, 120), bool)


def _alone(n):
    return Clusters(np.arange(n), n)


def test_the_difference_of_means_is_over_the_slices_where_both_are_defined():
    mean = PairedMean.from_values([0.5, np.nan, 0.7, 0.1], [0.6, 0.9, 0.9, np.nan])
    found = paired_difference(mean, _alone(4), n=mean.n)
    assert found.value == pytest.approx((0.1 + 0.2) / 2)
    assert found.n == 2


def test_the_interval_is_that_of_the_differences():
    rng = np.random.default_rng(0)
    first, second = rng.beta(8, 2, (2, 50))
    found = paired_difference(PairedMean.from_values(first, second), _alone(50))
    gain = second - first
    low, high = bootstrap_interval(lambda w: w @ gain / w.sum(axis=1), _alone(50), value=gain.mean())
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)


def test_p_is_the_share_of_swaps_with_a_difference_at_least_as_large():
    first, second = np.zeros(5), np.array([1.0, 2.0, 3.0, 4.0, -1.0])
    found = paired_difference(PairedMean.from_values(first, second), _alone(5), permutations=20_000)
    signs = 1 - 2 * ((np.arange(32)[:, None] >> np.arange(5)) & 1)
    exact = (np.abs(signs @ second) >= second.sum()).mean()  # 4 of 32
    assert found.p_value == pytest.approx(exact, abs=0.01)


def test_it_agrees_with_scipys_permutation_test_of_paired_values():
    rng = np.random.default_rng(1)
    first = rng.normal(size=40)
    second = first + 0.25 + 0.7 * rng.normal(size=40)
    found = paired_difference(PairedMean.from_values(first, second), _alone(40), permutations=9999)
    theirs = stats.permutation_test(
        (second, first),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        rng=np.random.default_rng(2),
    )
    assert found.p_value == pytest.approx(theirs.pvalue, abs=0.015)


def test_equal_models_differ_by_nothing():
    values = np.random.default_rng(0).beta(8, 2, 30)
    found = paired_difference(PairedMean.from_values(values, values), _alone(30))
    assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_a_clear_gain_is_found():
    rng = np.random.default_rng(0)
    first = rng.beta(4, 4, 60)
    found = paired_difference(PairedMean.from_values(first, first + 0.05 + 0.02 * rng.normal(size=60)), _alone(60))
    assert found.p_value == 1 / 2001
    assert 0.04 < found.low < found.value < found.high < 0.06


def test_the_other_order_turns_the_sign_and_keeps_p():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 40))
    there = paired_difference(PairedMean.from_values(first, second), _alone(40))
    back = paired_difference(PairedMean.from_values(second, first), _alone(40))
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low), rel=1e-6)
    assert back.p_value == there.p_value


def test_the_same_seed_gives_the_same_result():
    rng = np.random.default_rng(0)
    mean = PairedMean.from_values(*rng.normal(size=(2, 40)))
    assert paired_difference(mean, _alone(40)) == paired_difference(mean, _alone(40))


def test_slices_of_one_patient_are_swapped_together():
    index = np.repeat(np.arange(4), 50)
    gain = np.array([1.0, 1.0, 1.0, 1.0])[index]
    found = paired_difference(PairedMean.from_values(0 * gain, gain), Clusters(index, 4), permutations=5000)
    assert found.p_value == pytest.approx(2 / 16, abs=0.02)  # four patients, all in one direction


def _rejections(draw, clusters, draws=300):
    rng = np.random.default_rng(3)
    options = {"resamples": 4, "permutations": 199}
    found = [paired_difference(draw(rng), clusters, seed=seed, **options) for seed in range(draws)]
    return np.mean([one.p_value <= 0.05 for one in found])


def test_equally_good_models_are_told_apart_in_one_of_twenty_draws():
    index = np.repeat(np.arange(20), 5)

    def draw(rng):  # a patient's slices lean to the same model
        return PairedMean.from_values(np.zeros(100), rng.normal(size=20)[index] + 0.5 * rng.normal(size=100))

    assert 0.02 <= _rejections(draw, Clusters(index, 20)) <= 0.085


def test_equally_good_scores_on_other_scales_are_told_apart_in_one_of_twenty_draws():
    labels = (np.arange(60) < 30).astype(int)

    def draw(rng):
        patient = rng.normal(size=60) + labels
        first, second = patient + rng.normal(size=(2, 60))
        return PairedAuc.from_scores(first, np.exp(3 * second), labels)

    assert 0.02 <= _rejections(draw, _alone(60)) <= 0.085


def test_the_auc_is_scikit_learns_with_ties_and_weights():
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 2, 120)
    first, second = rng.integers(0, 8, (2, 120)) / 8  # many ties
    auc = PairedAuc.from_scores(first, second, labels)
    known = labels >= 0
    assert auc.n == known.sum()
    weights = rng.integers(0, 4, (20, 120)).astype(float)
    for choice, scores in ((FIRST, first), (SECOND, second)):
        for row, value in zip(weights, auc(weights, choice), strict=True):
            expected = roc_auc_score(labels[known], scores[known], sample_weight=row[known])
            assert value == pytest.approx(expected, abs=1e-12)


def test_a_mix_of_models_is_ranked_by_their_own_ranks():
    rng = np.random.default_rng(0)
    labels = (np.arange(120) < 50).astype(int)
    first, second = rng.normal(size=(2, 120)) + labels
    choice = rng.random((6, 120)) < 0.5
    found = PairedAuc.from_scores(first, 1000 + second, labels)(np.ones((1, 120)), choice)
    ranks = stats.rankdata(first), stats.rankdata(second)
    for row, value in zip(choice, found, strict=True):
        assert value == pytest.approx(roc_auc_score(labels, np.where(row, ranks[1], ranks[0])), abs=1e-12)


def test_a_better_ranking_is_found_whatever_its_scale():
    rng = np.random.default_rng(0)
    labels = (np.arange(120) < 60).astype(int)
    first, second = rng.normal(size=120) + 0.5 * labels, rng.normal(size=120) + 2.5 * labels
    auc = PairedAuc.from_scores(first, np.exp(second), labels)
    found = paired_difference(auc, _alone(120), n=auc.n, support=60, bounds=(-1, 1))
    assert found.value == pytest.approx(roc_auc_score(labels, second) - roc_auc_score(labels, first), abs=1e-12)
    assert found.p_value < 0.01
    assert 0 < found.low < found.value < found.high < 1
    assert found.n == 120


def test_a_single_class_has_no_difference():
    auc = PairedAuc.from_scores([0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [1, 1, -1])
    found = paired_difference(auc, _alone(3), n=auc.n)
    assert np.isnan([found.value, found.low, found.high, found.p_value]).all()
    assert found.n == 2


def test_no_slice_has_no_difference():
    found = paired_difference(PairedMean.from_values([], []), Clusters.from_patients([]))
    assert math.isnan(found.value)
    assert math.isnan(found.p_value)


def test_models_of_other_slices_are_refused():
    with pytest.raises(ValueError, match="must both be one"):
        PairedMean.from_values([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="of the same slices"):
        PairedAuc.from_scores([0.1, 0.2], [0.1, 0.3], [1])
    with pytest.raises(ValueError, match="NaN"):
        PairedAuc.from_scores([0.1, np.nan], [0.1, 0.3], [1, 0])
