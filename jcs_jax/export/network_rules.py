"""Operations that bring elements together: convolutions, windows, sums, products with matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jcs_jax.export.layouts import Stored, UntranslatableError, Value, transposed
from jcs_jax.export.translation import Translation, only, rule, shape_of, stored
from jcs_jax.export.winograd import winograd, winograd_pays


@rule("conv_general_dilated")
def _convolution(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    params = operation.params
    if params["batch_group_count"] != 1 or any(step != 1 for step in params["lhs_dilation"]):
        raise UntranslatableError("a transposed convolution")
    numbers = params["dimension_numbers"]
    images = transposed(translation.graph, stored(translation, operation, 0, operands), numbers.lhs_spec)
    kernel = np.transpose(only(operands[1], "a kernel"), numbers.rhs_spec)
    result = tuple(numbers.out_spec)
    sides = [shape_of(operation.invars[0])[axis] for axis in images.axes[2:]]
    if winograd_pays(kernel.shape, sides) and _keeps_size(params):
        return Stored(winograd(translation.graph, images.name, kernel, sides), result)
    low, high = zip(*params["padding"], strict=True)
    name = translation.graph.node(
        "Conv",
        images.name,
        translation.graph.constant(kernel),
        strides=list(params["window_strides"]),
        pads=[int(width) for width in (*low, *high)],
        dilations=list(params["rhs_dilation"]),
        group=params["feature_group_count"],
        kernel_shape=list(kernel.shape[2:]),
    )
    return Stored(name, result)


def _keeps_size(params: Any) -> bool:
    """Whether a 3 x 3 convolution is a plain one with a border of one zero."""
    steps = {*params["window_strides"], *params["rhs_dilation"], params["feature_group_count"]}
    return steps == {1} and set(params["padding"]) == {(1, 1)}


@rule("reduce_window_sum")
def _window(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    params = operation.params
    window, strides = params["window_dimensions"], params["window_strides"]
    if any(step != 1 for step in (*params["base_dilation"], *params["window_dilation"])):
        raise UntranslatableError("a dilated window")
    if window[0] != 1 or window[-1] != 1:
        raise UntranslatableError("a window over other axes than those of an image")
    axes, moved = (0, 3, 1, 2), (1, 2)
    images = transposed(translation.graph, stored(translation, operation, 0, operands), axes)
    mean = translation.graph.node(
        "AveragePool",
        images.name,
        count_include_pad=1,
        kernel_shape=[int(window[axis]) for axis in moved],
        strides=[int(strides[axis]) for axis in moved],
        pads=[int(params["padding"][axis][end]) for end in (0, 1) for axis in moved],
    )
    return Stored(mean, axes, factor=float(math.prod(window)))


@rule("reduce_sum", "reduce_max")
def _reduced(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    operand = stored(translation, operation, 0, operands)
    gone = operation.params["axes"]
    operator = {"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax"}[operation.primitive.name]
    ends = translation.graph.constant(sorted(operand.place(axis) for axis in gone), np.int64)
    name = translation.graph.node(operator, operand.name, ends, keepdims=0)
    left = sorted(set(operand.axes) - set(gone))
    return Stored(name, tuple(left.index(axis) for axis in operand.axes if axis not in gone))


@rule("dot_general")
def _product(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    """An axis of an array by a matrix or vector, which comes second."""
    graph = translation.graph
    (contracted, batched) = operation.params["dimension_numbers"]
    matrix = only(operands[1], "a matrix")
    if any(batched) or any(len(axes) != 1 for axes in contracted) or matrix.ndim > 2:
        raise UntranslatableError("a product over several axes")
    operand = stored(translation, operation, 0, operands)
    (axis,), (own,) = contracted
    left = [one for one in range(len(operand.axes)) if one != axis]
    matrix = np.moveaxis(matrix, own, 0)
    name = graph.node("MatMul", transposed(graph, operand, [*left, axis]).name, graph.constant(matrix.copy()))
    return Stored(name, tuple(range(len(left) + matrix.ndim - 1)))
