"""A row of a manifest: a picture, a DICOM slice or a volume, and what is told of it."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Sequence
from pathlib import Path

from jcs_datasets.common.contract import UNKNOWN
from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.spacing import LEAST_SPACING, MOST_SPACING, is_spacing, pixel_spacing
from jcs_datasets.common.splits import TEST, TRAIN, UNLABELLED, VALIDATION
from jcs_datasets.common.text_lists import shorten

_LABELS = {"": UNKNOWN, "0": 0, "uninfected": 0, "1": 1, "infected": 1}
_SPLITS = {name: name for name in (TRAIN, VALIDATION, TEST, UNLABELLED)} | {"val": VALIDATION}
_FOLD = re.compile(r"fold(0|[1-9]\d{0,3})")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One row.

    Attributes:
      image: a picture, a DICOM file, the folder of a DICOM series, or a NIfTI file; resolved.
      name: its path relative to the source's folder, with forward slashes.
      mask: of the lesions, resolved; None where nobody drew one.
      label: 0 uninfected, 1 infected, -1 unknown.
      patient: empty if unknown.
      split: empty if it is to be assigned.
      source: site, paper or collection; empty if unknown.
      spacing: mm between the centres of neighbouring rows and columns of a picture; None if unknown.
      stratum: of which every assigned split gets its share; empty for the label.
      line: names the file and row that asked for it, for errors; empty if none did.
    """

    image: Path
    name: str
    mask: Path | None = None
    label: int = UNKNOWN
    patient: str = ""
    split: str = ""
    source: str = ""
    spacing: tuple[float, float] | None = None
    stratum: str = ""
    line: str = ""

    def where(self, path: Path) -> str:
        """How an error names a file of this row."""
        return f"{path} ({self.line})" if self.line else str(path)


def parse_label(text: str, where: str) -> int:
    """0, 1 or -1 for a label as it is written.

    Raises:
      SourceError: another word.
    """
    if text.lower() not in _LABELS:
        raise SourceError(
            f"{where}: label '{text}' is unknown; write 0 or uninfected, 1 or infected, or leave it empty"
        )
    return _LABELS[text.lower()]


def parse_split(text: str, where: str) -> str:
    """A split's own name for one as it is written; empty for an empty one.

    Raises:
      SourceError: another word; the nearest is suggested.
    """
    split = text.lower()
    if not split or _FOLD.fullmatch(split):
        return split
    if split not in _SPLITS:
        near = difflib.get_close_matches(split, [*_SPLITS, *(f"fold{fold}" for fold in range(10))], n=1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        known = "train, validation, test, unlabelled or fold0, fold1, ..."
        raise SourceError(f"{where}: split '{text}' is unknown{meant}; write {known}, or leave it empty")
    return _SPLITS[split]


def parse_spacing(row: str, column: str, where: str) -> tuple[float, float] | None:
    """The spacings between rows and between columns as they are written, in mm; None where both are empty.

    Raises:
      SourceError: one without the other, or what is no length of a pixel.
    """
    texts = {"row_spacing": row, "column_spacing": column}
    empty = [name for name, text in texts.items() if not text]
    if len(empty) == 1:
        raise SourceError(f"{where}: {empty[0]} is empty and the other spacing is not; write both in mm, or neither")
    if empty:
        return None
    for name, text in texts.items():
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not is_spacing(number):
            raise SourceError(
                f"{where}: {name} '{shorten(text)}' is not a number of mm from {LEAST_SPACING:g} to {MOST_SPACING:g}; "
                "correct it, or leave both spacings empty"
            )
    return pixel_spacing(float(row), float(column))


def check_distinct(rows: Sequence[Row]) -> None:
    """Refuses rows that name one file twice.

    Raises:
      SourceError: it names the file and both rows.
    """
    first: dict[Path, Row] = {}
    for row in rows:
        earlier = first.setdefault(row.image, row)
        if earlier is not row:
            where = row.line or str(row.image)
            other = f"in '{earlier.line}'" if earlier.line else "listed under another name, a link,"
            raise SourceError(f"{where}: {row.name} is {other} already; keep one of the two")
