"""What a training run carries from step to step."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int


@flax.struct.dataclass
class TrainState:
    """Everything a step reads and replaces, as a pytree.

    Attributes:
      step: int32 scalar, steps taken.
      params: what the optimiser moves.
      batch_stats: running statistics and frozen norms; empty for group norm.
      opt_state: of the optimiser.
      ema_params: exponential moving average of `params`.
    """

    step: Int[Array, ""]
    params: Any
    batch_stats: Any
    opt_state: Any
    ema_params: Any

    def inference_variables(self) -> dict[str, Any]:
        """Averaged parameters, and the current statistics if the network has any, for `model.apply`."""
        statistics = {"batch_stats": self.batch_stats} if self.batch_stats else {}
        return {"params": self.ema_params, **statistics}

    def starting_from(self, variables: dict[str, Any]) -> TrainState:
        """The same state with another run's variables, which have its names and shapes; the optimiser is fresh."""
        return self.replace(  # type: ignore[attr-defined]
            params=jax.tree.map(jnp.asarray, variables["params"]),
            ema_params=jax.tree.map(jnp.copy, variables["params"]),
            batch_stats=jax.tree.map(jnp.asarray, variables.get("batch_stats", {})),
        )


def create_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    input_size: tuple[int, int],
) -> TrainState:
    """Initial state of a run.

    Args:
      model: network.
      optimizer: its state is created here.
      seed: of the initialisation.
      input_size: (height, width) of the network's input.

    Returns:
      State at step 0; the moving average starts at the parameters.
    """
    images = jnp.zeros((1, *input_size, 3))

    def create() -> TrainState:
        variables = model.init(jax.random.key(seed), images)
        params = variables["params"]
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            opt_state=optimizer.init(params),
            ema_params=jax.tree.map(jnp.copy, params),
        )

    # XLA would optimise the random initialisers of some 150 small arrays for most of a minute, to run them once.
    quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(create, compiler_options=quick)()
