"""Rematerialisation: training stores a block's input, and computes again what is inside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jcs_jax.nn.layers import Style

Block = Callable[..., Any]


def rematerialised(block: Block, style: Style, *, train: bool) -> Block:
    """The same function, under `jax.checkpoint` where the style asks for it and the network trains.

    Args:
      block: takes a Linen module, which it calls or makes submodules of, and arrays. Settings such as `train` are to
        be bound in it; submodules keep their names.
      style: whose `remat` decides.
      train: outside training nothing is stored and nothing changes.

    Returns:
      A function of the same arguments with the same value.

    Source: Chen et al., Training deep nets with sublinear memory cost.
    """
    return nn.remat(block) if style.remat and train else block
