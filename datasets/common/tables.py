"""CSV tables with a header, read strictly."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from jcs_datasets.common.errors import SourceError


def read_csv(path: Path) -> tuple[list[str], Iterator[tuple[str, dict[str, str]]]]:
    """Reads a table with a header: comma-separated, UTF-8.

    Args:
      path: of the file.

    Returns:
      The column names, and for each row that isn't blank how an error names it and its values by column. White
      space around names and values is taken off.

    Raises:
      SourceError: not text, no header, or, while it is read, a row with another number of values.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError(f"{path}: is not UTF-8 text; save the table as CSV in UTF-8, with commas") from None
    except OSError:
        raise SourceError(f"{path}: cannot be read; name a CSV file") from None
    if "\0" in text:
        raise SourceError(f"{path}: is not text; save the table as CSV in UTF-8, with commas")
    lines = _lines(path, text)
    header = next(lines, (1, []))[1]
    if not any(header):
        raise SourceError(f"{path}, row 1: has no column names; write a first row such as image,label,patient")
    return header, _records(path, header, lines)


def _lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """(row number as a spreadsheet counts, values)."""
    try:
        for number, values in enumerate(csv.reader(io.StringIO(text, newline=""), strict=True), start=1):
            yield number, [value.strip() for value in values]
    except csv.Error as error:
        raise SourceError(f"{path}: is not a CSV table ({error}); save it as CSV in UTF-8, with commas") from None


def _records(
    path: Path, header: list[str], lines: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[str, dict[str, str]]]:
    for number, values in lines:
        if not any(values):
            continue
        if len(values) != len(header):
            raise SourceError(
                f"{path}, row {number}: has {len(values)} values for {len(header)} columns; give each column one, and "
                "put values with commas into quotes"
            )
        yield f"{path}, row {number}", dict(zip(header, values, strict=True))
