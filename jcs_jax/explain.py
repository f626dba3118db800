"""Where the class evidence is: activation maps of a network that ends in average pooling and a linear layer."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

UNINFECTED, INFECTED = 0, 1


def class_activation_map(
    features: Float[Array, "n h w c"],
    kernel: Float[Array, "c k"],
    class_index: int = INFECTED,
    *,
    against: int | None = None,
) -> Float[Array, "n h w"]:
    """The share of every position in a class logit, exactly.

    The logit is linear in the pooled features, so map[n, y, x] = sum_c features[n, y, x, c] * kernel[c, class]
    and the mean of a map over its positions is the logit. It is signed and neither cut at zero nor scaled.

    Args:
      features: (N, h, w, C), the map that is average-pooled (`intermediates["class_features"]`).
      kernel: (C, K), of the bias-free linear layer (`class_head`).
      class_index: whose logit to spread out.
      against: a class whose map is subtracted, so that the mean is the difference of two logits; with two
        classes that is the log-odds of the softmax probability. None for the plain logit.

    Returns:
      (N, h, w) of the features' resolution, in units of the logit; float32 or float64.

    Raises:
      ValueError: if the shapes don't fit or there is no such class.

    Source: Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016.
    """
    if features.ndim != 4 or kernel.ndim != 2 or features.shape[-1] != kernel.shape[0]:
        raise ValueError(
            f"features {features.shape} and kernel {kernel.shape} don't fit: expected (N, h, w, C) and (C, K)"
        )
    for index in (class_index, against):
        if index is not None and not 0 <= index < kernel.shape[1]:
            raise ValueError(f"class {index}: the kernel has classes 0 to {kernel.shape[1] - 1}")
    weights = kernel[:, class_index] if against is None else kernel[:, class_index] - kernel[:, against]
    dtype = jnp.promote_types(jnp.promote_types(features.dtype, kernel.dtype), jnp.float32)
    return jnp.einsum("nhwc,c->nhw", features.astype(dtype), weights.astype(dtype), precision=jax.lax.Precision.HIGHEST)


def grad_cam(
    features: Float[Array, "n h w c"],
    head: Callable[[Float[Array, "n h w c"]], Float[Array, "n k"]],
    class_index: int = INFECTED,
) -> Float[Array, "n h w"]:
    """Grad-CAM for any head: features weighted by the mean gradient of a logit, negative evidence cut off.

    For average pooling and a bias-free linear layer it is max(class_activation_map, 0) / (h * w).

    Args:
      features: (N, h, w, C), what the head reads.
      head: features to logits (N, K), without mixing examples.
      class_index: whose logit.

    Returns:
      (N, h, w), at least 0, neither resized nor scaled.

    Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks", ICCV 2017.
    """
    gradients = jax.grad(lambda maps: jnp.sum(head(maps)[:, class_index]))(features)
    weights = jnp.mean(gradients, axis=(1, 2))
    weighted = jnp.einsum("nhwc,nc->nhw", features, weights, precision=jax.lax.Precision.HIGHEST)
    return jax.nn.relu(weighted)
