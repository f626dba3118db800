"""Which kind of weight file a path holds, told from its first bytes, never from its name."""

from __future__ import annotations

import enum
import stat
import struct
from pathlib import Path

from jcs_jax.errors import InputError

_HEAD_BYTES = 512
_MAX_SAFETENSORS_HEADER = 100_000_000
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
}


class FileKind(enum.Enum):
    """The three formats that weights are read from."""

    TORCH_ZIP = "PyTorch's zip format"
    TORCH_LEGACY = "PyTorch's older format: pickles, then raw storages"
    SAFETENSORS = "safetensors"


def identify(path: Path) -> FileKind:
    """Tells the format of a weight file.

    Args:
      path: the file.

    Returns:
      The format its first bytes announce; the rest of the file may still be damaged.

    Raises:
      InputError: there is no such file, it can't be opened, or it holds something else (which is named).
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path}: is a folder; name the weight file in it")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: is not a regular file; copy the weights to a file first")
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the name") from error
    except OSError as error:
        raise InputError(f"{path}: can't be opened ({error.strerror}); check its permissions") from error
    if _is_safetensors(head):
        return FileKind.SAFETENSORS
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return FileKind.TORCH_ZIP
    if head.startswith(b"\x80"):
        return FileKind.TORCH_LEGACY
    raise InputError(f"{path}: {_name_content(head)}")


def _is_safetensors(head: bytes) -> bool:
    """The header's length, little-endian and within the format's bound, then its opening brace."""
    if len(head) < 9 or head[8:9] != b"{":
        return False
    (header_bytes,) = struct.unpack("<Q", head[:8])
    return header_bytes <= _MAX_SAFETENSORS_HEADER


def _name_content(head: bytes) -> str:
    """What a file that holds no weights is instead, and the cure."""
    start = head.lstrip()
    if not head:
        return "is empty (0 bytes); download or copy it again"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the weights; fetch the file itself (git lfs pull)"
    if start.startswith((b"<", b"\xef\xbb\xbf<")):
        return "is a web page, not weights (a download that ended at a login or error page); download it again"
    if head[257:262] == b"ustar":
        return (
            "is a tar archive; unpack it, or, if an early PyTorch wrote it, open it with PyTorch and"
            " torch.save the state dict again"
        )
    for magic, name in _COMPRESSED.items():
        if head.startswith(magic):
            return f"is compressed with {name}; unpack it first"
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        return "is a text file, not weights; name a .pth or .safetensors file"
    return "is neither a PyTorch file nor safetensors, or its start is damaged; get the file again"
