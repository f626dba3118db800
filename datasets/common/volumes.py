"""CT in HU from DICOM or NIfTI, and masks drawn on it, as axial slices counted from the apex of the lungs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jcs_datasets.common.dicom import read_dicom_series, read_dicom_slice
from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.itk import ItkVolume, Where, load_itk
from jcs_datasets.common.nifti import read_nifti
from jcs_datasets.common.pictures import LARGEST_SIDE, SMALLEST_SIDE

VolumeKind = Literal["dicom", "series", "nifti"]

LEAST_RANGE, MOST_RANGE = 100, 2**18  # HU: air and tissue are 1000 apart, and 16 bits hold any CT
_READERS: dict[str, Callable[[Path, Where], ItkVolume]] = {
    "dicom": read_dicom_slice,
    "series": read_dicom_series,
    "nifti": read_nifti,
}
_ORIENTATION = "LPS"  # columns to the patient's left, rows to the back, slices up


@dataclasses.dataclass(frozen=True)
class Volume:
    """A CT volume, or one slice of it.

    Attributes:
      hounsfield: (slices, H, W) int32, HU; slices from the apex down, rows from front to back, columns from the
        patient's right to left, whatever the order in the file.
      corners: (4, 3) mm, LPS: centres of the first voxel and of the last along each axis.
      spacing: mm between columns, rows and slices; 1 where the file doesn't tell.
      pixel_spacing: mm between rows and between columns; None where the file doesn't tell.
      stored_axes: the nine direction cosines of the file's own order.
    """

    hounsfield: np.ndarray
    corners: np.ndarray
    spacing: tuple[float, float, float]
    pixel_spacing: tuple[float, float] | None
    stored_axes: tuple[float, ...]


def read_volume(path: Path, kind: VolumeKind, where: Where) -> Volume:
    """Reads CT in HU.

    Args:
      path: a DICOM file, the folder of a DICOM series, or a NIfTI file.
      kind: which of them: `dicom`, `series` or `nifti`.
      where: how an error names a file.

    Raises:
      SourceError: SimpleITK is missing; the file can't be read as that; slices of less than 32 pixels on a side;
        values that are no HU.
    """
    image, measured = _READERS[kind](path, where)
    stored_axes = image.GetDirection()
    oriented = load_itk().DICOMOrient(image, _ORIENTATION)
    width, height, _ = oriented.GetSize()
    if min(height, width) < SMALLEST_SIDE or max(height, width) > LARGEST_SIDE:
        raise SourceError(
            f"{where(path)}: its axial slices are {width}x{height} pixels, and {SMALLEST_SIDE} to {LARGEST_SIDE} on a "
            "side are read; use the series at full size"
        )
    spacing = oriented.GetSpacing()
    return Volume(
        hounsfield=_hounsfield(oriented, where(path)),
        corners=_corners(oriented),
        spacing=spacing,
        pixel_spacing=(spacing[1], spacing[0]) if measured else None,
        stored_axes=stored_axes,
    )


def read_volume_mask(path: Path, volume: Volume, where: Where) -> np.ndarray:
    """Reads a NIfTI mask of a volume.

    Args:
      path: a NIfTI file that holds 0 and 1, or 0 and 255, and lies where the volume lies: size, spacing, origin
        and direction; for a volume of one slice, the size alone counts.
      volume: what it was drawn on.
      where: how an error names a file.

    Returns:
      (slices, H, W) uint8, 0 or 1, in the order of `volume.hounsfield`.

    Raises:
      SourceError: it can't be read, lies elsewhere, or holds other values.
    """
    oriented = load_itk().DICOMOrient(read_nifti(path, where).image, _ORIENTATION)
    mask = load_itk().GetArrayFromImage(oriented)[::-1]
    if mask.shape != volume.hounsfield.shape:
        raise SourceError(
            f"{where(path)}: is {_size(mask)} voxels in LPS order, but its volume is {_size(volume.hounsfield)}; use "
            "the mask drawn on this volume"
        )
    off = float(np.abs(_corners(oriented) - volume.corners).max())
    if len(mask) > 1 and off > min(volume.spacing) / 10:
        raise SourceError(
            f"{where(path)}: lies {off:.3g} mm away from its volume (origin, spacing or direction); save it with the "
            "volume's affine"
        )
    present = sorted(set(np.unique(mask).tolist()))
    if not (set(present) <= {0, 1} or set(present) <= {0, 255}):
        shown = ", ".join(f"{value:g}" for value in present[:8]) + (", ..." if len(present) > 8 else "")
        raise SourceError(
            f"{where(path)}: a mask holds 0 and 1, or 0 and 255, but this one holds {shown}; save the lesions as 1"
        )
    return (mask > 0).astype(np.uint8)


def orient_mask(mask: np.ndarray, volume: Volume) -> np.ndarray:
    """Turns a mask that was drawn on a file's own rows and columns.

    Args:
      mask: (rows, columns) as the file stores them.
      volume: of one slice.

    Returns:
      (1, H, W) in the order of `volume.hounsfield`.
    """
    itk = load_itk()
    image = itk.GetImageFromArray(mask[None])
    image.SetDirection(volume.stored_axes)
    return itk.GetArrayFromImage(itk.DICOMOrient(image, _ORIENTATION))[::-1]


def _hounsfield(image: Any, where: str) -> np.ndarray:
    """(slices, H, W) int32 from the apex down, after a light check: values of CT vary, and go below those of water."""
    values = load_itk().GetArrayViewFromImage(image)[::-1]
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise SourceError(f"{where}: holds values that are no number (NaN or infinite); save HU as 16-bit integers")
    if low >= 0:
        raise SourceError(
            f"{where}: its values go from {low:g} to {high:g}, and HU of air is -1000; subtract 1024 where it was added"
        )
    if not LEAST_RANGE <= high - low < MOST_RANGE:
        raise SourceError(f"{where}: its values go from {low:g} to {high:g}, which is no CT in HU; save it unscaled")
    return np.rint(values).astype(np.int32) if values.dtype.kind == "f" else values.astype(np.int32)


def _corners(image: Any) -> np.ndarray:
    last = np.array(image.GetSize()) - 1
    indices = [(0, 0, 0), *np.diag(last).tolist()]
    return np.array([image.TransformIndexToPhysicalPoint(index) for index in map(tuple, indices)])


def _size(array: np.ndarray) -> str:
    return "x".join(map(str, array.shape[::-1]))
