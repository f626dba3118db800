"""The explanation of the real classifier, against the reference's Grad-CAM and against its own logits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from jcs_jax.convert import from_torch
from jcs_jax.explain import class_activation_map, grad_cam
from jcs_jax.models import create_model

SIZES = ["64x64", "96x72"]
PRECISIONS = [pytest.param(True, id="float64"), pytest.param(False, id="float32")]
# Seed 0, the goldens' own, puts the infected logit below -2.5: its Grad-CAM is zero. These maps have positive places.
POSITIVE = [(0, 0), (1, 0), (1, 1)]


@functools.cache
def _weights(seed: int) -> dict[str, np.ndarray]:
    shapes = reference.state_dicts()["classifier"]
    return {name: reference.array_by_formula(name, tuple(shape), seed) for name, shape in shapes.items()}


@functools.cache
def _variables(seed: int):
    return from_torch("classifier", _weights(seed))


@functools.cache
def _apply(x64: bool):
    dtype = jnp.float64 if x64 else jnp.float32
    model = create_model("classifier", dtype=dtype, param_dtype=dtype)

    def logits_and_features(variables, images):
        out = model.apply(variables, images, train=False)
        return out.class_logits, out.intermediates["class_features"]

    return jax.jit(logits_and_features)


@functools.cache
def _run(seed: int, size: str, x64: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits (2, 2), class features (2, h, w, 2048) and the head's kernel (2048, 2)."""
    height, width = map(int, size.split("x"))
    dtype = "float64" if x64 else "float32"
    variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), _variables(seed))
    logits, features = _apply(x64)(variables, jnp.asarray(reference.images(height, width), dtype))
    return np.asarray(logits), np.asarray(features), np.asarray(variables["params"]["class_head"]["kernel"])


def _maps(seed: int, size: str, x64: bool, class_index: int) -> tuple[np.ndarray, np.ndarray]:
    """Grad-CAM through automatic differentiation, and from the class activation map."""
    _, features, kernel = _run(seed, size, x64)
    by_gradient = grad_cam(features, lambda maps: jnp.mean(maps, axis=(1, 2)) @ kernel, class_index)
    exact = class_activation_map(features, kernel, class_index)
    return np.asarray(by_gradient), np.maximum(exact, 0) / (exact.shape[1] * exact.shape[2])


@pytest.mark.parametrize("x64", PRECISIONS)
@pytest.mark.parametrize("size", SIZES)
def test_grad_cam_of_infection_equals_the_reference(size, x64):
    golden = reference.load("classifier")[f"{size}/cam"]
    tolerance = 1e-7 if x64 else 1e-3 * golden.max()
    with jax.enable_x64(x64):
        for cam in _maps(0, size, x64, 1):
            assert cam.dtype == (np.float64 if x64 else np.float32)
            np.testing.assert_allclose(cam, golden, atol=tolerance, rtol=0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("seed", "class_index"), POSITIVE)
def test_grad_cam_is_the_features_weighed_by_the_released_heads_weights(seed, class_index, size):
    with jax.enable_x64(True):
        _, features, _ = _run(seed, size, True)
        cams = _maps(seed, size, True, class_index)
    head = _weights(seed)["fc.weight"][class_index].astype(np.float64)
    positions = features.shape[1] * features.shape[2]
    expected = np.maximum(features @ head, 0) / positions
    assert expected.max() > 0.01
    for cam in cams:
        np.testing.assert_allclose(cam, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("seed", "class_index"), POSITIVE)
def test_grad_cam_in_float32_is_within_a_thousandth_of_its_maximum(seed, class_index):
    cams = {}
    for x64 in (True, False):
        with jax.enable_x64(x64):
            cams[x64] = _maps(seed, "64x64", x64, class_index)
    for exact, rounded in zip(cams[True], cams[False], strict=True):
        np.testing.assert_allclose(rounded, exact, atol=1e-3 * exact.max(), rtol=0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", [0, 1])
def test_mean_of_a_map_is_the_networks_logit_or_the_log_odds(seed, size):
    with jax.enable_x64(True):
        logits, features, kernel = _run(seed, size, True)
        own = [class_activation_map(features, kernel, index).mean(axis=(1, 2)) for index in (0, 1)]
        contrast = class_activation_map(features, kernel, 1, against=0).mean(axis=(1, 2))
        log_odds = jax.scipy.special.logit(jax.nn.softmax(logits)[:, 1])
    np.testing.assert_allclose(np.stack(own, axis=1), logits, atol=1e-12, rtol=0)
    np.testing.assert_allclose(contrast, log_odds, atol=1e-12, rtol=0)
