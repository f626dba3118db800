"""A network averaged over slices and their mirror images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jcs_jax.models.mirrored import MirrorAveraged
from jcs_jax.models.output import infection_probability, lesion_probability, mean_of_side_logits
from jcs_jax.models.presets import build

IMAGES = jnp.asarray(np.random.default_rng(2).normal(size=(2, 32, 32, 3)), jnp.float32)


@pytest.fixture(scope="module")
def made():
    model = build(tiny.preset("joint", classes=2))
    return model, tiny.random_variables(model, IMAGES)


def test_probabilities_are_means_over_both_and_a_mirrored_slice_has_the_mirrored_answer(made):
    model, variables = made
    both = tiny.quick_jit(MirrorAveraged(model).apply)
    one, other, got = (
        tiny.quick_jit(model.apply)(variables, IMAGES),
        tiny.quick_jit(model.apply)(variables, IMAGES[:, :, ::-1]),
        both(variables, IMAGES),
    )
    expected = (lesion_probability(one) + lesion_probability(other)[:, :, ::-1]) / 2
    np.testing.assert_allclose(lesion_probability(got), expected, atol=1e-6)
    np.testing.assert_allclose(got.class_logits, (one.class_logits + other.class_logits) / 2, atol=1e-6)
    turned = both(variables, IMAGES[:, :, ::-1])
    np.testing.assert_allclose(lesion_probability(turned)[:, :, ::-1], lesion_probability(got), atol=1e-6)
    np.testing.assert_allclose(infection_probability(turned), infection_probability(got), atol=1e-6)


def test_the_map_still_belongs_to_the_logits(made):
    model, variables = made
    got = tiny.quick_jit(MirrorAveraged(model).apply)(variables, IMAGES)
    pooled = got.intermediates["class_features"].mean(axis=(1, 2))
    np.testing.assert_allclose(pooled @ variables["params"]["class_head"]["kernel"], got.class_logits, atol=1e-5)


def test_sure_answers_stay_sure():
    logits = jnp.asarray([[60.0, -60.0, 3.0], [50.0, -70.0, -3.0]])
    got = mean_of_side_logits(list(logits))
    assert jnp.isfinite(got).all()
    np.testing.assert_allclose(got, [50.7, -60.7, 0.0], atol=0.05)


def test_a_classifier_has_no_map_of_opacities():
    model = build(tiny.preset("classifier"))
    variables = tiny.random_variables(model, IMAGES)
    output = jax.eval_shape(MirrorAveraged(model).apply, variables, IMAGES)
    assert output.side_logits is None
    assert output.class_logits.shape == (2, 2)
