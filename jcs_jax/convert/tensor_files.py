"""Any weight file a user may have, told apart by its content."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import safetensors

from jcs_jax.convert.file_kinds import FileKind, identify
from jcs_jax.convert.pth import read_pth
from jcs_jax.convert.restricted_pickle import shorten
from jcs_jax.convert.state_dicts import strip_prefix
from jcs_jax.errors import InputError


def read_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a PyTorch file of either format, or safetensors, whatever its name ends in.

    Args:
      path: the file.

    Returns:
      PyTorch's names (without DataParallel's `module.`) and arrays; bfloat16 is widened to float32.

    Raises:
      InputError: the file is missing, damaged, something else, or holds anything but tensors.
    """
    path = Path(path)
    return _read_safetensors(path) if identify(path) is FileKind.SAFETENSORS else read_pth(path)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    arrays = {}
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 (the file object is no mapping)
                array = file.get_tensor(name)
                arrays[name] = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
    except (safetensors.SafetensorError, OSError, TypeError, ValueError) as error:
        reason = shorten(str(error))
        raise InputError(f"{path}: the safetensors file is damaged ({reason}); get the file again") from error
    except AttributeError as error:
        raise InputError(f"{path}: an element type that NumPy lacks; save float32 tensors") from error
    if not arrays:
        raise InputError(f"{path}: holds no tensors; save the weights again")
    return strip_prefix(arrays)
