"""Weighted numbers of many cases against scikit-learn, repeated cases and cases worked by hand."""

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve

from jcs_jax.metrics import BinaryCounts, Mean, ScoreRanks, SortedScores, weighted, weighted_mean

SEEDS = range(200)
OF_SCORES = (weighted.auc, weighted.average_precision, weighted.brier, weighted.expected_calibration_error)
OF_DECISIONS = (weighted.sensitivity, weighted.specificity, weighted.accuracy)


def _case(seed):
    """Scores with and without ties, both labels, and weights: continuous, counts with zeros, or some of them zero."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 60))
    scores = rng.random(n) if seed % 2 else rng.integers(0, rng.integers(2, 12), n) / 11
    labels = rng.integers(0, 2, n)
    labels[:2] = 0, 1
    weights = (rng.exponential(size=n), rng.multinomial(n, np.full(n, 1 / n)), rng.random(n) * (rng.random(n) < 0.5))
    weights = np.asarray(weights[seed % 3], np.float64)
    weights[:2] += 1.0  # neither class is without weight
    return scores, labels, weights


def _ece_by_loops(probabilities, labels, weights, bins):
    error = 0.0
    for k in range(bins):
        low, high = k / bins, (k + 1) / bins
        inside = [i for i, p in enumerate(probabilities) if low < p <= high or (k == 0 and p == 0)]
        weight = sum(weights[i] for i in inside)
        if weight:
            confidence = sum(weights[i] * probabilities[i] for i in inside) / weight
            share = sum(weights[i] * labels[i] for i in inside) / weight
            error += weight / sum(weights) * abs(confidence - share)
    return error


@pytest.mark.parametrize("seed", SEEDS)
class TestAgainstScikitLearn:
    def test_auc_average_precision_and_brier(self, seed):
        scores, labels, weights = _case(seed)
        for given in (None, weights):
            options = {"sample_weight": given}
            for ours, theirs in (
                (weighted.auc, sklearn_metrics.roc_auc_score),
                (weighted.average_precision, sklearn_metrics.average_precision_score),
                (weighted.brier, sklearn_metrics.brier_score_loss),
            ):
                expected = theirs(labels, scores, **options)
                np.testing.assert_allclose(ours(scores, labels, given), expected, rtol=1e-11, atol=1e-13)

    def test_shares_of_decisions(self, seed):
        scores, labels, weights = _case(seed)
        decisions = scores >= 0.4
        for given in (None, weights):
            options = {"sample_weight": given}
            expected = (
                sklearn_metrics.recall_score(labels, decisions, **options),
                sklearn_metrics.recall_score(labels, decisions, pos_label=0, **options),
                sklearn_metrics.accuracy_score(labels, decisions, **options),
            )
            shares = [share(decisions, labels, given) for share in OF_DECISIONS]
            np.testing.assert_allclose(shares, expected, rtol=1e-12, atol=1e-15)

    def test_calibration_error(self, seed):
        scores, labels, weights = _case(seed)
        for bins in (1, 4, 10):
            ours = weighted.expected_calibration_error(scores, labels, weights, bins=bins)
            np.testing.assert_allclose(ours, _ece_by_loops(scores, labels, weights, bins), rtol=1e-11, atol=1e-13)
        shares, confidences = calibration_curve(labels, scores, n_bins=10)
        counts = np.histogram(np.searchsorted(np.linspace(0, 1, 11)[1:-1], scores), np.arange(11))[0]
        expected = np.abs(shares - confidences) @ counts[counts > 0] / len(labels)
        ours = weighted.expected_calibration_error(scores, labels)
        np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-13)

    def test_the_mean(self, seed):
        values, _, weights = _case(seed)
        np.testing.assert_allclose(weighted_mean(values, weights), np.average(values, weights=weights), rtol=1e-12)


@pytest.mark.parametrize("seed", range(30))
class TestWeights:
    """With whole numbers as weights: the same as the cases that often, and many sets the same as one by one."""

    def test_weights_are_repetitions(self, seed):
        scores, labels, _ = _case(seed)
        times = np.random.default_rng(seed).integers(0, 4, len(scores))
        repeated, again = np.repeat(scores, times), np.repeat(labels, times)
        for number in OF_SCORES:
            np.testing.assert_allclose(number(scores, labels, times), number(repeated, again), rtol=1e-12, atol=1e-15)
        for share in OF_DECISIONS:
            np.testing.assert_allclose(
                share(scores > 0.5, labels, times), share(repeated > 0.5, again), rtol=1e-12, atol=1e-15
            )

    def test_many_sets_at_once_are_each_alone(self, seed):
        rng = np.random.default_rng(seed)
        scores, labels, weights = _case(seed)
        labels[rng.random(len(labels)) < 0.2] = -1
        sets = np.stack([weights, rng.random(len(scores)), np.zeros(len(scores)), np.ones(len(scores))])
        for number in OF_SCORES:
            together = number(scores, labels, sets)
            assert together.shape == (4,)
            alone = [number(scores, labels, one) for one in sets]
            np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-15)
            assert math.isnan(together[2])
            np.testing.assert_allclose(together[3], number(scores, labels), rtol=1e-12, atol=1e-15)
        for share in (*OF_DECISIONS, lambda decisions, _, weights: weighted_mean(decisions, weights)):
            together = share(scores > 0.5, labels, sets)
            np.testing.assert_allclose(
                together, [share(scores > 0.5, labels, one) for one in sets], rtol=1e-12, atol=1e-15
            )

    def test_the_scale_and_the_order_of_cases_do_not_count(self, seed):
        scores, labels, weights = _case(seed)
        order = np.random.default_rng(seed).permutation(len(scores))
        for number in OF_SCORES:
            moved = number(scores[order], labels[order], 7 * weights[order])
            np.testing.assert_allclose(moved, number(scores, labels, weights), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("seed", range(30))
def test_with_weight_one_they_are_the_states(seed):
    scores, labels, _ = _case(seed)
    labels[np.random.default_rng(seed).random(len(labels)) < 0.2] = -1
    counts = BinaryCounts.from_decisions(scores > 0.5, labels)
    for share, measured in zip(
        OF_DECISIONS, (counts.sensitivity(), counts.specificity(), counts.accuracy()), strict=True
    ):
        np.testing.assert_equal(share(scores > 0.5, labels), measured.value)
    np.testing.assert_equal(weighted.auc(scores, labels), ScoreRanks.from_scores(scores, labels).auc().value)
    values = np.where(labels == 1, scores, np.nan)
    np.testing.assert_allclose(weighted_mean(values), Mean.from_values(values).compute().value, rtol=1e-14)


class TestByHand:
    SCORES, LABELS = np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1])

    def test_auc_and_average_precision_with_a_tie(self):
        # Pairs: the 0.8 wins both, the infected 0.4 wins one and ties one.
        assert weighted.auc(self.SCORES, self.LABELS) == 3.5 / 4
        # At 0.8 one of one is right, at 0.4 two of three.
        np.testing.assert_allclose(weighted.average_precision(self.SCORES, self.LABELS), (1 + 2 / 3) / 2, rtol=1e-15)

    def test_weights_count_pairs(self):
        # The uninfected 0.4 thrice: of 2 x 4 pairs, 4 are won by 0.8, 1 by 0.4, and 3 tie.
        assert weighted.auc(self.SCORES, self.LABELS, np.array([1, 3, 1, 1])) == (4 + 1 + 3 / 2) / 8

    def test_brier_and_calibration(self):
        np.testing.assert_allclose(
            weighted.brier(self.SCORES, self.LABELS), (0.01 + 0.16 + 0.36 + 0.04) / 4, rtol=1e-14
        )
        # Bins (0, 0.5] and (0.5, 1]: 0.3 said and 1/3 infected, 0.8 said and 1 infected.
        error = weighted.expected_calibration_error(self.SCORES, self.LABELS, bins=2)
        np.testing.assert_allclose(error, 3 / 4 * (1 / 3 - 0.3) + 1 / 4 * 0.2, rtol=1e-14)

    def test_equal_probabilities_that_are_the_share_have_no_calibration_error(self):
        labels = np.array([0, 0, 0, 1])
        assert weighted.expected_calibration_error(np.full(4, 0.25), labels) == 0.0
        assert weighted.brier(np.full(4, 0.25), labels) == 0.25 * 0.75

    @pytest.mark.parametrize("edge", [0.0, 0.1, 0.3, 0.6, 0.7, 1.0])
    def test_an_edge_belongs_to_the_bin_below(self, edge):
        # In one bin with a case just below the edge, the two errors of opposite sign cancel in part; in two they'd add.
        other = edge - 0.05 if edge else 0.05
        together = weighted.expected_calibration_error(np.array([edge, other]), np.array([0, 1]))
        np.testing.assert_allclose(together, abs(1 - edge - other) / 2, rtol=1e-12, atol=1e-15)


class TestNotDefined:
    @pytest.mark.parametrize("label", [0, 1])
    def test_one_class_alone(self, label):
        labels, values = np.full(3, label), np.array([0.2, 0.5, 0.9])
        for number in (weighted.auc, weighted.average_precision, OF_DECISIONS[label]):
            assert math.isnan(number(values, labels)), number

    @pytest.mark.parametrize("number", [*OF_SCORES, *OF_DECISIONS])
    def test_no_case_at_all_and_no_labelled_case(self, number):
        assert math.isnan(number(np.zeros(0), np.zeros(0, int)))
        assert math.isnan(number(np.full(3, 0.5), np.full(3, -1)))
        np.testing.assert_array_equal(number(np.full(3, 0.5), np.full(3, -1), np.ones((2, 3))), [np.nan, np.nan])

    def test_a_class_that_was_not_drawn(self):
        ranks = SortedScores.from_scores(np.array([0.1, 0.5, 0.9]), np.array([0, 1, 1]))
        drawn = np.array([[0, 2, 1], [3, 0, 0], [1, 1, 1]])
        np.testing.assert_array_equal(ranks.auc(drawn), [np.nan, np.nan, 1.0])
        np.testing.assert_array_equal(ranks.average_precision(drawn), [np.nan, np.nan, 1.0])

    def test_the_mean_leaves_nan_out(self):
        values = np.array([1.0, np.nan, 4.0])
        assert weighted_mean(values, np.array([2, 5, 1])) == 2.0
        assert math.isnan(weighted_mean(values, np.array([0, 5, 0])))

    def test_cases_without_a_label_may_have_no_score(self):
        scores, labels = np.array([0.2, np.nan, 0.7]), np.array([0, -1, 1])
        assert weighted.auc(scores, labels, np.array([1, 9, 1])) == 1.0
        np.testing.assert_allclose(weighted.brier(scores, labels, np.array([1, 9, 1])), (0.04 + 0.09) / 2, rtol=1e-14)
        np.testing.assert_allclose(weighted.expected_calibration_error(scores, labels), 0.25, rtol=1e-14)


class TestInput:
    def test_infinite_scores_are_scores(self):
        scores = np.array([-np.inf, 0.0, np.inf, np.inf])
        assert weighted.auc(scores, np.array([0, 0, 1, 1])) == 1.0

    @pytest.mark.parametrize("wrong", [[-1.0, 1.0], [np.nan, 1.0], [np.inf, 1.0]])
    def test_weights_must_be_finite_and_not_negative(self, wrong):
        for number in OF_SCORES:
            with pytest.raises(ValueError, match="weights must be finite and not negative"):
                number(np.array([0.1, 0.2]), np.array([0, 1]), np.array(wrong))

    def test_shapes_and_labels_are_checked(self):
        two = np.array([0.1, 0.2])
        with pytest.raises(ValueError, match=r"weights \(3,\) must be \(2,\) or \(R, 2\)"):
            weighted.auc(two, np.array([0, 1]), np.ones(3))
        with pytest.raises(ValueError, match=r"scores \(2,\) and labels \(3,\)"):
            weighted.auc(two, np.array([0, 1, 1]))
        with pytest.raises(ValueError, match=r"decisions \(2,\) and labels \(3,\)"):
            weighted.accuracy(two > 0, np.array([0, 1, 1]))
        with pytest.raises(ValueError, match="labels must be"):
            weighted.brier(two, np.array([0, 2]))

    def test_scores_that_are_missing_or_no_probabilities_are_refused(self):
        labels = np.array([0, 1])
        for number in OF_SCORES:
            with pytest.raises(ValueError, match="score 1 is NaN"):
                number(np.array([0.1, np.nan]), labels)
        for number in (weighted.brier, weighted.expected_calibration_error):
            with pytest.raises(ValueError, match=r"probability 1 is 1\.5"):
                number(np.array([0.1, 1.5]), labels)
        with pytest.raises(ValueError, match="infinite"):
            weighted_mean(np.array([np.inf, 1.0]))
