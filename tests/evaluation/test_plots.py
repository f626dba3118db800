"""The plots' numbers against scikit-learn and SciPy, and what is drawn."""

import base64
import re
import xml.etree.ElementTree as ET

import cv2
import matplotlib
import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from jcs_jax.evaluation.page.curves import precision_recall_points, reliability_bins, roc_points, running_median
from jcs_jax.evaluation.page.dice_plots import dice_size_plot, threshold_plot
from jcs_jax.evaluation.page.probability_plots import Scores, precision_recall_plot, reliability_plot, roc_plot
from jcs_jax.metrics import Measurement


def cases(seed, n=60, *, levels=20):
    """Probabilities with ties, and labels of both classes."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(n) % 3 == 0).astype(int)
    return random.integers(0, levels + 1, n) / levels, labels


def scores(seed=0, level="slices", **measured):
    return Scores(level, *cases(seed), 0.5, measured)


def drawn():
    """Each plot once, by name."""
    random = np.random.default_rng(0)
    areas, dice = 10 ** random.uniform(-4, -1, 40), np.append(np.zeros(4), random.uniform(0, 1, 36))
    return {
        "roc": lambda **png: roc_plot([scores(0), scores(1, "patients")], **png),
        "precision_recall": lambda **png: precision_recall_plot([scores(0), scores(1, "patients")], **png),
        "reliability": lambda **png: reliability_plot(scores(), **png),
        "dice_size": lambda **png: dice_size_plot(areas, dice, **png),
        "thresholds": lambda **png: threshold_plot(np.linspace(0, 0.5, 256), {}, **png),
    }


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("seed", range(20))
def test_the_roc_curve_is_that_of_scikit_learn(seed):
    probabilities, labels = cases(seed)
    false, true, _ = roc_curve(labels, probabilities, drop_intermediate=False)
    ours = roc_points(probabilities, labels)
    np.testing.assert_allclose(ours, (false, true), atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_precision_and_recall_are_those_of_scikit_learn(seed):
    probabilities, labels = cases(seed)
    precision, recall, _ = precision_recall_curve(labels, probabilities)
    ours = precision_recall_points(probabilities, labels)
    np.testing.assert_allclose(ours[0], recall[::-1][1:], atol=1e-12)
    np.testing.assert_allclose(ours[1], precision[::-1][1:], atol=1e-12)
    steps = np.diff(np.append(0, ours[0])) @ ours[1]
    assert steps == pytest.approx(average_precision_score(labels, probabilities), abs=1e-12)


def test_reliability_bins_are_counted_by_hand():
    bins = reliability_bins(np.array([0.0, 0.05, 0.1, 0.11, 0.95, 1.0]), np.array([0, 1, 0, 1, 1, 1]))
    assert bins.counts.tolist() == [3, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    np.testing.assert_allclose(bins.predicted[[0, 1, 9]], [0.05, 0.11, 0.975])
    np.testing.assert_allclose(bins.observed[[0, 1, 9]], [1 / 3, 1, 1])
    assert np.isnan(bins.observed[2:9]).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_bins_intervals_are_wilsons(seed):
    probabilities, labels = cases(seed)
    bins = reliability_bins(probabilities, labels)
    for count, share, low, high in zip(bins.counts, bins.observed, bins.low, bins.high, strict=True):
        if count:
            interval = scipy.stats.binomtest(round(share * count), int(count)).proportion_ci(method="wilson")
            assert (low, high) == pytest.approx((interval.low, interval.high), abs=1e-12)
        else:
            assert np.isnan([low, high]).all()


def test_the_running_median_is_that_of_each_window_by_hand():
    x = np.arange(10.0)[::-1]
    middle, median = running_median(x, x**2)
    assert middle.tolist() == [2, 3, 4, 5, 6, 7]
    assert median.tolist() == [4, 9, 16, 25, 36, 49]


def test_few_points_have_no_running_median():
    assert running_median(np.arange(9.0), np.arange(9.0))[0].size == 0


@pytest.mark.parametrize("name", drawn())
def test_a_plot_is_the_same_each_time_and_names_nothing_outside(name):
    svg = drawn()[name]()
    assert svg == drawn()[name]()
    assert not re.search(r'href="(?!#)|url\((?!#)|@import|<script|<metadata', svg)
    assert "prefers-color-scheme: dark" in svg
    ET.fromstring(svg)


def test_a_users_own_style_changes_nothing_and_is_left_as_it_was():
    plain = drawn()["roc"]()
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30, "svg.fonttype": "path"}):
        assert drawn()["roc"]() == plain
        assert matplotlib.rcParams["font.size"] == 30
        assert matplotlib.rcParams["svg.fonttype"] == "path"


def test_letters_are_text():
    words = texts(roc_plot([scores(auc=Measurement(0.75, 60, 0, 0.6, 0.9))]))
    assert "slices: AUC 0.750 (0.600 to 0.900), n = 60" in words
    assert {"ROC curve", "sensitivity", "1 - specificity", "slices: threshold 0.500"} <= set(words)


def test_titles_hold_what_was_measured():
    one = scores(
        average_precision=Measurement(0.5, 60), ece=Measurement(0.05, 60, 0, 0.01, 0.1), brier=Measurement(np.nan, 0)
    )
    assert "slices: AP 0.500, n = 60" in texts(precision_recall_plot([one]))
    assert "slices: prevalence 0.333" in texts(precision_recall_plot([one]))
    words = texts(reliability_plot(one))
    assert "slices: ECE 0.0500 (0.0100 to 0.1000), n = 60" in words
    assert "slices: Brier not defined, n = 0" in words


def test_the_counts_of_all_ten_bins_are_written():
    one = scores()
    counts = reliability_bins(one.probabilities, one.labels).counts
    words = texts(reliability_plot(one))
    assert all(words.count(str(count)) >= counts.tolist().count(count) for count in counts)


def test_slices_with_dice_zero_have_a_mark_of_their_own():
    words = texts(drawn()["dice_size"]())
    assert {"slices (36)", "Dice 0 (4)", "running median"} <= set(words)
    assert not any(word.startswith("Dice 0") for word in texts(dice_size_plot(np.array([0.01]), np.array([0.5]))))


def test_many_slices_make_no_large_file():
    random = np.random.default_rng(0)
    areas, dice = 10 ** random.uniform(-4, -1, 4000), random.uniform(0, 1, 4000)
    svg = dice_size_plot(areas, dice)
    assert len(svg) < 350_000
    assert 'viewBox="0 0 345.6 302.4"' in svg
    assert svg == dice_size_plot(areas, dice)


def test_the_best_threshold_is_marked():
    curve = np.zeros(256)
    curve[51] = 0.6
    assert "best, at 0.200" in texts(threshold_plot(curve, {}))


@pytest.mark.parametrize("name", drawn())
def test_a_picture_is_written_too(tmp_path, name):
    path = tmp_path / "plot.png"
    drawn()[name](png=path)
    height, width, _ = cv2.imread(str(path)).shape
    assert width == 960
    assert height > 600
    first = base64.b64encode(path.read_bytes())
    drawn()[name](png=path)
    assert base64.b64encode(path.read_bytes()) == first


def test_a_single_case_can_be_drawn():
    one = Scores("patients", np.array([1.0]), np.array([1]), np.nan, {})
    assert "patients: n = 1" in texts(reliability_plot(one))
