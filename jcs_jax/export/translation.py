"""A traced JAX program becomes an ONNX graph, operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from jcs_jax.export import layouts
from jcs_jax.export.layouts import Stored, UntranslatableError, Value, plain
from jcs_jax.export.onnx_graph import Graph

Rule = Callable[["Translation", Any, list[Value]], "Value | list[Value]"]
_RULES: dict[str, Rule] = {}
_INLINED = ("jit", "closed_call", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call")


def rule(*primitives: str) -> Callable[[Rule], Rule]:
    """Registers how operations of these names are translated.

    A rule takes the translation, the operation and its operands, of which one at least is `Stored`, and returns the
    result, or a list of them.
    """

    def register(function: Rule) -> Rule:
        _RULES.update(dict.fromkeys(primitives, function))
        return function

    return register


class Translation:
    """One program on its way into a graph.

    What depends on no input is computed now, by JAX, and becomes a constant.

    Attributes:
      graph: that it is written into.
    """

    def __init__(self, graph: Graph):
        self.graph = graph

    def inline(self, program: core.ClosedJaxpr, values: Sequence[Value]) -> list[Value]:
        """Translates a program and the programs it calls.

        Args:
          program: of operations that have a rule.
          values: of its arguments.

        Returns:
          Values of its results.

        Raises:
          UntranslatableError: an operation that has none, or is used in a way that its rule doesn't know.
        """
        known: dict[Any, Value] = dict(zip(program.jaxpr.constvars, map(np.asarray, program.consts), strict=True))
        known.update(zip(program.jaxpr.invars, values, strict=True))

        def read(atom: Any) -> Value:
            if isinstance(atom, core.Literal):
                aval: Any = atom.aval
                return np.asarray(atom.val, aval.dtype)
            return known[atom]

        for operation in program.jaxpr.eqns:
            results = self._translate(operation, [read(atom) for atom in operation.invars])
            known.update(zip(operation.outvars, results, strict=True))
        return [read(atom) for atom in program.jaxpr.outvars]

    def _translate(self, operation: Any, operands: list[Value]) -> list[Value]:
        name = operation.primitive.name
        if name in _INLINED:
            inner = operation.params.get("jaxpr", operation.params.get("call_jaxpr"))
            closed = inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, ())
            return self.inline(closed, operands)
        arrays = [operand for operand in operands if isinstance(operand, np.ndarray)]
        if len(arrays) == len(operands) and all(_is_fixed(result.aval.shape) for result in operation.outvars):
            return _computed(operation, arrays)
        if name not in _RULES:
            raise UntranslatableError(f"the operation {name}")
        try:
            results = _RULES[name](self, operation, operands)
        except UntranslatableError as error:
            raise UntranslatableError(f"{error}, in the operation {name}") from error
        return results if isinstance(results, list) else [results]


def _is_fixed(shape: layouts.Shape) -> bool:
    return all(isinstance(side, int) for side in shape)


def _computed(operation: Any, operands: list[np.ndarray]) -> list[Value]:
    results = operation.primitive.bind(*operands, **operation.params)
    return [np.asarray(one) for one in (results if operation.primitive.multiple_results else [results])]


def shape_of(atom: Any) -> layouts.Shape:
    """Of an operand or result of an operation, in the program."""
    shape: layouts.Shape = atom.aval.shape
    return shape


def only(array: Value, told: str) -> np.ndarray:
    """An operand that has to be a constant."""
    if isinstance(array, Stored):
        raise UntranslatableError(f"{told} that depends on the input")
    return array


def trace(function: Callable[..., Any], *arguments: Any) -> core.ClosedJaxpr:
    """The program of a function, for arguments or their shapes."""
    program: core.ClosedJaxpr = jax.make_jaxpr(function)(*arguments)
    return program


def stored(translation: Translation, operation: Any, index: int, operands: list[Value]) -> Stored:
    """An operand with nothing held back."""
    return plain(translation.graph, operands[index], shape_of(operation.invars[index]))
