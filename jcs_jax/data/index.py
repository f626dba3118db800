"""The index of a prepared data set: what is known of every slice, readable without touching a picture.

A split of COVID-CS is 80 GB of features. Looking for patients in two splits, counting labels or naming what was
evaluated must not read them.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jcs_jax.data.examples import UNKNOWN_NUMBER, SliceRecord
from jcs_jax.errors import InputError
from jcs_jax.files import write_atomically

INDEX_FILE = "index.jsonl"
SPACING_FEATURES = ("row_spacing", "column_spacing")  # data sets of before the spacing was stored lack them
# SliceRecord's attribute -> the stored feature; the spacing is two of them.
RECORD_FIELDS = {
    field.name: {"origin": "source"}.get(field.name, field.name)
    for field in dataclasses.fields(SliceRecord)
    if field.name != "spacing"
}
_TYPES = {"str": str, "int": int, "float": float}


class Shard(NamedTuple):
    """Part of a file of a data set.

    Attributes:
      file: its name.
      skip: examples to leave out at its head.
      take: examples to read.
    """

    file: str
    skip: int
    take: int


def stored_record(stored: Mapping[str, Any]) -> SliceRecord:
    """The record of a stored example."""
    values: dict[str, Any] = {}
    types = {field.name: str(field.type) for field in dataclasses.fields(SliceRecord)}
    for name, feature in RECORD_FIELDS.items():
        value = stored[feature]
        values[name] = value.decode() if isinstance(value, bytes) else _TYPES[types[name]](value)
    return SliceRecord(**values, spacing=stored_spacing(stored))


def stored_spacing(stored: Mapping[str, Any]) -> tuple[float, float] | None:
    """The spacing of a stored example, or of a line of the index.

    Args:
      stored: holds `row_spacing` and `column_spacing` in mm; -1 is unknown, and so is what isn't there.

    Returns:
      Both, as (row, column); None unless both are lengths.
    """
    row, column = (float(stored.get(name, UNKNOWN_NUMBER)) for name in SPACING_FEATURES)
    return (row, column) if 0 < row < math.inf and 0 < column < math.inf else None


def write_index(folder: Path, shards: Mapping[str, Sequence[SliceRecord]]) -> Path:
    """Writes the index of a data set.

    Args:
      folder: of the data set.
      shards: file name -> records of its examples, in the file's order.

    Returns:
      The path written.
    """
    lines = [
        json.dumps({"file": file, **_index_values(record)}) for file, records in shards.items() for record in records
    ]
    return write_atomically(folder / INDEX_FILE, "".join(f"{line}\n" for line in lines))


def read_index(folder: Path, shards: Sequence[Shard]) -> list[SliceRecord] | None:
    """The records of a split.

    Args:
      folder: of the data set.
      shards: the parts of files that make the split, in order.

    Returns:
      The records; None where the folder has no index (a data set that TFDS itself has built).

    Raises:
      InputError: the index is damaged or does not belong to these files.
    """
    path = folder / INDEX_FILE
    if not path.is_file():
        return None
    wanted = {shard.file for shard in shards}
    files: dict[str, list[SliceRecord]] = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                values = json.loads(line)
                if (file := values.pop("file")) in wanted:
                    files.setdefault(file, []).append(_indexed_record(values))
        records = []
        for shard in shards:
            part = files[shard.file][shard.skip : shard.skip + shard.take]
            if len(part) != shard.take:
                raise ValueError(f"{shard.file} has too few lines")
            records += part
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is damaged; prepare the data set again with --overwrite") from error
    return records


def _index_values(record: SliceRecord) -> dict[str, Any]:
    values = dataclasses.asdict(record)
    spacing = values.pop("spacing") or (UNKNOWN_NUMBER, UNKNOWN_NUMBER)
    return {**values, **dict(zip(SPACING_FEATURES, spacing, strict=True))}


def _indexed_record(values: dict[str, Any]) -> SliceRecord:
    spacing = stored_spacing(values)
    told = {name: value for name, value in values.items() if name not in SPACING_FEATURES}
    return SliceRecord(**told, spacing=spacing)
