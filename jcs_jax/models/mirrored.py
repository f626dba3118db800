"""A network averaged over every slice and its mirror image."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from jcs_jax.models.output import ModelOutput, mean_of_side_logits


class MirrorAveraged(nn.Module):
    """Runs a network on slices and their mirror images and averages what a slice is judged by; variables are its own.

    Attributes:
      network: of `create_model`.
    """

    network: nn.Module

    def setup(self) -> None:
        """Lets the variables have the network's own names."""
        nn.share_scope(self, self.network)

    def __call__(self, images: Float[Array, "n h w 3"], *, train: bool = False) -> ModelOutput:
        """Averages class logits, class features and, as probabilities, the side maps.

        Args:
          images: (N, H, W, 3), as the network takes them; stored features are not.
          train: of the network.

        Returns:
          Output of the network, with `class_features` as the only intermediate map.
        """
        network: Any = self.network
        seen, mirrored = network(images, train=train), network(_mirror(images), train=train)
        class_logits = side_logits = None
        if seen.class_logits is not None:
            class_logits = (seen.class_logits + mirrored.class_logits) / 2
        if seen.side_logits is not None:
            side_logits = mean_of_side_logits([seen.side_logits, _mirror(mirrored.side_logits)])
        features = {
            name: (maps + _mirror(mirrored.intermediates[name])) / 2
            for name, maps in seen.intermediates.items()
            if name == "class_features"
        }
        return ModelOutput(class_logits, side_logits, features)


def _mirror(maps: Float[Array, "n h w ..."]) -> Float[Array, "n h w ..."]:
    return maps[:, :, ::-1]
