"""The segmentation branch: which pixels are opacified."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from jcs_jax.models.output import ModelOutput, named
from jcs_jax.models.segmentation import segment_stages
from jcs_jax.nn.layers import Style
from jcs_jax.nn.vgg import VGGEncoder


class Segmenter(nn.Module):
    """VGG encoder, enhanced feature module, decoder with attentive feature fusion, five side maps.

    Source: JCS paper, segmentation branch; `Models/single_model.py` of the release.

    Attributes:
      vgg_channels: of VGG's five stages; the context modules have as many as the last.
      vgg_depths: convolutions per stage.
      decoder_channels: of the five levels and the deepest one.
      style: norm and dtypes. With `batch` or `group` the decoder is normalised too.
    """

    vgg_channels: Sequence[int] = (64, 128, 256, 512, 512)
    vgg_depths: Sequence[int] = (2, 2, 3, 3, 3)
    decoder_channels: Sequence[int] = (64, 128, 256, 512, 512, 512)
    style: Style = Style()

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w 3"] | None = None,
        *,
        vgg_features: Float[Array, "n h w c"] | None = None,
        train: bool = False,
    ) -> ModelOutput:
        """Segments images or stored first-stage features.

        Args:
          images: (N, H, W, 3) float, normalised, both sides at least 16; not read where features are given.
          vgg_features: (N, H, W, vgg_channels[0]), VGG's stage 1 after ReLU, at the image's size.
          train: whether a live batch norm uses the batch's statistics and `style.remat` applies.

        Returns:
          Output with `side_logits` at the input's size.
        """
        x = images if vgg_features is None else vgg_features
        if x is None:
            raise ValueError("the segmenter needs images or vgg_features; it was given neither")
        encoder = VGGEncoder(self.vgg_channels, self.vgg_depths, style=self.style, name="vgg")
        stages = encoder(x, from_features=vgg_features is not None, train=train)
        logits, maps = segment_stages(
            list(stages.values()),
            x.shape[1:3],
            features=self.vgg_channels[-1],
            channels=self.decoder_channels,
            style=self.style,
            train=train,
        )
        return ModelOutput(None, logits, {**named("vgg", stages), **maps})
