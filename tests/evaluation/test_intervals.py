"""Intervals over patients: what they cover, what they agree with, and where there are none."""

import math

import numpy as np
import pytest
from scipy import stats

from jcs_jax.evaluation import clusters as clusters_module
from jcs_jax.evaluation.clusters import Clusters, in_chunks
from jcs_jax.evaluation.intervals import bootstrap_interval, wilson_interval


def _mean(values):
    values = np.asarray(values, np.float64)
    defined = ~np.isnan(values)

    def statistic(weights):
        total = weights[:, defined].sum(axis=1)
        summed = weights[:, defined] @ values[defined]
        return np.divide(summed, total, out=np.full(len(weights), np.nan), where=total > 0)

    return statistic


def _interval(values, clusters=None, **options):
    clusters = clusters or Clusters(np.arange(len(values)), len(values))
    return bootstrap_interval(_mean(values), clusters, value=float(np.nanmean(values)), **options)


def _auc(scores, infected):
    order = np.argsort(scores)

    def statistic(weights):
        positive, negative = weights[:, order] * infected[order], weights[:, order] * ~infected[order]
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        above = (positive * np.cumsum(negative, axis=1)).sum(axis=1)
        return np.divide(above, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)

    return statistic


def test_slices_of_a_patient_share_a_cluster_and_unknown_ones_have_their_own():
    clusters = Clusters.from_patients(["b", "", "a", "b", ""])
    assert clusters.count == 4
    np.testing.assert_array_equal(clusters.index, [1, 2, 0, 1, 3])


def test_no_slices_are_no_clusters():
    clusters = Clusters.from_patients([])
    assert clusters.count == 0
    assert np.isnan(bootstrap_interval(_mean([]), clusters, value=math.nan)).all()


def test_a_resample_draws_as_many_patients_as_there_are_with_all_their_slices():
    clusters = Clusters.from_patients(list("aabcccc"))
    weights = clusters.resampled(np.random.default_rng(0), 5000)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    np.testing.assert_array_equal(weights[:, 3:], weights[:, 3:4].repeat(4, axis=1))
    np.testing.assert_array_equal(weights[:, [0, 2, 3]].sum(axis=1), 3)
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.05)  # binomial: standard error 0.012
    np.testing.assert_allclose(weights.var(axis=0), 2 / 3, atol=0.05)  # 3 draws, each with chance 1/3


def test_the_jackknife_leaves_out_every_patient_once():
    few = Clusters.from_patients(list("aabc"))
    np.testing.assert_array_equal(few.left_out(), [[0, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]])
    many = Clusters(np.arange(450), 450).left_out()
    assert many.shape == (200, 450)
    np.testing.assert_array_equal((~many).sum(axis=0), 1)
    assert set((~many).sum(axis=1)) == {2, 3}


def test_chunks_add_up_and_stay_small():
    assert in_chunks(2000, 1000) == [2000]
    parts = in_chunks(2000, 30_000)
    assert sum(parts) == 2000
    assert max(parts) * 30_000 <= 4_000_000
    assert in_chunks(2, 10**9) == [1, 1]


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_bca_interval_of_scipy_for_the_mean_of_many_patients(seed):
    values = np.random.default_rng(seed).gamma(2.0, size=150)
    ours = _interval(values, resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, method="BCa", n_resamples=20_000, vectorized=True, batch=2000, rng=np.random.default_rng(9)
    ).confidence_interval
    width = theirs.high - theirs.low
    # 150 patients widen the normal quantiles by 1.2 %; the rest is the error of 20,000 resamples.
    np.testing.assert_allclose(ours, theirs, atol=0.03 * width)


def test_few_patients_widen_the_interval_to_students():
    values = np.random.default_rng(0).normal(size=15)
    low, high = _interval(values, resamples=40_000)
    half = stats.t.ppf(0.975, 14) * values.std(ddof=1) / np.sqrt(15)
    assert high - low == pytest.approx(2 * half, rel=0.04)


def _coverage(draw, truth, draws=300):
    rng = np.random.default_rng(7)
    ends = np.array([draw(rng, seed) for seed in range(draws)])
    return float(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean())


def test_the_mean_of_skewed_values_of_30_patients_is_covered():
    coverage = _coverage(lambda rng, seed: _interval(rng.beta(8, 2, 30), resamples=400, seed=seed), 0.8)
    assert 0.92 <= coverage <= 0.98


def test_the_mean_of_patients_with_many_slices_is_covered():
    def draw(rng, seed):
        index = np.repeat(np.arange(25), rng.integers(5, 21, 25))
        level = rng.beta(6, 2, 25)[index]
        return _interval(rng.beta(10 * level, 10 * (1 - level)), Clusters(index, 25), resamples=400, seed=seed)

    assert 0.92 <= _coverage(draw, 0.75) <= 0.98


def test_an_auc_is_covered():
    infected = np.arange(100) < 40

    def draw(rng, seed):
        scores = rng.normal(size=100) + np.sqrt(2) * stats.norm.ppf(0.85) * infected
        statistic = _auc(scores, infected)
        value = float(statistic(np.ones((1, 100)))[0])
        clusters = Clusters(np.arange(100), 100)
        return bootstrap_interval(
            statistic, clusters, value=value, bounds=(0, 1), support=40, resamples=400, seed=seed
        )  # fmt: skip

    assert 0.92 <= _coverage(draw, 0.85) <= 0.98


def test_slices_that_are_alike_within_patients_widen_the_interval():
    rng = np.random.default_rng(0)
    index = np.repeat(np.arange(30), 10)
    values = rng.normal(size=30)[index] + 0.1 * rng.normal(size=300)
    by_patient, by_slice = _interval(values, Clusters(index, 30)), _interval(values)
    ratio = (by_patient[1] - by_patient[0]) / (by_slice[1] - by_slice[0])
    assert ratio == pytest.approx(np.sqrt(10), rel=0.15)  # ten copies of one value are one value


def test_the_same_seed_gives_the_same_interval_and_another_one_nearly():
    values = np.random.default_rng(0).beta(8, 2, 40)
    assert _interval(values) == _interval(values)
    other = _interval(values, seed=1)
    assert other != _interval(values)
    np.testing.assert_allclose(other, _interval(values), atol=0.01)


def test_all_statistics_of_the_same_clusters_see_the_same_resamples():
    clusters = Clusters.from_patients(list("aabbcdefgh"))
    seen = []

    def statistic(weights):
        seen.append(weights)
        return weights @ np.arange(10) / weights.sum(axis=1)

    bootstrap_interval(statistic, clusters, value=4.5)
    bootstrap_interval(statistic, clusters, value=4.5, support=3)
    np.testing.assert_array_equal(seen[0], seen[2])


def test_the_size_of_the_chunks_does_not_matter(monkeypatch):
    values = np.random.default_rng(0).beta(8, 2, 40)
    whole = _interval(values)
    monkeypatch.setattr(clusters_module, "CHUNK_NUMBERS", 40 * 7)
    np.testing.assert_allclose(_interval(values), whole, rtol=1e-12)


def test_the_order_of_the_slices_does_not_matter():
    rng = np.random.default_rng(0)
    patients = np.array([f"p{number}" for number in np.repeat(rng.permutation(30), 4)])
    values, order = rng.beta(8, 2, 120), rng.permutation(120)
    straight = _interval(values, Clusters.from_patients(patients))
    np.testing.assert_allclose(_interval(values[order], Clusters.from_patients(patients[order])), straight, rtol=1e-9)


def test_an_increasing_transform_of_the_number_transforms_the_interval():
    values = np.random.default_rng(0).beta(8, 2, 60)
    mean, clusters = _mean(values), Clusters(np.arange(60), 60)
    plain = bootstrap_interval(mean, clusters, value=values.mean(), resamples=20_000)
    cubed = bootstrap_interval(lambda w: mean(w) ** 3, clusters, value=values.mean() ** 3, resamples=20_000)
    np.testing.assert_allclose(np.cbrt(cubed), plain, atol=2e-3)


def test_a_scale_and_a_sign_carry_over():
    values = np.random.default_rng(0).beta(8, 2, 60)
    low, high = _interval(values)
    np.testing.assert_allclose(_interval(1e6 * values), (1e6 * low, 1e6 * high), rtol=1e-6)
    np.testing.assert_allclose(_interval(-values), (-high, -low), rtol=1e-6)


def test_one_patient_has_no_interval():
    assert np.isnan(_interval([0.5, 0.7, 0.9], Clusters.from_patients(["a", "a", "a"]))).all()
    assert np.isnan(_interval([0.5, 0.7, 0.9], support=1)).all()


def test_a_number_that_is_not_defined_has_no_interval():
    clusters = Clusters(np.arange(5), 5)
    assert np.isnan(bootstrap_interval(_mean([np.nan] * 5), clusters, value=math.nan)).all()


def test_too_few_defined_resamples_give_no_interval():
    clusters = Clusters(np.arange(20), 20)

    def rarely(weights):
        return np.where(weights[:, 0] > 1, weights[:, 1], np.nan)  # 26 in 100

    def mostly(weights):
        return np.where(weights[:, 0] > 0, weights @ np.arange(20), np.nan)  # 64 in 100

    assert np.isnan(bootstrap_interval(rarely, clusters, value=1.0)).all()
    assert np.isfinite(bootstrap_interval(mostly, clusters, value=190.0)).all()


def test_ten_in_ten_has_wilsons_interval_of_those_it_rests_on():
    right = np.concatenate([np.ones(10), np.full(20, np.nan)])
    z2 = stats.norm.ppf(0.975) ** 2
    assert _interval(right, bounds=(0, 1), support=10) == pytest.approx((10 / (10 + z2), 1))
    assert _interval(1 - right, bounds=(0, 1), support=10) == pytest.approx((0, z2 / (10 + z2)))
    assert _interval(2 * right, bounds=(-2, 2), support=10) == pytest.approx((4 * 10 / (10 + z2) - 2, 2))


def test_the_same_value_everywhere_is_its_own_interval():
    assert _interval([0.25] * 9, bounds=(0, 1)) == (0.25, 0.25)
    assert _interval([0.0] * 9, bounds=(0, math.inf)) == (0.0, 0.0)


def test_equal_values_that_round_differently_are_equal():
    noisy = 0.1 + 1e-16 * np.arange(50)
    low, high = _interval(noisy)
    assert low == high == pytest.approx(0.1)


def test_the_interval_stays_within_the_bounds():
    values = np.concatenate([np.ones(28), [0.0, 0.9]])
    low, high = _interval(values, bounds=(0, 0.97))
    assert 0 < low < values.mean() < high <= 0.97


@pytest.mark.parametrize(("share", "n"), [(0.0, 7), (0.3, 10), (0.9, 30), (1.0, 1)])
def test_wilsons_interval_is_scipys(share, n):
    theirs = stats.binomtest(round(share * n), n).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson_interval(share, n), theirs, atol=1e-12)


def test_wilsons_interval_of_nobody_is_not_defined():
    assert np.isnan(wilson_interval(math.nan, 0)).all()


def test_an_extreme_outlier_among_two_patients_does_not_break_it():
    low, high = _interval([0.0, 1e9])
    assert 0 <= low <= 5e8 <= high <= 1e9
