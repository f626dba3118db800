"""Operations translated to ONNX give what JAX gives, for batches of other sizes than they were traced with."""

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from jax import export as jax_export

from jcs_jax.export import elementwise_rules, network_rules  # noqa: F401  they register themselves
from jcs_jax.export.layouts import Stored, UntranslatableError, plain, transposed
from jcs_jax.export.onnx_graph import Graph, Port
from jcs_jax.export.translation import Translation, trace

pytestmark = pytest.mark.engines
SIDES = (6, 8, 12)  # height, width, channels
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 3, 12, 5)).astype(np.float32)
GROUPED = RNG.normal(size=(3, 3, 3, 8)).astype(np.float32)
MATRIX = RNG.normal(size=(12, 4)).astype(np.float32)
ROWS = RNG.normal(size=(6, 7)).astype(np.float32)


def _translated(function, sides=SIDES, *, with_operators=False):
    (batch,) = jax_export.symbolic_shape("batch")
    program = trace(function, jax.ShapeDtypeStruct((batch, *sides), jnp.float32))
    graph = Graph()
    (result,) = Translation(graph).inline(program, [Stored("x", tuple(range(len(sides) + 1)))])
    shape = program.jaxpr.outvars[0].aval.shape
    whole = transposed(graph, plain(graph, result, shape), range(len(shape)))
    out = Port("y", tuple(side if isinstance(side, int) else str(side) for side in shape))
    model = graph.model([Port("x", ("batch", *sides))], [(out, whole.name)], told={})
    session = onnxruntime.InferenceSession(model.SerializeToString())

    def run(x):
        return session.run(None, {"x": x})[0]

    return (run, [node.op_type for node in model.graph.node]) if with_operators else run


def _conv(x, kernel=KERNEL, *, strides=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _windows(x, window, strides, padding):
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, *window, 1), (1, *strides, 1), ((0, 0), *padding, (0, 0)))


def _channel(x, number):
    return jax.lax.index_in_dim(x, number, axis=-1, keepdims=False)


def _kernel_from(x):
    return KERNEL + jnp.max(x, axis=(0, 1, 2))[:, None]


FUNCTIONS = {
    "convolution": _conv,
    "convolution, uneven padding and steps": lambda x: _conv(x, strides=(2, 1), padding=((0, 1), (2, 0))),
    "dilated convolution": lambda x: _conv(x, padding=((3, 3), (2, 2)), dilation=(3, 2)),
    "grouped convolution": lambda x: _conv(x, GROUPED, groups=4),
    "mean of the maps": lambda x: jnp.mean(x, axis=(1, 2)),
    "mean of the maps, kept": lambda x: x - jnp.mean(x, axis=(1, 2), keepdims=True),
    "maximum over channels": lambda x: jnp.max(x, axis=-1),
    "log of the sum of exponentials": lambda x: jax.nn.logsumexp(jnp.stack([x, 1 - x]), axis=0),
    "sigmoid and its log": lambda x: jax.nn.log_sigmoid(x) + jax.nn.sigmoid(x),
    "scale of channels": lambda x: x * jnp.arange(12.0)[None, None, None] + 1,
    "gate": lambda x: x * jax.nn.sigmoid(jnp.mean(x, (1, 2)) @ MATRIX @ MATRIX.T)[:, None, None, :],
    "matrix on channels": lambda x: x @ MATRIX,
    "matrix on rows": lambda x: jax.lax.dot_general(x, ROWS, (((1,), (0,)), ((), ()))),
    "vector on channels": lambda x: x @ MATRIX[:, 0],
    "channels split and joined": lambda x: jnp.concatenate(jnp.split(x, 4, axis=-1)[::-1], axis=-1),
    "joined along rows": lambda x: jnp.concatenate([x, x + 1], axis=1),
    "stacked": lambda x: jnp.stack([_conv(x), 2 * _conv(x)], axis=2),
    "every second pixel": lambda x: jax.lax.slice_in_dim(x, 1, 6, 2, axis=1),
    "one channel": lambda x: _channel(x, 3),
    "one channel of a convolution": lambda x: _channel(_conv(x), 4),
    "turned": lambda x: jnp.transpose(_conv(x), (0, 2, 3, 1)),
    "mean over windows": lambda x: _windows(x, (3, 3), (2, 2), ((1, 1), (1, 1))) / 9,
    "sum over windows": lambda x: _windows(x, (2, 3), (2, 1), ((0, 0), (0, 1))),
    "weighted windows": lambda x: _windows(x, (3, 3), (1, 1), ((1, 1), (1, 1))) * x / 4,
    "windows joined": lambda x: jnp.concatenate([_windows(x, (3, 3), (1, 1), ((1, 1), (1, 1))), x], axis=-1),
    "finite or not": lambda x: jnp.where(jnp.isfinite(1 / jax.nn.relu(x)), 1.0, x),
    "not a number or not": lambda x: jnp.where(x / 2 != x, jnp.log1p(jnp.exp(-jnp.abs(x))), jnp.sign(x)),
    "within checkpoint": jax.checkpoint(lambda y: jax.nn.relu(_conv(y))),
    "repeated along a new axis": lambda x: jnp.broadcast_to(x[:, :, :, None], (*x.shape[:3], 2, 12)).sum(-1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_operation_gives_what_jax_gives(name):
    function = FUNCTIONS[name]
    run = _translated(function)
    for batch in (1, 3):
        x = RNG.normal(size=(batch, *SIDES)).astype(np.float32)
        wanted, got = np.asarray(function(x)), run(x)
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("options", "operators"),
    [
        ({}, {"MatMul": 5, "Conv": 1}),
        ({"padding": ((0, 0), (0, 0))}, {"Conv": 1}),
        ({"strides": (2, 2)}, {"Conv": 1}),
        ({"padding": ((2, 2), (2, 2)), "dilation": (2, 2)}, {"Conv": 1}),
    ],
)
def test_plain_convolutions_of_many_channels_on_small_maps_take_winograd_s_form(options, operators):
    sides, kernel = (32, 34, 256), RNG.normal(size=(3, 3, 256, 512)).astype(np.float32) / 48
    run, nodes = _translated(lambda x: _conv(x, kernel, **options), sides, with_operators=True)
    assert {name: nodes.count(name) for name in ("MatMul", "Conv") if name in nodes} == operators
    x = RNG.normal(size=(2, *sides)).astype(np.float32)
    np.testing.assert_allclose(run(x), np.asarray(_conv(x, kernel, **options)), atol=2e-5)


def test_channels_stay_first_from_the_first_convolution_to_the_answer():
    (batch,) = jax_export.symbolic_shape("batch")

    def network(x):
        for _ in range(3):
            x = jax.nn.relu(_conv(x, KERNEL @ KERNEL[0, 0].T) * jnp.arange(12.0)[None, None, None])
        return x

    graph = Graph()
    program = trace(network, jax.ShapeDtypeStruct((batch, *SIDES), jnp.float32))
    (result,) = Translation(graph).inline(program, [Stored("x", (0, 1, 2, 3))])
    whole = transposed(graph, result, (0, 1, 2, 3))
    sides = ("batch", *SIDES)
    model = graph.model([Port("x", sides)], [(Port("y", sides), whole.name)], told={"notice": "read me"})
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("Transpose") == 2  # of the images, and of the answer
    assert {one.key: one.value for one in model.metadata_props} == {"notice": "read me"}


def test_what_no_answer_needs_is_left_out():
    graph = Graph()
    program = trace(lambda x: (x @ MATRIX, x + 1), jax.ShapeDtypeStruct((1, *SIDES), jnp.float32))
    _, second = Translation(graph).inline(program, [Stored("x", (0, 1, 2, 3))])
    model = graph.model([Port("x", (1, *SIDES))], [(Port("y", (1, *SIDES)), second.name)], told={})
    assert [node.op_type for node in model.graph.node] == ["Add", "Identity"]
    assert len(model.graph.initializer) == 1


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (jnp.sort, "the operation sort"),
        (
            lambda x: jax.lax.conv_transpose(x, KERNEL, (2, 2), "SAME"),
            "a transposed convolution, in the operation conv_general_dilated",
        ),
        (lambda x: _conv(x, _kernel_from(x)), "a kernel that depends on the input"),
        (lambda x: jnp.einsum("nhwc,nhwc->n", x, x), "a matrix that depends on the input, in the operation dot_gen"),
        (lambda x: jnp.tensordot(x, ROWS[:, None, :, None] * MATRIX[:, 0], ((1, 3), (0, 3))), "over several axes"),
        (lambda x: jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 1, 1, 2), (1,) * 4, "VALID"), "over other axes"),
        (lambda x: x[..., 0], "the operation gather"),
    ],
)
def test_what_cannot_be_translated_is_named(function, reason):
    with pytest.raises(UntranslatableError, match=reason):
        _translated(function)
