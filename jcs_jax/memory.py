"""Memory of this process that the system could have back."""

from __future__ import annotations

import ctypes


def release_freed_memory() -> None:
    """Hands pages that were freed back to the system, where the C library keeps them and can be told (glibc).

    XLA's compiler leaves gigabytes of them behind, spread over the heaps of its threads, where nothing else finds room.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
