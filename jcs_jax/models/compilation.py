"""How a training step is to be compiled so that a network's `remat` takes effect."""

from __future__ import annotations

import flax.linen as nn


def compiler_options(model: nn.Module, platform: str) -> dict[str, str]:
    """Options for `jax.jit` of a function that differentiates the network.

    `jax.checkpoint` separates the second computation of an activation from the first by optimisation barriers. XLA:CPU
    drops these before it merges equal expressions, and so merges the two again; it must keep the barriers instead.
    Compilers for other processors keep them anyway.

    Args:
      model: one of the three networks; `model.style.remat` decides.
      platform: `cpu`, `gpu` or `tpu`, as `jax.default_backend()` says.

    Returns:
      Value of `jax.jit(..., compiler_options=...)`; empty where nothing is to be changed.
    """
    if platform == "cpu" and model.style.remat:
        return {"xla_disable_hlo_passes": "cse_barrier_expander"}
    return {}
