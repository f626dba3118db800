"""The training step: a pure function of state and batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jcs_jax.losses import (
    classification_loss,
    deep_supervision_loss,
    mean_over_valid,
    per_image_deep_supervision,
)
from jcs_jax.models.inputs import network_arguments
from jcs_jax.models.output import ModelOutput
from jcs_jax.training.state import TrainState

Metrics = dict[str, Float[Array, ""]]
TrainStep = Callable[[TrainState, Mapping[str, Any]], tuple[TrainState, Metrics]]


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes:
      segmentation: `per_image`, each image's BCE and Dice by itself, images without a mask left out; or
        `reference`, Dice over the whole batch as released.
      segmentation_weight: factor of the segmentation loss, which sums five side maps.
      classification_weight: factor of the cross-entropy, over images whose label is known.
      label_smoothing: of the cross-entropy, in [0, 1].
    """

    segmentation: str = "per_image"
    segmentation_weight: float = 1.0
    classification_weight: float = 1.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        """Refuses a segmentation loss that isn't there."""
        if self.segmentation not in ("per_image", "reference"):
            raise ValueError(f"the segmentation loss is per_image or reference, not {self.segmentation!r}")

    def __call__(self, output: ModelOutput, batch: Mapping[str, Array]) -> tuple[Float[Array, ""], Metrics]:
        """The batch's loss and its parts."""
        parts: Metrics = {}
        total = jnp.zeros(())
        if output.side_logits is not None:
            parts["segmentation_loss"] = self._segmentation(output.side_logits, batch)
            total += self.segmentation_weight * parts["segmentation_loss"]
        if output.class_logits is not None:
            valid = batch["valid"] * batch["label_valid"]
            shares = jnp.stack([1 - batch["label"], batch["label"]], axis=-1)
            values = classification_loss(output.class_logits, shares, label_smoothing=self.label_smoothing, valid=valid)
            parts["classification_loss"] = mean_over_valid(values, valid)
            total += self.classification_weight * parts["classification_loss"]
        return total, parts

    def _segmentation(self, side_logits: Array, batch: Mapping[str, Array]) -> Float[Array, ""]:
        if self.segmentation == "reference":
            return deep_supervision_loss(side_logits, batch["mask"]).sum()
        valid = batch["valid"] * batch["mask_valid"]
        return mean_over_valid(per_image_deep_supervision(side_logits, batch["mask"], valid=valid), valid)


def make_train_step(
    model: nn.Module, optimizer: optax.GradientTransformation, objective: Objective, *, ema_decay: float
) -> TrainStep:
    """Builds the jitted step.

    Args:
      model: network.
      optimizer: whose state `state.opt_state` is.
      objective: what is minimised.
      ema_decay: of the parameters' moving average; its first steps average faster, min(decay, (1+t)/(10+t)).

    Returns:
      `step(state, batch) -> (state, metrics)`; the given state's buffers are donated. Metrics are scalars on
      the device: `loss`, its parts, `gradient_norm`.
    """

    def loss_fn(params: Any, batch_stats: Any, batch: Mapping[str, Array]) -> tuple[Array, tuple[Metrics, Any]]:
        output, updated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            **network_arguments(batch),
            train=True,
            mutable=["batch_stats"],
        )
        loss, parts = objective(output, batch)
        return loss, (parts, updated.get("batch_stats", {}))

    def step(state: TrainState, batch: Mapping[str, Array]) -> tuple[TrainState, Metrics]:
        gradient = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, (parts, batch_stats)), grads = gradient(state.params, state.batch_stats, batch)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
        ema = optax.incremental_update(params, state.ema_params, 1 - decay)
        metrics = {"loss": loss, **parts, "gradient_norm": optax.tree.norm(grads)}
        return TrainState(state.step + 1, params, batch_stats, opt_state, ema), metrics

    return jax.jit(step, donate_argnums=0)
