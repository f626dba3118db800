"""Optimisers and learning-rate schedules, the release's and ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

REFERENCE_WARMUP_STEPS = 200
REFERENCE_POWER = 0.9
REFERENCE_EPSILON = 1e-8
# A parameter whose gradient is only rounding must not move: with the usual 1e-8, Adam makes as much of it as of any.
MODERN_EPSILON = 1e-6
_BETAS = (0.9, 0.999)  # the release's, and the usual ones
_REST = ""


class AdamState(NamedTuple):
    """What Adam remembers.

    Attributes:
      taken: () int32, steps.
      mu: moving average of the gradient, as the parameters.
      nu: moving average of its square, as the parameters.
    """

    taken: jax.Array
    mu: optax.Params
    nu: optax.Params


def reference_schedule(learning_rate: float, total_steps: int, steps_per_epoch: int) -> optax.Schedule:
    """The release's schedule: polynomial decay, in whose place a warm-up stands in the first epoch.

    lr (1 - step / total)^0.9; in epoch 0 and below step 200: lr (0.1 + 0.9 (step + 1) / 200).

    Args:
      learning_rate: lr; the release trains with 2.5e-5.
      total_steps: steps after which the rate is zero.
      steps_per_epoch: ends the warm-up early where an epoch is shorter than 200 steps.

    Returns:
      Schedule of the step, from 0.

    Source: training script of the JCS release, as described in the project's reference notes.
    """

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        step = jnp.asarray(step)
        decayed = learning_rate * (1 - jnp.clip(step / total_steps, 0, 1)) ** REFERENCE_POWER
        warming = learning_rate * (0.1 + 0.9 * (step + 1) / REFERENCE_WARMUP_STEPS)
        return jnp.where(step < min(REFERENCE_WARMUP_STEPS, steps_per_epoch), warming, decayed)

    return schedule


def reference_optimizer(
    schedule: optax.Schedule, weight_decay: float = 1e-4, *, factors: Mapping[str, float] | None = None
) -> optax.GradientTransformation:
    """Adam whose L2 penalty is coupled: added to the gradient before the moments, as the release does.

    Args:
      schedule: the learning rate of a step.
      weight_decay: of the penalty.
      factors: as `by_part`.
    """
    return by_part(_adam(schedule, eps=REFERENCE_EPSILON, coupled_decay=weight_decay), factors or {})


def modern_schedule(learning_rate: float, total_steps: int, warmup_steps: int) -> optax.Schedule:
    """Linear warm-up from zero, over half of the run at most, then a cosine to a hundredth of the peak."""
    return optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, min(warmup_steps, total_steps // 2), total_steps, end_value=learning_rate / 100
    )


def modern_optimizer(
    schedule: optax.Schedule,
    weight_decay: float = 1e-4,
    clip_norm: float = 1.0,
    *,
    factors: Mapping[str, float] | None = None,
) -> optax.GradientTransformation:
    """AdamW behind a clip of the gradient's norm; decay on kernels only, not on biases or norms.

    Its `update` may be given the norm as `gradient_norm`, which a step has measured before the gradient is shared out.

    Args:
      schedule: the learning rate of a step.
      weight_decay: decoupled.
      clip_norm: the longest gradient, over all parts that learn; 0 clips nothing.
      factors: as `by_part`.
    """
    adam = by_part(_adam(schedule, eps=MODERN_EPSILON, decoupled_decay=weight_decay), factors or {})
    return optax.chain(_clip(clip_norm), adam) if clip_norm else adam


def _adam(
    schedule: optax.Schedule, *, eps: float, coupled_decay: float = 0.0, decoupled_decay: float = 0.0
) -> optax.GradientTransformationExtraArgs:
    """Adam that can be told that a step doesn't count, and whose state is changed in place.

    Chained from parts, Adam reads the old averages for the parameters' update after it has computed the new ones, and
    the compiler keeps copies of them through the whole step: two thirds of the state. Here everything reads the new
    averages, which a barrier keeps from being computed a second time, and whether the step counts is asked where they
    are computed. `update` takes that as `accepted`; if not, the state stays as it was.

    Args:
      schedule: the learning rate of a step.
      eps: added to the root of the squares' average.
      coupled_decay: L2 penalty, added to the gradient; of all parameters.
      decoupled_decay: added to the normalised step; of kernels, that is arrays of two axes and more.

    Source: Kingma and Ba, Adam; Loshchilov and Hutter, Decoupled weight decay regularization.
    """

    def init(params: optax.Params) -> AdamState:
        return AdamState(jnp.zeros((), jnp.int32), optax.tree.zeros_like(params), optax.tree.zeros_like(params))

    def update(
        grads: optax.Updates,
        state: AdamState,
        params: optax.Params | None = None,
        *,
        accepted: jax.typing.ArrayLike = True,
        **unused: Any,
    ) -> tuple[optax.Updates, AdamState]:
        def keep(new: Any, old: Any) -> Any:
            return jax.tree.map(lambda one, two: jnp.where(accepted, one, two), new, old)

        if coupled_decay:
            grads = jax.tree.map(lambda leaf, param: leaf + coupled_decay * param, grads, params)
        mu = keep(optax.tree.update_moment(grads, state.mu, _BETAS[0], 1), state.mu)
        nu = keep(optax.tree.update_moment(grads, state.nu, _BETAS[1], 2), state.nu)
        mu, nu = jax.lax.optimization_barrier((mu, nu))
        taken, rate = state.taken + 1, schedule(state.taken)

        def move(mean: jax.Array, square: jax.Array, param: jax.Array) -> jax.Array:
            step = mean / (jnp.sqrt(square) + eps)
            return -rate * (step + decoupled_decay * param if decoupled_decay and param.ndim > 1 else step)

        means, squares = (
            optax.tree.bias_correction(mu, _BETAS[0], taken),
            optax.tree.bias_correction(nu, _BETAS[1], taken),
        )
        return jax.tree.map(move, means, squares, params), AdamState(keep(taken, state.taken), mu, nu)

    return optax.GradientTransformationExtraArgs(init, update)


def _clip(longest: float) -> optax.GradientTransformationExtraArgs:
    """Shortens a gradient to `longest`; its norm may be given, where it is known."""

    def update(
        updates: optax.Updates,
        state: optax.EmptyState,
        params: Any = None,
        *,
        gradient_norm: jax.Array | None = None,
        **unused: Any,
    ) -> tuple[optax.Updates, optax.EmptyState]:
        norm = optax.tree.norm(updates) if gradient_norm is None else gradient_norm
        factor = longest / jnp.maximum(norm, longest)
        return jax.tree.map(lambda leaf: leaf * factor.astype(leaf.dtype), updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def by_part(optimizer: optax.GradientTransformation, factors: Mapping[str, float]) -> optax.GradientTransformation:
    """The optimiser with a learning rate of its own for some parts of a network.

    Args:
      optimizer: for everything else; its updates are scaled for the parts named.
      factors: top-level name in the parameters (`vgg`, `res2net`, `decoder`, ...) -> factor of the learning rate;
        0 freezes the part, which then has no optimiser state.

    Returns:
      The optimiser.
    """
    if not factors:
        return optimizer
    transforms = {
        part: optax.chain(optimizer, optax.scale(factor)) if factor else optax.set_to_zero()
        for part, factor in factors.items()
    }

    def labels(params: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: jax.tree.map(lambda _, label=name if name in factors else _REST: label, part)
            for name, part in params.items()
        }

    return optax.partition({**transforms, _REST: optimizer}, labels)
