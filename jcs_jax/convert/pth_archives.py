"""The two layouts of PyTorch's files: where the pickle lies and where each storage's bytes lie.

Both readers check every length against the bytes that are there before they read or allocate.

Source: written from the files PyTorch makes: the zip of 1.6 and later holds `NAME/data.pkl`,
`NAME/data/KEY` (stored, not compressed) and `NAME/byteorder`; the older format is five pickles (magic number,
version, facts about the machine, the object, the storages' keys), then for each key an int64 count and the elements.
"""

from __future__ import annotations

import dataclasses
import io
import os
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from jcs_jax.convert import restricted_pickle
from jcs_jax.convert.restricted_pickle import MAX_PICKLE_BYTES, shorten
from jcs_jax.convert.torch_objects import StorageRef
from jcs_jax.errors import InputError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_RESAVE = "save the state dict again with torch.save(model.state_dict(), ...)"


@dataclasses.dataclass(frozen=True)
class Contents:
    """An opened PyTorch file.

    Attributes:
      value: the saved object, its tensors as TensorRef.
      read_storage: reads one whole storage; valid while the file is open.
      byte_order: "<" or ">", NumPy's sign for the storages' byte order.
    """

    value: object
    read_storage: Callable[[StorageRef], bytes]
    byte_order: str


class BoundedReader(io.BufferedReader):
    """A file that refuses single reads over `limit` bytes while there is a limit.

    zipfile reads an archive's list of members at once and makes an object of each, about twenty times its size.
    """

    limit: int | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        if self.limit is not None and size is not None and size > self.limit:
            raise zipfile.BadZipFile(f"a list of members of {size} bytes")
        return super().read(size)


def read_zip(path: Path, file: BoundedReader) -> Contents:
    """Opens the zip format.

    Args:
      path: the file's name, for messages.
      file: the file, at its start.

    Returns:
      The object and the way to its storages.

    Raises:
      InputError: the zip is damaged, compressed, encrypted or not PyTorch's, or its pickle is refused.
    """
    try:
        file.limit = MAX_PICKLE_BYTES
        archive = zipfile.ZipFile(file)
        file.limit = None
    except _ZIP_ERRORS as error:
        raise _damaged_zip(path, error) from error
    members = _ZipMembers(path, archive, os.fstat(file.fileno()).st_size)
    pickled = members.read("data.pkl", at_most=MAX_PICKLE_BYTES)
    value, _ = restricted_pickle.load(io.BytesIO(pickled), path)
    order = members.read("byteorder", at_most=16) if members.has("byteorder") else b"little"
    if order not in (b"little", b"big"):
        raise InputError(f"{path}: its byte order is neither little nor big; {_RESAVE}")

    def read_storage(storage: StorageRef) -> bytes:
        return members.read(f"data/{storage.key}", exactly=storage.numel * storage.itemsize)

    return Contents(value, read_storage, "<" if order == b"little" else ">")


def read_legacy(path: Path, file: BoundedReader) -> Contents:
    """Opens the older format; its storages are little-endian whatever machine wrote them.

    Args:
      path: the file's name, for messages.
      file: the file, at its start.

    Returns:
      The object and the way to its storages.

    Raises:
      InputError: the file is cut short or not PyTorch's, or one of its pickles is refused.
    """
    stream = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    if restricted_pickle.load(stream, path)[0] != _LEGACY_MAGIC:
        raise InputError(f"{path}: is a pickle, but not one of PyTorch's; {_RESAVE}")
    if restricted_pickle.load(stream, path)[0] != _LEGACY_VERSION:
        raise InputError(f"{path}: is of an unknown version of PyTorch's older format; {_RESAVE}")
    restricted_pickle.load(stream, path)
    value, storages = restricted_pickle.load(stream, path)
    keys, _ = restricted_pickle.load(stream, path)
    starts = _legacy_storages(path, file, stream.tell(), keys, storages)

    def read_storage(storage: StorageRef) -> bytes:
        if storage.key not in starts:
            raise InputError(f"{path}: storage {shorten(storage.key)} is missing; get the file again")
        file.seek(starts[storage.key])
        return _read_exactly(path, file, storage.numel * storage.itemsize)

    return Contents(value, read_storage, "<")


def _legacy_storages(
    path: Path, file: BoundedReader, position: int, keys: object, storages: dict[str, StorageRef]
) -> dict[str, int]:
    """Where each storage's elements begin; every count is compared with the pickle's and the file's end."""
    if not isinstance(keys, list) or len({key for key in keys if isinstance(key, str)}) != len(keys):
        raise InputError(f"{path}: its list of storages is damaged; get the file again")
    file_bytes = os.fstat(file.fileno()).st_size
    starts = {}
    for key in keys:
        if key not in storages:
            raise InputError(f"{path}: storage {shorten(key)} belongs to no tensor; get the file again")
        storage = storages[key]
        file.seek(position)
        (numel,) = struct.unpack("<q", _read_exactly(path, file, 8))
        if numel != storage.numel:
            raise InputError(
                f"{path}: storage {shorten(key)} has {numel} elements where {storage.numel} were announced;"
                " get the file again"
            )
        starts[key] = position + 8
        position += 8 + numel * storage.itemsize
        if position > file_bytes:
            raise InputError(f"{path}: ends inside storage {shorten(key)}; get the file again")
    return starts


def _read_exactly(path: Path, file: BoundedReader, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise InputError(f"{path}: ends in the middle of a storage; get the file again")
    return data


_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ArithmeticError,
    EOFError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


def _damaged_zip(path: Path, error: Exception) -> InputError:
    reason = shorten(str(error)) or type(error).__name__
    return InputError(f"{path}: the zip archive is cut short or damaged ({reason}); get the file again")


class _ZipMembers:
    """The members of PyTorch's archive, below its one top folder."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, file_bytes: int) -> None:
        self._path = path
        self._archive = archive
        self._file_bytes = file_bytes
        self._infos = {info.filename: info for info in archive.infolist()}
        names = archive.namelist()
        repeated = next((name for name, times in Counter(names).items() if times > 1), None)
        if repeated is not None:
            raise InputError(f"{path}: has two members {shorten(repeated)}; get the file again")
        if any(name.count("/") == 1 and name.endswith("/constants.pkl") for name in names):
            raise InputError(f"{path}: is a TorchScript program, not weights; {_RESAVE}")
        folders = [name[:-8] for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(folders) != 1:
            raise InputError(f"{path}: is a zip archive, but not one of PyTorch's; {_RESAVE}")
        self._folder = folders[0]

    def has(self, name: str) -> bool:
        return f"{self._folder}{name}" in self._infos

    def read(self, name: str, *, at_most: int | None = None, exactly: int | None = None) -> bytes:
        """Reads a member, comparing its size with what is allowed or announced, and its check sum."""
        shown = shorten(name)
        if not self.has(name):
            raise InputError(f"{self._path}: member {shown} is missing; get the file again")
        info = self._infos[f"{self._folder}{name}"]
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise InputError(f"{self._path}: member {shown} is compressed or encrypted; {_RESAVE}")
        if info.file_size != info.compress_size or info.file_size > self._file_bytes:
            raise InputError(f"{self._path}: member {shown} is longer than the file; get the file again")
        if at_most is not None and info.file_size > at_most:
            raise InputError(f"{self._path}: member {shown} has {info.file_size} bytes, over {at_most}; {_RESAVE}")
        if exactly is not None and info.file_size != exactly:
            raise InputError(
                f"{self._path}: member {shown} has {info.file_size} bytes where {exactly} were announced;"
                " get the file again"
            )
        try:
            data = self._archive.read(info)
        except _ZIP_ERRORS as error:
            raise _damaged_zip(self._path, error) from error
        if len(data) != info.file_size:
            raise InputError(f"{self._path}: ends inside member {shown}; get the file again")
        return data
