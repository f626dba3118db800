"""Whether a name that the user gave tells who the patient is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jcs_jax.dicom_headers import quiet_dicom
from jcs_jax.errors import InputError
from jcs_jax.study.dicom.files import study_files
from jcs_jax.study.dicom.headers import read_dataset

_PERSON = ("PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName")
_DATES = ("PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
_NUMBERS = (
    "AccessionNumber",
    "StudyID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "FrameOfReferenceUID",
)
_SHORTEST = 3  # letters that give somebody away wherever they stand; fewer do as a word of their own
_MOST_READ = 20  # files of a study
_SEPARATORS = re.compile(r"[\s^=\\,\[\]']+")


def names_patient(name: str, source: Path) -> bool:
    """Whether a part of `name` is a name, number, date or UID that stands in the study's headers.

    Capitals, accents and punctuation make no difference, and dates are known in any order of day, month and year.

    Args:
      name: of a case.
      source: of the study; its first files are looked at.
    """
    told, words = _letters(name), {_letters(word) for word in re.split(r"[\W_]+", name)}
    return any(
        part in told if len(part) >= _SHORTEST or not part.isascii() else part in words
        for dataset in _headers(source)
        for part in _identifiers(dataset)
    )


def _headers(source: Path) -> Iterator[Any]:
    try:
        files = study_files(source)[:_MOST_READ]
    except (InputError, OSError):
        return  # there will be no output either
    for file in files:
        try:
            with file.open() as stream:
                yield read_dataset(stream, file.name, pixels=False)
        except (InputError, OSError):
            continue


def _identifiers(dataset: Any) -> set[str]:
    others = [_text(item, "PatientID") for item in dataset.get("OtherPatientIDsSequence") or []]
    persons = [part for key in _PERSON for part in _SEPARATORS.split(_text(dataset, key))]
    numbers = [number for key in _NUMBERS if len(number := _letters(_text(dataset, key))) >= _SHORTEST]
    dates = [form for key in _DATES for form in _forms(_text(dataset, key))]
    return {_letters(text) for text in (_text(dataset, "PatientID"), *others, *persons, *numbers, *dates)} - {""}


def _text(dataset: Any, keyword: str) -> str:
    """An element as text; empty where it isn't there or is damaged."""
    try:
        with quiet_dicom():  # values are converted when they are asked for
            return str(dataset.get(keyword) or "")
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, LookupError, OverflowError):
        return ""


def _forms(date: str) -> tuple[str, ...]:
    """How a date of 8 digits, or one with dots between them, is written in names of folders."""
    digits = re.sub(r"\D", "", date)
    if len(digits) != 8:
        return ()
    year, month, day = digits[:4], digits[4:6], digits[6:]
    return (digits, f"{day}{month}{year}", f"{month}{day}{year}", digits[2:], f"{day}{month}{year[2:]}")


def _letters(text: str) -> str:
    """Letters and digits alone, without capitals and accents."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in plain if letter.isalnum())
