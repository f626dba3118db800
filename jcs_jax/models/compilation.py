"""How a training step is to be compiled so that what it keeps apart stays apart."""


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
