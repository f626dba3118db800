"""Arrays in one safetensors file, as packed model folders hold them. Nothing is executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Float

from jcs_jax.errors import InputError

_ELEMENTS = {"F32": np.float32, "F16": np.float16}  # safetensors' names
_CURE = "pack the model again"


def write_arrays(file: Path, arrays: Mapping[str, Float[np.ndarray, ...]]) -> None:
    """Writes arrays into a new file.

    Args:
      file: to write.
      arrays: float32 or float16, by name.
    """
    file.write_bytes(safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in arrays.items()}))


def read_arrays(file: Path) -> dict[str, Float[np.ndarray, ...]]:
    """Reads what `write_arrays` wrote.

    Args:
      file: float32 or float16 arrays by name.

    Returns:
      float32 arrays by name, all values finite.

    Raises:
      InputError: it can't be read, or holds other elements or values that aren't finite.
    """
    arrays = {}
    try:
        with safetensors.safe_open(file, framework="numpy") as opened:
            for name in opened.keys():  # noqa: SIM118 (the file object is no mapping)
                element = opened.get_slice(name).get_dtype()
                if element not in _ELEMENTS:
                    known = " or ".join(_ELEMENTS)
                    raise InputError(f"{file}: {name} has elements of type {element}, expected {known}; {_CURE}")
                arrays[name] = opened.get_tensor(name).astype(np.float32)
    except InputError:
        raise
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, MemoryError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{file}: its arrays can't be read ({reason}); copy or pack the model again") from error
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(f"{file}: {name} holds values that aren't finite; {_CURE}")
    return arrays


def to_float16(array: Float[np.ndarray, "*shape"], name: str) -> Float[np.ndarray, "*shape"]:
    """Rounds an array to half precision.

    Args:
      array: float32, finite.
      name: for the message.

    Raises:
      InputError: a value is too large.
    """
    with np.errstate(over="ignore", under="ignore"):
        rounded = array.astype(np.float16)
    if not np.isfinite(rounded).all():
        limit = float(np.finfo(np.float16).max)
        raise InputError(f"{name} reaches {np.abs(array).max():g}, and float16 ends at {limit:g}; pack it as float32")
    return rounded


def largest_rounding(array: Float[np.ndarray, "*shape"], rounded: Float[np.ndarray, "*shape"]) -> float:
    """Largest absolute difference between an array and itself after rounding; 0 for one without elements."""
    return float(np.abs(array.astype(np.float64) - rounded.astype(np.float64)).max(initial=0))
