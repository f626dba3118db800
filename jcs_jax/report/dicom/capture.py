"""Pictures of a result as DICOM secondary captures, for viewers that show no segmentation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from jcs_jax.dicom_headers import quiet_dicom
from jcs_jax.files import atomic_directory
from jcs_jax.notice import RESEARCH_USE
from jcs_jax.report.dicom.instances import Algorithm, content_digest, load_highdicom, save, series_arguments
from jcs_jax.report.dicom.source import Reference, SourceSeries

_DIRECTIONS = (("L", "R"), ("P", "A"), ("H", "F"))  # of the patient's axes, towards plus and towards minus
_SLANT = 0.05  # cosine from which an axis is worth naming
_PATIENT_AND_STUDY = (
    ("patient_id", "PatientID"),
    ("patient_name", "PatientName"),
    ("patient_birth_date", "PatientBirthDate"),
    ("patient_sex", "PatientSex"),
    ("accession_number", "AccessionNumber"),
    ("study_id", "StudyID"),
    ("study_date", "StudyDate"),
    ("study_time", "StudyTime"),
    ("referring_physician_name", "ReferringPhysicianName"),
)


def write_captures(
    folder: Path,
    pictures: Iterable[tuple[int, UInt8[np.ndarray, "h w 3"]]],
    source: SourceSeries,
    *,
    algorithm: Algorithm,
    digest: str = "",
) -> list[Path]:
    """Writes pictures of slices as one series, a file each.

    Pictures are taken one by one, so there may be many. No patient may be named in them: the files say so.

    Args:
      folder: new, or replaced when all are written; `0001.dcm` and so on.
      pictures: the index of the slice, from 0, and its picture: (H, W, 3) uint8, RGB.
      source: the slices.
      algorithm: what made the result.
      digest: of the result that the pictures show (`content_digest`): another one makes another series.

    Returns:
      The files, in the order of the pictures.

    Raises:
      InputError: highdicom isn't installed.
      ValueError: a picture isn't RGB of 8 bits, or is of a slice that isn't there.
    """
    highdicom = load_highdicom()
    arguments = series_arguments(source, algorithm, "pictures", digest)
    del arguments["sop_instance_uid"], arguments["instance_number"]
    names = []
    with atomic_directory(folder) as temporary:
        for number, (index, picture) in enumerate(pictures, start=1):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
                raise ValueError(f"picture {number} is {picture.dtype} {picture.shape}; give uint8 (H, W, 3)")
            if not 0 <= index < len(source.headers):
                raise ValueError(f"picture {number} is of slice {index}; there are {len(source.headers)}")
            uid = source.new_uid("picture", arguments["series_instance_uid"], str(number), content_digest(picture))
            with quiet_dicom():
                dataset = _capture(highdicom, picture, source, index, sop_instance_uid=uid, number=number, **arguments)
                names.append(save(dataset, temporary / f"{number:04d}.dcm").name)
    return [folder / name for name in names]


def _capture(
    highdicom: Any,
    picture: UInt8[np.ndarray, "h w 3"],
    source: SourceSeries,
    index: int,
    *,
    number: int,
    **arguments: Any,
) -> Dataset:
    header = source.headers[index]
    orientation = _orientation(header)
    dataset = highdicom.sc.SCImage(
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=(orientation[0][0], orientation[1][0]),
        study_instance_uid=header.StudyInstanceUID,
        instance_number=number,
        specific_character_set=header.SpecificCharacterSet,
        **{argument: header.get(keyword) for argument, keyword in _PATIENT_AND_STUDY},
        **arguments,
    )
    dataset.copy_patient_and_study_information(header)
    dataset.PatientOrientation = list(orientation)  # highdicom takes one letter a direction
    dataset.BodyPartExamined = "CHEST"  # which has no laterality
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "NO"
    dataset.DerivationDescription = f"Result drawn over a slice. {RESEARCH_USE}"
    dataset.SourceImageSequence = [_source_item(highdicom, source.references[index])]
    return dataset


def _source_item(highdicom: Any, reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference.class_uid, reference.instance_uid
    if reference.frame is not None:
        item.ReferencedFrameNumber = reference.frame
    purpose = codes.DCM.SourceImageForImageProcessingOperation
    item.PurposeOfReferenceCodeSequence = [highdicom.sr.CodedConcept.from_code(purpose)]
    return item


def _orientation(header: Dataset) -> tuple[str, str]:
    """Where rows and columns point, in letters: the axis that they are nearest to first."""
    cosines = np.array([float(value) for value in header.ImageOrientationPatient]).reshape(2, 3)
    return _letters(cosines[0]), _letters(cosines[1])


def _letters(direction: np.ndarray) -> str:
    order = [axis for axis in np.argsort(-np.abs(direction)) if abs(direction[axis]) >= _SLANT]
    return "".join(_DIRECTIONS[axis][int(direction[axis] < 0)] for axis in order)
