"""A number that changes with any bit of an array, the same however the array is spread over devices."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped, UInt32

_UNSIGNED = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}  # 8 bytes become two words


def checksum(tree: Any) -> str:
    """SHA-256 over the names, shapes and 64-bit sums of all arrays of a pytree.

    Sums of whole numbers modulo 2^32 don't depend on their order, so every device adds up what it holds.

    Args:
      tree: arrays of 1 to 8 bytes a value.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    # One after the other: simulated devices wait for each other forever where several sums are on their way.
    sums = [jax.device_get(_sums(leaf)) for _, leaf in leaves]
    lines = [
        f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape} {first:08x}{second:08x}"
        for (path, leaf), (first, second) in zip(leaves, sums, strict=True)
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _sums(leaf: Shaped[Array, " ..."]) -> UInt32[Array, " 2"]:
    sharding = leaf.sharding
    if isinstance(sharding, jax.sharding.NamedSharding):
        return _compiled(jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec()))(leaf)
    return _compiled(None)(leaf)


@functools.cache
def _compiled(sharding: jax.sharding.NamedSharding | None) -> Any:
    return jax.jit(_mixed_sums, out_shardings=sharding)


def _mixed_sums(leaf: Shaped[Array, " ..."]) -> UInt32[Array, " 2"]:
    """Two sums of the values' bits, each stirred together with its position."""
    if leaf.dtype == jnp.bool_:
        leaf = leaf.astype(jnp.uint8)
    bits = jax.lax.bitcast_convert_type(leaf, _UNSIGNED[leaf.dtype.itemsize]).astype(jnp.uint32)
    position = jnp.zeros(bits.shape, jnp.uint32)
    stride = 1
    for axis in reversed(range(bits.ndim)):
        position += jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis) * jnp.uint32(stride % 2**32)
        stride *= bits.shape[axis]
    stirred = _stir(bits ^ _stir(position + jnp.uint32(0x9E3779B9)))
    return jnp.stack([jnp.sum(stirred), jnp.sum(_stir(stirred + position))])


def _stir(x: UInt32[Array, " ..."]) -> UInt32[Array, " ..."]:
    """Every bit of the result depends on every bit of `x`, one to one.

    Source: multipliers and shifts are Wellons' "lowbias32", found by searching for little bias.
    """
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
