"""A network that classifies and segments, learns easy slices and compiles in a second."""

from __future__ import annotations

import flax.linen as nn
from jaxtyping import Array

from jcs_jax.models.output import ModelOutput


class TwoConvolutions(nn.Module):
    """A pixel is opacified by what is around it; a slice is infected by its average."""

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> ModelOutput:
        x = nn.relu(nn.Conv(8, (3, 3), name="encoder")(images))
        side_logits = nn.Conv(5, (3, 3), name="heads")(x)
        class_logits = nn.Dense(2, use_bias=False, name="class_head")(x.mean((1, 2)))
        return ModelOutput(class_logits, side_logits, {"class_features": x})
