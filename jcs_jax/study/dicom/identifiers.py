"""Whether a name that the user gave tells who the patient is."""

from __future__ import annotations

import re
from pathlib import Path

from jcs_jax.errors import InputError
from jcs_jax.study.dicom.files import study_files
from jcs_jax.study.dicom.headers import read_dataset

_KEYWORDS = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "OtherPatientIDs",
    "OtherPatientNames",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "FrameOfReferenceUID",
)
_SHORTEST = 3  # letters of a name or number that can give somebody away
_MOST_TRIED = 20  # files, until one can be read


def names_patient(name: str, source: Path) -> bool:
    """Whether a part of `name` is a name, number, date or UID that stands in the study's headers.

    Args:
      name: of a case.
      source: of the study; its first readable file is looked at.
    """
    try:
        files = study_files(source)[:_MOST_TRIED]
    except (InputError, OSError):
        return False  # there will be no output either
    for file in files:
        try:
            with file.open() as stream:
                dataset = read_dataset(stream, file.name, pixels=False)
        except (InputError, OSError):
            continue
        told = " ".join(str(dataset.get(keyword) or "") for keyword in _KEYWORDS)
        parts = {part.casefold() for part in re.split(r"[\s^=\\,\[\]']+", told) if len(part) >= _SHORTEST}
        return any(part in name.casefold() for part in parts)
    return False
