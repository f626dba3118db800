"""UCSD COVID-CT on disk: the official lists and pictures, or one manifest.csv, with patients where they are told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.splits import TEST, TRAIN, VALIDATION
from jcs_datasets.common.tables import read_csv
from jcs_datasets.common.text_lists import check_present, inside, read_rows
from jcs_datasets.ct_manifest.rows import Row, check_distinct

LISTS, PICTURES = "Data-split", "Images-processed"
_SPLITS = {"train": TRAIN, "val": VALIDATION, "test": TEST}
_CLASSES = {"COVID": 1, "NonCOVID": 0}
# Table of patients -> its columns, file name and patient, and what goes before the patient.
_PATIENTS = {
    "COVID": ("COVID-CT-MetaInfo.csv", "file name", "patient id", "meta:"),
    "NonCOVID": ("NonCOVID-CT-MetaInfo.csv", "image name", "patient id", ""),
}
_PAPER = re.compile(r"(.+?)(?:-p\d+-.*|%\d+)")
_COLLECTION = re.compile(r"(?P<collection>[A-Za-z]+)_patient_\d+")


def read_official(folder: Path) -> list[Row]:
    """Rows of the official lists, `Data-split/COVID/trainCT_COVID.txt` and its five siblings.

    Args:
      folder: of the official repository, with `Images-processed/CT_COVID` and `CT_NonCOVID` unzipped.

    Returns:
      A row for each listed picture; the patient is empty where no table tells it.

    Raises:
      SourceError: a list or picture is missing, or a picture is in two lists.
    """
    root = folder.resolve()
    rows = [row for kind in _CLASSES for row in _class_rows(folder, root, kind)]
    check_distinct(rows)
    return rows


def _class_rows(folder: Path, root: Path, kind: str) -> Iterator[Row]:
    pictures = f"{PICTURES}/CT_{kind}"
    if not (folder / pictures).is_dir():
        raise SourceError(f"{folder / pictures}: is missing; unzip {pictures}.zip of the official repository there")
    patients = _read_patients(folder, kind)
    for part, split in _SPLITS.items():
        path = folder / LISTS / kind / f"{part}CT_{kind}.txt"
        listed = read_rows(path, form="file name", meaning="one name without spaces", columns=(1,))
        images = [inside(root, f"{pictures}/{line.columns[0]}", line.where) for line in listed]
        check_present(path, root, zip(images, (line.number for line in listed), strict=True))
        for line, image in zip(listed, images, strict=True):
            patient = patients.get(image.name, patients.get(image.stem, ""))
            yield Row(
                image=image,
                name=image.relative_to(root).as_posix(),
                label=_CLASSES[kind],
                patient=patient,
                split=split,
                source=source_of(image.name, patient, _CLASSES[kind]),
                line=line.where,
            )


def _read_patients(folder: Path, kind: str) -> Mapping[str, str]:
    """Picture -> patient, from the table of that class where it lies there as CSV."""
    name, picture_column, patient_column, prefix = _PATIENTS[kind]
    path = folder / name
    if not path.is_file():
        return {}
    header, records = read_csv(path)
    named = {column.lower(): column for column in header}
    if picture_column not in named or patient_column not in named:
        raise SourceError(f"{path}: has no columns '{picture_column}' and '{patient_column}'; copy the official table")
    pairs = [(values[named[picture_column]], values[named[patient_column]]) for _, values in records]
    return {picture: f"{prefix}{patient}" for picture, patient in pairs if picture and patient}


def source_of(picture: str, patient: str, label: int) -> str:
    """Where a picture comes from, as far as its name tells.

    Args:
      picture: file name; that of a figure of a paper is `PAPER-pPAGE-NUMBER`, or `PAPER%NUMBER`.
      patient: of the others, `COLLECTION_patient_NUMBER`.
      label: 1 for COVID: those are figures of papers.

    Returns:
      `paper:` and the paper, the collection (`medpix`, `crawled`), or nothing.
    """
    if label == 1:
        paper = _PAPER.fullmatch(Path(picture).stem)
        return f"paper:{paper[1]}" if paper else ""
    collection = _COLLECTION.fullmatch(patient)
    return collection["collection"] if collection else ""
