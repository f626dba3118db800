"""What results take from the headers of their source: how its slices lie, and nothing else of the patient.

New headers are filled from a list of what is needed. Nothing is deleted from a copy, so nothing can be forgotten.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage
from pydicom.valuerep import DSfloat, validate_value

from jcs_jax.dicom_headers import first_value, frame_groups, quiet_dicom
from jcs_jax.report.dicom.pseudonyms import Pseudonyms

_FILED_BY = (  # what an archive files a study by; empty unless identifiers are kept
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_KEPT_IF_THERE = ("IssuerOfPatientID", "StudyDescription")
_METHOD = ("Headers are new, none are copied", "UIDs and patient ID are keyed hashes")
_USUAL_THICKNESS = 1.0  # mm, of a slice that has no neighbours and doesn't say


@dataclasses.dataclass(frozen=True)
class Reference:
    """What a slice is called in other files.

    Attributes:
      class_uid: SOP Class UID of its file.
      instance_uid: SOP Instance UID of its file.
      frame: its number in the file, from 1; None if it is the whole file.
    """

    class_uid: str
    instance_uid: str
    frame: int | None


@dataclasses.dataclass(frozen=True)
class SourceSeries:
    """The slices that a result is of.

    Attributes:
      headers: one a slice: identity, place, size. A frame has one of its own, like a file of one slice, whose SOP
        Instance UID stands in no other file.
      references: one a slice: what to call it.
      pseudonyms: that the headers were made with.
      original_uid: Series Instance UID of the source, not for outputs.
    """

    headers: tuple[Dataset, ...] = dataclasses.field(repr=False)
    references: tuple[Reference, ...] = dataclasses.field(repr=False)
    pseudonyms: Pseudonyms
    original_uid: str = dataclasses.field(repr=False)

    @property
    def series_uid(self) -> str:
        """Of the source, as outputs name it."""
        return str(self.headers[0].SeriesInstanceUID)

    def new_uid(self, *parts: str) -> str:
        """A UID for something that is made from this series."""
        return self.pseudonyms.new_uid("made from", self.original_uid, *parts)

    def files(self) -> dict[str, list[int]]:
        """Files by SOP Instance UID: the indices of their slices."""
        found: dict[str, list[int]] = {}
        for index, reference in enumerate(self.references):
            found.setdefault(reference.instance_uid, []).append(index)
        return found


def source_series(
    datasets: Sequence[Dataset], pseudonyms: Pseudonyms, *, frames: Sequence[int] | None = None
) -> SourceSeries:
    """Takes from a source's headers what its results need.

    Args:
      datasets: the headers of the slices, in the volume's order; or one enhanced multi-frame header for all of them.
        Pixels aren't needed.
      pseudonyms: what to write in place of identifiers.
      frames: of every slice its number in its file, from 0; None if files have one slice, or if all frames of the
        one header are in order.

    Returns:
      The series. All slices lie as the first one does (orientation, spacing), each at its own position.

    Raises:
      ValueError: no slices, or not as many headers as frames.
    """
    if not datasets:
        raise ValueError("no headers of slices")
    if frames is None and len(datasets) == 1:
        frames = range(int(datasets[0].get("NumberOfFrames") or 1))
    frames = [0] * len(datasets) if frames is None else list(frames)
    if len(datasets) not in (1, len(frames)):
        raise ValueError(f"{len(datasets)} headers for {len(frames)} frames; give one, or one a slice")
    with quiet_dicom():  # what a scanner wrote against the rules is not the reader's to mend
        files = list(datasets) if len(datasets) == len(frames) else [datasets[0]] * len(frames)
        places = [frame_groups(file, frame) for file, frame in zip(files, frames, strict=True)]
        shared = _identity(files[0], pseudonyms) | _layout(places)
        references = [_reference(file, frame, pseudonyms) for file, frame in zip(files, frames, strict=True)]
        headers = [
            _header(shared, place, reference, pseudonyms) for place, reference in zip(places, references, strict=True)
        ]
    return SourceSeries(tuple(headers), tuple(references), pseudonyms, str(files[0].get("SeriesInstanceUID") or ""))


def _decimals(values: Iterable[Any]) -> list[DSfloat]:
    """As the source writes them, unless that is longer than the standard allows."""
    return [DSfloat(value, auto_format=True) for value in values]


def _identity(file: Dataset, pseudonyms: Pseudonyms) -> dict[str, Any]:
    """Of patient and study: the source's if identifiers are kept, else pseudonyms and empty values."""
    series = str(file.get("SeriesInstanceUID") or "")
    study = str(file.get("StudyInstanceUID") or "") or pseudonyms.new_uid("study of", series)
    space = str(file.get("FrameOfReferenceUID") or "") or pseudonyms.new_uid("frame of reference of", series)
    found: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "Modality": "CT",
        "StudyInstanceUID": pseudonyms.uid(study),
        "SeriesInstanceUID": pseudonyms.uid(series) if series else pseudonyms.new_uid("series of", study),
        "FrameOfReferenceUID": pseudonyms.uid(space),
        **dict.fromkeys(_FILED_BY),
    }
    if pseudonyms.keep:
        found |= {keyword: _valid(file, keyword) for keyword in _FILED_BY}
        found |= {keyword: value for keyword in _KEPT_IF_THERE if (value := _valid(file, keyword))}
    else:
        patient = pseudonyms.patient(str(file.get("PatientID") or "") or study)
        found |= {"PatientID": patient, "PatientName": f"{patient}^"}
        found |= {"PatientIdentityRemoved": "YES", "DeidentificationMethod": list(_METHOD)}
    return found


def _valid(file: Dataset, keyword: str) -> str | None:
    """An element's text; None where it breaks the rules of its kind."""
    text = str(file.get(keyword) or "")
    if keyword == "PatientSex" and text not in ("M", "F", "O"):
        return None
    try:
        validate_value(pydicom.datadict.dictionary_VR(keyword), text, pydicom.config.RAISE)
    except ValueError:
        return None
    return text or None


def _layout(places: Sequence[Sequence[Dataset]]) -> dict[str, Any]:
    """Size, orientation, spacing and thickness, of the first slice for all."""
    first = places[0]
    thickness = first_value(first, "SliceThickness")
    if thickness is None or not float(thickness) > 0:
        thickness = _median_step(places)
    return {
        "Rows": int(first[-1].Rows),
        "Columns": int(first[-1].Columns),
        "ImageOrientationPatient": _decimals(first_value(first, "ImageOrientationPatient")),
        "PixelSpacing": _decimals(first_value(first, "PixelSpacing")),
        "SliceThickness": _decimals([thickness])[0],
    }


def _median_step(places: Sequence[Sequence[Dataset]]) -> float:
    cosines = np.array([float(value) for value in first_value(places[0], "ImageOrientationPatient")])
    normal = np.cross(cosines[:3], cosines[3:])
    positions = np.array([[float(value) for value in first_value(place, "ImagePositionPatient")] for place in places])
    steps = np.abs(np.diff(np.sort(positions @ normal)))
    step = float(np.median(steps)) if len(steps) else _USUAL_THICKNESS
    return step if math.isfinite(step) and step > 0 else _USUAL_THICKNESS


def _reference(file: Dataset, frame: int, pseudonyms: Pseudonyms) -> Reference:
    class_uid = UID(str(file.get("SOPClassUID") or ""))
    multiple = "NumberOfFrames" in file or "PerFrameFunctionalGroupsSequence" in file
    known = class_uid.name != str(class_uid)
    instance_uid = str(file.get("SOPInstanceUID") or "")
    if not instance_uid:  # nothing can refer to it, but it must not be taken for another
        place = "" if multiple else str(file.get("ImagePositionPatient"))
        instance_uid = pseudonyms.new_uid("instance of", str(file.get("SeriesInstanceUID") or ""), place)
    return Reference(
        str(class_uid) if known or (pseudonyms.keep and class_uid) else CTImageStorage,  # a private one names its maker
        pseudonyms.uid(instance_uid),
        frame + 1 if multiple else None,
    )


def _header(
    shared: Mapping[str, Any], place: Sequence[Dataset], reference: Reference, pseudonyms: Pseudonyms
) -> Dataset:
    header = Dataset()
    for keyword, value in shared.items():
        setattr(header, keyword, value)
    header.SOPClassUID = CTImageStorage
    header.SOPInstanceUID = (
        reference.instance_uid
        if reference.frame is None
        else pseudonyms.new_uid("frame of", reference.instance_uid, str(reference.frame))
    )
    header.ImagePositionPatient = _decimals(first_value(place, "ImagePositionPatient"))
    return header
