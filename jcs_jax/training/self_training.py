"""Masks for slices that nobody outlined, drawn by the moving average of the weights that are being trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jcs_jax.models.output import ModelOutput, lesion_probability
from jcs_jax.preprocessing import Preprocessing
from jcs_jax.training.disturbance import disturbed_greys, random_boxes
from jcs_jax.training.state import TrainState

_KEY = 2**32 - 1  # tells these random numbers from dropout's, where the number of a step stands, below 2**31
BOX = (0.25, 0.6)  # sides of a pasted box, as shares of the picture's


@dataclasses.dataclass(frozen=True)
class SelfTraining:
    """How slices without a mask are learnt from.

    The averaged weights see the slice as it comes from the augmentation; the trained ones see it with other contrast,
    gamma and noise, and often with a box of another slice pasted in, and are to give the same mask. Each pixel counts
    by how sure the averaged weights are, |2p - 1|.

    Source: Tarvainen and Valpola, Mean teachers, NeurIPS 2017; Sohn et al., FixMatch, NeurIPS 2020; French et al.,
    Semi-supervised semantic segmentation needs strong, varied perturbations, BMVC 2020 (pasted boxes).

    Attributes:
      weight: of such a slice against one with a mask, at least 0.
      warmup_steps: over which the weight rises from 0.
      cut_mix: probability that a box is pasted into a slice.
      first_row: of the batch, from which on rows may lack a mask; those before are left alone.
      preprocessing: mean and standard deviation of the network's input.
    """

    weight: float
    warmup_steps: int
    cut_mix: float
    first_row: int
    preprocessing: Preprocessing

    def teach(self, model: nn.Module, state: TrainState, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The batch with masks where there were none.

        Args:
          model: network that segments.
          state: whose averaged weights draw the masks, and whose step and key decide about the disturbance.
          batch: as of the data pipeline, pictures and not stored features.

        Returns:
          The batch, its rows without a mask disturbed; `mask_valid` is their present weight, and `mask_certainty`,
          (N, h, w) float32 in [0, 1], every pixel's. A box from a slice of another or an unknown label leaves the
          row without a label.
        """
        rows = {key: value[self.first_row :] for key, value in batch.items()}
        output = cast(ModelOutput, model.apply(state.inference_variables(), rows["image"], train=False))
        drawn = jax.lax.stop_gradient(cast(Array, lesion_probability(output)))
        key = jax.random.fold_in(jax.random.fold_in(jax.random.wrap_key_data(state.rng), _KEY), state.step)
        intensities_key, box_key = jax.random.split(key)
        taught = {
            "image": disturbed_greys(rows["image"], intensities_key, self.preprocessing),
            "mask": (drawn >= 0.5).astype(jnp.float32),
            "mask_certainty": jnp.abs(2 * drawn - 1),
        }
        same = (rows["label"] == jnp.roll(rows["label"], 1)) & (jnp.roll(rows["label_valid"], 1) > 0)
        often_key, box_key = jax.random.split(box_key)
        often = jax.random.bernoulli(often_key, self.cut_mix, (len(drawn), 1, 1))
        boxes = random_boxes(box_key, drawn.shape, 1, BOX)[:, 0] & often
        lacking = (rows["mask_valid"] == 0) & (rows["valid"] > 0)
        boxes = boxes & (lacking & jnp.roll(lacking, 1))[:, jnp.newaxis, jnp.newaxis]
        pasted = boxes.any(axis=(1, 2))
        risen = jnp.clip(state.step / self.warmup_steps, 0, 1) if self.warmup_steps else 1.0
        taught = {name: _paste(values, boxes) for name, values in taught.items()}
        taught["mask_valid"] = jnp.full(len(drawn), self.weight * risen)
        taught["label_valid"] = jnp.where(pasted & ~same, 0.0, rows["label_valid"])
        rows["mask_certainty"] = jnp.ones_like(drawn)
        rows |= {name: jnp.where(_expand(lacking, values), values, rows[name]) for name, values in taught.items()}
        certain = {"mask_certainty": jnp.ones((self.first_row, *drawn.shape[1:]))}
        first = {**{key: value[: self.first_row] for key, value in batch.items()}, **certain}
        return {name: jnp.concatenate([first[name], values]) for name, values in rows.items()}


def _paste(values: Float[Array, "n h w ..."], boxes: Array) -> Float[Array, "n h w ..."]:
    """Inside the boxes the values of the picture before, outside a picture's own."""
    inside = boxes if values.ndim == 3 else boxes[..., jnp.newaxis]
    return jnp.where(inside, jnp.roll(values, 1, axis=0), values)


def _expand(per_row: Array, like: Array) -> Array:
    return per_row.reshape(per_row.shape + (1,) * (like.ndim - 1))
