"""Stored first-stage features in place of the image give exactly what the image gives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jcs_jax.models import create_model
from jcs_jax.models.presets import build

FIRST = {"vgg_features": "vgg.stage1", "res2net_features": "res2net.stage0"}
# Architecture -> what is given in place of, or beside, the image.
CASES = {
    "segmenter": [(["vgg_features"], False), (["vgg_features"], True)],
    "classifier": [(["res2net_features"], False), (["res2net_features"], True)],
    "joint": [(list(FIRST), False), (list(FIRST), True), (["vgg_features"], True), (["res2net_features"], True)],
}


@functools.cache
def _network(architecture: str):
    model = build(tiny.preset(architecture))
    images = jax.random.normal(jax.random.key(1), (2, 21, 27, 3))
    return model, tiny.random_variables(model, images), images


@pytest.mark.parametrize("architecture", CASES)
def test_features_give_exactly_what_the_image_gives(architecture):
    model, variables, images = _network(architecture)
    cases = CASES[architecture]

    @tiny.quick_jit  # one program for all cases: what is equal is computed once
    def run(variables, images):
        whole = model.apply(variables, images)
        first = {name: whole.intermediates[place] for name, place in FIRST.items() if place in whole.intermediates}
        others = []
        for given, with_images in cases:
            features = {name: first[name] for name in given}
            unread = with_images and len(given) == len(first)
            x = images + jnp.nan if unread else images
            others.append(model.apply(variables, x if with_images else None, **features))
        return whole, others

    whole, others = run(variables, images)
    assert len(others) == len(cases)
    for other in others:
        jax.tree.map(np.testing.assert_array_equal, whole, other)


@pytest.mark.parametrize("name", ["segmenter", "joint", "classifier"])
def test_reference_networks_take_the_released_features(name):
    shapes = {"vgg_features": (1, 64, 48, 64), "res2net_features": (1, 32, 24, 64)}
    given = {"segmenter": ["vgg_features"], "classifier": ["res2net_features"], "joint": list(shapes)}[name]
    model = create_model(name)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 64, 48, 3))))
    features = {key: jax.ShapeDtypeStruct(shapes[key], jnp.float32) for key in given}
    output = jax.eval_shape(lambda v, f: model.apply(v, **f), variables, features)
    if name == "classifier":
        assert output.class_logits.shape == (1, 2)
    else:
        assert output.side_logits.shape == (1, 64, 48, 5)


@pytest.mark.parametrize(
    ("architecture", "features"), [("segmenter", "vgg"), ("joint", "both"), ("classifier", "res2net")]
)
def test_neither_image_nor_features_is_refused(architecture, features):
    model, variables, _ = _network(architecture)
    with pytest.raises(ValueError, match=f"needs images.*{features}"):
        model.apply(variables)


@pytest.mark.parametrize("name", FIRST)
def test_the_joint_network_refuses_one_kind_of_features_without_the_image(name):
    model, variables, _ = _network("joint")
    with pytest.raises(ValueError, match="both vgg_features and res2net_features"):
        model.apply(variables, **{name: jnp.zeros((1, 32, 32, 4))})
