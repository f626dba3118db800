"""What is known of the slices beside their files: from their names and from two optional tables."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.tables import read_csv
from jcs_datasets.common.text_lists import shorten

ANNOTATIONS, PATIENTS = "annotations.csv", "patients.csv"
CLASSES = {"0": 0, "1": 1}
_NUMBERED = re.compile(r"(.+)_([0-9]{1,9})", re.DOTALL)
_COLUMNS = ("name", "patient", "label", "slice_index", "lesion_count", "lesion_area", "lesion_location")


class Told(NamedTuple):
    """A row of a table: values by attribute of a `Record`, and how an error names the row."""

    values: dict[str, Any]
    where: str


def patients_by_name(names: Collection[str]) -> dict[str, dict[str, Any]]:
    """Patient and number of every slice, where all names are `PATIENT_NUMBER` and of two patients at least.

    One common prefix, as in `slice_0001`, says nothing of patients.

    Returns:
      Name -> `patient` and `slice_index`; empty where the names don't say.
    """
    matches = {name: _NUMBERED.fullmatch(name) for name in names}
    found = {name: match for name, match in matches.items() if match}
    if len(found) < len(matches) or len({match[1] for match in found.values()}) < 2:
        return {}
    return {name: {"patient": match[1], "slice_index": int(match[2])} for name, match in found.items()}


def parse_label(text: str, where: str) -> int:
    """0 or 1.

    Raises:
      SourceError: any other text.
    """
    if text not in CLASSES:
        raise SourceError(
            f"{where}: label '{shorten(text)}' is outside the classes; write 0 (uninfected) or 1 (infected)"
        )
    return CLASSES[text]


def read_annotations(folder: Path) -> dict[str, Told]:
    """The optional annotations.csv: slice name -> what it says of the slice; empty fields are left out.

    Raises:
      SourceError: no such columns, a slice twice, a value that can't be.
    """
    told: dict[str, Told] = {}
    for values, where in _read_table(folder / ANNOTATIONS, known=_COLUMNS, required=("name",)):
        name = values.pop("name", "")
        if not name or name in told:
            raise SourceError(
                f"{where}: {'this slice is there twice' if name else 'has no name'}; write one row a slice"
            )
        told[name] = Told({column: _parse(column, text, where) for column, text in values.items()}, where)
    return told


def read_patients(folder: Path) -> dict[str, Told]:
    """The optional patients.csv: patient -> label.

    Raises:
      SourceError: no such columns, a patient twice, a label outside the classes.
    """
    told: dict[str, Told] = {}
    columns = ("patient", "label")
    for values, where in _read_table(folder / PATIENTS, known=columns, required=columns):
        if set(values) != set(columns) or values["patient"] in told:
            problem = "a patient is there twice" if set(values) == set(columns) else "a field is empty"
            raise SourceError(f"{where}: {problem}; write one row a patient, with patient and label")
        told[values["patient"]] = Told({"label": parse_label(values["label"], where)}, where)
    return told


def check_listed(told: Mapping[str, Told], listed: Collection[str], problem: str) -> None:
    """Refuses a table that speaks of what no list has.

    Args:
      told: rows by key.
      listed: the keys that the lists have.
      problem: what is wrong with another key. The key itself isn't shown: it may name a patient.

    Raises:
      SourceError: the first such row.
    """
    for key, row in told.items():
        if key not in listed:
            raise SourceError(f"{row.where}: {problem}; correct the row or take it out")


def _parse(column: str, text: str, where: str) -> Any:
    """The value of a field that isn't empty."""
    if column == "label":
        return parse_label(text, where)
    if column in ("slice_index", "lesion_count"):
        if not re.fullmatch("[0-9]{1,9}", text):
            raise SourceError(
                f"{where}: {column} '{shorten(text)}' is not a whole number from 0; correct it or leave it empty"
            )
        return int(text)
    if column == "lesion_area":
        try:
            area = float(text)
        except ValueError:
            area = math.nan
        if not 0 <= area < math.inf:
            raise SourceError(
                f"{where}: lesion_area '{shorten(text)}' is not a number from 0; correct it or leave it empty"
            )
        return area
    return text


def _read_table(path: Path, *, known: Sequence[str], required: Sequence[str]) -> list[tuple[dict[str, str], str]]:
    """The rows of a CSV file with a header: fields that aren't empty by column, and where the row is."""
    if not path.exists():
        return []
    header, records = read_csv(path)
    odd = [column for column in header if column not in known or header.count(column) > 1]
    lacking = [column for column in required if column not in header]
    if odd or lacking:
        problem = (
            f"has no column {lacking[0]}" if lacking else f"column {shorten(odd[0])!a} is not known or there twice"
        )
        raise SourceError(f"{path}, row 1: {problem}; the columns are {','.join(known)}")
    return [({column: value for column, value in values.items() if value}, where) for where, values in records]
