"""One slice as a builder hands it to TFDS."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from jcs_datasets.common.contract import UNKNOWN, gray8_png, hu16_png

ABSENT_MASK = np.zeros((1, 1), np.uint8)
_EIGHT_CONNECTED = np.ones((3, 3))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of a slice beside its values; the defaults mean unknown.

    Attributes:
      name: unique in the data set.
      label: 0 uninfected, 1 infected.
      patient: groups slices of one patient.
      slice_index: counted from the apex of the lungs.
      source: site, paper or collection that the slice comes from.
      file_type: `png`, `jpeg`, `dicom`, ...: the form it was read from.
      lesion_count: as annotated by the source.
      lesion_area: as annotated by the source.
      lesion_location: as annotated by the source.
      spacing: mm between the centres of neighbouring rows and of neighbouring columns; None if unknown.
    """

    name: str
    label: int = UNKNOWN
    patient: str = ""
    slice_index: int = UNKNOWN
    source: str = ""
    file_type: str = ""
    lesion_count: int = UNKNOWN
    lesion_area: float = UNKNOWN
    lesion_location: str = ""
    spacing: tuple[float, float] | None = None


def gray8_example(
    record: Record, image: np.ndarray, mask: np.ndarray | None = None, lungs: np.ndarray | None = None
) -> dict[str, Any]:
    """An example of a `gray8` data set.

    Args:
      record: what is known of it.
      image: (H, W) uint8, 0..255.
      mask: (H, W) 0/1; None where nobody drew one.
      lungs: (H, W) 0/1; None where they are unknown.
    """
    return {"image": gray8_png(image), "lungs": _mask(lungs), **_told(record, {"image": image}, image.shape, mask)}


def hu16_example(
    record: Record, hounsfield: np.ndarray, mask: np.ndarray | None = None, lungs: np.ndarray | None = None
) -> dict[str, Any]:
    """An example of a `hu16` data set: (H, W) integers in HU, and masks as for `gray8_example`."""
    values = np.asarray(hounsfield, np.int32)
    return {
        "image": hu16_png(values),
        "lungs": _mask(lungs),
        **_told(record, {"image": values}, values.shape, mask),
    }


def stage_example(record: Record, features: Mapping[str, np.ndarray], mask: np.ndarray | None = None) -> dict[str, Any]:
    """An example of a `features` data set.

    Args:
      record: what is known of it.
      features: `vgg_features` and `res2net_features`, each (S, S, 64) uint8, as far as the data set has them.
      mask: (H, W) 0/1, of the slice's own size; None where nobody drew one.
    """
    shape = mask.shape if mask is not None else next(iter(features.values())).shape[:2]
    return {**features, **_told(record, features, shape, mask)}


def is_blank(array: np.ndarray) -> bool:
    """Whether all values are the same: such slices are alike without being of one patient."""
    return bool(array.min() == array.max())


def pixel_digest(array: np.ndarray) -> str:
    """SHA-256 of an array's shape and values: the same for two files that hold the same picture."""
    array = np.ascontiguousarray(array)
    return hashlib.sha256(repr((array.shape, array.dtype.str)).encode() + array.tobytes()).hexdigest()


def _told(
    record: Record, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...], mask: np.ndarray | None
) -> dict[str, Any]:
    """Mask and scalars; where the source does not annotate lesions, they are counted on the mask."""
    told = dataclasses.asdict(record)
    told["row_spacing"], told["column_spacing"] = told.pop("spacing") or (UNKNOWN, UNKNOWN)
    if mask is not None and record.lesion_count == UNKNOWN:
        told["lesion_count"] = int(ndimage.label(mask, structure=_EIGHT_CONNECTED)[1])
    if mask is not None and record.lesion_area == UNKNOWN:
        told["lesion_area"] = float(np.count_nonzero(mask))
    digests = [pixel_digest(arrays[name]) for name in sorted(arrays)]
    told["digest"] = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    if all(map(is_blank, arrays.values())):
        told["digest"] = ""
    return {**told, "height": shape[0], "width": shape[1], "mask": _mask(mask)}


def _mask(mask: np.ndarray | None) -> bytes:
    return gray8_png(ABSENT_MASK if mask is None else mask)
