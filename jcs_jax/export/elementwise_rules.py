"""Operations that take every element by itself, and those that only move elements."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jcs_jax.export import layouts
from jcs_jax.export.layouts import Stored, UntranslatableError, Value, plain, same, transposed
from jcs_jax.export.translation import Translation, rule, shape_of, stored

_OPERATORS = {
    "abs": "Abs",
    "add": "Add",
    "div": "Div",
    "exp": "Exp",
    "log": "Log",
    "logistic": "Sigmoid",
    "max": "Max",
    "mul": "Mul",
    "neg": "Neg",
    "sign": "Sign",
    "sub": "Sub",
}


def aligned(translation: Translation, operation: Any, operands: list[Value]) -> tuple[list[str], Stored]:
    """Names of operands that are stored alike, and how the result is stored; its name is still to be set."""
    graph, shape = translation.graph, shape_of(operation.outvars[0])
    rank = len(shape)
    layout = next((one.axes for one in operands if isinstance(one, Stored) and len(one.axes) == rank), ())
    held = frozenset(axis for axis in range(rank) if not same(shape[axis], 1))
    names = []
    for atom, given in zip(operation.invars, operands, strict=True):
        sides, operand = shape_of(atom), layouts.multiplied(graph, given)
        if len(sides) == rank:
            operand = transposed(graph, operand, layout)
            held &= {axis for axis in range(rank) if axis in operand.held or same(sides[axis], 1)}
        names.append(operand.name if isinstance(operand, Stored) else graph.constant(operand))
    return names, Stored("", layout, held)


@rule(*_OPERATORS)
def _elementwise(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    name = operation.primitive.name
    first = operands[0]
    if isinstance(first, Stored) and name == "div" and first.factor != 1.0 and _is_number(operands[1], first.factor):
        return dataclasses.replace(first, factor=1.0)  # a mean, written as a sum
    if isinstance(first, Stored) and name == "max" and _is_number(operands[1], 0.0):  # a positive factor can wait
        return dataclasses.replace(first, name=translation.graph.node("Relu", first.name))
    names, result = aligned(translation, operation, operands)
    return dataclasses.replace(result, name=translation.graph.node(_OPERATORS[name], *names))


def _is_number(value: Value, number: float) -> bool:
    return isinstance(value, np.ndarray) and value.size == 1 and value.item() == number


@rule("ne")
def _differs(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    names, result = aligned(translation, operation, operands)
    return dataclasses.replace(result, name=translation.graph.node("Not", translation.graph.node("Equal", *names)))


@rule("log1p")
def _log_of_one_more(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    graph = translation.graph
    (name,), result = aligned(translation, operation, operands)
    return dataclasses.replace(result, name=graph.node("Log", graph.node("Add", name, graph.constant(1, np.float32))))


@rule("is_finite")
def _is_finite(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    """The difference to itself is 0, and no number for infinity."""
    graph = translation.graph
    (name,), result = aligned(translation, operation, operands)
    zero = graph.node("Sub", name, name)
    return dataclasses.replace(result, name=graph.node("Equal", zero, graph.constant(0, np.float32)))


@rule("select_n")
def _select(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    if len(operands) != 3 or operation.invars[0].aval.dtype != np.bool_:
        raise UntranslatableError("a choice between more than two")
    (condition, otherwise, then), result = aligned(translation, operation, operands)
    return dataclasses.replace(result, name=translation.graph.node("Where", condition, then, otherwise))


@rule("stop_gradient")
def _unchanged(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    return operands[0]


@rule("broadcast_in_dim")
def _broadcast(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    operand, old = operands[0], shape_of(operation.invars[0])
    if isinstance(operand, np.ndarray):
        operand = plain(translation.graph, operand, old)
    places = operation.params["broadcast_dimensions"]
    return layouts.broadcast(translation.graph, operand, old, operation.params["shape"], places)


@rule("transpose")
def _transposed(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    """The program's names of the axes change; the store stays as it is."""
    new = {old: place for place, old in enumerate(operation.params["permutation"])}
    operand = stored(translation, operation, 0, operands)
    return Stored(operand.name, tuple(new[axis] for axis in operand.axes))


@rule("concatenate")
def _joined(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    layout = next(operand.axes for operand in operands if isinstance(operand, Stored))
    whole = [stored(translation, operation, index, operands) for index in range(len(operands))]
    names = [transposed(translation.graph, one, layout).name for one in whole]
    axis = layout.index(operation.params["dimension"])
    return Stored(translation.graph.node("Concat", *names, axis=axis), layout)


@rule("stack")
def _stacked(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    graph, axis = translation.graph, operation.params["axis"]
    layout = next(operand.axes for operand in operands if isinstance(operand, Stored))
    whole = [stored(translation, operation, index, operands) for index in range(len(operands))]
    first = graph.constant([0], np.int64)
    names = [graph.node("Unsqueeze", transposed(graph, one, layout).name, first) for one in whole]
    axes = (axis, *(old + (old >= axis) for old in layout))
    return Stored(graph.node("Concat", *names, axis=0), axes)


@rule("split")
def _split(translation: Translation, operation: Any, operands: list[Value]) -> list[Value]:
    operand = stored(translation, operation, 0, operands)
    sizes = [int(size) for size in operation.params["sizes"]]
    inputs = [operand.name, translation.graph.constant(sizes, np.int64)]
    axis = operand.place(operation.params["axis"])
    return [Stored(name, operand.axes) for name in translation.graph.nodes("Split", inputs, len(sizes), axis=axis)]


@rule("slice")
def _sliced(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    operand, graph = stored(translation, operation, 0, operands), translation.graph
    starts, stops = operation.params["start_indices"], operation.params["limit_indices"]
    steps = operation.params["strides"] or [1] * len(starts)
    for axis, side in enumerate(shape_of(operation.invars[0])):
        part = (starts[axis], stops[axis], steps[axis])
        if same(part[0], 0) and same(part[1], side) and part[2] == 1:
            continue
        if not all(isinstance(number, int) for number in part):
            raise UntranslatableError("a part that depends on the batch")
        ends = [graph.constant([number], np.int64) for number in (part[0], part[1], operand.place(axis), part[2])]
        operand = dataclasses.replace(operand, name=graph.node("Slice", operand.name, *ends))
    return operand


@rule("squeeze")
def _squeezed(translation: Translation, operation: Any, operands: list[Value]) -> Value:
    operand, gone = stored(translation, operation, 0, operands), operation.params["dimensions"]
    ends = translation.graph.constant([operand.place(axis) for axis in gone], np.int64)
    left = [axis for axis in range(len(operand.axes)) if axis not in gone]
    name = translation.graph.node("Squeeze", operand.name, ends)
    return Stored(name, tuple(left.index(axis) for axis in operand.axes if axis not in gone))
