"""Optimisers and learning-rate schedules, the release's and ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

REFERENCE_WARMUP_STEPS = 200
REFERENCE_POWER = 0.9
# A parameter whose gradient is only rounding must not move: with the usual 1e-8, Adam makes as much of it as of any.
MODERN_EPSILON = 1e-6
_REST = ""


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
    adam = optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
        optax.scale_by_learning_rate(schedule),
    )
    return by_part(adam, factors or {})


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

    Its `update` takes the norm as `gradient_norm`, which a step has measured before the gradient is shared out.

    Args:
      schedule: the learning rate of a step.
      weight_decay: decoupled.
      clip_norm: the longest gradient, over all parts that learn; 0 clips nothing.
      factors: as `by_part`.
    """

    def is_kernel(params: optax.Params) -> optax.Params:
        return jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, params)

    adam = by_part(optax.adamw(schedule, eps=MODERN_EPSILON, weight_decay=weight_decay, mask=is_kernel), factors or {})
    return optax.chain(_clip_by_given_norm(clip_norm), adam) if clip_norm else adam


def _clip_by_given_norm(longest: float) -> optax.GradientTransformationExtraArgs:
    """Shortens a gradient of a known norm to `longest`."""

    def update(
        updates: optax.Updates, state: optax.EmptyState, params: Any = None, *, gradient_norm: jax.Array, **unused: Any
    ) -> tuple[optax.Updates, optax.EmptyState]:
        factor = longest / jnp.maximum(gradient_norm, longest)
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
