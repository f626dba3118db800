"""Top-down decoder of the segmentation branch and the fusion of the two encoders before it."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jcs_jax.nn.attention import AttentiveFeatureFusion
from jcs_jax.nn.layers import Conv, ConvNormAct, ResizeBilinear, Style
from jcs_jax.nn.remat import rematerialised


class Decoder(nn.Module):
    """From the deepest map down to the finest, one attentive feature fusion per level.

    The deepest level is a 1x1 and a 3x3 conv. Level i takes its encoder stage and the level above, both
    brought to half of its channels by 1x1 convs, the latter resized to this level's size.

    Source: JCS paper, decoder; `Models/single_model.py` of the release.

    Attributes:
      channels: of the levels, finest first, the deepest last.
      style: norm (the reference has none here) and dtypes.
    """

    channels: Sequence[int] = (64, 128, 256, 512, 512, 512)
    style: Style = Style(norm="none")

    @nn.compact
    def __call__(
        self, stages: Sequence[Float[Array, "n h w c"]], *, train: bool = False
    ) -> list[Float[Array, "n h w d"]]:
        """Decodes encoder stages, finest first, into as many levels; the deepest stage has no level of its own.

        Args:
          stages: one more than levels are returned; sizes are free.
          train: whether a live batch norm uses the batch's statistics.

        Returns:
          Levels 1 (finest), 2, ...: (N, H_i, W_i, channels[i]) at the size of their encoder stage.
        """
        if len(stages) != len(self.channels):
            raise ValueError(f"the decoder has {len(self.channels)} levels but came by {len(stages)} stages")

        above = self._conv(self.channels[-1], 1, "deepest_lateral")(stages[-1], train=train)
        above = self._conv(self.channels[-1], 3, "deepest")(above, train=train)
        levels: list[Array] = []
        for index in reversed(range(len(stages) - 1)):
            level = functools.partial(Decoder._level, index=index, train=train)
            above = rematerialised(level, self.style, train=train)(self, stages[index], above)
            levels.append(above)
        return levels[::-1]

    def _level(self, stage: Array, above: Array, index: int, train: bool) -> Array:
        features, number = self.channels[index], index + 1
        low = self._conv(features // 2, 1, f"lateral{number}")(stage, train=train)
        high = self._conv(features // 2, 1, f"above{number}")(above, train=train)
        high = ResizeBilinear()(high, low.shape[1:3])
        return AttentiveFeatureFusion(features, style=self.style, name=f"fusion{number}")(low, high, train=train)

    def _conv(self, features: int, kernel: int, name: str) -> ConvNormAct:
        return ConvNormAct(features, kernel, style=self.style, name=name)


class SideHeads(nn.Module):
    """A 1x1 convolution to one logit per level, resized to the network's input.

    Attributes:
      style: dtypes.
    """

    style: Style = Style(norm="none")

    @nn.compact
    def __call__(self, levels: Sequence[Float[Array, "n h w c"]], size: Sequence[int]) -> Float[Array, "n h2 w2 k"]:
        """Returns (N, height, width, len(levels)) logits; map 0, of the finest level, is the answer."""
        logits = [
            ResizeBilinear()(Conv(1, 1, style=self.style, name=f"side{number}")(level), size)
            for number, level in enumerate(levels, start=1)
        ]
        return jnp.concatenate(logits, axis=-1)


class EncoderFusion(nn.Module):
    """Joins VGG's and Res2Net's stages level by level.

    VGG's map is resized to Res2Net's size; both are concatenated, VGG's first; three 3x3 convs with norm
    and ReLU follow. Level i's layers are `join{i}`, `refine{i}` and `output{i}`, i from 1.

    Source: `Models/joint_model.py` of the JCS release.

    Attributes:
      channels: of the outputs.
      style: norm (a batch norm in the reference, run with fixed statistics) and dtypes.
    """

    channels: Sequence[int] = (64, 128, 256, 512, 512)
    style: Style = Style(norm="fixed_statistics")

    @nn.compact
    def __call__(
        self,
        vgg: Sequence[Float[Array, "n h w c"]],
        res2net: Sequence[Float[Array, "n h2 w2 d"]],
        *,
        train: bool = False,
    ) -> list[Float[Array, "n h2 w2 e"]]:
        """Fuses five stages of each encoder, finest first, at Res2Net's sizes."""
        fused = []
        for number, (a, b, features) in enumerate(zip(vgg, res2net, self.channels, strict=True), start=1):
            fuse = functools.partial(EncoderFusion._fuse, number=number, features=features, train=train)
            fused.append(rematerialised(fuse, self.style, train=train)(self, a, b))
        return fused

    def _fuse(self, vgg: Array, res2net: Array, number: int, features: int, train: bool) -> Array:
        x = jnp.concatenate([ResizeBilinear()(vgg, res2net.shape[1:3]), res2net], axis=-1)
        for name in ("join", "refine", "output"):
            x = ConvNormAct(features, 3, style=self.style, name=f"{name}{number}")(x, train=train)
        return x
