"""A baseline: the joint network without VGG, which segments only."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from jcs_jax.models.output import ModelOutput, named
from jcs_jax.models.segmentation import refuse_small, segment_stages
from jcs_jax.nn.attention import MIN_SIDE
from jcs_jax.nn.layers import ResizeBilinear, Style
from jcs_jax.nn.res2net import Res2NetEncoder


class Res2NetSegmenter(nn.Module):
    """Res2Net encoder with the segmentation branch's context module, decoder and five side maps.

    The finest level is Res2Net's stem, at half of the input's side; the side maps are resized to the input. Of pictures
    of 32 pixels and less the last stage is a single pixel, which is repeated so that there is a sixth stage to it.

    Source: ours, to tell what VGG adds to the joint network; Gao et al., Res2Net, for the encoder.

    Attributes:
      stem: channels of Res2Net's stem.
      planes: of Res2Net's stages.
      depths: blocks per stage.
      decoder_channels: of the five levels and the deepest one; the context modules have as many as the last.
      style: norm and dtypes. With `batch` or `group` the decoder is normalised too.
    """

    stem: Sequence[int] = (32, 32, 64)
    planes: Sequence[int] = (64, 128, 256, 512)
    depths: Sequence[int] = (3, 4, 6, 3)
    decoder_channels: Sequence[int] = (64, 128, 256, 512, 512, 512)
    style: Style = Style()

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n h w 3"] | None = None,
        *,
        res2net_features: Float[Array, "n h2 w2 c"] | None = None,
        train: bool = False,
    ) -> ModelOutput:
        """Segments images or stored stem features.

        Args:
          images: (N, H, W, 3) float, normalised, both sides at least 16; where features are given only their size
            counts.
          res2net_features: (N, ceil(H/2), ceil(W/2), stem[-1]), the stem's output after ReLU. Without images H and W
            are taken to be even.
          train: whether a live batch norm uses the batch's statistics and `style.remat` applies.

        Returns:
          Output with `side_logits` at the image's size.
        """
        x = images if res2net_features is None else res2net_features
        if x is None:
            raise ValueError("the Res2Net segmenter needs images or res2net_features; it was given neither")
        size = [2 * side for side in x.shape[1:3]] if images is None else images.shape[1:3]
        refuse_small(size)
        encoder = Res2NetEncoder(self.stem, self.planes, self.depths, style=self.style, name="res2net")
        stages = encoder(x, from_features=res2net_features is not None, train=train)
        *finer, last = stages.values()
        logits, maps = segment_stages(
            [*finer, ResizeBilinear()(last, [max(side, MIN_SIDE) for side in last.shape[1:3]])],
            size,
            features=self.decoder_channels[-1],
            channels=self.decoder_channels,
            style=self.style,
            train=train,
        )
        return ModelOutput(None, logits, {**named("res2net", stages), **maps})
