"""The files of a DICOM study: of a folder, a zip file, a DICOMDIR, or one file."""

from __future__ import annotations

import dataclasses
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from jcs_jax.errors import InputError

MOST_FILES, MOST_BYTES = 20_000, 2**30  # of a study; of one file
_LARGEST_RATIO = 200  # of a zip member; CT shrinks threefold, and a bomb a thousandfold
_BESIDE = (".txt", ".csv", ".md", ".json", ".xml", ".html", ".pdf", ".png", ".jpg", ".jpeg", ".exe", ".inf", ".ini")
_DIRECTORY = "DICOMDIR"


@dataclasses.dataclass(frozen=True)
class StudyFile:
    """One file, not opened yet.

    Attributes:
      name: for errors: its path, or zip file and member.
      open: opens it for reading.
    """

    name: str
    open: Callable[[], BinaryIO]


def study_files(source: Path) -> list[StudyFile]:
    """Lists what may be DICOM, in an order that doesn't depend on the file system.

    Args:
      source: a folder, which is searched with all folders in it; a zip file; a DICOMDIR, whose folder is searched;
        or one file.

    Raises:
      InputError: nothing there, too many files, or a zip file that can't be read, is encrypted or is a bomb.
    """
    if source.is_dir():
        files = list(_of_folder(source))
    elif source.name.upper() == _DIRECTORY:
        files = list(_of_folder(source.parent))
    elif zipfile.is_zipfile(source):
        files = list(_of_zip(source))
    else:
        files = [_on_disk(source)]
    if not files:
        raise InputError(f"{source}: no file in it that can be DICOM; name the folder of a CT study")
    if len(files) > MOST_FILES:
        raise InputError(f"{source}: more than {MOST_FILES} files; name the folder of one study")
    return files


def _on_disk(path: Path) -> StudyFile:
    def open_file() -> BinaryIO:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: more than {MOST_BYTES >> 20} MiB in one file; no CT series is that large")
        return path.open("rb")

    return StudyFile(str(path), open_file)


def _of_folder(folder: Path) -> Iterator[StudyFile]:
    """Files below a folder; links to folders are not followed, and links to files only where they stay inside."""
    inside = folder.resolve()
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent) / name
            if _may_be_dicom(name) and path.resolve().is_relative_to(inside) and path.is_file():
                yield _on_disk(path)


def _of_zip(source: Path) -> Iterator[StudyFile]:
    try:
        with zipfile.ZipFile(source) as archive:
            members = sorted(archive.infolist(), key=lambda member: member.filename)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(f"{source}: can't be read as a zip file ({error}); pack it again") from error
    for member in members:
        if member.is_dir() or not _may_be_dicom(member.filename.rpartition("/")[2]):
            continue
        if member.flag_bits & 1:
            raise InputError(f"{source}: is encrypted; unpack it and name the folder")
        if member.file_size > min(MOST_BYTES, _LARGEST_RATIO * max(member.compress_size, 1024)):
            raise InputError(f"{source}: {member.filename} unpacks to {member.file_size >> 20} MiB; that is no CT")
        yield StudyFile(f"{source}:{member.filename}", _member_opener(source, member))


def _member_opener(source: Path, member: zipfile.ZipInfo) -> Callable[[], BinaryIO]:
    def open_member() -> BinaryIO:
        try:
            with zipfile.ZipFile(source) as archive, archive.open(member) as stream:
                return io.BytesIO(stream.read(member.file_size + 1))  # no more than the archive says
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
            raise InputError(f"{source}: {member.filename} can't be unpacked ({error}); pack it again") from error

    return open_member


def _may_be_dicom(name: str) -> bool:
    hidden = name.startswith((".", "__MACOSX")) or name.upper() == _DIRECTORY
    return bool(name) and not hidden and not name.lower().endswith(_BESIDE)
