"""Writes PyTorch's two file formats by hand, well-formed or hostile, without PyTorch."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

FORMATS = ("zip", "legacy")
LEGACY_START = (
    b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number
    b"\x80\x02M\xe9\x03."  # version 1001
    b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s."
)


class Name(NamedTuple):
    """A global: opcode GLOBAL."""

    module: str
    name: str


class Call(NamedTuple):
    """function(*arguments): opcode REDUCE."""

    function: object
    arguments: tuple


class State(NamedTuple):
    """Attributes set on an object: opcode BUILD."""

    target: object
    state: object


class Persistent(NamedTuple):
    """What persistent_load is asked for: opcode BINPERSID."""

    identity: object


class Opcodes(NamedTuple):
    """Opcodes as they are."""

    code: bytes


ORDERED_DICT = Call(Name("collections", "OrderedDict"), ())


def encode(node: object) -> bytes:  # noqa: PLR0912 (one branch a type)
    """Opcodes that put the node on the stack."""
    match node:
        case Name(module, name):
            return f"c{module}\n{name}\n".encode()
        case Call(function, arguments):
            return encode(function) + encode(arguments) + b"R"
        case State(target, state):
            return encode(target) + encode(state) + b"b"
        case Persistent(identity):
            return encode(identity) + b"Q"
        case Opcodes(code):
            return code
        case None:
            return b"N"
        case bool():
            return b"\x88" if node else b"\x89"
        case int():
            data = node.to_bytes(node.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(data)]) + data
        case float():
            return b"G" + struct.pack(">d", node)
        case str():
            data = node.encode()
            return b"X" + struct.pack("<I", len(data)) + data
        case tuple():
            return b"(" + b"".join(map(encode, node)) + b"t"
        case list():
            return b"](" + b"".join(map(encode, node)) + b"e"
        case dict():
            items = b"".join(encode(key) + encode(value) for key, value in node.items())
            return encode(ORDERED_DICT) + b"(" + items + b"u"
    raise TypeError(type(node))


def dumps(node: object) -> bytes:
    return b"\x80\x02" + encode(node) + b"."


def storage(key: str, kind: str, numel: object, *, view: object = None, legacy: bool = False) -> Persistent:
    identity = ("storage", Name("torch", kind), key, "cpu", numel)
    return Persistent((*identity, view) if legacy else identity)


def tensor(
    held: object, size: object, stride: object, *, offset: object = 0, function: str = "_rebuild_tensor_v2"
) -> Call:
    arguments = (held, offset, size, stride)
    extra = () if function == "_rebuild_tensor" else (False, ORDERED_DICT)
    return Call(Name("torch._utils", function), arguments + extra)


def vector(layout: str, *, key: str = "0", numel: int = 4) -> Call:
    """A float32 vector that fills its storage."""
    return tensor(storage(key, "FloatStorage", numel, legacy=layout == "legacy"), (numel,), (1,))


def write(
    path: Path,
    layout: str,
    value: object,
    storages: dict[str, np.ndarray] | None = None,
    *,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """Writes one file; value is a node or the bytes of a pickle, storages defaults to "0" with 0, 1, 2, 3."""
    pickled = value if isinstance(value, bytes) else dumps(value)
    if storages is None:
        storages = {"0": np.arange(4, dtype=np.float32)}
    if layout == "zip":
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("archive/data.pkl", pickled)
            archive.writestr("archive/byteorder", "little")
            for key, array in storages.items():
                archive.writestr(f"archive/data/{key}", array.tobytes())
    else:
        raw = b"".join(struct.pack("<q", array.size) + array.tobytes() for array in storages.values())
        path.write_bytes(LEGACY_START + pickled + dumps(list(storages)) + raw)
    return path
