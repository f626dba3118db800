"""CT sources in DICOM of any geometry, with identifiers planted wherever one may stand; results to write of them."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pydicom
from ct_files import noise, write_dicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedCTImageStorage, ExplicitVRLittleEndian

from jcs_jax.diagnosis.result.decision import Decision
from jcs_jax.diagnosis.result.lesions import Lesion, LesionReport, LungInvolvement

ROWS, COLUMNS = 24, 36
SUPINE = (1, 0, 0, 0, 1, 0)
STUDY_UID, PATIENT_ID = "1.2.826.77001.1", "PID-PLANTED-01"
DEVICE_SECRETS = {
    "Manufacturer": "Planted Maker",
    "ManufacturerModelName": "PlantedModel",
    "DeviceSerialNumber": "SER-PLANTED-02",
    "StationName": "STN-PLANTED-03",
    "InstitutionName": "Planted Hospital",
    "InstitutionAddress": "5 Planted Road",
    "InstitutionalDepartmentName": "Planted Ward",
    "SoftwareVersions": "sw-planted-04",
    "PerformingPhysicianName": "Performer^Planted",
    "OperatorsName": "Operator^Planted",
    "RequestingPhysician": "Requester^Planted",
    "PhysiciansOfRecord": "Recorder^Planted",
    "NameOfPhysiciansReadingStudy": "Reader^Planted",
    "PatientComments": "comment planted 05",
    "ImageComments": "comment planted 06",
    "AdditionalPatientHistory": "history planted 07",
    "ProtocolName": "protocol planted 08",
    "SeriesDescription": "series planted 09",
    "RequestedProcedureDescription": "asked planted 10",
    "PatientAddress": "9 Planted Lane",
    "PatientTelephoneNumbers": "555-PLANTED",
    "OtherPatientIDs": "OTHER-PLANTED-11",
    "PatientMotherBirthName": "Mother^Planted",
    "MilitaryRank": "rank planted 12",
    "EthnicGroup": "ETHNPLANTED",
    "Occupation": "job planted 13",
    "PatientAge": "077Y",
    "SeriesDate": "19910203",
    "AcquisitionDate": "19910204",
    "ContentDate": "19910205",
    "SeriesTime": "111213.141516",
    "AcquisitionTime": "111314.151617",
    "IrradiationEventUID": "1.2.826.77001.9",
    "DetectorID": "DET-PLANTED-14",
    "PerformedProcedureStepID": "PPSPLANTED15",
    "AdmissionID": "ADM-PLANTED-16",
}
FILED_BY = {
    "PatientID": PATIENT_ID,
    "PatientName": "Müller^Plantée",
    "PatientBirthDate": "19330405",
    "PatientSex": "F",
    "IssuerOfPatientID": "ISSUER-PLANTED",
    "StudyInstanceUID": STUDY_UID,
    "StudyID": "STUDYPLANTED",
    "StudyDate": "19910202",
    "StudyTime": "101112.131415",
    "StudyDescription": "study planted 17",
    "AccessionNumber": "ACCPLANTED18",
    "ReferringPhysicianName": "Referrer^Planted",
    "SeriesInstanceUID": "1.2.826.77001.2",
    "FrameOfReferenceUID": "1.2.826.77001.3",
}
PRIVATE = "private planted 19"


def instance_uid(index: int) -> str:
    """Of the planted source's slice."""
    return f"1.2.826.77001.4.{index}"


def planted_words() -> list[str]:
    """Every identifier of a planted source, as a file would hold it."""
    texts = [*DEVICE_SECRETS.values(), *FILED_BY.values(), PRIVATE, "Müller", "Plantée"]
    return [text for text in texts if text != "F"] + [instance_uid(index) for index in range(4)]


def write_source(
    folder: Path,
    count: int = 4,
    *,
    cosines: tuple[float, ...] = SUPINE,
    step: tuple[float, float, float] = (0.0, 0.0, 2.5),
    spacing: tuple[float, float] = (0.8, 0.8),
    **elements: object,
) -> list[Path]:
    """Files of a planted series, slice after slice by `step` mm."""
    paths = []
    for index in range(count):
        path = folder / f"{index:03d}.dcm"
        write_dicom(
            path,
            noise(index, ROWS, COLUMNS),
            SpecificCharacterSet="ISO_IR 100",
            SOPInstanceUID=instance_uid(index),
            ImagePositionPatient=[
                f"{start + index * part:.10g}" for start, part in zip((-14.3, -9.6, 101.5), step, strict=True)
            ],
            ImageOrientationPatient=[f"{value:.12g}" for value in cosines],
            PixelSpacing=list(spacing),
            **{"SliceThickness": 2.5, **FILED_BY, **DEVICE_SECRETS, **elements},
        )
        dataset = pydicom.dcmread(path)
        dataset.private_block(0x0009, "PLANTED MAKER", create=True).add_new(0x01, "LO", PRIVATE)
        dataset.save_as(path)
        paths.append(path)
    return paths


def read_headers(paths: list[Path]) -> list[Dataset]:
    """Without pixels."""
    return [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]


def enhanced_header(slices: list[Dataset], *, order: list[int]) -> Dataset:
    """One enhanced multi-frame header of single slices.

    Args:
      slices: headers.
      order: which slice each frame is.
    """
    dataset = Dataset()
    for keyword in (*FILED_BY, *DEVICE_SECRETS, "SpecificCharacterSet", "Modality", "Rows", "Columns"):
        dataset[keyword] = slices[0][keyword]
    dataset.SOPClassUID, dataset.SOPInstanceUID = EnhancedCTImageStorage, instance_uid(0)
    dataset.NumberOfFrames = len(order)
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = slices[0].PixelSpacing, slices[0].SliceThickness
    orientation.ImageOrientationPatient = slices[0].ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for index in order:
        group, position, content = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = slices[index].ImagePositionPatient
        content.FrameAcquisitionDateTime = datetime.datetime(1991, 2, 2).strftime("%Y%m%d%H%M%S")
        content.FrameComments = "comment planted 06"
        group.PlanePositionSequence, group.FrameContentSequence = [position], [content]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def lesion(number: int, **values: object) -> Lesion:
    """Of plain numbers."""
    given = {
        "volume_ml": 12.34,
        "largest_diameter_mm": 31.5,
        "mean_hu": -512.25,
        "consolidated_share": 0.25,
        "kind": "ground glass",
        "side": "right",
        "zone": "lower",
        "depth": "peripheral",
        "first_slice": 0,
        "areas_mm2": (100.0,),
    }
    return Lesion(number=number, **{**given, **values})


def lesion_report(count: int) -> LesionReport:
    """With so many lesions of three kinds."""
    kinds = ("ground glass", "mixed", "consolidation")
    lungs = (
        LungInvolvement("right", 2000.0, 500.0, (0.1, 0.2, 0.45)),
        LungInvolvement("left", 2000.0, 100.0, (0.0, 0.1, 0.05)),
    )
    lesions = tuple(lesion(number, kind=kinds[number % 3]) for number in range(1, count + 1))
    return LesionReport(lesions, lungs, 9, ("a note on the numbers",))


def decision(**values: object) -> Decision:
    """Infected, unless told otherwise."""
    given = {
        "answer": "infected",
        "probability": 0.875,
        "threshold": 0.5,
        "rule": "the third highest slice",
        "chosen_on": "",
        "reasons": (),
        "release_positive_slices": 20,
        "release_answer": "infected",
    }
    return Decision(**{**given, **values})


def scattered_labels(shape: tuple[int, int, int], count: int) -> np.ndarray:
    """(S, H, W) uint16 with voxels of every number up to `count`, in no order."""
    labels = np.random.default_rng(count).integers(0, count + 1, shape).astype(np.uint16)
    labels[labels % 3 == 2] = 0
    labels.ravel()[7 : 7 + count] = np.arange(1, count + 1)
    return labels
