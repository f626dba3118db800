"""Activation maps against the logits and gradients they claim to explain."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcs_jax.explain import class_activation_map, grad_cam

RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((3, 4, 5, 6)).astype(np.float32)
KERNEL = RNG.standard_normal((6, 2)).astype(np.float32)


def _head(features):
    return jnp.mean(features, axis=(1, 2)) @ KERNEL


def test_map_by_hand():
    features = jnp.array([[[[1.0, 2.0], [3.0, 0.0]]]])
    kernel = jnp.array([[5.0, 1.0], [7.0, -1.0]])
    np.testing.assert_allclose(class_activation_map(features, kernel), [[[-1.0, 3.0]]])
    np.testing.assert_allclose(class_activation_map(features, kernel, 0), [[[19.0, 15.0]]])
    np.testing.assert_allclose(class_activation_map(features, kernel, 1, against=0), [[[-20.0, -12.0]]])


@pytest.mark.parametrize("class_index", [0, 1])
def test_mean_over_positions_is_the_logit(class_index):
    maps = class_activation_map(FEATURES, KERNEL, class_index)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), _head(FEATURES)[:, class_index], rtol=1e-5, atol=1e-6)


def test_mean_against_the_other_class_is_the_log_odds():
    maps = class_activation_map(FEATURES, KERNEL, 1, against=0)
    probability = jax.nn.softmax(_head(FEATURES))[:, 1]
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), jax.scipy.special.logit(probability), rtol=1e-4)


@pytest.mark.parametrize("class_index", [0, 1])
def test_grad_cam_of_a_linear_head_is_the_positive_map_over_the_positions(class_index):
    exact = class_activation_map(FEATURES, KERNEL, class_index)
    gradient_map = grad_cam(FEATURES, _head, class_index)
    np.testing.assert_allclose(gradient_map, np.maximum(exact, 0) / 20, rtol=1e-4, atol=1e-6)
    assert float(gradient_map.max()) > 0


def test_grad_cam_weighs_channels_by_the_gradient_of_a_nonlinear_head():
    features = jnp.asarray(FEATURES)
    maps = grad_cam(features, lambda maps: jnp.tanh(_head(maps)))
    slope = 1 - jnp.tanh(_head(features)[:, 1]) ** 2
    expected = np.maximum(class_activation_map(features, KERNEL), 0) * slope[:, None, None] / 20
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-6)


def test_half_precision_features_are_summed_in_float32():
    features = jnp.full((1, 1, 1, 4096), 1.0, jnp.bfloat16)
    kernel = jnp.full((4096, 2), 0.001, jnp.float32)
    chex.assert_type(class_activation_map(features, kernel), jnp.float32)
    np.testing.assert_allclose(class_activation_map(features, kernel), [[[4.096]]], rtol=1e-5)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"features \(3, 4, 5, 6\) and kernel \(5, 2\) don't fit"):
        class_activation_map(FEATURES, KERNEL[:5])
    with pytest.raises(ValueError, match="don't fit"):
        class_activation_map(FEATURES[0], KERNEL)


@pytest.mark.parametrize("options", [{"class_index": 2}, {"class_index": -1}, {"against": 2}])
def test_unknown_class_is_refused(options):
    with pytest.raises(ValueError, match="the kernel has classes 0 to 1"):
        class_activation_map(FEATURES, KERNEL, **options)
