"""The modules that JCS adds to its encoders: grouped atrous context and attentive feature fusion."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jcs_jax.nn.layers import Conv, ConvNormAct, MaxPool, Norm, SqueezeExcite, Style
from jcs_jax.nn.remat import rematerialised

SE_REDUCTION = 4
MIN_SIDE = 2


class GroupedAtrousModule(nn.Module):
    """Four channel groups with a dilation each, weighed against one another ("GPD" in the release).

    1x1 conv to 2C; split in four; a 3x3 conv of its own dilation per group; concatenate; ReLU;
    squeeze-and-excite; 1x1 conv to C; 3x3 conv to C.

    Source: JCS paper, enhanced feature module; `Models/single_model.py` of the release.

    Attributes:
      features: C, channels of the output.
      dilations: of the four groups.
      style: norm (the reference has none here) and dtypes.
    """

    features: int
    dilations: Sequence[int] = (1, 3, 6, 9)
    style: Style = Style(norm="none")

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool = False) -> Float[Array, "n h w d"]:
        x = ConvNormAct(2 * self.features, 1, style=self.style, name="expand")(x, train=train)
        groups = jnp.split(x, len(self.dilations), axis=-1)
        groups = [
            Conv(group.shape[-1], dilation=dilation, style=self.style, name=f"atrous{index}")(group)
            for index, (group, dilation) in enumerate(zip(groups, self.dilations, strict=True))
        ]
        x = Norm(style=self.style, name="atrous_norm")(jnp.concatenate(groups, axis=-1), train=train)
        x = SqueezeExcite(x.shape[-1] // SE_REDUCTION, style=self.style, name="attention")(nn.relu(x))
        x = ConvNormAct(self.features, 1, style=self.style, name="reduce")(x, train=train)
        return ConvNormAct(self.features, 3, style=self.style, name="output")(x, train=train)


class EnhancedFeatureModule(nn.Module):
    """Puts context into the deepest encoder stage and adds a sixth one above it (JCS paper, "EFM").

    Attributes:
      features: channels of both outputs.
      style: norm and dtypes.
    """

    features: int
    style: Style = Style(norm="none")

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Float[Array, "n h w d"], Float[Array, "n h2 w2 d"]]:
        """Returns stage 5 with context, and stage 6 at half its side.

        Raises:
          ValueError: if a side of `x` is below 2, so that stage 6 would be empty.
        """
        if min(x.shape[1:3]) < MIN_SIDE:
            raise ValueError(
                f"stage 5 is {x.shape[1]} x {x.shape[2]}, too small for a sixth stage: give images of at least 16 x 16"
            )
        run = rematerialised(lambda module, x: module(x, train=train), self.style, train=train)
        stage5 = run(GroupedAtrousModule(self.features, (1, 3, 6, 9), style=self.style, name="gam5"), x)
        gam6 = GroupedAtrousModule(self.features, (1, 2, 3, 4), style=self.style, name="gam6")
        return stage5, run(gam6, MaxPool()(stage5))


class AttentiveFeatureFusion(nn.Module):
    """Joins a fine and a coarse feature map ("FuseModule" in the release, "AFF" in the paper).

    Squeeze-and-excite over both with a bottleneck of one unit; 3x3 conv; concatenate the coarse map again;
    the same attention; 1x1 conv to C; 3x3 conv to C.

    Attributes:
      features: C, channels of the output.
      style: norm (the reference has none here) and dtypes.
    """

    features: int
    style: Style = Style(norm="none")

    @nn.compact
    def __call__(
        self, low: Float[Array, "n h w c"], high: Float[Array, "n h w c"], *, train: bool = False
    ) -> Float[Array, "n h w d"]:
        """Fuses two maps of one size.

        Args:
          low: (N, H, W, C/2), the encoder's own level.
          high: (N, H, W, C/2), the decoder's level above, resized.
          train: whether a live batch norm uses the batch's statistics.

        Returns:
          (N, H, W, C).
        """
        x = jnp.concatenate([low, high], axis=-1)
        x = SqueezeExcite(1, style=self.style, name="attention_both")(x)
        x = ConvNormAct(self.features, 3, style=self.style, name="mix")(x, train=train)
        x = jnp.concatenate([x, high], axis=-1)
        x = SqueezeExcite(1, style=self.style, name="attention_high")(x)
        x = ConvNormAct(self.features, 1, style=self.style, name="reduce")(x, train=train)
        return ConvNormAct(self.features, 3, style=self.style, name="output")(x, train=train)
