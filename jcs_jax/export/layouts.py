"""Arrays of a JAX program as an ONNX graph stores them: with channels first, whatever order the program has."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jcs_jax.export.onnx_graph import Graph

Shape = Sequence[Any]  # numbers, and JAX's symbolic dimensions


class UntranslatableError(ValueError):
    """Something that has no counterpart here; the message names it."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """An array of the program that is known when the graph runs.

    Attributes:
      name: in the graph.
      axes: the program's axis at each place of the stored array.
      held: axes that are stored with length 1 and repeated only where somebody needs them so.
      factor: what the stored values are still to be multiplied with.
    """

    name: str
    axes: tuple[int, ...]
    held: frozenset[int] = frozenset()
    factor: float = 1.0

    def place(self, axis: int) -> int:
        """Where an axis of the program is stored."""
        return self.axes.index(axis)


Value = Stored | np.ndarray


def transposed(graph: Graph, value: Value, axes: Sequence[int]) -> Stored:
    """The same array, its axes stored in this order."""
    if isinstance(value, np.ndarray):
        return Stored(graph.constant(np.transpose(value, axes)), tuple(axes))
    if value.axes == tuple(axes):
        return value
    name = graph.node("Transpose", value.name, perm=[value.place(axis) for axis in axes])
    return dataclasses.replace(value, name=name, axes=tuple(axes))


def plain(graph: Graph, value: Value, shape: Shape) -> Stored:
    """The same array with nothing held back.

    Args:
      graph: takes what is needed for it.
      value: the array; a constant is stored as it is.
      shape: of the array in the program.
    """
    if isinstance(value, np.ndarray):
        return Stored(graph.constant(value), tuple(range(value.ndim)))
    value = _multiplied(graph, value)
    if not value.held:
        return value
    target = [shape[axis] if axis in value.held else 1 for axis in value.axes]
    if not all(isinstance(side, int) for side in target):
        raise UntranslatableError("an array that is the same for every slice of a batch")
    return Stored(graph.node("Expand", value.name, graph.constant(target, np.int64)), value.axes)


def multiplied(graph: Graph, value: Value) -> Value:
    """The same array with no factor left."""
    return _multiplied(graph, value) if isinstance(value, Stored) else value


def _multiplied(graph: Graph, value: Stored) -> Stored:
    if value.factor == 1.0:
        return value
    name = graph.node("Mul", value.name, graph.constant(value.factor, np.float32))
    return dataclasses.replace(value, name=name, factor=1.0)


def broadcast(graph: Graph, value: Stored, old: Shape, new: Shape, places: Sequence[int]) -> Stored:
    """An array of more axes; those that are new lie last in the store.

    Args:
      graph: takes what is needed for it.
      value: the array.
      old: its shape in the program.
      new: the shape to give it.
      places: which axis of `new` every axis of `old` becomes.
    """
    added = [axis for axis in range(len(new)) if axis not in places]
    axes = (*(places[axis] for axis in value.axes), *added)
    name = value.name
    if added:
        ends = graph.constant(range(len(old), len(new)), np.int64)
        name = graph.node("Unsqueeze", name, ends)
    held = {places[axis] for axis in value.held}
    held |= {place for axis, place in enumerate(places) if not same(old[axis], new[place])}
    held |= {axis for axis in added if not same(new[axis], 1)}
    return Stored(name, axes, frozenset(held), value.factor)


def same(one: Any, other: Any) -> bool:
    """Whether two lengths are equal, also where one depends on the batch."""
    return bool(one == other)
