"""VGG-16 encoder of the segmentation branch."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from jcs_jax.nn.layers import ConvNormAct, MaxPool, Style
from jcs_jax.nn.remat import rematerialised


class VGGEncoder(nn.Module):
    """Five stages of 3x3 convolutions with norm and ReLU, every stage's last output returned.

    There is a 2x2 max-pool before stages 2, 3 and 4 but none before stage 5, so stages 4 and 5 are both at
    an eighth of the input's side. Layers are named `conv{stage}_{index}`.

    Source: `Models/vgg.py` of the JCS release; layer names of Simonyan and Zisserman.

    Attributes:
      channels: of the five stages.
      depths: convolutions in each of them.
      style: norm and dtypes.
    """

    channels: Sequence[int] = (64, 128, 256, 512, 512)
    depths: Sequence[int] = (2, 2, 3, 3, 3)
    style: Style = Style()

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], *, from_features: bool = False, train: bool = False
    ) -> dict[str, Float[Array, "n h2 w2 d"]]:
        """Encodes an image, or continues from stored features.

        Args:
          x: (N, H, W, 3) images; with `from_features`, (N, H, W, channels[0]) outputs of stage 1 (conv1_2
            after its ReLU), whose layers are then skipped.
          from_features: which of the two `x` is.
          train: whether a live batch norm uses the batch's statistics.

        Returns:
          `stage1` .. `stage5`: (N, H / 2^k, W / 2^k, channels[i]), k = 0, 1, 2, 3, 3, rounded down.
        """
        stages: dict[str, Array] = {}
        for number in range(1, len(self.channels) + 1):
            if not (from_features and number == 1):
                stage = functools.partial(VGGEncoder._stage, number=number, train=train)
                x = rematerialised(stage, self.style, train=train)(self, x)
            stages[f"stage{number}"] = x
        return stages

    def _stage(self, x: Array, number: int, train: bool) -> Array:
        if number in (2, 3, 4):
            x = MaxPool()(x)
        for index in range(1, self.depths[number - 1] + 1):
            layer = ConvNormAct(self.channels[number - 1], style=self.style, name=f"conv{number}_{index}")
            x = layer(x, train=train)
        return x
