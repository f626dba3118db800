"""Folders of files that a description in JSON names, with their digests: models, and what is exported of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jcs_jax.errors import InputError
from jcs_jax.files import atomic_directory
from jcs_jax.notice import RESEARCH_USE


def write_folder(
    path: str | os.PathLike[str], write: Callable[[Path], None], *, description: str, form: str, **values: Any
) -> Path:
    """Writes files, and a description that tells their digests.

    Args:
      path: the folder; one that exists is replaced in one step.
      write: writes the files into the folder it is given.
      description: name of the description's file.
      form: of the folder, with a version, such as jcs-model/1.
      **values: plain values for the description.

    Returns:
      The folder.
    """
    with atomic_directory(path) as folder:
        write(folder)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        digests = {file.relative_to(folder).as_posix(): _sha256(file) for file in files}
        told = {"format": form, "notice": RESEARCH_USE, **values, "files": digests}
        (folder / description).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return Path(path)


def read_description(file: Path, *, form: str, cure: str) -> dict[str, Any]:
    """What a description holds.

    Args:
      file: of the description.
      form: that it must have.
      cure: what to do about another one.

    Raises:
      InputError: it has another one.
      ValueError, RecursionError, KeyError, TypeError, AttributeError: it is none.
    """
    told = json.loads(file.read_text(encoding="utf-8"))
    if told["format"] != form:
        raise InputError(f"{file}: format {told['format']!r}, expected {form!r}; {cure}")
    return dict(told)


def check_files(folder: Path, digests: Mapping[str, str], *, cure: str) -> None:
    """Refuses a folder whose files are not those that were written.

    Raises:
      InputError: that names the file.
    """
    for name, digest in digests.items():
        file = folder / name
        if not file.is_file():
            raise InputError(f"{file}: is missing; {cure}")
        if _sha256(file) != digest:
            raise InputError(f"{file}: is damaged; {cure}")


def require_free(path: str | os.PathLike[str], *, description: str, kind: str, overwrite: bool) -> None:
    """Refuses to replace anything but a folder of this kind, and that only when asked to.

    Args:
      path: the folder to write.
      description: name of the description's file.
      kind: what such a folder is called.
      overwrite: whether it may be replaced.

    Raises:
      InputError: if something is in the way.
    """
    folder = Path(path)
    if not folder.exists():
        return
    if not (folder / description).is_file():
        raise InputError(f"{folder}: exists and is no {kind} folder; name another --output")
    if not overwrite:
        raise InputError(f"{folder}: exists already; name another --output or add --overwrite")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
