"""Encoder and decoder of the U-Net."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jcs_jax.nn.layers import Conv, ConvNormAct, MaxPool, ResizeBilinear, Style
from jcs_jax.nn.remat import rematerialised


class DoubleConv(nn.Module):
    """Two 3x3 convolutions with norm and ReLU.

    Attributes:
      features: output channels of both.
      style: norm and dtypes.
    """

    features: int
    style: Style = Style()

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool = False) -> Float[Array, "n h w d"]:
        for name in ("first", "second"):
            x = ConvNormAct(self.features, style=self.style, name=name)(x, train=train)
        return x


class UNetEncoder(nn.Module):
    """Two convolutions per stage and a 2x2 max-pool before each stage but the first; every stage is returned.

    Source: Ronneberger et al., U-Net, MICCAI 2015, figure 1; with padded convolutions and norm.

    Attributes:
      channels: of the stages.
      style: norm and dtypes.
    """

    channels: Sequence[int] = (64, 128, 256, 512, 1024)
    style: Style = Style()

    @nn.compact
    def __call__(self, x: Float[Array, "n h w 3"], *, train: bool = False) -> list[Float[Array, "n h2 w2 c"]]:
        """Returns stages 1, 2, ...: (N, H / 2^k, W / 2^k, channels[k]), k from 0, rounded down."""
        stages: list[Array] = []
        for index in range(len(self.channels)):
            stage = functools.partial(UNetEncoder._stage, index=index, train=train)
            stages.append(rematerialised(stage, self.style, train=train)(self, stages[-1] if stages else x))
        return stages

    def _stage(self, x: Array, index: int, train: bool) -> Array:
        block = DoubleConv(self.channels[index], style=self.style, name=f"stage{index + 1}")
        return block(MaxPool()(x) if index else x, train=train)


class UNetDecoder(nn.Module):
    """From the deepest stage up: brought to the next finer stage's size and channels, joined with it, convolved twice.

    A 1x1 convolution changes the channels and bilinear resizing the size, in place of the paper's transposed
    convolution: no checkerboard, and stages of odd size fit. A linear map of the channels and a weighted mean over
    pixels can be exchanged, so the convolution comes first, where there are fewer pixels.

    Source: Ronneberger et al., U-Net, MICCAI 2015, figure 1.

    Attributes:
      style: norm and dtypes.
    """

    style: Style = Style()

    @nn.compact
    def __call__(
        self, stages: Sequence[Float[Array, "n h w c"]], *, train: bool = False
    ) -> list[Float[Array, "n h w c"]]:
        """Returns levels 1 (finest), 2, ..., one less than stages: each of its stage's size and channels."""
        above = stages[-1]
        levels: list[Array] = []
        for number in range(len(stages) - 1, 0, -1):
            level = functools.partial(UNetDecoder._level, number=number, train=train)
            above = rematerialised(level, self.style, train=train)(self, stages[number - 1], above)
            levels.append(above)
        return levels[::-1]

    def _level(self, stage: Array, above: Array, number: int, train: bool) -> Array:
        features = stage.shape[-1]
        above = Conv(features, 1, style=self.style, name=f"above{number}")(above)
        joined = jnp.concatenate([stage, ResizeBilinear()(above, stage.shape[1:3])], axis=-1)
        return DoubleConv(features, style=self.style, name=f"level{number}")(joined, train=train)
