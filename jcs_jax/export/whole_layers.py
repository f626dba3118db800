"""Layers for which ONNX has operators: they are traced as one operation each instead of many."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.extend import core

from jcs_jax.export.layouts import Stored, UntranslatableError, Value, transposed
from jcs_jax.export.translation import Translation, only, rule, shape_of, stored
from jcs_jax.nn.layers import MaxPool, ResizeBilinear, max_pool

_group_norm = core.Primitive("group_norm")
_group_norm.def_abstract_eval(lambda x, scale, bias, *, groups, epsilon: x)
_max_pool = core.Primitive("max_pool")
_resize = core.Primitive("resize_bilinear")
_resize.def_abstract_eval(lambda x, *, size: jax.core.ShapedArray((x.shape[0], *size, x.shape[3]), x.dtype))


@_max_pool.def_abstract_eval
def _pooled(x: Any, *, window: int, stride: int, padding: int) -> Any:
    pool = functools.partial(max_pool, window=window, stride=stride, padding=padding)
    return jax.core.ShapedArray(jax.eval_shape(pool, x).shape, x.dtype)


def traced_whole() -> contextlib.AbstractContextManager[None]:
    """While it lasts, networks can be traced, not run: these layers are single operations."""
    return nn.intercept_methods(_intercept)


def _intercept(call: Callable[..., Any], arguments: Any, keywords: Any, context: nn.module.InterceptorContext) -> Any:
    layer = context.module
    if context.method_name != "__call__":
        return call(*arguments, **keywords)
    if isinstance(layer, nn.GroupNorm):
        held = layer.variables["params"]
        return _group_norm.bind(*arguments, held["scale"], held["bias"], groups=layer.num_groups, epsilon=layer.epsilon)
    if isinstance(layer, MaxPool):
        return _max_pool.bind(*arguments, window=layer.window, stride=layer.stride, padding=layer.padding)
    if isinstance(layer, ResizeBilinear):
        images, size = arguments
        return _resize.bind(images, size=tuple(size))
    return call(*arguments, **keywords)


@rule("group_norm")
def _normalised(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    """Norms of groups of channels are norms of single channels once a group's maps lie one after the other."""
    graph, shape = translation.graph, shape_of(operation.invars[0])
    last = len(shape) - 1
    images = transposed(graph, stored(translation, operation, 0, operands), (0, last, *range(1, last)))
    scale, bias = (only(operand, "a scale") for operand in operands[1:])
    groups = operation.params["groups"]
    lines = graph.node("Reshape", images.name, graph.constant([0, groups, -1], np.int64))
    plain = [graph.constant(np.full(groups, value, np.float32)) for value in (1, 0)]
    normal = graph.node("InstanceNormalization", lines, *plain, epsilon=operation.params["epsilon"])
    sides = [0, *(shape[axis] for axis in images.axes[1:])]
    if not all(isinstance(side, int) for side in sides):
        raise UntranslatableError("images whose size depends on the batch")
    maps = graph.node("Reshape", normal, graph.constant(sides, np.int64))
    per_channel = (-1, *[1] * (last - 1))
    scaled = graph.node("Mul", maps, graph.constant(scale.reshape(per_channel)))
    return dataclasses.replace(images, name=graph.node("Add", scaled, graph.constant(bias.reshape(per_channel))))


@rule("max_pool")
def _maximum(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    axes = (0, 3, 1, 2)
    images = transposed(translation.graph, stored(translation, operation, 0, operands), axes)
    window, stride, padding = (operation.params[name] for name in ("window", "stride", "padding"))
    shape = {"kernel_shape": [window] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
    name = translation.graph.node("MaxPool", images.name, **shape)
    return Stored(name, axes)


@rule("resize_bilinear")
def _resized(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    axes = (0, 3, 1, 2)
    graph, old = translation.graph, shape_of(operation.invars[0])[1:3]
    images = transposed(graph, stored(translation, operation, 0, operands), axes)
    new = operation.params["size"]
    scales = np.array([1, 1, *(after / before for after, before in zip(new, old, strict=True))], np.float32)
    if tuple(np.floor(np.array(old, np.float32) * scales[2:])) != new:
        raise UntranslatableError(f"a change of size from {tuple(old)} to {new}")
    shape = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return Stored(graph.node("Resize", images.name, "", graph.constant(scales), **shape), axes)
