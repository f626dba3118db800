"""Fast forms of convolutions against XLA's own, in float64; what they round in float32; where they are taken."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcs_jax.models.presets import build, get_preset, with_transformed_kernels
from jcs_jax.nn.convolution import (
    FEWEST_CHANNELS,
    FEWEST_PIXELS,
    FEWEST_PIXELS_OF_TRANSFORMED,
    MOST_TRANSFORMED,
    TRANSFORMED,
    cpu_convolution,
    transformed_kernels,
)
from jcs_jax.nn.layers import Conv, Style
from jcs_jax.nn.winograd import winograd_convolution

LAYOUT = ("NHWC", "HWIO", "NHWC")
SIDE = int(FEWEST_PIXELS**0.5)
CPU = Style(convolutions="cpu")


def _xla(x, kernel, dilation=1, stride=1):
    padding = [(dilation * (kernel.shape[0] // 2),) * 2] * 2
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, rhs_dilation=(dilation, dilation), dimension_numbers=LAYOUT
    )


def _fast(x, kernel, dilation=1, stride=1):
    padding = [(dilation * (kernel.shape[0] // 2),) * 2] * 2
    return cpu_convolution(
        x, kernel, (stride, stride), padding, rhs_dilation=(dilation, dilation), dimension_numbers=LAYOUT
    )


def _arrays(shape, features, side=3, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal((side, side, shape[-1], features)) / np.sqrt(side**2 * shape[-1])
    gradient = rng.standard_normal((*shape[:3], features))
    return tuple(jnp.asarray(array, dtype) for array in (rng.standard_normal(shape), kernel, gradient))


def _with_gradients(function, x, kernel, gradient):
    def both(x, kernel, gradient):
        y, back = jax.vjp(function, x, kernel)
        return y, *back(gradient)

    return jax.jit(both)(x, kernel, gradient)


def _convolutions(function, *arguments) -> int:
    """How often a traced function asks XLA for a convolution."""
    return str(jax.make_jaxpr(function)(*arguments)).count("conv_general_dilated[")


@pytest.mark.parametrize(
    ("shape", "features"),
    [
        ((1, 4, 4, 3), 5),  # one tile
        ((1, 1, 1, 3), 5),  # less than one
        ((2, 5, 7, 3), 4),  # sides that tiles don't fill
        ((1, 61, 50, 2), 3),  # bands of a picture, the last one beyond its end
        ((3, 67, 33, 2), 2),  # of several pictures
        ((6, 13, 9, 4), 4),  # several pictures a block
        ((7, 9, 9, 2), 3),  # a number of pictures that has no divisors
        ((1, 3, 700, 2), 2),  # a row of more tiles than a block is to have
        ((1, 33, 40, 170), 180),  # a kernel that wants large blocks
    ],
)
def test_winograd_is_the_convolution_and_so_are_both_gradients(shape, features):
    with jax.enable_x64(True):
        arrays = _arrays(shape, features)
        expected, found = (_with_gradients(function, *arrays) for function in (_xla, winograd_convolution))
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_allclose(other, one, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dilation", [1, 2, 3, 5])
@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize("size", [(SIDE, SIDE), (SIDE + 1, SIDE + 5)])
def test_chosen_forms_are_the_convolution_and_so_are_both_gradients(size, side, dilation):
    with jax.enable_x64(True):
        arrays = _arrays((2, *size, FEWEST_CHANNELS), FEWEST_CHANNELS + 1, side)
        results = [
            _with_gradients(lambda x, kernel, f=function: f(x, kernel, dilation), *arrays) for function in (_xla, _fast)
        ]
        for one, other in zip(*results, strict=True):
            np.testing.assert_allclose(other, one, rtol=0, atol=1e-10)
        assert not _convolutions(lambda x, kernel: _fast(x, kernel, dilation), *arrays[:2])


@pytest.mark.parametrize("seed", range(3))
def test_float32_rounds_to_less_than_three_times_the_errors_of_a_direct_convolution(seed):
    with jax.enable_x64(True):
        arrays = _arrays((1, 48, 48, 96), 96, seed=seed)
        exact = _with_gradients(_xla, *arrays)
        narrow = tuple(array.astype(jnp.float32) for array in arrays)
        direct, fast = (_with_gradients(function, *narrow) for function in (_xla, winograd_convolution))

        def error(values):
            return [np.sqrt(np.mean((np.asarray(a, np.float64) - b) ** 2)) for a, b in zip(values, exact, strict=True)]

        assert all(ours < 3 * theirs for ours, theirs in zip(error(fast), error(direct), strict=True))


@pytest.mark.parametrize(
    ("shape", "features", "side", "options"),
    [
        ((1, SIDE, SIDE, FEWEST_CHANNELS - 1), 64, 3, {}),
        ((1, SIDE, SIDE, 64), FEWEST_CHANNELS - 1, 3, {}),
        ((64, SIDE - 1, SIDE - 1, 64), 64, 3, {}),
        ((1, SIDE, SIDE, 32), 32, 3, {"stride": 2}),
        ((1, SIDE, SIDE, 32), 32, 1, {"stride": 2}),
        ((1, SIDE, SIDE, 32), 32, 5, {}),
    ],
)
def test_other_shapes_are_left_to_xla(shape, features, side, options):
    x, kernel, _ = _arrays(shape, features, side, np.float32)
    assert _convolutions(lambda x, kernel: _fast(x, kernel, **options), x, kernel) == 1
    np.testing.assert_array_equal(_fast(x, kernel, **options), _xla(x, kernel, **options))


def test_narrow_types_are_left_to_xla():
    x, kernel, _ = _arrays((1, SIDE, SIDE, 32), 32, dtype=jnp.bfloat16)
    np.testing.assert_array_equal(_fast(x, kernel), _xla(x, kernel))


@pytest.mark.parametrize(
    "options",
    [
        {"padding": [(0, 0), (0, 0)]},
        {"padding": [(1, 1), (0, 2)]},
        {"padding": [(1, 1), (1, 1)], "lhs_dilation": (2, 2)},
        {"padding": [(1, 1), (2, 2)], "rhs_dilation": (1, 2)},
        {"padding": [(1, 1), (1, 1)], "feature_group_count": 2},
    ],
)
def test_whatever_else_a_convolution_may_be_is_left_to_xla(options):
    x, kernel, _ = _arrays((1, SIDE, SIDE, 32), 32, dtype=np.float32)
    kernel = kernel[:, :, : 32 // options.get("feature_group_count", 1)]
    found = cpu_convolution(x, kernel, (1, 1), dimension_numbers=LAYOUT, **options)
    expected = jax.lax.conv_general_dilated(x, kernel, (1, 1), dimension_numbers=LAYOUT, **options)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("side", [1, 3])
def test_a_pictures_answer_does_not_depend_on_those_beside_it(side):
    x, kernel, _ = _arrays((5, SIDE, SIDE, 32), 40, side, np.float32)
    together = jax.jit(_fast)(x, kernel)
    alone = jnp.concatenate([jax.jit(_fast)(x[index : index + 1], kernel) for index in range(5)])
    np.testing.assert_allclose(together, alone, rtol=0, atol=2e-6)


@pytest.mark.parametrize("kernel", [1, 3])
def test_the_layer_takes_what_its_style_says(kernel):
    x = _arrays((1, SIDE, SIDE, 32), 32, dtype=np.float32)[0]
    layers = {form: Conv(32, kernel, style=Style(convolutions=form)) for form in ("xla", "cpu")}
    variables = layers["xla"].init(jax.random.key(0), x)
    answers = {form: layer.apply(variables, x) for form, layer in layers.items()}
    np.testing.assert_allclose(answers["cpu"], answers["xla"], rtol=0, atol=2e-5)
    asked = {form: _convolutions(lambda x, layer=layer: layer.apply(variables, x), x) for form, layer in layers.items()}
    assert asked == {"xla": 1, "cpu": 0}


def test_a_form_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"^convolutions are xla or cpu, not 'tpu'$"):
        Style(convolutions="tpu")


def _layer(x, *, given=True, **options):
    """A convolution's values and how many XLA does, with a transformed kernel beside its parameters or without."""
    conv = Conv(FEWEST_CHANNELS, **{"style": CPU, **options})
    params = conv.init(jax.random.key(0), x)["params"]
    params = {name: leaf + 0.1 if name == "bias" else leaf for name, leaf in params.items()}
    variables = {"params": params, **(transformed_kernels(params) if given else {})}
    return conv.apply(variables, x), _convolutions(conv.apply, variables, x)


@pytest.mark.parametrize("use_bias", [True, False])
def test_a_transformed_kernel_gives_the_same(use_bias):
    x = _arrays((2, 14, 17, FEWEST_CHANNELS), 1, dtype=np.float32)[0]
    got, convolutions = _layer(x, use_bias=use_bias)
    wanted, plain = _layer(x, use_bias=use_bias, given=False)
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    assert (convolutions, plain) == (0, 1)


@pytest.mark.parametrize(
    ("side", "options"),
    [
        (int(FEWEST_PIXELS_OF_TRANSFORMED**0.5) - 1, {}),
        (16, {"stride": 2}),
        (16, {"dilation": 2}),
        (16, {"kernel": 5}),
        (16, {"style": Style(convolutions="cpu", dtype=jnp.bfloat16)}),
        (16, {"style": Style()}),
    ],
)
def test_other_convolutions_leave_a_transformed_kernel_alone(side, options):
    x = _arrays((1, side, side, FEWEST_CHANNELS), 1, dtype=np.float32)[0]
    got, convolutions = _layer(x, **options)
    np.testing.assert_array_equal(got, _layer(x, given=False, **options)[0])
    assert convolutions == 1


def test_only_kernels_that_suit_are_transformed():
    def named(*shape, dtype=np.float32):
        return {"kernel": np.ones(shape, dtype), "bias": np.ones(shape[-1:], dtype)}

    most = int((MOST_TRANSFORMED / 36) ** 0.5)
    params = {
        "taken": named(3, 3, most, most),
        "large": named(3, 3, most + 1, most + 1),
        "narrow": named(3, 3, FEWEST_CHANNELS - 1, 64),
        "pixel": named(1, 1, 64, 64),
        "several": named(2, 3, 3, 64, 64),
        "half": named(3, 3, 64, 64, dtype=np.float16),
    }
    assert list(transformed_kernels(params)[TRANSFORMED]) == ["taken"]
    assert transformed_kernels({"large": params["large"]}) == {}


def test_networks_with_the_forms_for_cpus_are_given_transformed_kernels():
    variables = {"params": {"conv": {"kernel": np.ones((3, 3, 64, 64), np.float32)}}}
    networks = [build(get_preset("classifier_tiny"), convolutions=form) for form in ("xla", "cpu")]
    assert [set(with_transformed_kernels(one, variables)) for one in networks] == [
        {"params"},
        {"params", TRANSFORMED},
    ]
