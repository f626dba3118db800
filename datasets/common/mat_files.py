"""Reading arrays of bytes from MATLAB v5 files, as `scipy.io.savemat` writes them, strictly and in bounded memory.

`scipy.io` believes the lengths that a file states: `whosmat` on a compressed file of 1 MB can take 2 GiB. Here the
file's end, or the shape that the caller expects, bounds whatever is read; nothing but numbers is ever made.

Source: MathWorks, MAT-File Format, "Level 5 MAT-file format".
"""

from __future__ import annotations

import dataclasses
import math
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from jcs_datasets.common.errors import SourceError

_FILE_HEADER = 128
_TAG = 8
_VARIABLE_HEADER = 1024  # bytes of a variable that surely hold its flags, dimensions, name and the values' tag
_MOST_VARIABLES = 64
_MOST_DIMENSIONS = 32
_SHOWN = 5
_INT8, _UINT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 2, 5, 6, 14, 15
_UINT8_CLASS = 9
_CLASSES = (
    *("unknown", "cell", "struct", "object", "char", "sparse", "double", "single", "int8", "uint8"),
    *("int16", "uint16", "int32", "uint32", "int64", "uint64", "function", "opaque"),
)
_LOGICAL, _COMPLEX = 0x02, 0x08
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_COPY_AGAIN = "copy it again from the source"
_SAVE_AS_V5 = "save it with scipy.io.savemat, or in MATLAB with -v7"


@dataclasses.dataclass(frozen=True)
class Variable:
    """A variable of a file, known from its header.

    Attributes:
      name: empty for what MATLAB stores of its own.
      shape: as stored.
      kind: MATLAB's class of it, or `logical` or `complex`.
      start: where its element begins in the file, behind the tag.
      length: bytes of the element in the file.
      compressed: whether the element is a zlib stream.
      values: where in the element, uncompressed, the values begin; 0 where the class isn't uint8.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    start: int
    length: int
    compressed: bool
    values: int


class _Element(NamedTuple):
    """A tag: type and bytes of what follows it, where that starts, and where the next element does."""

    kind: int
    length: int
    start: int
    next: int


class _DamagedError(Exception):
    """What a file says of itself doesn't hold together."""


def list_variables(path: Path, where: str) -> list[Variable]:
    """Names, shapes and classes of what a file holds, without reading the values.

    Args:
      path: a MATLAB v5 file (what MATLAB's `save` calls -v6 and -v7).
      where: how an error names the file, with the list line that asked for it.

    Returns:
      The variables in the file's order; all of them lie whole within the file.

    Raises:
      SourceError: missing, empty, another format, cut short or damaged.
    """
    try:
        if not path.is_file():
            raise SourceError(f"{where}: is not a file; put the features there")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            order = _byte_order(file.read(_FILE_HEADER), where)
            found: list[Variable] = []
            position = _FILE_HEADER
            while position < size and len(found) <= _MOST_VARIABLES:
                found.append(_variable(file, position, size, order, where))
                position = found[-1].start + found[-1].length
    except OSError as error:
        raise SourceError(f"{where}: can't be read ({error.strerror}); put the file there") from None
    except (_DamagedError, struct.error, zlib.error):
        raise SourceError(f"{where}: is damaged; {_COPY_AGAIN}") from None
    if len(found) > _MOST_VARIABLES:
        raise SourceError(f"{where}: holds more than {_MOST_VARIABLES} variables; use the release's own files")
    return found


def require_uint8(variables: Sequence[Variable], name: str, shape: tuple[int, ...], where: str) -> Variable:
    """The variable of that name, which must be uint8 and of that shape.

    Raises:
      SourceError: no such variable or two of them, another class, another shape.
    """
    named = [variable for variable in variables if variable.name == name]
    if len(named) != 1:
        count = "no variable" if not named else "more than one variable"
        raise SourceError(f"{where}: has {count} '{name}': {describe(variables)}; use the release's own files")
    if named[0].kind != "uint8":
        raise SourceError(
            f"{where}: '{name}' is {named[0].kind}, not uint8; use the release's own files, which store value * 20"
        )
    if named[0].shape != shape:
        raise SourceError(
            f"{where}: '{name}' is {_times(named[0].shape)}, not {_times(shape)}; choose the --config of this edition"
        )
    return named[0]


def read_uint8(path: Path, variable: Variable, where: str) -> np.ndarray:
    """The values of a uint8 variable.

    Args:
      path: the file in which `list_variables` found it.
      variable: it must be uint8 and its shape one that the caller expects, since that says how much is read.
      where: how an error names the file, with the list line that asked for it.

    Returns:
      uint8 of the variable's shape, read-only, the first index running fastest in memory.

    Raises:
      SourceError: the values are damaged or cut short.
    """
    count = math.prod(variable.shape)
    try:
        with path.open("rb") as file:
            if variable.compressed:
                file.seek(variable.start)
                element = _inflate(file, variable.length, variable.values + count)
                data = memoryview(element)[variable.values : variable.values + count]
            else:
                file.seek(variable.start + variable.values)
                data = memoryview(file.read(count))
    except OSError as error:
        raise SourceError(f"{where}: can't be read ({error.strerror}); put the file there") from None
    except (_DamagedError, zlib.error):
        raise SourceError(f"{where}: the values of '{variable.name}' are damaged; {_COPY_AGAIN}") from None
    if len(data) != count:
        raise SourceError(f"{where}: is cut short; {_COPY_AGAIN}")
    return np.frombuffer(data, np.uint8).reshape(variable.shape, order="F")


def describe(variables: Sequence[Variable]) -> str:
    """What a file holds, in words for an error."""
    shown = [f"{variable.name!a} ({_times(variable.shape)} {variable.kind})" for variable in variables[:_SHOWN]]
    more = [f"{len(variables) - _SHOWN} more"] if len(variables) > _SHOWN else []
    return f"it holds {', '.join(shown + more)}" if variables else "it holds none"


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _byte_order(header: bytes, where: str) -> str:
    """The prefix for `struct`, from the file's first 128 bytes, which must be those of a v5 file."""
    if not header:
        raise SourceError(f"{where}: is empty (0 bytes); {_COPY_AGAIN}")
    if header.startswith((_HDF5_SIGNATURE, b"MATLAB 7.3")):
        raise SourceError(f"{where}: is a MATLAB 7.3 file (HDF5); {_SAVE_AS_V5}")
    order = {b"IM": "<", b"MI": ">"}.get(header[126:])
    if order is None or struct.unpack_from(f"{order}H", header, 124)[0] != 0x0100:
        cut = header.startswith(b"MATLAB 5.0") and len(header) < _FILE_HEADER
        problem = f"is cut short; {_COPY_AGAIN}" if cut else f"is not a MATLAB v5 file; {_SAVE_AS_V5}"
        raise SourceError(f"{where}: {problem}")
    return order


def _variable(file: BinaryIO, position: int, size: int, order: str, where: str) -> Variable:
    """The variable whose tag is at a position of a file of `size` bytes."""
    file.seek(position)
    tag = file.read(_TAG)
    if len(tag) < _TAG:
        raise SourceError(f"{where}: is cut short; {_COPY_AGAIN}")
    kind, length = struct.unpack(f"{order}II", tag)
    start = position + _TAG
    if kind not in (_MATRIX, _COMPRESSED) or not length:
        raise _DamagedError
    if start + length > size:
        raise SourceError(f"{where}: is cut short: {size} bytes of at least {start + length}; {_COPY_AGAIN}")
    if kind == _COMPRESSED:
        # No compressor writes four times the bytes it is given, so this input is enough for the header.
        inflated = zlib.decompressobj().decompress(file.read(min(length, 4 * _VARIABLE_HEADER)), _VARIABLE_HEADER)
        element = _element(inflated, 0, order)
        head, offset, matrix_length = inflated[element.start :], element.start, element.length
        kind = element.kind
    else:
        head, offset, matrix_length = file.read(min(length, _VARIABLE_HEADER)), 0, length
    if kind != _MATRIX:
        raise _DamagedError
    name, shape, class_name, values = _header(head, matrix_length, order)
    return Variable(name, shape, class_name, start, length, bool(offset), values and values + offset)


def _header(head: bytes, length: int, order: str) -> tuple[str, tuple[int, ...], str, int]:
    """Name, shape, class and, for uint8, the values' offset, from the first bytes of a matrix of `length` bytes."""
    flags = _element(head, 0, order)
    if (flags.kind, flags.length) != (_UINT32, 8):
        raise _DamagedError
    bits = struct.unpack_from(f"{order}I", head, flags.start)[0]
    class_number, marks = bits & 0xFF, bits >> 8 & 0xFF
    if class_number >= len(_CLASSES):
        raise _DamagedError
    class_name = "logical" if marks & _LOGICAL else "complex" if marks & _COMPLEX else _CLASSES[class_number]
    if _CLASSES[class_number] == "opaque":
        return "", (), class_name, 0  # objects of MATLAB's classes have no dimensions
    dimensions = _element(head, flags.next, order)
    count = dimensions.length // 4
    if dimensions.kind != _INT32 or dimensions.length % 4 or not 2 <= count <= _MOST_DIMENSIONS:
        raise _DamagedError
    shape = struct.unpack_from(f"{order}{count}i", head, dimensions.start)
    named = _element(head, dimensions.next, order)
    if named.kind != _INT8 or named.start + named.length > len(head) or min(shape) < 0:
        raise _DamagedError
    name = head[named.start : named.start + named.length].decode("latin-1")
    if class_name != "uint8":
        return name, shape, class_name, 0
    values = _element(head, named.next, order)
    if (values.kind, values.length) != (_UINT8, math.prod(shape)) or values.start + values.length > length:
        raise _DamagedError
    return name, shape, class_name, values.start


def _element(data: bytes, position: int, order: str) -> _Element:
    """The tag at a position: of 8 bytes, or of 4 with up to 4 bytes of data behind it."""
    kind, length = struct.unpack_from(f"{order}II", data, position)
    if kind >> 16:
        small = _Element(kind & 0xFFFF, kind >> 16, position + 4, position + _TAG)
        if small.length > 4:
            raise _DamagedError
        return small
    start = position + _TAG
    return _Element(kind, length, start, start + length + -length % _TAG)


def _inflate(file: BinaryIO, length: int, least: int) -> bytes:
    """What a zlib stream of `length` bytes holds: so many bytes, a padding of 7 at most, and a right checksum."""
    if length > 2 * least + _VARIABLE_HEADER:
        raise _DamagedError
    stream = zlib.decompressobj()
    inflated = stream.decompress(file.read(length), least + _TAG)
    if not stream.eof or len(inflated) < least:
        raise _DamagedError
    return inflated
