"""Metrics against scikit-learn, the release's numbers and cases worked by hand."""

import json
import math

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import f1_score, jaccard_score, recall_score, roc_auc_score

from jcs_jax import metrics
from jcs_jax.metrics import BinaryCounts, Mean, Measurement, ScoreRanks, ThresholdCurve

MASK_PAIRS = hnp.arrays(np.bool_, st.tuples(st.just(2), st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)))


def _masks(seed, share=0.3, images=5):
    rng = np.random.default_rng(seed)
    return rng.random((images, 9, 11)) < rng.random((images, 1, 1)), rng.random((images, 9, 11)) < share


class TestOverlap:
    @pytest.mark.parametrize("seed", range(20))
    def test_equals_scikit_learn(self, seed):
        predicted, target = _masks(seed)
        for p, t, dice, iou, sensitivity, specificity in zip(
            predicted.reshape(5, -1),
            target.reshape(5, -1),
            metrics.dice(predicted, target),
            metrics.iou(predicted, target),
            metrics.sensitivity(predicted, target),
            metrics.specificity(predicted, target),
            strict=True,
        ):
            np.testing.assert_allclose(dice, f1_score(t, p), rtol=1e-14)
            np.testing.assert_allclose(iou, jaccard_score(t, p), rtol=1e-14)
            np.testing.assert_allclose(sensitivity, recall_score(t, p), rtol=1e-14)
            np.testing.assert_allclose(specificity, recall_score(t, p, pos_label=0), rtol=1e-14)

    def test_six_pixels_by_hand(self):
        predicted = np.array([[[1, 1, 1], [0, 0, 0]]], bool)
        target = np.array([[[0, 1, 1], [1, 1, 0]]])
        assert metrics.dice(predicted, target) == 4 / 7
        assert metrics.iou(predicted, target) == 2 / 5
        assert metrics.sensitivity(predicted, target) == 2 / 4
        assert metrics.specificity(predicted, target) == 1 / 2

    @pytest.mark.parametrize("predicted", [False, True])
    def test_an_empty_mask_has_no_dice_iou_or_sensitivity(self, predicted):
        predicted, target = np.full((1, 3, 3), predicted), np.zeros((1, 3, 3), bool)
        for measure in (metrics.dice, metrics.iou, metrics.sensitivity):
            assert np.isnan(measure(predicted, target)).all()

    def test_false_alarms_on_empty_masks_are_measured_apart(self):
        predicted, target = np.zeros((3, 2, 2), bool), np.zeros((3, 2, 2), bool)
        predicted[0, 0, 0] = predicted[2, 0, 0] = target[2, 1, 1] = True
        np.testing.assert_array_equal(metrics.false_positive_area(predicted, target), [0.25, 0.0, np.nan])
        np.testing.assert_array_equal(metrics.specificity(predicted, target), [0.75, 1.0, 2 / 3])

    def test_a_full_mask_has_no_specificity(self):
        target = np.ones((1, 3, 3), bool)
        assert np.isnan(metrics.specificity(target, target)).all()
        assert metrics.dice(target, target) == 1.0

    def test_a_prediction_of_nothing_on_a_lesion_scores_zero(self):
        target = np.eye(3, dtype=bool)[np.newaxis]
        nothing = np.zeros_like(target)
        assert metrics.dice(nothing, target) == metrics.iou(nothing, target) == 0.0

    @given(MASK_PAIRS)
    @settings(max_examples=60, deadline=None)
    def test_dice_and_iou_are_the_same_ranking(self, pair):
        predicted, target = pair
        dice, iou = metrics.dice(predicted, target), metrics.iou(predicted, target)
        np.testing.assert_allclose(dice, 2 * iou / (1 + iou), rtol=1e-12)
        np.testing.assert_array_equal(np.isnan(dice), ~target.any(axis=(1, 2)))

    def test_a_probability_that_reaches_the_threshold_is_positive(self):
        np.testing.assert_array_equal(metrics.binarize(np.array([[[0.49, 0.5, 0.51]]]), 0.5), [[[False, True, True]]])

    def test_masks_of_another_shape_are_refused(self):
        with pytest.raises(ValueError, match=r"\(1, 2, 2\).*\(1, 3, 3\)"):
            metrics.dice(np.zeros((1, 2, 2), bool), np.zeros((1, 3, 3)))

    def test_nan_predictions_are_refused(self):
        maps = np.zeros((3, 2, 2))
        maps[1, 0, 0] = np.nan
        for measure in (metrics.mae, metrics.iou_adaptive, lambda p, t: metrics.binarize(p, 0.5)):
            with pytest.raises(ValueError, match="image 1 is NaN"):
                measure(maps, np.ones((3, 2, 2)))


class TestRelease:
    def test_adaptive_iou_and_mae_equal_the_release(self):
        golden = reference.load("metrics")
        iou = metrics.iou_adaptive(golden["prediction"], golden["target"])
        np.testing.assert_allclose(iou.mean(), golden["mean_iou_adaptive"], rtol=1e-14)
        np.testing.assert_allclose(
            metrics.mae(golden["prediction"], golden["target"]).mean(), golden["mae"], rtol=1e-14
        )

    def test_adaptive_threshold_is_twice_the_mean_and_strict(self):
        # Mean 0.25, threshold 0.5: the pixel at exactly 0.5 is background, as in the release.
        maps, target = np.array([[[0.5, 0.5, 0.0, 0.0]]]), np.array([[[1, 0, 0, 0]]])
        np.testing.assert_array_equal(metrics.adaptive_threshold(maps), [0.5])
        np.testing.assert_array_equal(metrics.iou_adaptive(maps, target), [0.0])
        np.testing.assert_array_equal(metrics.iou_adaptive(maps + np.array([0.1, 0, 0, 0]), target), [1.0])

    def test_a_mean_above_one_half_predicts_nothing(self):
        assert metrics.iou_adaptive(np.full((1, 2, 2), 0.9), np.ones((1, 2, 2))) == 0.0


class TestThresholdCurve:
    @pytest.mark.parametrize("seed", range(5))
    def test_equals_thresholding_256_times(self, seed):
        rng = np.random.default_rng(seed)
        maps, target = rng.random((4, 7, 6)), rng.random((4, 7, 6)) < 0.3
        target[2] = False
        scaled = metrics.min_max_scale(maps)
        curve = np.stack([metrics.dice(scaled >= level / 255, target) for level in range(256)], axis=1)
        np.testing.assert_allclose(metrics.dice_curve(scaled, target), curve, rtol=1e-14)
        state, mean = ThresholdCurve.from_maps(maps, target), np.nanmean(curve, axis=0)
        assert (state.n, state.n_absent) == (3, 1)
        np.testing.assert_allclose(state.mean_dice().value, mean.mean(), rtol=1e-13)
        np.testing.assert_allclose(state.best_dice().value, mean.max(), rtol=1e-13)
        assert state.best_threshold().value == np.argmax(mean) / 255

    @pytest.mark.parametrize("level", [0, 1, 51, 127, 254, 255])
    def test_a_map_exactly_at_a_threshold_is_predicted(self, level):
        curve = metrics.dice_curve(np.full((1, 1, 2), level / 255), np.ones((1, 1, 2)))[0]
        np.testing.assert_array_equal(curve, np.arange(256) <= level)

    def test_a_two_level_map_by_hand(self):
        # Scaled to 0 and 1: threshold 0 predicts all four pixels (Dice 2/5), every other only the right one.
        state = ThresholdCurve.from_maps(np.array([[[0.3, 0.3, 0.3, 0.4]]]), np.array([[[0, 0, 0, 1]]]))
        np.testing.assert_allclose(state.mean_dice().value, (255 + 0.4) / 256, rtol=1e-14)
        assert state.best_dice().value == 1.0
        assert state.best_threshold().value == 1 / 255

    def test_a_constant_map_is_all_zero(self):
        np.testing.assert_array_equal(metrics.min_max_scale(np.full((1, 2, 2), 0.7)), 0.0)

    def test_only_empty_masks_give_nan(self):
        state = ThresholdCurve.from_maps(np.random.default_rng(0).random((2, 3, 3)), np.zeros((2, 3, 3)))
        for measured in (state.mean_dice(), state.best_dice(), state.best_threshold()):
            assert math.isnan(measured.value)
            assert (measured.n, measured.n_absent) == (0, 2)

    @pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
    def test_maps_outside_the_unit_interval_are_refused(self, value):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            metrics.dice_curve(np.full((1, 2, 2), value), np.ones((1, 2, 2)))


class TestAuc:
    @given(
        hnp.arrays(np.float64, st.integers(2, 40), elements=st.integers(0, 6).map(lambda k: k / 6)),
        st.integers(0, 2**32 - 1),
    )
    @settings(max_examples=150, deadline=None)
    def test_equals_scikit_learn_with_ties(self, scores, seed):
        labels = np.random.default_rng(seed).integers(0, 2, len(scores))
        measured = ScoreRanks.from_scores(scores, labels).auc()
        if labels.min() == labels.max():
            assert math.isnan(measured.value)
            assert (measured.n, measured.n_absent) == (0, len(scores))
        else:
            np.testing.assert_allclose(measured.value, roc_auc_score(labels, scores), rtol=1e-12, atol=1e-15)
            assert (measured.n, measured.n_absent) == (len(scores), 0)

    def test_all_tied_is_one_half(self):
        assert ScoreRanks.from_scores(np.ones(6), np.array([0, 1, 0, 1, 1, 0])).auc().value == 0.5

    def test_perfect_and_reversed(self):
        scores, labels = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1])
        assert ScoreRanks.from_scores(scores, labels).auc().value == 1.0
        assert ScoreRanks.from_scores(-scores, labels).auc().value == 0.0

    def test_unknown_labels_are_left_out_and_counted(self):
        measured = ScoreRanks.from_scores(np.array([0.1, np.nan, 0.9]), np.array([0, -1, 1])).auc()
        assert measured == Measurement(1.0, 2, 1)

    def test_nan_scores_and_other_labels_are_refused(self):
        with pytest.raises(ValueError, match="score 1 is NaN"):
            ScoreRanks.from_scores(np.array([0.1, np.nan]), np.array([0, 1]))
        with pytest.raises(ValueError, match="labels must be"):
            ScoreRanks.from_scores(np.array([0.1, 0.2]), np.array([0, 2]))


class TestBinaryCounts:
    def test_by_hand(self):
        decisions = np.array([1, 1, 0, 0, 0, 1, 1], bool)
        counts = BinaryCounts.from_decisions(decisions, np.array([1, 1, 1, 0, 0, 0, -1]))
        assert counts == BinaryCounts(2, 1, 2, 1, 1)
        assert counts.sensitivity() == Measurement(2 / 3, 3, 4)
        assert counts.specificity() == Measurement(2 / 3, 3, 4)
        assert counts.accuracy() == Measurement(4 / 6, 6, 1)

    def test_a_missing_class_is_nan(self):
        counts = BinaryCounts.from_decisions(np.array([True]), np.array([0]))
        assert math.isnan(counts.sensitivity().value)
        assert counts.specificity() == Measurement(0.0, 1, 0)


class TestMerging:
    """In pieces, in any order, a state says the same as all at once."""

    @given(st.lists(st.one_of(st.just(math.nan), st.floats(-1e6, 1e6)), max_size=30), st.data())
    @settings(max_examples=60, deadline=None)
    def test_mean(self, values, data):
        cut = data.draw(st.integers(0, len(values)))
        whole = Mean.from_values(np.array(values)).compute()
        first, second = Mean.from_values(np.array(values[:cut])), Mean.from_values(np.array(values[cut:]))
        for merged in (first.merge(second).compute(), second.merge(first).compute()):
            assert (merged.n, merged.n_absent) == (whole.n, whole.n_absent)
            np.testing.assert_allclose(merged.value, whole.value, rtol=1e-12, atol=1e-9)

    def test_mean_leaves_nan_out_and_counts_it(self):
        assert Mean.from_values(np.array([1.0, np.nan, 3.0])).compute() == Measurement(2.0, 2, 1)

    def test_the_mean_of_nothing_is_nan_not_zero(self):
        measured = Mean.from_values(np.array([np.nan])).merge(Mean()).compute()
        assert math.isnan(measured.value)
        assert (measured.n, measured.n_absent) == (0, 1)

    def test_infinite_values_are_refused(self):
        with pytest.raises(ValueError, match="infinite"):
            Mean.from_values(np.array([np.inf]))

    @pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
    def test_every_state(self, order):
        rng = np.random.default_rng(0)
        maps, target = rng.random((9, 5, 5)), rng.random((9, 5, 5)) < 0.2
        target[4] = False
        scores, labels = rng.integers(0, 4, 9) / 4, np.array([0, 1, 1, 0, -1, 1, 0, 0, 1])
        pieces = [slice(0, 2), slice(2, 3), slice(3, 9)]

        def merged(make):
            states = [make(pieces[k]) for k in order]
            return states[0].merge(states[1]).merge(states[2])

        whole = slice(0, 9)
        curve = lambda part: ThresholdCurve.from_maps(maps[part], target[part])  # noqa: E731
        np.testing.assert_allclose(merged(curve).total, curve(whole).total, rtol=1e-13)
        assert (merged(curve).n, merged(curve).n_absent) == (8, 1)
        ranks = lambda part: ScoreRanks.from_scores(scores[part], labels[part])  # noqa: E731
        assert merged(ranks).auc() == ranks(whole).auc()
        counts = lambda part: BinaryCounts.from_decisions(scores[part] >= 0.5, labels[part])  # noqa: E731
        assert merged(counts) == counts(whole)

    def test_the_empty_curve_changes_nothing(self):
        state = ThresholdCurve.from_maps(np.random.default_rng(0).random((2, 3, 3)), np.ones((2, 3, 3)))
        np.testing.assert_array_equal(ThresholdCurve.empty().merge(state).total, state.total)


def test_nan_becomes_null_in_strict_json():
    text = json.dumps(Measurement(math.nan, 0, 3).to_json(), allow_nan=False)
    assert json.loads(text) == {"value": None, "interval": None, "n": 0, "n_absent": 3}
