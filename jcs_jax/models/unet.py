"""A baseline: the U-Net, which segments only."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from jcs_jax.models.output import ModelOutput, numbered
from jcs_jax.models.segmentation import decoder_style, refuse_small
from jcs_jax.nn.decoder import SideHeads
from jcs_jax.nn.layers import Style
from jcs_jax.nn.unet import UNetDecoder, UNetEncoder


class UNet(nn.Module):
    """U-Net with padded convolutions, norms and bilinear upsampling; one map, without deep supervision.

    Source: Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015.

    Attributes:
      channels: of the stages; the decoder has the same at the same size.
      style: norm and dtypes. With `batch` or `group` the decoder is normalised too.
    """

    channels: Sequence[int] = (64, 128, 256, 512, 1024)
    style: Style = Style()

    @nn.compact
    def __call__(self, images: Float[Array, "n h w 3"], *, train: bool = False) -> ModelOutput:
        """Segments images.

        Args:
          images: (N, H, W, 3) float, normalised, both sides at least 16.
          train: whether a live batch norm uses the batch's statistics and `style.remat` applies.

        Returns:
          Output with `side_logits` of one map, (N, H, W, 1).
        """
        size = images.shape[1:3]
        refuse_small(size)
        stages = UNetEncoder(self.channels, style=self.style, name="unet")(images, train=train)
        style = decoder_style(self.style)
        levels = UNetDecoder(style=style, name="decoder")(stages, train=train)
        logits = SideHeads(style=style, name="heads")(levels[:1], size)
        return ModelOutput(None, logits, {**numbered("unet.stage", stages), **numbered("decoder.level", levels)})
