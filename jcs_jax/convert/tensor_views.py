"""Arrays from the descriptions of tensors, each checked against its storage before any memory is taken."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from jcs_jax.convert.restricted_pickle import shorten
from jcs_jax.convert.torch_objects import ELEMENT_CODES, StorageRef, TensorRef, itemsize
from jcs_jax.errors import InputError

MAX_TOTAL_BYTES = 8 << 30
"""Bound on the bytes of all arrays of a file."""

MAX_EXPANSION = 4
"""Bound on array bytes per byte of file, beyond FREE_BYTES: a tensor expanded by stride 0 takes many."""

FREE_BYTES = 64 << 20
"""Array bytes allowed whatever the file's size."""

_MAX_AXES = 32


def read_arrays(
    tensors: Mapping[str, TensorRef],
    read_storage: Callable[[StorageRef], bytes],
    *,
    byte_order: str,
    file_bytes: int,
    path: object,
) -> dict[str, np.ndarray]:
    """Reads tensors, one storage after the other.

    Args:
      tensors: names and descriptions.
      read_storage: gives the bytes of a whole storage.
      byte_order: "<" or ">", that of the storages.
      file_bytes: the file's size, which bounds what its tensors may take.
      path: the file, for messages.

    Returns:
      The names in their order, with contiguous arrays of their own; bfloat16 is widened to float32.

    Raises:
      InputError: a tensor reaches outside its storage, or all of them together take too much memory.
    """
    total = 0
    by_storage: dict[str, list[str]] = {}
    for name, tensor in tensors.items():
        _check(name, tensor, path)
        total += math.prod(max(n, 1) for n in tensor.size) * _array_itemsize(tensor.element)
        by_storage.setdefault(tensor.storage.key, []).append(name)
    if total > min(MAX_TOTAL_BYTES, FREE_BYTES + MAX_EXPANSION * file_bytes):
        raise InputError(
            f"{path}: its tensors would take {total} bytes of memory, far more than the file has;"
            " save contiguous tensors"
        )
    arrays = {}
    for names in by_storage.values():
        storage = read_storage(tensors[names[0]].storage)
        for name in names:
            arrays[name] = _decode(storage, tensors[name], byte_order)
    return {name: arrays[name] for name in tensors}


def _array_itemsize(element: str) -> int:
    return 4 if element == "bfloat16" else itemsize(element)


def _check(name: str, tensor: TensorRef, path: object) -> None:
    """Refuses a tensor whose elements don't all lie inside its storage."""
    shown = shorten(name)
    if len(tensor.size) != len(tensor.stride) or len(tensor.size) > _MAX_AXES:
        raise InputError(f"{path}: {shown}: its shape and strides don't fit each other; get the file again")
    if 0 in tensor.size:
        return
    storage = tensor.storage
    room = (storage.stop - storage.start) * storage.itemsize
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.size, tensor.stride, strict=True))
    if (last + 1) * itemsize(tensor.element) > room:
        raise InputError(f"{path}: {shown}: reaches past the end of its storage; get the file again")


def _decode(storage: bytes, tensor: TensorRef, byte_order: str) -> np.ndarray:
    """Copies a tensor out of its storage. An axis of length 1 may have any stride, so it gets none."""
    width = itemsize(tensor.element)
    stored = np.dtype(byte_order + ELEMENT_CODES[tensor.element])
    if 0 in tensor.size:
        raw = np.empty(tensor.size, stored)
    else:
        raw = np.ndarray(
            tensor.size,
            stored,
            buffer=storage,
            offset=tensor.storage.start * tensor.storage.itemsize + tensor.offset * width,
            strides=[step * width if n > 1 else 0 for n, step in zip(tensor.size, tensor.stride, strict=True)],
        )
    if tensor.element == "bfloat16":
        wide = np.empty(tensor.size, np.float32)
        np.left_shift(raw, 16, out=wide.view(np.uint32), dtype=np.uint32)
        return wide
    if tensor.element == "bool":
        return np.not_equal(raw, 0, out=np.empty(tensor.size, np.bool_))
    return np.array(raw, dtype=stored.newbyteorder("="), order="C")
