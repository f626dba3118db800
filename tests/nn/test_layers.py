"""Norms, convolutions, attention and resizing, one fact at a time."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from jcs_jax.nn.layers import Conv, ConvNormAct, Norm, SqueezeExcite, Style, max_pool, resize_bilinear

RNG = np.random.default_rng(0)
X = RNG.normal(3.0, 2.0, (4, 5, 6, 8)).astype(np.float32)
KINDS = ("none", "frozen", "fixed_statistics", "batch", "group")


def _norm(kind: str, **style) -> Norm:
    return Norm(style=Style(norm=kind, **style))


def _init(module, x=X):
    return module.init(jax.random.key(0), x)


def _train(module, variables, x=X):
    return module.apply(variables, x, train=True, mutable=["batch_stats"])


def test_frozen_norm_has_no_epsilon():
    tiny, scale, bias, mean = 1e-10, 2.0, 0.5, 3.0
    stats = {"scale": [scale], "bias": [bias], "mean": [mean], "var": [tiny]}
    variables = {"batch_stats": jax.tree.map(jnp.float32, stats, is_leaf=lambda leaf: isinstance(leaf, list))}
    out = _norm("frozen").apply(variables, jnp.full((1, 1, 1, 1), mean + 1e-4))
    # (x - mean) / sqrt(var) = 1e-4 / 1e-5 = 10; an epsilon of 1e-5 would make it 0.03. float32 holds 3.0001 to 2e-7.
    np.testing.assert_allclose(out, 10 * scale + bias, rtol=0.05)


def test_frozen_norm_by_hand():
    stats = {name: RNG.uniform(0.5, 1.5, 8).astype(np.float32) for name in ("scale", "bias", "mean", "var")}
    expected = X * stats["scale"] / np.sqrt(stats["var"]) + stats["bias"]
    expected -= stats["mean"] * stats["scale"] / np.sqrt(stats["var"])
    out = _norm("frozen").apply({"batch_stats": stats}, X)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_frozen_norm_has_no_parameters_and_never_moves():
    module = _norm("frozen")
    variables = _init(module)
    assert variables.keys() == {"batch_stats"}
    assert variables["batch_stats"].keys() == {"scale", "bias", "mean", "var"}
    out, updated = _train(module, variables)
    np.testing.assert_array_equal(out, X)
    jax.tree.map(np.testing.assert_array_equal, updated["batch_stats"], variables["batch_stats"])


@pytest.mark.parametrize("train", [False, True])
def test_fixed_statistics_uses_its_statistics_with_epsilon_and_never_moves_them(train):
    module = _norm("fixed_statistics")
    variables = _init(module)
    mean, var = RNG.normal(size=8).astype(np.float32), RNG.uniform(0.5, 1.5, 8).astype(np.float32)
    variables["batch_stats"] = {"mean": mean, "var": var}
    out, updated = module.apply(variables, X, train=train, mutable=["batch_stats"])
    np.testing.assert_allclose(out, (X - mean) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(updated["batch_stats"]["mean"], mean)
    np.testing.assert_array_equal(updated["batch_stats"]["var"], var)


@pytest.mark.parametrize("kind", ["fixed_statistics", "batch", "group"])
def test_scale_and_bias_learn(kind):
    module = _norm(kind)
    variables = _init(module)
    assert variables["params"].keys() == {"scale", "bias"}

    def loss(params):
        out, _ = _train(module, {**variables, "params": params})
        return (out * jnp.arange(X.size).reshape(X.shape)).mean()

    gradient = jax.grad(loss)(variables["params"])
    assert all(float(jnp.abs(leaf).min()) > 0 for leaf in jax.tree.leaves(gradient))


def test_batch_norm_uses_the_batchs_statistics_in_training_and_remembers_a_tenth_of_them():
    module = _norm("batch")
    variables = _init(module)
    out, updated = _train(module, variables)
    mean, var = X.mean((0, 1, 2)), X.var((0, 1, 2))
    np.testing.assert_allclose(out, (X - mean) / np.sqrt(var + 1e-5), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], 0.1 * mean, rtol=1e-4)
    np.testing.assert_allclose(updated["batch_stats"]["var"], 0.9 + 0.1 * var, rtol=1e-4)


def test_batch_norm_uses_and_keeps_its_running_statistics_in_evaluation():
    module = _norm("batch")
    variables = _init(module)
    out, updated = module.apply(variables, X, train=False, mutable=["batch_stats"])
    np.testing.assert_allclose(out, X / np.sqrt(1 + 1e-5), rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, updated["batch_stats"], variables["batch_stats"])


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("channels", "groups"), [(16, 8), (12, 4), (6, 2), (7, 1)])
def test_group_norm_standardises_each_image_by_the_largest_group_count_that_divides(channels, groups, train):
    x = RNG.normal(3.0, 2.0, (2, 4, 5, channels)).astype(np.float32)
    module = _norm("group")
    out = module.apply(_init(module, x), x, train=train)
    grouped = x.reshape(2, 20, groups, channels // groups)
    mean, var = grouped.mean((1, 3), keepdims=True), grouped.var((1, 3), keepdims=True)
    np.testing.assert_allclose(out, ((grouped - mean) / np.sqrt(var + 1e-5)).reshape(x.shape), rtol=1e-3, atol=1e-4)


def test_no_norm_changes_nothing_and_has_no_variables():
    module = _norm("none")
    assert _init(module) == {}
    np.testing.assert_array_equal(module.apply({}, X), X)


def test_an_unknown_norm_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="frozen, fixed_statistics, batch or group, not 'layer'"):
        _init(_norm("layer"))


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_computes_in_bfloat16_with_float32_variables(kind):
    module = ConvNormAct(8, style=Style(norm=kind, dtype=jnp.bfloat16))
    variables = _init(module)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    out = module.apply(variables, X)
    assert out.dtype == jnp.bfloat16
    assert jnp.isfinite(out).all()
    exact = ConvNormAct(8, style=Style(norm=kind)).apply(variables, X)
    np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.03 * float(jnp.abs(exact).max()))


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_have_the_dtype_that_is_asked_for(kind):
    module = ConvNormAct(8, style=Style(norm=kind, param_dtype=jnp.bfloat16))
    variables = _init(module)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables["params"])} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 3)])
def test_convolution_pads_as_pytorch_does(stride, dilation):
    x = RNG.normal(size=(1, 9, 8, 1)).astype(np.float32)
    module = Conv(1, 3, stride, dilation)
    variables = _init(module, x)
    kernel = np.asarray(variables["params"]["kernel"])[..., 0, 0]
    spread = np.zeros((2 * dilation + 1, 2 * dilation + 1))
    spread[::dilation, ::dilation] = kernel
    padded = np.pad(x[0, ..., 0], dilation)
    expected = scipy.signal.correlate(padded, spread, mode="valid")[::stride, ::stride]
    np.testing.assert_allclose(module.apply(variables, x)[0, ..., 0], expected, rtol=1e-4, atol=1e-5)


def test_parameters_keep_plain_names():
    variables = _init(ConvNormAct(8, style=Style(norm="batch")))
    assert jax.tree.map(jnp.shape, variables) == {
        "params": {"conv": {"kernel": (3, 3, 8, 8), "bias": (8,)}, "norm": {"scale": (8,), "bias": (8,)}},
        "batch_stats": {"norm": {"mean": (8,), "var": (8,)}},
    }


def test_squeeze_excite_by_hand():
    reduce = {"kernel": np.float32([[1.0], [-1.0]]), "bias": np.float32([0.5])}
    expand = {"kernel": np.float32([[2.0, -2.0]]), "bias": np.float32([0.0, 1.0])}
    x = np.stack([np.full((2, 2), 1.0), np.full((2, 2), 0.25)], axis=-1)[np.newaxis].astype(np.float32)
    out = SqueezeExcite(1).apply({"params": {"reduce": reduce, "expand": expand}}, x)
    hidden = max(1.0 - 0.25 + 0.5, 0)
    gates = 1 / (1 + np.exp(-np.array([2 * hidden, 1 - 2 * hidden])))
    np.testing.assert_allclose(out, x * gates, rtol=1e-6)


def test_resizing_doubles_with_half_pixel_centres_by_hand():
    x = jnp.float32([0.0, 4.0]).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(resize_bilinear(x, (1, 4))[0, 0, :, 0], [0, 1, 3, 4], atol=1e-6)


def test_resizing_takes_no_average_when_shrinking():
    x = jnp.arange(8.0).reshape(1, 1, 8, 1) ** 2
    # Position 1.5 and 5.5 of the source: the mean of two neighbours, not of four.
    np.testing.assert_allclose(resize_bilinear(x, (1, 2))[0, 0, :, 0], [(1 + 4) / 2, (25 + 36) / 2], rtol=1e-6)


def test_max_pool_drops_an_odd_last_row_and_column():
    x = jnp.arange(15.0).reshape(1, 3, 5, 1)
    np.testing.assert_array_equal(max_pool(x)[0, ..., 0], [[6, 8]])


@pytest.mark.parametrize(("window", "padding"), [(2, 0), (3, 1)])
@pytest.mark.parametrize("size", [(8, 6), (7, 5), (2, 3)])
def test_max_pool_and_its_gradient_equal_flaxs_where_pixels_are_equal_too(window, padding, size):
    x = jnp.asarray(np.maximum(RNG.integers(-3, 3, (2, *size, 4)), 0).astype(np.float32))

    def flaxs(x):
        return nn.max_pool(x, (window, window), strides=(2, 2), padding=[(padding, padding)] * 2)

    expected, expected_gradient = jax.vjp(flaxs, x)
    out, gradient = jax.vjp(lambda x: max_pool(x, window, padding=padding), x)
    np.testing.assert_array_equal(out, expected)
    cotangent = RNG.normal(size=out.shape).astype(np.float32)
    np.testing.assert_allclose(gradient(cotangent)[0], expected_gradient(cotangent)[0], rtol=1e-6)


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_max_pool_hides_no_nan(place):
    x = jnp.ones((1, 2, 2, 1)).at[0, place[0], place[1], 0].set(jnp.nan)
    assert jnp.isnan(max_pool(x)).all()


@pytest.mark.parametrize("size", [(1, 4), (4, 1), (0, 2)])
def test_max_pool_of_less_than_a_window_is_empty(size):
    assert max_pool(jnp.ones((1, *size, 3))).size == 0
