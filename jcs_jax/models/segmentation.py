"""What the segmenting networks of JCS share: context above the encoder, decoder and side heads.

Everything here makes submodules, so it is to be called inside a compact module.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Array, Float

from jcs_jax.models.output import numbered
from jcs_jax.nn.attention import EnhancedFeatureModule
from jcs_jax.nn.decoder import Decoder, SideHeads
from jcs_jax.nn.layers import NormKind, Style

LEAST_SIDE = 16  # pixels; less is nothing at a sixteenth of it


def refuse_small(size: Sequence[int]) -> None:
    """Raises ValueError unless both sides, in pixels, are long enough for all stages."""
    if min(size) < LEAST_SIDE:
        raise ValueError(
            f"the picture is {size[0]} x {size[1]}, too small to segment: "
            f"give images of at least {LEAST_SIDE} x {LEAST_SIDE}"
        )


def decoder_norm(norm: NormKind) -> NormKind:
    """The norm outside the encoders: the reference has none there, a network trained from scratch needs it."""
    return norm if norm in ("batch", "group") else "none"


def decoder_style(style: Style) -> Style:
    """The style outside the encoders."""
    return style.with_norm(decoder_norm(style.norm))


def add_context(
    stage: Float[Array, "n h w c"], features: int, style: Style, *, train: bool
) -> dict[str, Float[Array, "n h2 w2 d"]]:
    """The enhanced feature module `enhanced` on an encoder's last stage.

    Args:
      stage: (N, h, w, C).
      features: channels of both outputs.
      style: of the network.
      train: as of the network.

    Returns:
      `context.stage5`, (N, h, w, features), and `context.stage6` at half its side, in this order.
    """
    module = EnhancedFeatureModule(features, style=decoder_style(style), name="enhanced")
    stage5, stage6 = module(stage, train=train)
    return {"context.stage5": stage5, "context.stage6": stage6}


def decode(
    pyramid: Sequence[Float[Array, "n h w c"]],
    size: Sequence[int],
    channels: Sequence[int],
    style: Style,
    *,
    train: bool,
) -> tuple[Float[Array, "n h2 w2 k"], dict[str, Float[Array, "n h w d"]]]:
    """The decoder `decoder` and the side heads `heads`.

    Args:
      pyramid: maps, finest first, one more than there are side heads.
      size: (height, width) of the network's input.
      channels: of the decoder's levels, finest first, and of the deepest map.
      style: of the network.
      train: as of the network.

    Returns:
      Side logits, (N, height, width, K), and `decoder.level1` to `decoder.levelK`.
    """
    style = decoder_style(style)
    levels = Decoder(channels, style=style, name="decoder")(pyramid, train=train)
    return SideHeads(style=style, name="heads")(levels, size), numbered("decoder.level", levels)


def segment_stages(
    stages: Sequence[Float[Array, "n h w c"]],
    size: Sequence[int],
    *,
    features: int,
    channels: Sequence[int],
    style: Style,
    train: bool,
) -> tuple[Float[Array, "n h2 w2 k"], dict[str, Float[Array, "n h w d"]]]:
    """From one encoder's stages to the side logits: context, decoder and side heads.

    Args:
      stages: five of them, finest first.
      size: (height, width) of the network's input.
      features: channels of the context.
      channels: of the decoder, as `decode`.
      style: of the network.
      train: as of the network.

    Returns:
      As `decode`, with the maps of the context too.
    """
    context = add_context(stages[-1], features, style, train=train)
    logits, levels = decode([*stages[:-1], *context.values()], size, channels, style, train=train)
    return logits, {**context, **levels}
