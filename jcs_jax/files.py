"""Writing results so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from jcs_jax.errors import InputError

_TEMPORARY_END = r"\.[0-9a-f]{8}\.(tmp|old)"  # of the names that `_beside` gives


def require_folder(path: str | os.PathLike[str], *, purpose: str) -> None:
    """Refuses a path that can't become a folder, because it or a part of it is a file.

    Args:
      path: the folder, which may be missing.
      purpose: what it is for, in the error.

    Raises:
      InputError: that names the file in the way.
    """
    for folder in (Path(path), *Path(path).parents):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: is a file; name a folder for {purpose}")


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
    temporary = _beside(target, "tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data.encode("utf-8") if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
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
    temporary = _beside(target, "tmp")
    temporary.mkdir()
    try:
        yield temporary
        _replace_folder(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _replace_folder(new: Path, target: Path) -> None:
    """Gives `new` the name `target`; what had that name is deleted only when that has worked."""
    if not target.is_dir():
        new.replace(target)
        return
    old = target.replace(_beside(target, "old"))
    try:
        new.replace(target)
    except BaseException:
        old.replace(target)
        raise
    if old.is_symlink():
        old.unlink()
    else:
        shutil.rmtree(old)


def remove_leftovers(folder: Path, *, of: str = "") -> None:
    """Removes the temporary files and folders of processes that died while they wrote into a folder.

    Args:
      folder: that they wrote into.
      of: the name of what they wrote; empty for all.
    """
    names = re.compile(rf"\.{re.escape(of) if of else '.+'}{_TEMPORARY_END}")
    for path in folder.iterdir():
        if names.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _beside(target: Path, suffix: str) -> Path:
    """A free hidden name in the folder of `target`; what is made there has the user's own umask."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.{suffix}")
