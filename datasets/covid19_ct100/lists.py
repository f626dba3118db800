"""The published text lists: one slice a line, `image mask`, both relative to the data set's folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.text_lists import check_present, inside, read_rows


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
    """Reads a list, in the form of `read_rows`, and finds every file it names.

    Args:
      folder: the data set's folder.
      name: file name of the list in it.

    Returns:
      The entries in the list's order; a slice listed twice with the same mask appears once.

    Raises:
      SourceError: as `read_rows`; a path that leaves the folder; files that are missing; a slice listed with two
        masks.
    """
    root = folder.resolve()
    rows = read_rows(folder / name, form="image mask", meaning="two relative paths")
    entries: dict[str, Entry] = {}
    files: list[tuple[Path, int]] = []
    for row in rows:
        image, mask = (inside(root, column, row.where) for column in row.columns)
        files += [(image, row.number), (mask, row.number)]
        entry = Entry(image, mask, image.relative_to(root).as_posix(), row.where)
        earlier = entries.setdefault(entry.key, entry)
        if earlier.mask != entry.mask:
            raise SourceError(f"{row.where}: {entry.key} has another mask in '{earlier.line}'; keep one of the two")
    check_present(folder / name, root, files)
    return list(entries.values())
