"""Memory of this process that the system could have back."""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator

import numpy as np
from jaxtyping import Shaped

IN_MEMORY = 2**25  # bytes up to which an array needs no file
_PASSED = 2**23  # bytes looked at before they are let go
_SPARED = 4  # times the size of an array must be free on the disk


class _Pages(mmap.mmap):
    """Those of an array of `paged_zeros`."""


def paged_zeros(shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> np.ndarray:
    """An array whose pages `let_go` can take out of memory without losing them.

    They are those of a temporary file (in $TMPDIR) that has no name, so nobody else can open it and nothing is left of
    it. Small arrays have none, nor has any where that folder has hardly room or the system no such pages, as all but
    Linux.

    Args:
      shape: of it.
      dtype: of it.

    Returns:
      Zeros.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > IN_MEMORY and hasattr(os, "posix_fallocate") and hasattr(mmap, "MADV_DONTNEED"):
        with contextlib.suppress(OSError), tempfile.TemporaryFile() as file:
            if shutil.disk_usage(tempfile.gettempdir()).free > _SPARED * size:
                os.posix_fallocate(file.fileno(), 0, size)  # or a full disk would end the process later
                return np.frombuffer(_Pages(file.fileno(), size), dtype).reshape(shape)
    return np.zeros(shape, dtype)


def paged_copy(array: Shaped[np.ndarray, "s h w"], dtype: np.dtype | None = None) -> Shaped[np.ndarray, "s h w"]:
    """The array itself if it has the type and its elements lie in their order, else a copy like `paged_zeros`."""
    dtype = dtype or array.dtype
    if array.dtype == dtype and array.flags.c_contiguous:
        return array
    copy = paged_zeros(array.shape, dtype)
    for target, plane in zip(planes(copy), planes(array), strict=True):
        target[...] = plane
    return copy


def let_go(*arrays: np.ndarray | None) -> None:
    """Takes the pages of arrays of `paged_zeros`, and of views of them, out of memory until somebody asks for them."""
    for array in arrays:
        base: object = array
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, memoryview):
            base = base.obj
        if isinstance(base, _Pages):
            base.madvise(mmap.MADV_DONTNEED)


def planes(array: Shaped[np.ndarray, "s h w"]) -> Iterator[Shaped[np.ndarray, "h w"]]:
    """Along the first axis, to read or write one after the other; those passed are let go."""
    every = max(1, _PASSED // max(1, array[:1].nbytes))
    for index, plane in enumerate(array):
        yield plane
        if index % every == every - 1:
            let_go(array)
    let_go(array)


def release_freed_memory() -> None:
    """Hands pages that were freed back to the system, where the C library keeps them and can be told (glibc).

    XLA's compiler leaves gigabytes of them behind, spread over the heaps of its threads, where nothing else finds room.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
