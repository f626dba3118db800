"""The smallest pieces: normalisation, convolution with norm and ReLU, squeeze-and-excite, resizing."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jcs_jax.nn.convolution import FEWEST_PIXELS_OF_TRANSFORMED, TRANSFORMED, cpu_convolution
from jcs_jax.nn.winograd import KERNEL, convolution_of_transformed

NormKind = Literal["none", "frozen", "fixed_statistics", "batch", "group"]
Convolutions = Literal["xla", "cpu"]
MAX_GROUPS = 8
NORM_EPSILON = 1e-5  # PyTorch's default, which the reference keeps


@dataclasses.dataclass(frozen=True)
class Style:
    """What every block of a network shares.

    Attributes:
      norm: `frozen` (all four vectors constant, no epsilon: imported weights), `fixed_statistics` (batch norm
        whose scale and bias learn but whose statistics don't move), `batch`, `group`, or `none`, with which every
        convolution has a bias.
      dtype: of the computation; None takes it from inputs and parameters.
      param_dtype: of the parameters.
      remat: whether training stores a block's input only and computes the activations inside it again in the backward
        pass; parameters and values stay the same.
      convolutions: `xla`, or `cpu` for the forms that are fast on a CPU, see `jcs_jax.nn.convolution`; values differ
        by rounding.
    """

    norm: NormKind = "frozen"
    dtype: Any = None
    param_dtype: Any = jnp.float32
    remat: bool = False
    convolutions: Convolutions = "xla"

    def __post_init__(self) -> None:
        """Refuses a form that isn't there.

        Raises:
          ValueError: that names those there are.
        """
        if self.convolutions not in get_args(Convolutions):
            raise ValueError(f"convolutions are {' or '.join(get_args(Convolutions))}, not {self.convolutions!r}")

    def with_norm(self, norm: NormKind) -> Style:
        """The same style with another normalisation."""
        return dataclasses.replace(self, norm=norm)

    @property
    def dtypes(self) -> dict[str, Any]:
        """Keyword arguments for Flax's own modules."""
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}


class FixedStatisticsNorm(nn.Module):
    """Batch norm whose statistics never move: the reference's two kinds.

    y = x * f + bias - mean * f with f = scale / sqrt(var + epsilon), f computed in the wider of the computation's
    and the parameters' precision. Mean and variance live in the `batch_stats` collection.

    Attributes:
      epsilon: 0 for the encoders' frozen norm, as in the reference.
      learned: scale and bias are parameters; else they are constant too and live in `batch_stats`, so that no
        optimiser sees them.
      style: dtypes.
    """

    epsilon: float
    learned: bool
    style: Style = Style()

    @nn.compact
    def __call__(self, x: Float[Array, "... c"]) -> Float[Array, "... c"]:
        shape, stored = (x.shape[-1],), self.style.param_dtype
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, stored).value
        var = self.variable("batch_stats", "var", jnp.ones, shape, stored).value
        if self.learned:
            scale = self.param("scale", nn.initializers.ones_init(), shape, stored)
            bias = self.param("bias", nn.initializers.zeros_init(), shape, stored)
        else:
            scale = self.variable("batch_stats", "scale", jnp.ones, shape, stored).value
            bias = self.variable("batch_stats", "bias", jnp.zeros, shape, stored).value
        dtype = self.style.dtype or jnp.result_type(x.dtype, scale.dtype)
        wide = jnp.promote_types(dtype, scale.dtype)
        factor = scale.astype(wide) * jax.lax.rsqrt(var.astype(wide) + self.epsilon)
        offset = bias.astype(wide) - mean.astype(wide) * factor
        return x.astype(dtype) * factor.astype(dtype) + offset.astype(dtype)


class Norm(nn.Module):
    """The normalisation that the style asks for; parameters of `batch` and `group` in Flax's own names."""

    style: Style = Style()

    @nn.compact
    def __call__(self, x: Float[Array, "... c"], *, train: bool = False) -> Float[Array, "... c"]:
        kind, dtypes = self.style.norm, self.style.dtypes
        if kind == "none":
            return x
        layer: nn.Module
        if kind in ("frozen", "fixed_statistics"):
            learned = kind == "fixed_statistics"
            layer = FixedStatisticsNorm(NORM_EPSILON if learned else 0.0, learned, style=self.style)
        elif kind == "group":
            layer = nn.GroupNorm(num_groups=math.gcd(x.shape[-1], MAX_GROUPS), epsilon=NORM_EPSILON, **dtypes)
        elif kind == "batch":
            layer = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=NORM_EPSILON, **dtypes)
        else:
            raise ValueError(f"norm is none, frozen, fixed_statistics, batch or group, not {kind!r}")
        nn.share_scope(self, layer)
        return layer(x)


class Conv(nn.Module):
    """A convolution padded as PyTorch pads it: `dilation * (kernel // 2)` zeros on every side.

    Attributes:
      features: output channels.
      kernel: side of the square kernel, odd.
      stride: of both axes.
      dilation: of both axes.
      use_bias: adds a bias per channel.
      style: dtypes; its norm is not used here.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    use_bias: bool = True
    style: Style = Style()

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 d"]:
        if self._has_transformed(x):
            y = convolution_of_transformed(x, self.get_variable(TRANSFORMED, "kernel"))
            return y + self.param("bias", nn.initializers.zeros_init(), (self.features,)) if self.use_bias else y
        padding = self.dilation * (self.kernel // 2)
        conv = nn.Conv(
            self.features,
            (self.kernel, self.kernel),
            strides=self.stride,
            padding=[(padding, padding)] * 2,
            kernel_dilation=self.dilation,
            use_bias=self.use_bias,
            kernel_init=nn.initializers.he_normal(),
            conv_general_dilated=cpu_convolution if self.style.convolutions == "cpu" else None,
            **self.style.dtypes,
        )
        nn.share_scope(self, conv)
        return conv(x)

    def _has_transformed(self, x: Float[Array, "n h w c"]) -> bool:
        """Whether this layer is given its kernel in Winograd's form, and it pays for these maps."""
        plain = self.kernel == KERNEL and self.stride == self.dilation == 1 and self.style.convolutions == "cpu"
        single = x.dtype == jnp.float32 and self.style.dtype in (None, jnp.float32)
        large = math.prod(x.shape[1:3]) >= FEWEST_PIXELS_OF_TRANSFORMED
        return plain and single and large and self.has_variable(TRANSFORMED, "kernel")


class ConvNormAct(nn.Module):
    """Convolution, norm, ReLU ("CBR" in the reference's description).

    Attributes:
      features: output channels.
      kernel: side of the square kernel.
      style: norm and dtypes; with norm `none` this is convolution and ReLU.
    """

    features: int
    kernel: int = 3
    style: Style = Style()

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool = False) -> Float[Array, "n h w d"]:
        x = Conv(self.features, self.kernel, style=self.style, name="conv")(x)
        x = Norm(style=self.style, name="norm")(x, train=train)
        return nn.relu(x)


class SqueezeExcite(nn.Module):
    """Weighs channels by what the whole picture holds: pool, Dense, ReLU, Dense, sigmoid, multiply.

    Attributes:
      bottleneck: units between the two Dense layers.
      style: dtypes.
    """

    bottleneck: int
    style: Style = Style()

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        weights = jnp.mean(x, axis=(1, 2))
        weights = nn.relu(nn.Dense(self.bottleneck, name="reduce", **self.style.dtypes)(weights))
        weights = nn.sigmoid(nn.Dense(x.shape[-1], name="expand", **self.style.dtypes)(weights))
        return x * weights[:, jnp.newaxis, jnp.newaxis, :]


def resize_bilinear(x: Float[Array, "n h w c"], size: Sequence[int]) -> Float[Array, "n h2 w2 c"]:
    """Resizes to `size` = (height, width), bilinear with half-pixel centres and no antialiasing, both ways."""
    if x.shape[1:3] == tuple(size):
        return x
    return jax.image.resize(x, (x.shape[0], *size, x.shape[3]), method="bilinear", antialias=False)


def max_pool(
    x: Float[Array, "n h w c"], window: int = 2, *, stride: int = 2, padding: int = 0
) -> Float[Array, "n h2 w2 c"]:
    """Maximum over window x window pixels; a last row or column that fills no window is dropped.

    Values and gradients are those of `flax.linen.max_pool`: of several equal pixels the first gets the gradient. But
    where the gradient of that one is a scatter, for which XLA:CPU makes five index arrays of the input's size, this
    one's is a sum of shifted selections.

    Args:
      x: (N, H, W, C).
      window: side of the square windows.
      stride: of both axes.
      padding: rows and columns added on every side; they are never the maximum.

    Returns:
      (N, floor((H + 2 padding - window) / stride) + 1, likewise for W, C).
    """
    if padding:
        x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)), constant_values=-jnp.inf)
    height, width = (max(0, (side - window) // stride * stride + 1) for side in x.shape[1:3])
    best, *others = (
        x[:, row : row + height : stride, column : column + width : stride]
        for row, column in itertools.product(range(window), repeat=2)
    )
    for other in others:
        best = jnp.where((other > best) | jnp.isnan(other), other, best)
    return best


class MaxPool(nn.Module):
    """`max_pool` as a module without parameters, so that an export can tell it from its operations.

    Attributes:
      window: side of the square windows.
      stride: of both axes.
      padding: rows and columns added on every side.
    """

    window: int = 2
    stride: int = 2
    padding: int = 0

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
        return max_pool(x, self.window, stride=self.stride, padding=self.padding)


class ResizeBilinear(nn.Module):
    """`resize_bilinear` as a module without parameters, as `MaxPool` is one."""

    def __call__(self, x: Float[Array, "n h w c"], size: Sequence[int]) -> Float[Array, "n h2 w2 c"]:
        return resize_bilinear(x, size)
