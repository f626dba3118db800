"""Slices that are given back from damaged ones: what teaches a network anatomy before anyone has outlined anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jcs_jax.preprocessing import Preprocessing
from jcs_jax.training.disturbance import disturbed_greys, from_grey, random_boxes, to_grey
from jcs_jax.training.state import TrainState

_KEY = 2**32 - 2  # tells these random numbers from dropout's and self-training's
SHUFFLED, REACH, SHUFFLED_BOXES, SHUFFLED_SIDES = 0.6, 6.0, 12, (0.05, 0.25)
COVERED, COVERING_BOXES, COVERING_SIDES = 0.65, 5, (0.1, 0.3)
REMAINING, REMAINING_BOXES, REMAINING_SIDES = 0.15, 3, (0.3, 0.6)


@dataclasses.dataclass(frozen=True)
class Restoration:
    """Damages slices; the network is to say what they were.

    Contrast, brightness, gamma and noise change everywhere. In `SHUFFLED` of the slices pixels change places within
    some boxes, over at most `REACH` pixels. In `COVERED` of them boxes of one grey cover what was there; in `REMAINING`
    of them a few boxes are all that is left.

    Source: Zhou et al., Models Genesis, Medical Image Analysis 2021.

    Attributes:
      preprocessing: mean and standard deviation of the network's input.
    """

    preprocessing: Preprocessing

    def teach(self, model: nn.Module, state: TrainState, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The batch damaged, with its former greys in place of masks.

        Args:
          model: not asked.
          state: whose step and key decide about the damage.
          batch: as of the data pipeline, pictures and not stored features.

        Returns:
          The batch: `image` is damaged, `mask` the intensities as they were, (N, h, w) in [0, 1], and `mask_valid` 1
          wherever there is a slice. No label is valid.
        """
        key = jax.random.fold_in(jax.random.fold_in(jax.random.wrap_key_data(state.rng), _KEY), state.step)
        images = batch["image"]
        damaged = self._damaged(images, jax.random.split(key, 11))
        return {
            **batch,
            "image": from_grey(damaged, self.preprocessing).astype(images.dtype),
            "mask": jnp.clip(to_grey(images, self.preprocessing), 0, 1),
            "mask_valid": batch["valid"],
            "label_valid": jnp.zeros_like(batch["label_valid"]),
        }

    def _damaged(self, images: Float[Array, "n h w 3"], keys: Array) -> Float[Array, "n h w"]:
        shape = images.shape[:3]
        each = (shape[0], 1, 1)
        grey = to_grey(disturbed_greys(images, keys[0], self.preprocessing), self.preprocessing)
        shuffled = random_boxes(keys[4], shape, SHUFFLED_BOXES, SHUFFLED_SIDES).any(axis=1)
        shuffled &= jax.random.bernoulli(keys[5], SHUFFLED, each)
        grey = jnp.where(shuffled, _shuffled(grey, keys[1:4]), grey)
        fills = jax.random.uniform(keys[7], (shape[0], COVERING_BOXES, 1, 1))
        boxes = random_boxes(keys[6], shape, COVERING_BOXES, COVERING_SIDES)
        covered = grey
        for number in range(COVERING_BOXES):
            covered = jnp.where(boxes[:, number], fills[:, number], covered)
        left = random_boxes(keys[8], shape, REMAINING_BOXES, REMAINING_SIDES).any(axis=1)
        noise = 0.3 * jax.random.uniform(keys[9], shape) + 0.7 * fills[:, 0]
        which = jax.random.uniform(keys[10], each)
        rest = jnp.where(which < COVERED + REMAINING, jnp.where(left, grey, noise), grey)
        return jnp.where(which < COVERED, covered, rest)


def _shuffled(grey: Float[Array, "n h w"], keys: Array) -> Float[Array, "n h w"]:
    """Every pixel has the grey of one nearby."""
    images, height, width = grey.shape
    reach = jax.random.uniform(keys[0], (images, 1, 1), minval=1.0, maxval=REACH)
    rows, columns = (
        jnp.round(jax.random.uniform(key, grey.shape, minval=-1, maxval=1) * reach).astype(int) for key in keys[1:]
    )
    rows = jnp.clip(jnp.arange(height)[:, jnp.newaxis] + rows, 0, height - 1)
    columns = jnp.clip(jnp.arange(width) + columns, 0, width - 1)
    return grey[jnp.arange(images)[:, jnp.newaxis, jnp.newaxis], rows, columns]
