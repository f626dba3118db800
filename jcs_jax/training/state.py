"""What a training run carries from step to step."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, UInt32

NEVER = -1


@flax.struct.dataclass
class TrainState:
    """Everything a step reads and replaces, as a pytree.

    The position in the data is `step` times the batch size; what it is a position in stands beside the state in a
    checkpoint (`TrainingBatches.state`).

    Attributes:
      step: int32 scalar, steps taken.
      params: what the optimiser moves.
      batch_stats: running statistics and frozen norms; empty for group norm.
      opt_state: of the optimiser.
      ema_params: exponential moving average of `params`; None where none is kept.
      rng: (2,) uint32, the key that dropout draws from; the same in all steps, which fold their number in.
      failed_step: int32 scalar, the step whose loss or gradient was not finite; -1 while there is none. From then
        on a step changes nothing.
    """

    step: Int[Array, ""]
    params: Any
    batch_stats: Any
    opt_state: Any
    ema_params: Any
    rng: UInt32[Array, " 2"]
    failed_step: Int[Array, ""]

    def inference_variables(self) -> dict[str, Any]:
        """Averaged parameters, and the current statistics if the network has any, for `model.apply`."""
        statistics = {"batch_stats": self.batch_stats} if self.batch_stats else {}
        return {"params": self.params if self.ema_params is None else self.ema_params, **statistics}


def initial_variables(model: nn.Module, *, seed: int, input_size: tuple[int, int]) -> dict[str, Any]:
    """Random variables of a network; the same on every number of devices.

    Args:
      model: network.
      seed: of the initialisation.
      input_size: (height, width) of the network's input.

    Returns:
      `params` and, where the norm has them, `batch_stats`, on the default device.
    """
    images = jnp.zeros((1, *input_size, 3))
    # XLA would optimise the random initialisers of some 150 small arrays for most of a minute, to run them once.
    quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(lambda key: model.init(key, images), compiler_options=quick)(jax.random.key(seed))


def create_state(
    variables: dict[str, Any], optimizer: optax.GradientTransformation, *, seed: int, average: bool = True
) -> TrainState:
    """The state of a run before its first step.

    Args:
      variables: of the network: `params` and, where the norm has them, `batch_stats`.
      optimizer: its state is created here.
      seed: of dropout.
      average: whether a moving average of the parameters is kept; it starts at the parameters.

    Returns:
      State at step 0.
    """
    params = jax.tree.map(jnp.asarray, variables["params"])
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=jax.tree.map(jnp.asarray, variables.get("batch_stats", {})),
        opt_state=optimizer.init(params),
        ema_params=jax.tree.map(jnp.copy, params) if average else None,
        rng=jax.random.key_data(jax.random.fold_in(jax.random.key(seed), 1)),
        failed_step=jnp.asarray(NEVER, jnp.int32),
    )
