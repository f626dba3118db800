"""Dropout between the pooled features and the class head."""

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jcs_jax.models import create_model
from jcs_jax.models.output import pooled_class_logits
from jcs_jax.models.presets import build
from jcs_jax.nn.layers import Style

RATE = 0.25


class Head(nn.Module):
    """The class head by itself."""

    dropout: float = RATE

    @nn.compact
    def __call__(self, features, *, train=False):
        return pooled_class_logits(features, 1, Style(), dropout=self.dropout, train=train)


CHANNELS = 4000
FEATURES = jnp.ones((1, 2, 2, CHANNELS))
VARIABLES = {"params": {"class_head": {"kernel": jnp.ones((CHANNELS, 1))}}}


def _logit(head=Head(), *, seed=0, train=True):  # noqa: B008  (a Linen module is a value)
    return float(head.apply(VARIABLES, FEATURES, train=train, rngs={"dropout": jax.random.key(seed)})[0, 0])


def test_evaluation_drops_nothing():
    assert _logit(train=False) == CHANNELS


def test_training_keeps_the_expected_share_of_features_and_scales_them_up():
    logits = np.array([_logit(seed=seed) for seed in range(20)])
    kept = logits * (1 - RATE) / CHANNELS
    assert len(np.unique(logits)) > 10
    # Each share has a standard deviation of sqrt(0.25 * 0.75 / 4000) = 0.0068, their mean one of 0.0015.
    assert np.abs(kept - (1 - RATE)).max() < 0.04
    assert logits.mean() == pytest.approx(CHANNELS, rel=0.01)


def test_a_key_decides_what_is_dropped():
    assert _logit(seed=3) == _logit(seed=3)
    assert _logit(seed=3) != _logit(seed=4)


def test_a_rate_of_zero_needs_no_key():
    logits = Head(0.0).apply(VARIABLES, FEATURES, train=True)
    assert float(logits[0, 0]) == CHANNELS


def test_a_rate_above_zero_needs_a_key_in_training_only():
    Head().apply(VARIABLES, FEATURES)
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        Head().apply(VARIABLES, FEATURES, train=True)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_a_rate_outside_zero_to_one_is_refused_in_one_line(rate):
    with pytest.raises(ValueError, match="dropout") as caught:
        create_model("joint_tiny" if rate < 0 else "classifier_tiny", dropout=rate)
    assert str(caught.value) == f"dropout is a probability, at least 0 and below 1, not {rate}"


@pytest.mark.parametrize("architecture", ["classifier", "joint"])
@pytest.mark.parametrize(("rate", "train"), [(0.0, True), (RATE, False)])
def test_networks_initialise_with_a_key_for_the_parameters_only(architecture, rate, train):
    model = build(tiny.preset(architecture, dropout=rate))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=train))
    assert set(variables["params"]["class_head"]) == {"kernel"}


@pytest.mark.parametrize("architecture", ["classifier", "joint"])
def test_networks_draw_from_the_key_of_dropout_in_training(architecture):
    model = build(tiny.preset(architecture, dropout=RATE))
    images = jnp.zeros((1, 32, 32, 3))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), images))

    def shapes(**rngs):
        return jax.eval_shape(lambda variables: model.apply(variables, images, train=True, rngs=rngs), variables)

    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        shapes()
    assert shapes(dropout=jax.random.key(1)).class_logits.shape == (1, 2)


def test_class_logits_vary_in_training_and_their_feature_map_does_not():
    model = build(tiny.preset("classifier", dropout=0.5))
    images = jax.random.normal(jax.random.key(1), (1, 32, 32, 3))
    variables = tiny.random_variables(model, images)
    kernel = variables["params"]["class_head"]["kernel"]

    @tiny.quick_jit
    def run(seed):
        key = jax.random.key(seed)
        return model.apply(variables, images, train=True, rngs={"dropout": key}), model.apply(variables, images)

    (one, evaluated), (other, _) = run(0), run(1)
    assert float(jnp.abs(one.class_logits - other.class_logits).max()) > 0
    for output in (one, other):
        np.testing.assert_array_equal(output.intermediates["class_features"], evaluated.intermediates["class_features"])
    pooled = np.asarray(evaluated.intermediates["class_features"]).mean((1, 2))
    np.testing.assert_allclose(evaluated.class_logits, pooled @ np.asarray(kernel), rtol=1e-5, atol=1e-6)
