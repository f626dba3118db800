"""Rematerialisation changes what a training step stores, and nothing else."""

import dataclasses
import functools

import baselines
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jcs_jax.losses import deep_supervision_loss
from jcs_jax.models import create_model, preset_names
from jcs_jax.models.compilation import compiler_options
from jcs_jax.models.presets import build
from jcs_jax.nn.decoder import EncoderFusion
from jcs_jax.nn.layers import Style
from jcs_jax.nn.res2net import Res2NetEncoder

KEPT_BARRIERS = compiler_options("cpu")
SIDE = 48  # stage 4 of Res2Net keeps 2 x 2 pixels: a batch norm there has something to normalise


def _compile(function, *arguments):
    """As `tiny.quick_jit`, with what a compiler needs to compute twice."""
    options = {"xla_backend_optimization_level": 0, **KEPT_BARRIERS}
    return jax.jit(function).lower(*arguments).compile(compiler_options=options)


def _gradient(model, masks, variables, images):
    """Loss, output and updated statistics; and the gradient of every parameter."""

    def loss(params):
        output, updated = model.apply({**variables, "params": params}, images, train=True, mutable=["batch_stats"])
        total = jnp.zeros(())
        if output.side_logits is not None:
            total += deep_supervision_loss(output.side_logits, masks).sum()
        if output.class_logits is not None:
            total += jax.nn.logsumexp(output.class_logits.astype(jnp.float32), axis=-1).sum()
        return total, (output, updated)

    return jax.value_and_grad(loss, has_aux=True)(variables["params"])


def _trained(preset, *, remat, images, **options):
    model = build(preset, remat=remat, **options)
    variables = tiny.random_variables(model, images)
    masks = (images[..., 0] > 0).astype(images.dtype)
    return _compile(functools.partial(_gradient, model, masks), variables, images)(variables, images)


def _assert_equal(one, other):
    largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(one))
    assert largest > 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12 * largest), one, other)


@functools.cache
def _variables(name, remat, train):
    model = create_model(name, remat=remat)
    return jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=train))


@pytest.mark.parametrize("name", preset_names())
def test_names_and_shapes_of_variables_stay_so_that_checkpoints_go_both_ways(name):
    assert _variables(name, True, False) == _variables(name, False, False)


@pytest.mark.parametrize("name", ["classifier_tiny", "segmenter_tiny", "joint", "joint_tiny", "unet_tiny"])
def test_variables_are_the_same_when_they_are_initialised_by_a_training_pass(name):
    assert _variables(name, True, True) == _variables(name, False, False)


@pytest.mark.parametrize(
    "architecture", ["classifier", "segmenter", "unet", pytest.param("joint", marks=pytest.mark.slow)]
)
def test_outputs_gradients_and_statistics_of_live_batch_norms_are_equal_in_float64(architecture):
    narrow = baselines if architecture in baselines.OPTIONS else tiny
    preset = narrow.preset(architecture, norm="batch", param_dtype=jnp.float64)
    with jax.enable_x64(True):
        images = jax.random.normal(jax.random.key(1), (2, SIDE, SIDE, 3), jnp.float64)
        plain, again = (_trained(preset, remat=remat, images=images) for remat in (False, True))
    (_, (_, updated)), gradient = again
    assert len(jax.tree.leaves(updated["batch_stats"])) > 0
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float64")}
    _assert_equal(again, plain)


def test_the_fusion_of_the_encoders_and_its_gradient_are_equal_in_float64():
    with jax.enable_x64(True):
        vgg, res2net = (jax.random.normal(jax.random.key(side), (2, side, side, 3), jnp.float64) for side in (8, 5))
        style = Style("batch", param_dtype=jnp.float64)
        variables = tiny.random_variables(EncoderFusion((4,), style=style), [vgg], [res2net])

        def trained(remat):
            module = EncoderFusion((4,), style=dataclasses.replace(style, remat=remat))

            def loss(variables, vgg, res2net):
                out, updated = module.apply(variables, [vgg], [res2net], train=True, mutable=["batch_stats"])
                return jnp.sum(jnp.sin(out[0])), (out, updated)

            gradient = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
            return _compile(gradient, variables, vgg, res2net)(variables, vgg, res2net)

        _assert_equal(trained(True), trained(False))


def test_a_bfloat16_computation_gets_finite_float32_gradients():
    images = jax.random.normal(jax.random.key(1), (1, SIDE, SIDE, 3))
    preset = tiny.preset("classifier", norm="frozen")
    (_, (output, _)), gradient = _trained(preset, remat=True, images=images, dtype=jnp.bfloat16)
    assert output.class_logits.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))


def test_evaluation_is_the_same_program_and_training_another():
    def program(remat, train):
        model = build(tiny.preset("joint"), remat=remat)
        variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, SIDE, SIDE, 3))))
        images = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), jnp.float32)
        apply = functools.partial(model.apply, train=train)
        return str(jax.make_jaxpr(lambda variables, images: apply(variables, images).side_logits)(variables, images))

    evaluation = program(False, False)
    assert program(True, False) == evaluation
    assert "remat" not in evaluation
    assert "remat" in program(True, True)


def test_the_compiler_stores_a_third_less_for_the_gradient():
    images = jnp.zeros((1, 64, 64, 3))

    def stored(remat):
        encoder = Res2NetEncoder((4, 4, 4), (8, 4, 4, 4), (8, 1, 1, 1), style=Style("none", remat=remat))
        variables = tiny.random_variables(encoder, images)

        def total(variables):
            return jnp.sum(jnp.sin(encoder.apply(variables, images, train=True)["stage4"]))

        return _compile(jax.grad(total), variables).memory_analysis().temp_size_in_bytes

    assert stored(True) < stored(False) * 2 / 3


def test_only_the_cpus_compiler_has_to_be_told():
    assert compiler_options("cpu")
    assert compiler_options("gpu") == compiler_options("tpu") == {}
