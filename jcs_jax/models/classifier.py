"""The classification branch: infected or not, and where the evidence is."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from jcs_jax.models.output import ModelOutput, named, pooled_class_logits, refuse_bad_dropout
from jcs_jax.nn.layers import Style
from jcs_jax.nn.res2net import Res2NetEncoder


class Classifier(nn.Module):
    """Res2Net, global average pool, one Dense layer without bias.

    The head is linear in the pooled features, so its class activation map is exact.

    Source: JCS paper, classification branch.

    Attributes:
      stem: channels of the stem's convolutions.
      planes: of Res2Net's stages.
      depths: blocks per stage.
      classes: number of classes.
      dropout: of the pooled features in training, in [0, 1).
      style: norm and dtypes.
    """

    stem: Sequence[int] = (32, 32, 64)
    planes: Sequence[int] = (64, 128, 256, 512)
    depths: Sequence[int] = (3, 4, 23, 3)
    classes: int = 2
    dropout: float = 0.0
    style: Style = Style()

    def __post_init__(self) -> None:
        """Refuses a rate of dropout outside [0, 1)."""
        refuse_bad_dropout(self.dropout)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w 3"] | None = None,
        *,
        res2net_features: Float[Array, "n h2 w2 c"] | None = None,
        train: bool = False,
    ) -> ModelOutput:
        """Classifies images or stored stem features.

        Args:
          images: (N, H, W, 3) float, normalised; not read where features are given.
          res2net_features: (N, ceil(H/2), ceil(W/2), stem[-1]), the stem's output after ReLU.
          train: whether a live batch norm uses the batch's statistics, features are dropped (which needs a key
            `dropout` in `rngs`), and `style.remat` applies.

        Returns:
          Output with `class_logits`.
        """
        x = images if res2net_features is None else res2net_features
        if x is None:
            raise ValueError("the classifier needs images or res2net_features; it was given neither")
        encoder = Res2NetEncoder(self.stem, self.planes, self.depths, style=self.style, name="res2net")
        stages = encoder(x, from_features=res2net_features is not None, train=train)
        features = stages["stage4"]
        logits = pooled_class_logits(features, self.classes, self.style, dropout=self.dropout, train=train)
        return ModelOutput(logits, None, {**named("res2net", stages), "class_features": features})
