"""Networks whose norms were folded into their convolutions compute the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jcs_jax.models.folding import fold_norms
from jcs_jax.models.presets import Preset, build, get_preset

IMAGES = np.random.default_rng(1).normal(size=(2, 32, 32, 3))
NETWORKS = [(name, norm) for name in ("classifier", "segmenter", "joint") for norm in ("frozen", "batch")]


def _made(architecture: str, norm: str) -> tuple[Preset, dict, np.ndarray]:
    preset = tiny.preset(architecture, norm=norm)
    images = jnp.asarray(IMAGES, jnp.float32)
    return preset, tiny.random_variables(build(preset), images), images


@pytest.mark.parametrize(("architecture", "norm"), [*NETWORKS, ("joint", "fixed_statistics")])
def test_every_map_stays_the_same_in_double_precision(architecture, norm):
    preset, variables, images = _made(architecture, norm)
    folded, kept = fold_norms(preset, jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables))
    assert folded.options["norm"] == "none"
    assert set(kept) == {"params"}
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), variables)
        expected = build(preset).apply(wide, images.astype(jnp.float64), train=False)
        got = build(folded).apply(jax.tree.map(jnp.asarray, kept), images.astype(jnp.float64), train=False)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * max(1.0, np.abs(other).max()))


@pytest.mark.parametrize("architecture", ["classifier", "segmenter", "joint"])
def test_logits_stay_within_1e_5_in_single_precision_with_the_shapes_of_the_network(architecture):
    preset, variables, images = _made(architecture, "batch")
    folded, kept = fold_norms(preset, variables)
    shapes = jax.eval_shape(build(folded).init, jax.random.key(0), images)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), kept) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), dict(shapes)
    )
    expected = tiny.quick_jit(build(preset).apply)(variables, images)
    got = tiny.quick_jit(build(folded).apply)(kept, images)
    for one, other in ((got.class_logits, expected.class_logits), (got.side_logits, expected.side_logits)):
        if other is not None:
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


def test_what_cannot_be_folded_stays():
    preset, variables, _ = _made("classifier", "group")
    folded, kept = fold_norms(preset, variables)
    assert folded is preset
    assert kept == variables


@pytest.mark.parametrize("name", ["classifier", "segmenter", "joint", "unet", "res2net50_segmenter"])
def test_every_norm_of_the_reference_sizes_has_its_convolution(name):
    preset = get_preset(name)
    preset = Preset(name, preset.architecture, {**preset.options, "norm": "batch"}, preset.preprocessing)
    images = jnp.zeros((1, 64, 64, 3))
    shapes = jax.eval_shape(build(preset).init, jax.random.key(0), images)
    # Values do not matter, so every array is one number seen from everywhere.
    folded, kept = fold_norms(preset, jax.tree.map(lambda leaf: np.broadcast_to(np.float32(1), leaf.shape), shapes))
    expected = jax.eval_shape(build(folded).init, jax.random.key(0), images)
    assert jax.tree.map(lambda leaf: leaf.shape, kept) == jax.tree.map(lambda leaf: leaf.shape, dict(expected))


def test_a_norm_without_its_convolution_is_another_networks():
    preset, variables, _ = _made("classifier", "frozen")
    del variables["params"]["res2net"]["stem1_conv"]
    with pytest.raises(ValueError, match="res2net/stem1_norm has 4 channels, the convolutions before it 0"):
        fold_norms(preset, variables)
