"""Writing results so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], data: bytes | str) -> Path:
    """Writes a file under a temporary name in the same folder and renames it into place.

    Args:
      path: the file to write; its folder is created. An existing file is replaced in one step.
      data: bytes, or text that is encoded as UTF-8.

    Returns:
      The path written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode("utf-8") if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return target


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary folder beside `path` that takes its name when the block ends without an error.

    An existing folder of that name is replaced; it stays as it was when the block raises.

    Args:
      path: the folder to create.

    Yields:
      The temporary folder to write into.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        _replace_folder(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _replace_folder(new: Path, target: Path) -> None:
    """Gives `new` the name `target`; what had that name is deleted only when that has worked."""
    if not target.is_dir():
        new.replace(target)
        return
    retired = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    old = target.replace(retired / target.name)
    try:
        new.replace(target)
    except BaseException:
        old.replace(target)
        retired.rmdir()
        raise
    shutil.rmtree(retired)
