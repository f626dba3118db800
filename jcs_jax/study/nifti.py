"""A CT study from one NIfTI file."""

from __future__ import annotations

import contextlib
import logging
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from jcs_jax.errors import InputError
from jcs_jax.study.hounsfield import check_hounsfield
from jcs_jax.study.volume import LEAST_SIDE, LPS_FROM_RAS, MOST_VOXELS, Orientation, Volume, clip_hounsfield

NO_ORIENTATION = "the file does not say how it lies in the patient: left and right, up and down are taken on trust"
_MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
# What nibabel and zlib raise on damaged files.
_ERRORS = (
    ImageFileError,
    HeaderDataError,
    WrapStructError,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    OverflowError,
    zlib.error,
)


def read_nifti(path: Path) -> Volume:
    """Reads CT in HU.

    Args:
      path: a `.nii` or `.nii.gz` file.

    Returns:
      The volume, its axes brought nearest to the patient's.

    Raises:
      InputError: the file can't be read, isn't one volume of axial slices of 32 pixels a side, is larger than 2^29
        voxels, or holds no HU.
    """
    try:
        with _quiet_nibabel():
            image: Any = nibabel.nifti1.Nifti1Image.from_filename(path)
            values = _values(image, path)
    except InputError:
        raise
    except _ERRORS as error:
        raise InputError(f"{path}: is no readable NIfTI file ({_line(error)}); export it again") from error
    affine, notes = _affine(image)
    try:
        orientation = Orientation.nearest(affine)
    except ValueError as error:
        raise InputError(f"{path}: {error}; save it with spacing and directions") from error
    turned = orientation.apply(values)
    if min(turned.shape[1:]) < LEAST_SIDE:
        raise InputError(
            f"{path}: its axial slices are {turned.shape[2]} x {turned.shape[1]} pixels, too small for CT (at least "
            f"{LEAST_SIDE} a side); give the series at full size"
        )
    check_hounsfield(turned, str(path))
    affine = orientation.apply_affine(affine, values.shape)
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    step = abs(float(affine[:3, 0] @ normal / np.linalg.norm(normal)))
    return Volume(
        np.ascontiguousarray(clip_hounsfield(turned)), affine, np.arange(len(turned)) * step, orientation, tuple(notes)
    )


def _values(image: Any, path: Path) -> np.ndarray:
    """The file's own array, of three axes, scaled."""
    shape = tuple(image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise InputError(f"{path}: holds an array of {len(shape)} axes; give one CT volume of three")
    if image.get_data_dtype().fields is not None or image.get_data_dtype().kind == "c":
        raise InputError(f"{path}: holds colours or complex numbers; give CT in HU")
    if int(np.prod(shape, dtype=np.int64)) > MOST_VOXELS:
        raise InputError(f"{path}: {' x '.join(map(str, shape))} voxels are too many for one CT series; crop the chest")
    stored = image.dataobj
    scaled = np.asanyarray(stored) if stored.slope == 1 and stored.inter == 0 else stored.get_scaled(np.float32)
    return np.asarray(scaled).reshape(shape)


def _affine(image: Any) -> tuple[np.ndarray, list[str]]:
    """From indices to LPS millimetres, and what is doubtful about it."""
    header = image.header
    scale = np.diag([*[_MILLIMETRES[header.get_xyzt_units()[0]]] * 3, 1.0])
    affine = LPS_FROM_RAS @ scale @ np.asarray(image.affine, float)
    told = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    return affine, [] if told else [NO_ORIENTATION]


@contextlib.contextmanager
def _quiet_nibabel() -> Iterator[None]:
    """What it logs beside raising an error stays off the terminal."""
    logger = logging.getLogger("nibabel.global")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
