"""An ONNX graph that is put together node by node."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 10
_SHARED = 64  # elements up to which equal constants are stored once


@dataclasses.dataclass(frozen=True)
class Port:
    """An input or output of the graph.

    Attributes:
      name: of it.
      shape: numbers, and names for what a caller chooses.
    """

    name: str
    shape: tuple[int | str, ...]


class Graph:
    """Nodes and constants, by names that the graph gives."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, np.ndarray] = {}
        self._shared: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Name of an array."""
        array = np.asarray(value, dtype)
        key = (str(array.dtype), array.shape, array.tobytes()) if array.size <= _SHARED else None
        if key in self._shared:
            return self._shared[key]
        name = f"constant{len(self._constants)}"
        self._constants[name] = array
        if key is not None:
            self._shared[key] = name
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Name of the only output of a new node."""
        return self.nodes(operator, inputs, 1, **attributes)[0]

    def nodes(self, operator: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """Names of the outputs of a new node."""
        number = len(self._nodes)
        names = [f"{operator}{number}_{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), names, name=f"{operator}{number}", **attributes))
        return names

    def model(
        self, inputs: Sequence[Port], outputs: Sequence[tuple[Port, str]], *, told: Mapping[str, str]
    ) -> onnx.ModelProto:
        """The whole, without what no output needs.

        Args:
          inputs: of float32.
          outputs: of float32, and the names of what they return.
          told: texts that the file carries.

        Raises:
          onnx.checker.ValidationError: it is no valid graph.
        """
        named = [helper.make_node("Identity", [inner], [port.name], name=port.name) for port, inner in outputs]
        nodes = self._needed([inner for _, inner in outputs])
        used = {name for node in (*nodes, *named) for name in node.input}
        graph = helper.make_graph(
            [*nodes, *named],
            "jcs_jax",
            [helper.make_tensor_value_info(port.name, TensorProto.FLOAT, port.shape) for port in inputs],
            [helper.make_tensor_value_info(port.name, TensorProto.FLOAT, port.shape) for port, _ in outputs],
            [numpy_helper.from_array(array, name) for name, array in self._constants.items() if name in used],
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], producer_name="jcs_jax", ir_version=IR_VERSION)
        helper.set_model_props(model, dict(told))
        onnx.checker.check_model(model)
        return model

    def _needed(self, wanted: Sequence[str]) -> list[onnx.NodeProto]:
        """Nodes that lead to these names, in their order."""
        needed, kept = set(wanted), []
        for node in reversed(self._nodes):
            if needed & set(node.output):
                needed |= set(node.input)
                kept.append(node)
        return kept[::-1]
