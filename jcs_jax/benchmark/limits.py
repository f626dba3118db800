"""What this machine can do at most."""

from __future__ import annotations

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

SIDE = 2048  # of the matrices
COPIED = 64 * 1024 * 1024  # float32 values, more than a cache holds
REPEATS = 5


def measure_limits() -> dict[str, float]:
    """Rates of this process's default device, each the best of some repetitions.

    Returns:
      `matmul_gflops` of large float32 matrices, and `copy_gb_s`, what is read and written together.
    """
    matrix = jnp.ones((SIDE, SIDE), jnp.float32)
    values = jnp.ones(COPIED, jnp.float32)
    moved = 2 * values.nbytes
    product = _best(jax.jit(lambda a: a @ (a / SIDE)), matrix)
    copy = _best(jax.jit(lambda a: a + 1, donate_argnums=0), values)
    return {"matmul_gflops": 2 * SIDE**3 / product / 1e9, "copy_gb_s": moved / copy / 1e9}


def _best(function: Callable[[jax.Array], jax.Array], operand: jax.Array) -> float:
    """Seconds of the fastest run; every run takes the result of the one before."""
    operand = jax.block_until_ready(function(operand))
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        operand = jax.block_until_ready(function(operand))
        seconds.append(time.perf_counter() - begun)
    return min(seconds)
