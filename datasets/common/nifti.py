"""NIfTI volumes: checked by their header and length first, because ITK reads one that is cut short without a word."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.itk import ItkVolume, Where, load_itk, quiet_stderr
from jcs_datasets.common.spacing import is_spacing

HEADER_SIZE = 540  # of NIfTI-2; NIfTI-1 has 348
MOST_VOXELS = 2**30
_GZIP = b"\x1f\x8b"
_PIECE = 1 << 20
_FLOAT_TYPES = (16, 64)
_MILLIMETRES = {1: 1e3, 3: 1e-3}  # code of metres and micrometres; any other is read as millimetres
# Code of a number type -> its bits.
_NUMBER_TYPES = {2: 8, 4: 16, 8: 32, 16: 32, 64: 64, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64}
_GZIP_ERRORS = (EOFError, OSError, zlib.error)
_AGAIN = "copy it again from the source"


class _Header(NamedTuple):
    """Byte order; rank and sides; code and bits of the voxel type; where voxels start; qform and sform codes.

    Last the mm from voxel to voxel along each axis.
    """

    order: str
    dims: Sequence[int]
    datatype: int
    bits: int
    offset: int
    forms: tuple[int, int]
    steps: tuple[float, ...]


def is_nifti(path: Path) -> bool:
    """Whether a file's content is a NIfTI volume of one file, gzipped or not."""
    return _parse(_head(path)) is not None


def read_nifti(path: Path, where: Where) -> ItkVolume:
    """Reads a NIfTI volume.

    Args:
      path: a `.nii` or `.nii.gz` file.
      where: how an error names it.

    Returns:
      Three dimensions and one number a voxel; measured if the header's steps are lengths.

    Raises:
      SourceError: not a NIfTI volume, cut short, not three-dimensional, coloured, without an orientation, or too
        large.
    """
    header = _parse(_head(path))
    if header is None:
        raise SourceError(f"{where(path)}: is not a NIfTI volume of one file; convert it to .nii.gz")
    _check_header(header, path, where)
    _check_voxels(header, path, where)
    itk = load_itk()
    try:
        with quiet_stderr():
            image = itk.ReadImage(str(path), imageIO="NiftiImageIO")
        if not np.isfinite([*image.GetDirection(), *image.GetOrigin(), *image.GetSpacing()]).all():
            raise RuntimeError
    except RuntimeError:
        raise SourceError(
            f"{where(path)}: its NIfTI header can't be followed (no such orientation or scale); save it again with a "
            "plain affine"
        ) from None
    measured = all(map(is_spacing, header.steps))
    if measured:
        image.SetSpacing(header.steps)
    return ItkVolume(image, measured)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(HEADER_SIZE)
    if not start.startswith(_GZIP):
        return start
    try:
        with gzip.open(path) as file:
            return file.read(HEADER_SIZE)
    except _GZIP_ERRORS:
        return b""


def _parse(head: bytes) -> _Header | None:
    for order in "<>":
        if len(head) >= 348 and struct.unpack_from(f"{order}i", head) == (348,) and head[344:348] == b"n+1\0":
            dims = struct.unpack_from(f"{order}8h", head, 40)
            datatype, bits = struct.unpack_from(f"{order}2h", head, 70)
            (offset,) = struct.unpack_from(f"{order}f", head, 108)
            forms = struct.unpack_from(f"{order}2h", head, 252)
            grid, affine = struct.unpack_from(f"{order}3f", head, 80), struct.unpack_from(f"{order}12f", head, 280)
            steps = _steps(grid, affine if forms[1] > 0 else (), head[123])
            return _Header(order, dims, datatype, bits, int(offset) if math.isfinite(offset) else -1, forms, steps)
        if len(head) >= HEADER_SIZE and struct.unpack_from(f"{order}i", head) == (540,) and head[4:7] == b"n+2":
            datatype, bits, *dims = struct.unpack_from(f"{order}2h8q", head, 12)
            (offset,) = struct.unpack_from(f"{order}q", head, 168)
            forms = struct.unpack_from(f"{order}2i", head, 344)
            grid, affine = struct.unpack_from(f"{order}3d", head, 112), struct.unpack_from(f"{order}12d", head, 400)
            (units,) = struct.unpack_from(f"{order}i", head, 500)
            steps = _steps(grid, affine if forms[1] > 0 else (), units)
            return _Header(order, dims, datatype, bits, offset, forms, steps)
    return None


def _steps(grid: Sequence[float], affine: Sequence[float], units: int) -> tuple[float, ...]:
    """Millimetres from voxel to voxel along each axis: of the affine where there is one, as most programs read it.

    ITK goes by the grid alone, and takes a damaged one for 1 mm without a word.
    """
    lengths: Sequence[float] = [math.hypot(*affine[axis::4]) for axis in range(3)]
    if not all(0 < length < math.inf for length in lengths):
        lengths = grid
    return tuple(length * _MILLIMETRES.get(units & 7, 1.0) for length in lengths)


def _check_header(header: _Header, path: Path, where: Where) -> None:
    rank, sides = header.dims[0], header.dims[1 : header.dims[0] + 1]
    if not 3 <= rank <= 7 or any(side != 1 for side in sides[3:]):
        raise SourceError(
            f"{where(path)}: has {rank} dimensions {tuple(sides)}; save one three-dimensional volume a file"
        )
    if min(sides) < 1 or math.prod(sides) > MOST_VOXELS:
        size = "x".join(map(str, sides[:3]))
        raise SourceError(f"{where(path)}: its header says {size} voxels, which is no CT volume; {_AGAIN}")
    if _NUMBER_TYPES.get(header.datatype) != header.bits or header.offset < 0:
        raise SourceError(f"{where(path)}: holds no plain numbers (colour, or damaged); save HU as 16-bit integers")
    if header.forms == (0, 0):
        raise SourceError(
            f"{where(path)}: says nothing of its orientation (qform and sform code 0), so its apex is unknown; save it "
            "with its affine"
        )


def _check_voxels(header: _Header, path: Path, where: Where) -> None:
    """Reads the voxels piece by piece: as many as the header says, and none of which ITK would make a zero."""
    width = header.bits // 8
    needed = math.prod(header.dims[1 : header.dims[0] + 1]) * width
    finite = True
    try:
        with path.open("rb") as plain, gzip.open(path) if plain.read(2) == _GZIP else path.open("rb") as file:
            file.seek(header.offset)
            # One piece more than needed: the checksum of a gzipped file lies behind the last.
            while needed > -_PIECE and (piece := file.read(_PIECE)):
                if header.datatype in _FLOAT_TYPES:
                    values = np.frombuffer(piece[: max(needed, 0) // width * width], f"{header.order}f{width}")
                    finite = finite and bool(np.isfinite(values).all())
                needed -= len(piece)
    except _GZIP_ERRORS:
        needed = 1
    if needed > 0:
        raise SourceError(f"{where(path)}: is damaged or cut short; {_AGAIN}")
    if not finite:
        raise SourceError(
            f"{where(path)}: holds values that are no number (NaN or infinite); save HU as 16-bit integers"
        )
