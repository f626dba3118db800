"""PyTorch's weight files (`.pth`), read without PyTorch and without executing anything in them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from jcs_jax.convert.file_kinds import FileKind, identify
from jcs_jax.convert.pth_archives import BoundedReader, read_legacy, read_zip
from jcs_jax.convert.state_dicts import select_state_dict
from jcs_jax.convert.tensor_views import read_arrays
from jcs_jax.errors import InputError


def read_pth(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads the weights in a file that `torch.save` wrote, in the zip format or the older one.

    The file may hold a state dict, one whose names all begin with DataParallel's `module.` (taken off), or a
    training checkpoint with the state dict as an entry such as `state_dict` or `model`.

    Args:
      path: the file; its name doesn't matter.

    Returns:
      PyTorch's names and layouts (convolutions OIHW), bit for bit, in the file's order: contiguous arrays of their
      own in the type they were saved in; bfloat16 is widened to float32, which is exact.

    Raises:
      InputError: the file is missing, damaged or something else, holds anything but tensors and plain
        containers, or would take far more memory than its own size.
    """
    path = Path(path)
    kind = identify(path)
    if kind is FileKind.SAFETENSORS:
        raise InputError(f"{path}: is a safetensors file, not PyTorch's; read it with read_weights")
    read = read_zip if kind is FileKind.TORCH_ZIP else read_legacy
    try:
        with BoundedReader(io.FileIO(path)) as file:
            contents = read(path, file)
            return read_arrays(
                select_state_dict(contents.value, path),
                contents.read_storage,
                byte_order=contents.byte_order,
                file_bytes=os.fstat(file.fileno()).st_size,
                path=path,
            )
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error}); get the file again") from error
    except MemoryError as error:
        raise InputError(f"{path}: doesn't fit into memory; read it on a machine with more") from error
