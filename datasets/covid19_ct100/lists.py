"""The published text lists: one slice a line, `image mask`, both relative to the data set's folder."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from jcs_datasets.common.errors import SourceError

_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of a list.

    Attributes:
      image: path of the slice, resolved.
      mask: path of its mask, resolved.
      key: the slice's path relative to the folder, with forward slashes; the same in every copy.
      line: names the list and the line, for errors.
    """

    image: Path
    mask: Path
    key: str
    line: str


def read_list(folder: Path, name: str) -> list[Entry]:
    """Reads a list and finds every file it names.

    Columns are separated by white space. In a line with a tab, tabs alone separate them, so that names may have
    spaces.

    Args:
      folder: the data set's folder.
      name: file name of the list in it.

    Returns:
      The entries in the list's order; a slice listed twice with the same mask appears once.

    Raises:
      SourceError: no such list, not text, empty; a line without exactly two columns; a path that leaves the
        folder; files that are missing; a slice listed with two masks.
    """
    path = folder / name
    if not path.is_file():
        raise SourceError(f"{path}: the list is missing; --source must be the folder that holds it")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError(f"{path}: is not UTF-8 text; write one 'image mask' pair of paths a line") from None
    entries: dict[str, Entry] = {}
    missing: list[str] = []
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    for number, line in lines:
        where = f"{path}, line {number}"
        pair = [_inside(folder, column, where) for column in _columns(line, where)]
        absent = [file for file in pair if not file.exists()]
        missing += [f"{file.relative_to(folder.resolve())} (line {number})" for file in absent]
        entry = Entry(pair[0], pair[1], pair[0].relative_to(folder.resolve()).as_posix(), where)
        earlier = entries.setdefault(entry.key, entry)
        if earlier.mask != entry.mask:
            raise SourceError(f"{where}: {entry.key} has another mask in '{earlier.line}'; keep one of the two")
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        raise SourceError(
            f"{path}: {len(missing)} listed files are missing: {shown}; complete the copy or take the lines out"
        )
    if not entries:
        raise SourceError(f"{path}: lists no slice; write one 'image mask' pair of paths a line")
    return list(entries.values())


def _columns(line: str, where: str) -> tuple[str, str]:
    """The two paths of a line."""
    if "\0" in line:
        raise SourceError(f"{where}: is not text; write one 'image mask' pair of paths a line")
    words = re.split(r"\t+", line) if "\t" in line else line.split()
    words = [word.strip() for word in words]
    if len(words) == 2:
        return words[0], words[1]
    if len(words) == 1:
        raise SourceError(f"{where}: has one column, '{line}'; write 'image mask', two relative paths")
    raise SourceError(
        f"{where}: has {len(words)} columns, '{line}'; write 'image mask', with a tab between them where a "
        "file name has spaces"
    )


def _inside(folder: Path, column: str, where: str) -> Path:
    """The file a column names, resolved; it must lie in the folder, whatever links say."""
    root = folder.resolve()
    try:
        path = (root / column).resolve()
        path.exists()
    except (OSError, RuntimeError):
        raise SourceError(f"{where}: '{column}' cannot be followed; list the relative path of a file") from None
    if Path(column).is_absolute() or not path.is_relative_to(root) or path == root:
        raise SourceError(f"{where}: '{column}' is outside the data set's folder; list relative paths inside it")
    return path
