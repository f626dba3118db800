"""Reading what a row names: its slices and masks, in the encoding that is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jcs_datasets.common.contract import UNKNOWN
from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.pictures import read_mask, read_picture
from jcs_datasets.common.records import Record, gray8_example, hu16_example, is_blank, pixel_digest
from jcs_datasets.common.volumes import Volume, orient_mask, read_volume, read_volume_mask
from jcs_datasets.ct_manifest.kinds import file_kind
from jcs_datasets.ct_manifest.rows import Row

SliceEncoding = Literal["gray8", "hu16"]

_NIFTI_SUFFIXES = (".nii.gz", ".nii")


class _Slices(NamedTuple):
    """What a row names: (H, W) arrays from the apex down, masks of the same sizes or None."""

    images: Sequence[np.ndarray]
    masks: Sequence[np.ndarray] | None
    file_type: str
    coloured: bool = False
    counted: bool = False  # the slices of a volume, with an index each
    spacing: tuple[float, float] | None = None  # mm between rows and between columns


@dataclasses.dataclass(frozen=True)
class CheckedRow:
    """A row that can be read to its end.

    Attributes:
      row: as it was listed.
      patient: the listed one; for a volume without, a name made of its path; else empty.
      slices: how many.
      digests: of the slices, as `pixel_digest`.
      telling: those of slices that show something: a blank one is the same in everybody.
      coloured: it was converted to grey.
    """

    row: Row
    patient: str
    slices: int
    digests: tuple[str, ...]
    telling: frozenset[str]
    coloured: bool


def check_row(row: Row, encoding: SliceEncoding) -> CheckedRow:
    """Reads a row to its end, and keeps no pixel of it.

    Args:
      row: to read.
      encoding: `gray8` for pictures, `hu16` for DICOM and NIfTI.

    Raises:
      SourceError: the first thing that is wrong with its files; a picture where HU are wanted, or HU where
        pictures are.
    """
    try:
        row.name.encode()
    except UnicodeEncodeError:
        raise SourceError(f"{row.name!r}: its name is not UTF-8; rename it") from None
    slices = _read(row, encoding)
    digests = tuple(pixel_digest(image) for image in slices.images)
    telling = frozenset(digest for digest, image in zip(digests, slices.images, strict=True) if not is_blank(image))
    patient = row.patient or (_path_name(row.name) if slices.counted else "")
    return CheckedRow(row, patient, len(digests), digests, telling, slices.coloured)


def row_examples(checked: CheckedRow, encoding: SliceEncoding) -> Iterator[tuple[str, dict[str, Any]]]:
    """The examples of a row, with their names: for slices of a volume, the path and the index from the apex."""
    row, slices = checked.row, _read(checked.row, encoding)
    make = gray8_example if encoding == "gray8" else hu16_example
    digits = max(3, len(str(len(slices.images) - 1)))
    for index, image in enumerate(slices.images):
        record = Record(
            name=f"{row.name}#{index:0{digits}d}" if slices.counted else row.name,
            label=row.label,
            patient=checked.patient,
            slice_index=index if slices.counted else UNKNOWN,
            source=row.source,
            file_type=slices.file_type,
            spacing=slices.spacing,
        )
        yield record.name, make(record, image, slices.masks[index] if slices.masks is not None else None)


def _read(row: Row, encoding: SliceEncoding) -> _Slices:
    kind = file_kind(row.image, row.where)
    if encoding == "gray8":
        if kind != "picture":
            held = "is a folder" if kind == "series" else f"is a {kind.upper() if kind == 'dicom' else 'NIfTI'} file"
            raise SourceError(f"{row.where(row.image)}: {held}, not a picture; build HU with --config hounsfield")
        return _read_picture(row)
    if kind == "picture":
        raise SourceError(f"{row.where(row.image)}: is a picture, without HU; build it with --config pictures")
    if row.spacing:
        raise SourceError(
            f"{row.where(row.image)}: the spacing of DICOM and NIfTI is read from their headers; leave row_spacing and "
            "column_spacing empty"
        )
    volume = read_volume(row.image, kind, row.where)
    masks = _read_volume_mask(row, row.mask, volume, kind) if row.mask else None
    file_type = "nifti" if kind == "nifti" else "dicom"
    return _Slices(volume.hounsfield, masks, file_type, counted=kind != "dicom", spacing=volume.pixel_spacing)


def _read_picture(row: Row) -> _Slices:
    picture = read_picture(row.image, row.where(row.image))
    if row.mask is None:
        return _Slices([picture.gray], None, picture.file_type, picture.coloured, spacing=row.spacing)
    mask = read_mask(row.mask, row.where(row.mask))
    _check_same_size(mask.shape, picture.gray.shape, row)
    return _Slices([picture.gray], [mask], picture.file_type, picture.coloured, spacing=row.spacing)


def _read_volume_mask(row: Row, mask: Path, volume: Volume, kind: str) -> np.ndarray:
    mask_kind = file_kind(mask, row.where)
    if mask_kind == "nifti":
        return read_volume_mask(mask, volume, row.where)
    if mask_kind != "picture" or kind != "dicom":
        wanted = "a picture or a NIfTI file" if kind == "dicom" else "a NIfTI file"
        raise SourceError(f"{row.where(mask)}: the mask of such an image is {wanted}; convert it")
    oriented = orient_mask(read_mask(mask, row.where(mask)), volume)
    _check_same_size(oriented.shape[1:], volume.hounsfield.shape[1:], row)
    return oriented


def _check_same_size(mask: tuple[int, ...], image: tuple[int, ...], row: Row) -> None:
    if mask != image:
        raise SourceError(
            f"{row.where(row.mask or row.image)}: is {mask[1]}x{mask[0]} pixels, but its slice {row.name} is "
            f"{image[1]}x{image[0]}; use the mask drawn on this slice"
        )


def _path_name(name: str) -> str:
    """The path of a volume without the suffix: two volumes of one file name in two folders are two patients."""
    for suffix in _NIFTI_SUFFIXES:
        name = name.removesuffix(suffix)
    return name
