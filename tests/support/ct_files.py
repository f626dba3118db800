"""Small CT files written by hand or by pydicom: pictures, NIfTI of any orientation, DICOM slices."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 40
NIFTI_CODES = {"uint8": (2, 8), "int16": (4, 16), "float32": (16, 32), "float64": (64, 64)}


def noise(seed: int, *shape: int) -> np.ndarray:
    """HU of noise, -1000 to 999."""
    return np.random.default_rng(seed).integers(-1000, 1000, shape or (SIDE, SIDE + 8), np.int16)


def write_picture(path: Path, seed: int = 0, **options: object) -> Path:
    """A picture of 48 x 40 pixels of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE + 8), np.uint8)).save(path, **options)
    return path


def write_table(path: Path, text: str) -> Path:
    """A CSV file, from text that may be indented."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(line.strip() for line in text.strip().splitlines()) + "\n", encoding="utf-8")
    return path


def nifti_bytes(
    array: np.ndarray, affine: np.ndarray | None = None, *, dims: tuple[int, ...] = (), **fields: object
) -> bytes:
    """NIfTI-1 of one file.

    Args:
      array: (i, j, k) voxels.
      affine: (4, 4) from indices to RAS millimetres; None for 1 mm steps along them.
      dims: written in place of the array's own.
      **fields: `datatype`, `bits`, `offset` and `sform` written in place of the right ones.
    """
    affine = np.eye(4) if affine is None else affine
    sides = dims or array.shape
    code, bits = NIFTI_CODES[array.dtype.name]
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(sides), *sides, *[1] * (7 - len(sides)))
    struct.pack_into("<2h", header, 70, fields.get("datatype", code), fields.get("bits", bits))
    struct.pack_into("<8f", header, 76, 1, *np.linalg.norm(affine[:3, :3], axis=0), 1, 1, 1, 1)
    struct.pack_into("<3f", header, 108, fields.get("offset", 352), 1, 0)
    struct.pack_into("<2h", header, 252, 0, fields.get("sform", 1))
    struct.pack_into("<12f", header, 280, *affine[:3].ravel())
    header[344:348] = b"n+1\0"
    return bytes(header) + array.tobytes(order="F")


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None, **fields: object) -> Path:
    """A .nii, or by its suffix a .nii.gz file; arguments as for `nifti_bytes`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = nifti_bytes(array, affine, **fields)
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
    return path


def lps_affine(*, spacing: tuple[float, float, float] = (0.8, 0.8, 5.0)) -> np.ndarray:
    """The affine of voxels that run to the left, to the back and up, as a NIfTI header has it (in RAS)."""
    return np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])


def write_dicom(path: Path, hounsfield: np.ndarray, *, height: float = 0.0, **elements: object) -> Path:
    """A CT slice at a height in mm, stored with slope 1 and intercept -1024; `elements` replace others by keyword."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
    dataset.Modality, dataset.SeriesInstanceUID = "CT", "1.2.3"
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "ID-4711"
    dataset.Rows, dataset.Columns = hounsfield.shape[:2]
    dataset.PixelSpacing = [0.8, 0.8]
    dataset.SliceThickness = 5
    dataset.ImagePositionPatient = [-16, -16, height]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = (hounsfield.astype(np.int32) + 1024).astype(np.uint16).tobytes()
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, hounsfield: np.ndarray, **elements: object) -> Path:
    """A series of which slice 0 is the highest, under names that run the other way."""
    count = len(hounsfield)
    for index, pixels in enumerate(hounsfield):
        write_dicom(folder / f"{count - 1 - index:03d}.dcm", pixels, height=-5.0 * index, **elements)
    return folder


def write_enhanced(path: Path, hounsfield: np.ndarray, heights: list[float], **elements: object) -> Path:
    """A file of many frames, one a height in mm, in the order given; `elements` as for `write_dicom`."""
    import pydicom
    from pydicom.dataset import Dataset
    from pydicom.uid import EnhancedCTImageStorage

    write_dicom(path, hounsfield[0], **elements)
    dataset = pydicom.dcmread(path)
    shared, frames = Dataset(), []
    for sequence, keywords in (
        ("PixelMeasuresSequence", ("PixelSpacing", "SliceThickness")),
        ("PlaneOrientationSequence", ("ImageOrientationPatient",)),
        ("PixelValueTransformationSequence", ("RescaleSlope", "RescaleIntercept")),
    ):
        item = Dataset()
        for keyword in keywords:
            item[keyword] = dataset[keyword]
            del dataset[keyword]
        setattr(shared, sequence, [item])
    for height in heights:
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = [-16, -16, height]
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    del dataset.ImagePositionPatient
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], frames
    dataset.NumberOfFrames = len(heights)
    dataset.PixelData = (hounsfield.astype(np.int32) + 1024).astype(np.uint16).tobytes()
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    dataset.save_as(path, enforce_file_format=True)
    return path
