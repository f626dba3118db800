"""The three networks, their losses and gradients, against the reference's numbers, odd sizes included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference

from jcs_jax.convert import from_torch, torch_names
from jcs_jax.convert.assign import LEAVES
from jcs_jax.losses import deep_supervision_loss
from jcs_jax.models import create_model
from jcs_jax.training.optimizers import reference_optimizer, reference_schedule

SIZES = {"classifier": ["64x64", "96x72"], "segmenter": ["64x64", "72x56"], "joint": ["64x64", "72x56"]}
SEGMENTING = [(name, size) for name in ("segmenter", "joint") for size in SIZES[name]]
PRECISIONS = [pytest.param(True, id="float64"), pytest.param(False, id="float32")]


def _sides(size: str) -> tuple[int, int]:
    height, width = size.split("x")
    return int(height), int(width)


@functools.cache
def _golden(name: str) -> dict[str, np.ndarray]:
    return reference.load(name)


@functools.cache
def _arrays(name: str):
    return from_torch(name, reference.weights(name))


@functools.cache
def _apply(name: str, x64: bool):
    dtype = jnp.float64 if x64 else jnp.float32
    model = create_model(name, dtype=dtype, param_dtype=dtype)
    return jax.jit(lambda variables, x: model.apply(variables, x, train=False))


def _run(name: str, size: str, x64: bool):
    dtype = "float64" if x64 else "float32"
    variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), _arrays(name))
    return _apply(name, x64)(variables, jnp.asarray(reference.images(*_sides(size)), dtype))


@pytest.mark.parametrize("x64", PRECISIONS)
@pytest.mark.parametrize("size", SIZES["classifier"])
def test_classifier_equals_the_reference(size, x64):
    golden = _golden("classifier")
    with jax.enable_x64(x64):
        out = _run("classifier", size, x64)
        largest = np.abs(golden[f"{size}/logits"]).max()
        np.testing.assert_allclose(
            out.class_logits, golden[f"{size}/logits"], atol=1e-7 if x64 else 1e-4 * largest, rtol=0
        )
        for stage in range(5):
            expected = golden[f"{size}/stage{stage}_mean"]
            mean = out.intermediates[f"res2net.stage{stage}"].mean((1, 2))
            np.testing.assert_allclose(mean, expected, atol=1e-7 if x64 else 1e-4 * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize("x64", PRECISIONS)
@pytest.mark.parametrize(("name", "size"), SEGMENTING)
def test_segmenting_network_and_its_loss_equal_the_reference(name, size, x64):
    golden = _golden(name)
    expected = reference.nhwc(golden[f"{size}/logits"])
    with jax.enable_x64(x64):
        logits = _run(name, size, x64).side_logits
        tolerance = 1e-7 if x64 else 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(logits, expected, atol=tolerance, rtol=0)
        probabilities = jax.nn.sigmoid(logits)
        np.testing.assert_allclose(probabilities, reference.nhwc(golden[f"{size}/probabilities"]), atol=1e-6, rtol=0)
        per_map = deep_supervision_loss(logits, jnp.asarray(reference.masks(*_sides(size)), logits.dtype))
        rtol = 1e-7 if x64 else 1e-5
        np.testing.assert_allclose(per_map, golden[f"{size}/loss_per_map"], rtol=rtol)
        np.testing.assert_allclose(per_map.sum(), golden[f"{size}/loss"], rtol=rtol)


def _loss(model, params, batch_stats, images, masks):
    out = model.apply({"params": params, "batch_stats": batch_stats}, images, train=True)
    return deep_supervision_loss(out.side_logits, masks).sum()


@functools.cache
def _value_and_grad(name: str):
    model = create_model(name, dtype=jnp.float64, param_dtype=jnp.float64)
    return jax.jit(jax.value_and_grad(functools.partial(_loss, model)))


def _torch_names_of(name: str, grads) -> dict[str, np.ndarray]:
    names = torch_names.module_names(create_model(name))
    flat, _ = jax.tree_util.tree_flatten_with_path(grads)
    result = {}
    for path, leaf in flat:
        *module, last = (key.key for key in path)
        result[f"{names['/'.join(module)]}.{LEAVES[last]}"] = np.asarray(leaf)
    return result


@pytest.mark.parametrize(("name", "size"), SEGMENTING)
def test_gradient_norm_of_every_parameter_equals_the_reference(name, size):
    golden = _golden(name)
    expected = dict(zip(golden[f"{size}/grad_names"].tolist(), golden[f"{size}/grad_norms"], strict=True))
    with jax.enable_x64(True):
        variables = reference.as_float64(_arrays(name))
        images, masks = (jnp.asarray(make(*_sides(size)), jnp.float64) for make in (reference.images, reference.masks))
        _, grads = _value_and_grad(name)(variables["params"], variables["batch_stats"], images, masks)
        norms = {key: np.linalg.norm(value) for key, value in _torch_names_of(name, grads).items()}
    assert norms.keys() == expected.keys()
    for key, norm in expected.items():
        np.testing.assert_allclose(norms[key], norm, rtol=1e-6 if norm > 1e-9 else 0, atol=1e-9, err_msg=key)


def test_five_steps_of_the_released_recipe_give_the_reference_losses():
    golden = _golden("segmenter")
    height, width = golden["train/size"]
    schedule = reference_schedule(1e-3, total_steps=10_000, steps_per_epoch=1_000)
    optimizer = reference_optimizer(schedule, weight_decay=1e-4)
    step = _value_and_grad("segmenter")
    losses, rates = [], []
    with jax.enable_x64(True):
        variables = reference.as_float64(_arrays("segmenter"))
        images = jnp.asarray(reference.images(height, width), jnp.float64)
        masks = jnp.asarray(reference.masks(height, width), jnp.float64)
        params, state = variables["params"], optimizer.init(variables["params"])
        update = jax.jit(optimizer.update)
        for index in range(5):
            loss, grads = step(params, variables["batch_stats"], images, masks)
            updates, state = update(grads, state, params)
            params = optax.apply_updates(params, updates)
            losses.append(float(loss))
            rates.append(float(schedule(index)))
    np.testing.assert_allclose(rates, golden["train/learning_rates"], rtol=1e-12)
    np.testing.assert_allclose(losses, golden["train/losses"], rtol=0, atol=1e-7)
