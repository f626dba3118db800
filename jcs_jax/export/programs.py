"""A network's two stages in the forms that an export can have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import export as jax_export
from jaxtyping import Array, Float

from jcs_jax.diagnosis.programs import Network
from jcs_jax.engines.exported import IMAGES, SCREEN, SEGMENT, TRUNK
from jcs_jax.export import elementwise_rules, network_rules  # noqa: F401  they register themselves
from jcs_jax.export.layouts import Stored, plain, transposed
from jcs_jax.export.onnx_graph import Graph, Port
from jcs_jax.export.translation import Translation, trace
from jcs_jax.export.whole_layers import traced_whole
from jcs_jax.notice import RESEARCH_USE

BATCH = "batch"  # what the first axis of all inputs and outputs is called
PLATFORMS = ("cpu", "cuda", "tpu")
Arrays = dict[str, Array]


class Stage:
    """One stage as a function from named arrays to named arrays.

    Maps of the trunk have channels first, (N, C, h, w), as engines compute them.

    Args:
      network: whose stage it is.
      variables: of the network.
      name: `SCREEN` or `SEGMENT`.
      side: (height, width) of the images.
    """

    def __init__(self, network: Network, variables: Mapping[str, Any], name: str, side: tuple[int, int]):
        self._network, self._variables, self._name = network, variables, name
        (batch,) = jax_export.symbolic_shape(BATCH)
        images = jax.ShapeDtypeStruct((batch, *side, 3), jnp.float32)
        self.inputs = {IMAGES: images}
        if name == SEGMENT and network.shares_trunk:
            before = jax.eval_shape(Stage(network, variables, SCREEN, side), {IMAGES: images})
            self.inputs |= {key: value for key, value in before.items() if key.startswith(TRUNK)}

    def __call__(self, inputs: Mapping[str, Float[Array, "n ..."]]) -> Arrays:
        """Computes it with JAX."""
        if self._name == SCREEN:
            told = self._network.screen(self._variables, inputs[IMAGES])
            trunk = {TRUNK + name: jnp.transpose(maps, (0, 3, 1, 2)) for name, maps in told.trunk.items()}
            return {**{name: getattr(told, name) for name in ("probability", "activation", "features")}, **trunk}
        trunk = {
            name.removeprefix(TRUNK): jnp.transpose(maps, (0, 2, 3, 1))
            for name, maps in inputs.items()
            if name != IMAGES
        }
        return {"probability": self._network.segment(self._variables, inputs[IMAGES], trunk)}


def stages_of(network: Network, variables: Mapping[str, Any], side: tuple[int, int]) -> dict[str, Stage]:
    """The stages that a network has, by name; see `Stage`."""
    able = {SCREEN: network.classifies, SEGMENT: network.segments}
    return {name: Stage(network, variables, name, side) for name, can in able.items() if can}


def to_onnx(stage: Stage) -> bytes:
    """A stage as an ONNX file, for batches of any size.

    Raises:
      UntranslatableError: it holds an operation that has no counterpart.
    """
    names = list(stage.inputs)
    outputs = jax.eval_shape(stage, stage.inputs)
    with traced_whole():  # of a new function, since JAX remembers what it has traced
        program = trace(lambda *arrays: stage(dict(zip(names, arrays, strict=True))), *stage.inputs.values())
    graph = Graph()
    given = [Stored(name, tuple(range(len(one.shape)))) for name, one in stage.inputs.items()]
    results = Translation(graph).inline(program, given)
    returned = []
    for (name, one), result in zip(sorted(outputs.items()), results, strict=True):  # as JAX orders a dictionary
        whole = transposed(graph, plain(graph, result, one.shape), range(len(one.shape)))
        returned.append((Port(name, _sides(one.shape)), whole.name))
    taken = [Port(name, _sides(one.shape)) for name, one in stage.inputs.items()]
    model = graph.model(taken, returned, told={"notice": RESEARCH_USE})
    return model.SerializeToString()


def to_stablehlo(stage: Stage) -> bytes:
    """A stage as `jax.export` writes it, for batches of any size: `jax.export.deserialize(data).call({...})`."""
    exported = jax_export.export(jax.jit(stage), platforms=PLATFORMS)(stage.inputs)
    return bytes(exported.serialize())


FORMS: dict[str, Callable[[Stage], bytes]] = {"onnx": to_onnx, "stablehlo": to_stablehlo}


def _sides(shape: Sequence[Any]) -> tuple[int | str, ...]:
    return tuple(side if isinstance(side, int) else str(side) for side in shape)
