"""Which files belong to one case: a file is a case of one slice, a folder a case of all its pictures."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from jcs_jax.errors import InputError
from jcs_jax.study.images import IMAGE_SUFFIXES, SliceImage, read_slice, shown_name

_LONGEST_NAME = 100  # leaves room for what a temporary folder adds


@dataclasses.dataclass(frozen=True)
class Case:
    """Pictures that are diagnosed together.

    Attributes:
      source: the file or folder, as given; nothing is read until asked for.
      name: unique among the cases found together, ignoring capitals; fit to be the name of a folder.
    """

    source: Path
    name: str

    def files(self) -> tuple[Path, ...]:
        """The case's pictures in natural order of their names (slice2 before slice10), hidden ones left out.

        Raises:
          InputError: if the source is missing or is a folder without pictures.
        """
        if not self.source.is_dir():
            return (self.source,)
        pictures = [path for path in _visible(self.source) if path.suffix.lower() in IMAGE_SUFFIXES]
        if not pictures:
            raise InputError(
                f"{self.source}: no PNG or JPEG picture in this folder; give the folder that holds the slices"
            )
        return tuple(sorted(pictures, key=lambda path: natural_key(path.name)))

    def notes(self) -> tuple[str, ...]:
        """What a reader must know of how the case was put together."""
        if not self.source.is_dir():
            return ()
        ignored = sum(path.suffix.lower() not in IMAGE_SUFFIXES for path in _visible(self.source))
        return (f"{ignored} files and folders that are no PNG or JPEG were left out",) if ignored else ()

    def check(self) -> int:
        """Reads every picture once, so that a bad one shows before any is worked on; returns their number.

        Raises:
          InputError: at the first picture that can't be read.
        """
        return sum(1 for _ in self.slices())

    def slices(self) -> Iterator[SliceImage]:
        """Reads the pictures one by one; raises InputError at the first that can't be read."""
        for path in self.files():
            yield read_slice(path)


def find_cases(inputs: Iterable[str | os.PathLike[str]]) -> list[Case]:
    """Makes one case of every input, in order; inputs of the same name get -2, -3, ... behind it.

    Whether an input exists and can be read shows when the case is read, so that one bad case doesn't stop others.
    """
    cases: list[Case] = []
    taken: set[str] = set()
    for given in inputs:
        source = Path(given)
        base = _folder_name(source)
        name, number = base, 1
        while name.lower() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name.lower())
        cases.append(Case(source, name))
    return cases


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that compares runs of digits as numbers and the rest without regard to capitals."""
    parts = [part for part in re.split(r"([0-9]+)", name) if part]
    key = [(0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in parts]
    return [*key, (-1, 0, name)]


def _folder_name(source: Path) -> str:
    """A name without its picture suffix; `.` and `..` are looked up, and a root gets `case`."""
    path = source if source.name not in ("", "..") else source.resolve()
    name = shown_name(path)
    stem = name.removesuffix(path.suffix) if path.suffix.lower() in IMAGE_SUFFIXES else name
    return stem.strip(" .")[:_LONGEST_NAME] or "case"


def _visible(folder: Path) -> list[Path]:
    """Entries of a folder whose names don't begin with a dot.

    Raises:
      InputError: if the folder can't be listed.
    """
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: can't be listed ({error.strerror}); check its permissions") from error
