"""How a training step is to be compiled so that what it keeps apart stays apart."""

from __future__ import annotations

import flax.linen as nn


def compiler_options(model: nn.Module, platform: str, *, fixed_parts: bool = False) -> dict[str, str]:
    """Options for `jax.jit` of a function that differentiates the network.

    `jax.checkpoint` separates the second computation of an activation from the first by optimisation barriers, and a
    step whose bits depend on no device separates its parts by them. XLA:CPU drops them before it merges equal
    expressions and fuses neighbours; it must keep them instead. Compilers for other processors keep them anyway.

    Args:
      model: one of the three networks; `model.style.remat` needs the barriers.
      platform: `cpu`, `gpu` or `tpu`, as `jax.default_backend()` says.
      fixed_parts: whether the step computes in fixed parts, which need them too.

    Returns:
      Value of `jax.jit(..., compiler_options=...)`; empty where nothing is to be changed.
    """
    if platform == "cpu" and (model.style.remat or fixed_parts):
        return {"xla_disable_hlo_passes": "cse_barrier_expander"}
    return {}
