"""How networks are compiled for a kind of processor."""

from __future__ import annotations

from jcs_jax.nn.layers import Convolutions


def compiler_options(platform: str) -> dict[str, str]:
    """Options for `jax.jit` of a training step.

    Optimisation barriers separate the second computation of an activation from the first (`jax.checkpoint`), one part
    of a batch from the next, and the optimiser's new averages from what reads them. XLA:CPU drops the barriers before
    it merges equal expressions and fuses neighbours; it must keep them. Compilers for other processors do so anyway.

    Args:
      platform: `cpu`, `gpu` or `tpu`, as `jax.default_backend()` says.

    Returns:
      Value of `jax.jit(..., compiler_options=...)`; empty where nothing is to be changed.
    """
    return {"xla_disable_hlo_passes": "cse_barrier_expander"} if platform == "cpu" else {}


def convolutions_for(platform: str) -> Convolutions:
    """The forms of convolutions that are fast on one device of a platform.

    Those for CPUs cut a batch into blocks, which several devices would have to exchange.

    Args:
      platform: as `compiler_options`.

    Returns:
      Value of `build(..., convolutions=...)`.
    """
    return "cpu" if platform == "cpu" else "xla"
