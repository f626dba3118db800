"""What a file is, by its content and not by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.nifti import is_nifti

FileKind = Literal["picture", "dicom", "series", "nifti"]

_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")
_DICOM, _DICOM_AT = b"DICM", 128
_BARE_DICOM = (b"\x02\0", b"\x08\0")  # the group of the first element, where the preamble is missing


def file_kind(path: Path, where: Callable[[Path], str]) -> FileKind:
    """Tells a picture, a DICOM file, the folder of a DICOM series and a NIfTI file apart.

    Args:
      path: of the file or folder.
      where: how an error names it.

    Raises:
      SourceError: none of them.
    """
    if path.is_dir():
        return "series"
    if not path.is_file():
        raise SourceError(f"{where(path)}: is not a file; complete the copy")
    with path.open("rb") as file:
        start = file.read(_DICOM_AT + len(_DICOM))
    if not start:
        raise SourceError(f"{where(path)}: is empty (0 bytes); copy it again from the source")
    if start.endswith(_DICOM) and len(start) == _DICOM_AT + len(_DICOM):
        return "dicom"
    if start.startswith(_PICTURES):
        return "picture"
    if is_nifti(path):
        return "nifti"
    if start.startswith(_BARE_DICOM):
        return "dicom"
    raise SourceError(
        f"{where(path)}: is not a PNG, JPEG, BMP or TIFF picture, nor a DICOM or NIfTI file, or is damaged; convert it "
        "to one of these, or take it out"
    )
