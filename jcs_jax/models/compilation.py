"""How networks are compiled for a kind of processor."""

from __future__ import annotations

import concurrent.futures
import math
from collections.abc import Callable
from typing import TypeVar

import jax

from jcs_jax.nn.layers import Convolutions

_SMALL = 256 * 256  # pixels of an image
_T = TypeVar("_T")


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


def halves_pay(shape: tuple[int, ...], platform: str) -> bool:
    """Whether the two halves of a batch are sooner done at the same time than the batch as a whole.

    Where images are small, XLA:CPU leaves cores idle at the end of every layer; one half works while the other waits.
    Measured on two cores: `classifier`, eight images of 224 x 224, 0.86 of the time; `jcs_tiny`, 192 x 192, 0.81.

    Args:
      shape: of the images, (N, H, W, 3).
      platform: as `compiler_options`.
    """
    return platform == "cpu" and shape[0] % 2 == 0 and math.prod(shape[1:3]) <= _SMALL


def run_together(run: Callable[[int], _T]) -> tuple[_T, _T]:
    """The answers of `run(0)` and `run(1)`, which are computed at the same time; waits for both."""
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda half: jax.block_until_ready(run(half)), (0, 1))
    return first, second
