"""The manifest's CSV file: read strictly, and written with the splits that were assigned."""

from __future__ import annotations

import csv
import io
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from jcs_datasets.common.contract import UNKNOWN
from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.tables import read_csv
from jcs_datasets.common.text_lists import inside
from jcs_datasets.ct_manifest.rows import Row, check_distinct, parse_label, parse_spacing, parse_split

SPACINGS = ("row_spacing", "column_spacing")
COLUMNS = ("image", "mask", "label", "patient", "split", "source", *SPACINGS)
_ALIASES = {"path": "image"}
_KNOWN = f"image (or path), {', '.join(COLUMNS[1:])}"


def read_manifest(path: Path) -> list[Row]:
    """Reads a manifest.

    Args:
      path: a CSV file with the column image (or path) and any others of `COLUMNS`; paths are relative to its folder
        and stay inside it.

    Returns:
      Its rows, in order; at least one.

    Raises:
      SourceError: other or repeated columns; a row without an image; files that are missing or lie outside the
        folder, a file in two rows; a label, split or spacing that is none.
    """
    header, records = read_csv(path)
    columns = [_ALIASES.get(column.lower(), column.lower()) for column in header]
    for given, column in zip(header, columns, strict=True):
        if column not in COLUMNS:
            cure = (
                f"separate columns with commas; known are {_KNOWN}"
                if ";" in given or "\t" in given
                else f"known are {_KNOWN}"
            )
            raise SourceError(f"{path}, row 1: column '{given}' is unknown; {cure}")
        if columns.count(column) > 1:
            raise SourceError(f"{path}, row 1: has two columns for {column}; keep one")
    if "image" not in columns:
        raise SourceError(f"{path}, row 1: has no column image; known are {_KNOWN}")
    root = path.parent.resolve()
    rows = [_row(root, dict(zip(columns, values.values(), strict=True)), line) for line, values in records]
    if not rows:
        raise SourceError(f"{path}: lists no slice; write a row for each picture or volume")
    check_distinct(rows)
    return rows


def _row(root: Path, values: Mapping[str, str], line: str) -> Row:
    if not values["image"]:
        raise SourceError(f"{line}: names no image; write its path, or take the row out")
    image, mask = (
        _existing(root, values[column], line) if values.get(column) else None for column in ("image", "mask")
    )
    return Row(
        image=image,
        name=image.relative_to(root).as_posix(),
        mask=mask,
        label=parse_label(values.get("label", ""), line),
        patient=values.get("patient", ""),
        split=parse_split(values.get("split", ""), line),
        source=values.get("source", ""),
        spacing=parse_spacing(*(values.get(column, "") for column in SPACINGS), line),
        line=line,
    )


def _existing(root: Path, column: str, line: str) -> Path:
    path = inside(root, column, line)
    if not path.exists():
        raise SourceError(
            f"{line}: '{column}' is missing; paths are relative to the table's folder, with forward slashes"
        )
    return path


def manifest_text(target: Path, rows: Sequence[Row], splits: Sequence[str]) -> str:
    """What `write_manifest` is to write.

    Args:
      target: the CSV file that it will be; it may replace the one that was read.
      rows: of the manifest.
      splits: of each row.

    Raises:
      SourceError: the file can't be there, or its paths would leave its folder.
    """
    folder = target.parent.resolve()
    if not folder.is_dir() or target.is_dir():
        raise SourceError(f"{target}: can't be written: no such folder, or a folder itself; name a CSV file")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    spacings = any(row.spacing for row in rows)  # a table that tells none keeps the columns that it had
    writer.writerow(COLUMNS if spacings else COLUMNS[: -len(SPACINGS)])
    for row, split in zip(rows, splits, strict=True):
        paths = [path for path in (row.image, row.mask) if path]
        outside = [path for path in paths if not path.is_relative_to(folder)]
        if outside:
            raise SourceError(
                f"{target}: a manifest names files of its own folder, and {outside[0]} lies outside it; write it "
                "beside the source's files or above them"
            )
        image, mask = (path.relative_to(folder).as_posix() if path else "" for path in (row.image, row.mask))
        told = (image, mask, "" if row.label == UNKNOWN else row.label, row.patient, split, row.source)
        writer.writerow((*told, *(row.spacing or ("", ""))) if spacings else told)
    return text.getvalue()


def write_manifest(target: Path, text: str) -> None:
    """Writes a manifest whole or not at all.

    Raises:
      SourceError: the folder can't be written to.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise SourceError(f"{target}: can't be written ({error.strerror}); name a file in a folder of yours") from None
