"""Res2Net v1b encoder of the classification branch."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jcs_jax.nn.layers import Conv, MaxPool, Norm, Style
from jcs_jax.nn.remat import rematerialised

SCALES = 4
EXPANSION = 4
BASE_WIDTH = 26


def _pool_ceil(x: Float[Array, "n h w c"], stride: int) -> Float[Array, "n h2 w2 c"]:
    """Average over stride x stride windows; the last window may stick out, what lies outside isn't counted."""
    if stride == 1:
        return x
    padding = [(0, -side % stride) for side in x.shape[1:3]]
    return nn.avg_pool(x, (stride, stride), strides=(stride, stride), padding=padding, count_include_pad=False)


class Bottle2neck(nn.Module):
    """Residual block with four channel groups, each seeing farther than the one before.

    1x1 conv; four splits, of which the first three pass a 3x3 conv each; concatenate; 1x1 conv; add the
    shortcut. In a plain block split i is added to the previous conv's output first and the last split passes
    unchanged. The first block of a stage (`downsample`) doesn't add the splits up, and pools the last one.

    Source: Gao et al., Res2Net, section 3; `Models/res2net.py` of the JCS release.

    Attributes:
      planes: a quarter of the output channels; a split has floor(planes * 26 / 64) channels.
      stride: of the block; 1 or 2.
      downsample: whether this is the first block of a stage (pooled 1x1 shortcut, "stage" type).
      style: norm and dtypes.
    """

    planes: int
    stride: int = 1
    downsample: bool = False
    style: Style = Style()

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool = False) -> Float[Array, "n h2 w2 d"]:
        width = max(1, self.planes * BASE_WIDTH // 64)
        use_bias = self.style.norm == "none"

        def conv_norm(x: Array, features: int, kernel: int, name: str, stride: int = 1) -> Array:
            x = Conv(features, kernel, stride, use_bias=use_bias, style=self.style, name=f"{name}_conv")(x)
            return Norm(style=self.style, name=f"{name}_norm")(x, train=train)

        splits = jnp.split(nn.relu(conv_norm(x, width * SCALES, 1, "expand")), SCALES, axis=-1)
        outputs: list[Array] = []
        for index, split in enumerate(splits[:-1]):
            carried = split if self.downsample or not outputs else split + outputs[-1]
            outputs.append(nn.relu(conv_norm(carried, width, 3, f"scale{index}", self.stride)))
        last = splits[-1]
        if self.downsample:
            strides = (self.stride, self.stride)
            last = nn.avg_pool(last, (3, 3), strides=strides, padding=[(1, 1), (1, 1)])
        out = conv_norm(jnp.concatenate([*outputs, last], axis=-1), self.planes * EXPANSION, 1, "project")
        shortcut = x
        if self.downsample:
            shortcut = conv_norm(_pool_ceil(x, self.stride), self.planes * EXPANSION, 1, "shortcut")
        return nn.relu(out + shortcut)


class Res2NetEncoder(nn.Module):
    """Deep stem and four stages; the output of each is returned.

    Source: Gao et al., Res2Net; the "v1b" stem of `Models/res2net.py` of the JCS release.

    Attributes:
      stem: channels of the stem's three convolutions; the first has stride 2.
      planes: of the four stages, whose outputs have four times as many channels.
      depths: blocks per stage.
      style: norm and dtypes.
    """

    stem: Sequence[int] = (32, 32, 64)
    planes: Sequence[int] = (64, 128, 256, 512)
    depths: Sequence[int] = (3, 4, 23, 3)
    style: Style = Style()

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, from_features: bool = False, train: bool = False
    ) -> dict[str, Float[Array, "n h2 w2 d"]]:
        """Encodes an image, or continues from stored features.

        Args:
          x: (N, H, W, 3) images; with `from_features`, (N, ceil(H/2), ceil(W/2), stem[-1]) outputs of the
            stem after its last ReLU, whose layers are then skipped.
          from_features: which of the two `x` is.
          train: whether a live batch norm uses the batch's statistics.

        Returns:
          `stage0` (the stem, half the input's side) and `stage1` .. `stage4` at 1/4, 1/8, 1/16 and 1/32,
          rounded up.
        """
        run = rematerialised(lambda block, x: block(x, train=train), self.style, train=train)
        if not from_features:
            stem = functools.partial(Res2NetEncoder._stem, train=train)
            x = rematerialised(stem, self.style, train=train)(self, x)
        stages = {"stage0": x}
        x = MaxPool(3, padding=1)(x)
        for stage, (planes, depth) in enumerate(zip(self.planes, self.depths, strict=True), start=1):
            for index in range(depth):
                first = index == 0
                block = Bottle2neck(
                    planes,
                    stride=2 if first and stage > 1 else 1,
                    downsample=first,
                    style=self.style,
                    name=f"stage{stage}_block{index}",
                )
                x = run(block, x)
            stages[f"stage{stage}"] = x
        return stages

    def _stem(self, x: Array, train: bool) -> Array:
        use_bias = self.style.norm == "none"
        for index, features in enumerate(self.stem, start=1):
            stride = 2 if index == 1 else 1
            x = Conv(features, 3, stride, use_bias=use_bias, style=self.style, name=f"stem{index}_conv")(x)
            x = nn.relu(Norm(style=self.style, name=f"stem{index}_norm")(x, train=train))
        return x
