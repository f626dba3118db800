"""What every JCS network returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jcs_jax.nn.layers import Style

MEMBER = "member"  # of an ensemble: its members' variables are member1, member2, ...


@flax.struct.dataclass
class ModelOutput:
    """Logits and named feature maps.

    Attributes:
      class_logits: (N, 2), uninfected and infected, in the dtype of the computation as all maps are: `jcs_jax.losses`
        and the probabilities below widen bfloat16 to float32. None if the network doesn't classify.
      side_logits: (N, H, W, K) at the size of the network's input; map 0 is the answer, the others are for deep
        supervision. K is 5, and 1 for the U-Net. None if the network doesn't segment.
      intermediates: feature maps by name: `vgg.stage1`.., `res2net.stage0`.., `unet.stage1`.., `fused.stage1`..,
        `context.stage5`, `context.stage6`, `decoder.level1`.., and `class_features`, the map that is pooled
        into the class logits.
    """

    class_logits: Float[Array, "n 2"] | None
    side_logits: Float[Array, "n h w k"] | None
    intermediates: dict[str, Float[Array, "n h2 w2 c"]]


def lesion_probability(output: ModelOutput) -> Float[Array, "n h w"] | None:
    """Probability of opacity of each pixel, float32: the sigmoid of side map 0; None without segmentation."""
    if output.side_logits is None:
        return None
    first = jax.lax.index_in_dim(output.side_logits, 0, axis=-1, keepdims=False)
    return jax.nn.sigmoid(first.astype(jnp.float32))


def infection_probability(output: ModelOutput) -> Float[Array, " n"] | None:
    """Probability of infection of each slice, float32: the softmax of the class logits; None without a class head."""
    if output.class_logits is None:
        return None
    return jax.nn.softmax(output.class_logits.astype(jnp.float32), axis=-1)[:, 1]


def mean_of_side_logits(logits: Sequence[Float[Array, "n h w k"]]) -> Float[Array, "n h w k"]:
    """The logits of the mean of several answers' probabilities, exact also where these are near 0 or 1."""
    stacked = jnp.stack(logits)
    opacified, clear = (jax.nn.logsumexp(jax.nn.log_sigmoid(sign * stacked), axis=0) for sign in (1, -1))
    return opacified - clear


def class_head_kernel(params: Mapping[str, Any]) -> Float[Array, "c 2"] | None:
    """What turns class features into class logits.

    Args:
      params: of a network, or of an ensemble, whose class features are those of its members side by side.

    Returns:
      (C, 2); None without a class head.
    """
    if "class_head" in params:
        return params["class_head"]["kernel"]
    members = [params[name] for name in member_names(params)]
    kernels = [member["class_head"]["kernel"] for member in members if "class_head" in member]
    return jnp.concatenate(kernels) / len(kernels) if kernels else None


def member_names(params: Mapping[str, Any]) -> list[str]:
    """Names of an ensemble's members among its parameters, in their order; empty for a single network."""
    names = [f"{MEMBER}{number}" for number in range(1, len(params) + 1)]
    return names if names and set(names) == set(params) else []


def named(prefix: str, maps: dict[str, Array]) -> dict[str, Array]:
    """The same maps under `prefix.name`."""
    return {f"{prefix}.{name}": value for name, value in maps.items()}


def numbered(prefix: str, maps: Sequence[Array]) -> dict[str, Array]:
    """The maps under `prefix1`, `prefix2` and so on."""
    return {f"{prefix}{number}": value for number, value in enumerate(maps, start=1)}


def refuse_bad_dropout(dropout: float) -> None:
    """Raises ValueError unless the rate is a probability below 1.

    A network calls it when it is made: JAX appends lines of its own to what is raised while it traces.
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is a probability, at least 0 and below 1, not {dropout}")


def pooled_class_logits(
    features: Float[Array, "n h w c"], classes: int, style: Style, *, dropout: float = 0.0, train: bool = False
) -> Float[Array, "n k"]:
    """Global average pool, dropout and a bias-free Dense layer `class_head`; to be called inside a compact module.

    Args:
      features: (N, h, w, C).
      classes: number of classes.
      style: dtypes.
      dropout: probability in [0, 1) with which training zeroes a pooled feature, the others being divided by
        1 - dropout. Where it is above 0, training needs a key `dropout` in `rngs`.
      train: whether features are dropped.

    Returns:
      (N, classes) logits in the dtype of the computation.
    """
    pooled = nn.Dropout(dropout, deterministic=not train)(jnp.mean(features, axis=(1, 2)))
    return nn.Dense(classes, use_bias=False, name="class_head", **style.dtypes)(pooled)
