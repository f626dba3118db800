"""Lists of files as data sets publish them: text, one slice a line, in columns, with paths relative to a folder."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from jcs_datasets.common.errors import SourceError

_SHOWN = 3
_SHOWN_CHARACTERS = 160


class Row(NamedTuple):
    """One line of a list: its columns, its number and how an error names it."""

    columns: tuple[str, ...]
    number: int
    where: str


def read_rows(path: Path, *, form: str, meaning: str, columns: Collection[int] = (2,)) -> list[Row]:
    """Reads a list.

    Columns are separated by white space. In a line with a tab, tabs alone separate them, so that names may have
    spaces.

    Args:
      path: of the list.
      form: what a line is, as `image mask`, for errors.
      meaning: the form in words, as `two relative paths`.
      columns: how many a line may have.

    Returns:
      The lines that aren't blank, in order; at least one.

    Raises:
      SourceError: no such list, not text, empty, or a line with another number of columns.
    """
    if not path.is_file():
        raise SourceError(f"{path}: the list is missing; --source must be the folder that holds it")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError(f"{path}: is not UTF-8 text; write one '{form}' a line") from None
    rows = []
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line:
            continue
        where = f"{path}, line {number}"
        if "\0" in line:
            raise SourceError(f"{where}: is not text; write one '{form}' a line")
        words = re.split(r"\t+", line) if "\t" in line else line.split()
        if len(words) not in columns:
            raise SourceError(
                f"{where}: has {_count(words)}, '{shorten(line)}'; write '{form}', {meaning}{_tab(words)}"
            )
        rows.append(Row(tuple(word.strip() for word in words), number, where))
    if not rows:
        raise SourceError(f"{path}: lists no slice; write one '{form}' a line")
    return rows


def inside(root: Path, column: str, where: str) -> Path:
    """The file a column names, resolved; it must lie in the data set's folder, whatever links say.

    Args:
      root: the data set's folder, resolved.
      column: a relative path.
      where: how an error names the line.

    Raises:
      SourceError: an absolute path, one that leaves the folder, the folder itself, or a circle of links.
    """
    try:
        path = (root / column).resolve()
        path.exists()
    except (OSError, RuntimeError):
        raise SourceError(
            f"{where}: '{shorten(column)}' cannot be followed; list the relative path of a file"
        ) from None
    if Path(column).is_absolute() or not path.is_relative_to(root) or path == root:
        raise SourceError(
            f"{where}: '{shorten(column)}' is outside the data set's folder; list relative paths inside it"
        )
    return path


def check_present(path: Path, root: Path, files: Iterable[tuple[Path, int]]) -> None:
    """Refuses a list that names files which aren't there.

    Args:
      path: of the list.
      root: the data set's folder, resolved.
      files: every file, resolved, with the number of the line that asks for it.

    Raises:
      SourceError: how many are missing, and the first few.
    """
    missing = [f"{file.relative_to(root)} (line {number})" for file, number in files if not file.exists()]
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        raise SourceError(
            f"{path}: {len(missing)} listed files are missing: {shown}; complete the copy or take the lines out"
        )


def shorten(text: str) -> str:
    """What of a text an error shows."""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _count(words: list[str]) -> str:
    return "one column" if len(words) == 1 else f"{len(words)} columns"


def _tab(words: list[str]) -> str:
    return ", with a tab between them where a file name has spaces" if len(words) > 1 else ""
