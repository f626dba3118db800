"""An optimiser that is watched: what its last step did to each part of the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class Recorded(NamedTuple):
    """State of an optimiser that is watched.

    Attributes:
      inner: of the optimiser.
      rate: factor of its updates, and so of the learning rate; may be replaced between steps.
      gradients: norm of the last gradient of each part of the network.
      ratio: norm of the last update by the norm of the parameters.
    """

    inner: Any
    rate: Any
    gradients: dict[str, Any]
    ratio: Any


def recording(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same optimiser, whose state is `Recorded`: a step need not be compiled again to see what it does.

    Args:
      optimizer: that ends in the learning rate, so that a factor of its updates is one of that rate.
    """

    def init(params: Mapping[str, Any]) -> Recorded:
        return Recorded(optimizer.init(params), jnp.ones(()), dict.fromkeys(params, jnp.zeros(())), jnp.zeros(()))

    def update(
        gradients: Mapping[str, Any], state: Recorded, params: Mapping[str, Any] | None = None
    ) -> tuple[Any, Recorded]:
        updates, inner = optimizer.update(gradients, state.inner, params)
        updates = jax.tree.map(lambda leaf: leaf * jnp.asarray(state.rate, leaf.dtype), updates)
        norms = {part: optax.tree.norm(leaves) for part, leaves in gradients.items()}
        return updates, Recorded(inner, state.rate, norms, optax.tree.norm(updates) / optax.tree.norm(params))

    return optax.GradientTransformation(init, update)
