"""Redrawn weights: which, in what order, and how much of the maps is left."""

import math
import warnings

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax.traverse_util import flatten_dict
from scipy import stats

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.data.pipeline import evaluation_batches
from jcs_jax.evaluation.randomisation import cascade, judge_all, parts_from_the_output, randomise_weights, spearman
from jcs_jax.models.output import ModelOutput
from jcs_jax.models.presets import build
from jcs_jax.preprocessing import Preprocessing

PARTS = ["class_head", "res2net.stage4", "res2net.stage3", "res2net.stage2", "res2net.stage1", "res2net.stem"]
SIDE = 64
CELL = 8
PREPROCESSING = Preprocessing((SIDE, SIDE))


class Blind(nn.Module):
    """A map of the picture's brightness, whatever the encoder's weights are."""

    @nn.compact
    def __call__(self, images, *, train=False):
        pooled = nn.avg_pool(images[..., :1], (CELL, CELL), (CELL, CELL))
        features = pooled + 0 * Stem(name="res2net")(pooled)
        logits = nn.Dense(2, use_bias=False, name="class_head")(features.mean((1, 2)))
        return ModelOutput(logits, None, {"class_features": features})


class Seeing(nn.Module):
    """A map whose 16 weights a cell say how bright each of its pixels should be."""

    @nn.compact
    def __call__(self, images, *, train=False):
        features = Stem(name="res2net", features=16, kernel=CELL)(images)
        logits = nn.Dense(2, use_bias=False, name="class_head")(features.mean((1, 2)))
        return ModelOutput(logits, None, {"class_features": features})


class Stem(nn.Module):
    """One convolution, named as the stem's first is."""

    features: int = 1
    kernel: int = 1

    @nn.compact
    def __call__(self, x):
        size = (self.kernel, self.kernel)
        return nn.Conv(self.features, size, strides=size, use_bias=False, name="stem1_conv")(x)


def _batches(count=6, seed=0, batch_size=4):
    rng = np.random.default_rng(seed)
    slices = [Example(rng.random((SIDE, SIDE), np.float32), patient=f"p{i}", name=f"{i}") for i in range(count)]
    return list(evaluation_batches(ArraySource(slices), PREPROCESSING, batch_size=batch_size))


def _variables(model, seed=0):
    return tiny.random_variables(model, jnp.zeros((1, SIDE, SIDE, 3)), seed=seed)


@pytest.fixture(scope="module")
def classifier():
    preset = tiny.preset("classifier", norm="batch")
    return tiny.random_variables(build(preset), jnp.zeros((1, 32, 32, 3)))


def test_parts_go_from_the_output_to_the_stem(classifier):
    assert parts_from_the_output(classifier) == PARTS
    assert parts_from_the_output(classifier, stored_features=True) == PARTS[:-1]


def test_of_a_joint_network_only_the_classifying_parts_are_redrawn():
    model = build(tiny.preset("joint", classes=2))
    variables = tiny.random_variables(model, jnp.zeros((1, 32, 32, 3)))
    assert parts_from_the_output(variables) == PARTS
    *_, (_, last) = cascade(variables, PARTS, seed=0)
    np.testing.assert_array_equal(_values(last, "params", "vgg"), _values(variables, "params", "vgg"))


def test_each_step_redraws_one_more_part_and_keeps_the_values(classifier):
    before = flatten_dict(classifier)
    redrawn = set()
    for part, variables in cascade(classifier, PARTS, seed=0):
        after = flatten_dict(variables)
        changed = {path for path in before if not np.array_equal(before[path], after[path])}
        new = changed - redrawn
        assert new, part
        assert {_named(path) for path in new} == {part}
        assert redrawn <= changed
        redrawn |= changed
        for path in before:
            np.testing.assert_array_equal(np.sort(before[path], axis=None), np.sort(after[path], axis=None))
    kernels = {path for path in before if path[-1] == "kernel"}
    assert kernels <= redrawn


def test_mean_and_variance_of_a_channel_stay_together(classifier):
    *_, (_, last) = cascade(classifier, PARTS, seed=0)
    before, after = (v["batch_stats"]["res2net"]["stage1_block0"]["project_norm"] for v in (classifier, last))
    pairs = [
        set(zip(*(np.asarray(leaf).tolist() for leaf in module.values()), strict=True)) for module in (before, after)
    ]
    assert len(before) > 1
    assert pairs[0] == pairs[1]
    assert not np.array_equal(before["mean"], after["mean"])


def test_the_given_variables_stay_and_a_seed_gives_the_same_draw(classifier):
    first, again, other = (list(cascade(classifier, PARTS, seed=seed))[-1][1] for seed in (0, 0, 1))
    head = classifier["params"]["class_head"]["kernel"]
    assert not np.array_equal(first["params"]["class_head"]["kernel"], head)
    for path, values in flatten_dict(first).items():
        np.testing.assert_array_equal(values, flatten_dict(again)[path])
    assert not np.array_equal(_values(first, "params", "res2net"), _values(other, "params", "res2net"))


def test_correlations_are_scipys():
    rng = np.random.default_rng(0)
    for _ in range(200):
        one, other = (rng.integers(0, rng.integers(2, 9), (1, 4, 5)).astype(np.float32) for _ in range(2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.ConstantInputWarning)
            expected = stats.spearmanr(one.ravel(), other.ravel()).statistic
        np.testing.assert_allclose(spearman(one, other), [expected], atol=1e-12)


def test_the_order_decides_and_not_the_values():
    maps = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    np.testing.assert_allclose(spearman(maps, np.exp(maps)), [1])
    np.testing.assert_allclose(spearman(maps, -(maps**3)), [-1])


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_constant_and_infinite_maps_have_no_correlation(value):
    maps = np.arange(32, dtype=np.float32).reshape(2, 4, 4)
    spoilt = maps.copy()
    spoilt[0] = value
    spoilt[0, 0, 0] = 0.0
    np.testing.assert_array_equal(np.isnan(spearman(spoilt, maps)), [True, False])
    np.testing.assert_array_equal(np.isnan(spearman(maps, spoilt)), [True, False])


def test_maps_of_a_few_positions_have_no_correlation():
    maps = np.arange(8, dtype=np.float32).reshape(1, 2, 4)
    assert np.isnan(spearman(maps, maps)).all()


def test_a_map_that_ignores_the_weights_keeps_its_places():
    model = Blind()
    rows = randomise_weights(model, _variables(model), _batches(), draws=2)
    assert [row.part for row in rows] == ["class_head", "res2net.stem"]
    for row in rows:
        assert (row.similarity.value, row.similarity.n, row.similarity.n_absent) == (pytest.approx(1), 6, 0)
        assert abs(row.signed.value) == pytest.approx(1) or row.signed.value == pytest.approx(0, abs=1e-6)


def test_a_map_made_by_the_weights_is_lost_with_them():
    model = Seeing()
    rows = randomise_weights(model, _variables(model), _batches(12), draws=6)
    last = rows[-1]
    # Of 64 positions, unrelated maps correlate by 0.10 on average.
    assert last.similarity.value < 0.25
    assert abs(last.signed.value) < 0.2
    assert last.similarity.low < last.similarity.value < last.similarity.high
    assert last.infection_change.value > 0


def test_the_numbers_are_those_of_the_two_networks():
    model, batches = Seeing(), _batches(5, batch_size=5)
    variables = _variables(model)
    (row, _), (_, redrawn) = (
        randomise_weights(model, variables, batches, draws=1),
        next(iter(cascade(variables, ["class_head"], seed=0))),
    )
    original, changed = judge_all(model, variables, batches), judge_all(model, redrawn, batches)
    pairs = zip(original.maps, changed.maps, strict=True)
    expected = [stats.spearmanr(one.ravel(), other.ravel()).statistic for one, other in pairs]
    assert row.signed.value == pytest.approx(np.mean(expected), abs=1e-9)
    assert row.similarity.value == pytest.approx(np.mean(np.abs(expected)), abs=1e-9)
    difference = np.abs(original.infection.astype(np.float64) - changed.infection)
    assert row.infection_change.value == pytest.approx(difference.mean(), abs=1e-7)
    assert row.to_json()["part"] == "class_head"


def test_all_weights_share_one_compilation():
    traced = []

    class Counting(Seeing):
        def __call__(self, images, *, train=False):
            traced.append(images.shape)
            return super().__call__(images, train=train)

    model = Counting()
    variables = _variables(Seeing())
    randomise_weights(model, variables, _batches(6, batch_size=2), draws=3)
    assert traced == [(2, SIDE, SIDE, 3)]


def test_padding_is_no_slice():
    model = Seeing()
    judged = judge_all(model, _variables(model), _batches(5, batch_size=4))
    assert judged.infection.shape == (5,)
    assert judged.maps.shape == (5, SIDE // CELL, SIDE // CELL)


def _values(variables, *path):
    for name in path:
        variables = variables[name]
    return np.concatenate([np.asarray(leaf).ravel() for _, leaf in sorted(flatten_dict(variables).items())])


def _named(path):
    """The part that an array belongs to, by the names of the architecture."""
    if path[1] == "class_head":
        return path[1]
    return f"res2net.{'stem' if 'stem' in path[2] else path[2][:6]}"
