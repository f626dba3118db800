"""The lengths in a DICOM file, checked before GDCM believes them: it sets aside what a damaged one asks for."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import NamedTuple

_PREAMBLE, _MAGIC = 128, b"DICM"
# Value representations with a length of 32 bits, and of 16.
_LONG_FORMS = set(b"OB OD OF OL OV OW SQ UC UN UR UT SV UV".split())
_SHORT_FORMS = set(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END, _PIXELS = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD), (0x7FE0, 0x0010)
_TRANSFER_SYNTAX = (0x0002, 0x0010)
_IMPLICIT, _DEFLATED, _BIG_ENDIAN = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.2"
_DEEPEST = 32


class _Level(NamedTuple):
    """Where the walk is: in elements, in a sequence of items, or in the fragments of compressed pixels."""

    holds: str
    end: int
    defined: bool
    explicit: bool


class _Element(NamedTuple):
    tag: tuple[int, int]
    form: bytes
    start: int
    length: int


class _DamagedError(Exception):
    """A length that leads out of what holds it, or no element at all."""


def is_whole(path: Path) -> bool:
    """Whether every element of a DICOM file, also in its sequences, ends within what holds it.

    Args:
      path: a DICOM file with its preamble; deflated ones are not followed.

    Returns:
      False for a file that is cut short, damaged or no DICOM file.
    """
    with path.open("rb") as file:
        if path.stat().st_size < _PREAMBLE + len(_MAGIC):
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return data[_PREAMBLE : _PREAMBLE + len(_MAGIC)] == _MAGIC and _walk(data)
            except _DamagedError:
                return False


def _walk(data: mmap.mmap) -> bool:
    position, syntax = _read_file_meta(data)
    if syntax == _DEFLATED:
        return False
    order = ">" if syntax == _BIG_ENDIAN else "<"
    levels = [_Level("elements", len(data), True, syntax != _IMPLICIT)]
    while levels:
        level = levels[-1]
        # A few bytes behind the last element are padding.
        if position == level.end or (len(levels) == 1 and level.end - position < 8):
            if not level.defined:
                raise _DamagedError
            levels.pop()
            continue
        element = _read_element(data, position, level, order)
        position = element.start
        if element.tag in (_ITEM_END, _SEQUENCE_END):
            if level.defined:
                raise _DamagedError
            levels.pop()
        elif (holds := _held_by(data, element, level)) and len(levels) < _DEEPEST:
            defined = element.length != _UNDEFINED
            end = element.start + element.length if defined else level.end
            explicit = level.explicit and (element.form != b"UN" or defined)
            levels.append(_Level(holds, end, defined, explicit))
        elif element.length == _UNDEFINED:
            raise _DamagedError
        else:
            position += element.length
    return True


def _read_file_meta(data: mmap.mmap) -> tuple[int, bytes]:
    """Where the data set starts, and its transfer syntax."""
    position, syntax = _PREAMBLE + len(_MAGIC), b""
    level = _Level("elements", len(data), True, True)
    while data[position : position + 2] == b"\x02\0":
        element = _read_element(data, position, level, "<")
        position = element.start + element.length
        if element.tag == _TRANSFER_SYNTAX:
            syntax = data[element.start : position].rstrip(b"\0 ")
    return position, syntax


def _read_element(data: mmap.mmap, position: int, level: _Level, order: str) -> _Element:
    """An element's tag and length.

    Raises:
      _DamagedError: it is none, or it reaches out of its level.
    """
    try:
        group, number = struct.unpack_from(f"{order}2H", data, position)
        form = b"" if group == _ITEM[0] or not level.explicit else data[position + 4 : position + 6]
        if form in _SHORT_FORMS:
            (length,) = struct.unpack_from(f"{order}H", data, position + 6)
        else:
            (length,) = struct.unpack_from(f"{order}I", data, position + (8 if form else 4))
    except struct.error:
        raise _DamagedError from None
    start = position + (12 if form in _LONG_FORMS else 8)
    end = start + (length if length != _UNDEFINED else 0)
    marks = (_ITEM_END,) if level.holds == "elements" else (_ITEM, _SEQUENCE_END)
    fits = (group, number) in marks or (level.holds == "elements" and group != _ITEM[0])
    if end > level.end or not fits or (form and form not in _SHORT_FORMS | _LONG_FORMS):
        raise _DamagedError
    return _Element((group, number), form, start, length)


def _held_by(data: mmap.mmap, element: _Element, level: _Level) -> str:
    """What is to be walked inside an element; empty for a plain value."""
    if element.tag == _ITEM:
        return "elements" if level.holds == "sequence" else ""
    if element.length == _UNDEFINED:
        return "fragments" if element.tag == _PIXELS else "sequence"
    items = data[element.start : element.start + 4] in (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
    return "sequence" if element.length and (element.form == b"SQ" or (not element.form and items)) else ""
