"""Which files belong to one case: a picture, a folder of pictures, a NIfTI file, or a DICOM study."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from jcs_jax.errors import InputError
from jcs_jax.study.images import IMAGE_SUFFIXES, SliceImage, read_slice, shown_name
from jcs_jax.study.volume import Volume

CaseKind = Literal["pictures", "dicom", "nifti"]
NIFTI_SUFFIXES = (".nii.gz", ".nii")
_SUFFIXES = (*IMAGE_SUFFIXES, *NIFTI_SUFFIXES, ".zip", ".dcm")  # that a case's name does without
_LONGEST_NAME = 100  # leaves room for what a temporary folder adds
_MAGIC, _MAGIC_AT = b"DICM", 128
_MOST_LOOKED_AT = 64  # files of a folder


@dataclasses.dataclass(frozen=True)
class Case:
    """What is diagnosed together.

    Attributes:
      source: the file or folder, as given; nothing is read until asked for.
      name: unique among the cases found together, ignoring capitals; fit to be the name of a folder.
      number: its place among them, from 1.
      numbered: whether it is named after that place, since its own name tells who the patient is.
    """

    source: Path
    name: str
    number: int = 1
    numbered: bool = False

    def kind(self) -> CaseKind:
        """How the source is to be read, judged by names and first bytes.

        Raises:
          InputError: nothing there, or a folder of NIfTI files.
        """
        if self.source.is_dir():
            return self._folder_kind()
        if not self.source.exists():
            raise InputError(f"{self.source}: no such file; check the path")
        name = self.source.name.lower()
        if name.endswith(NIFTI_SUFFIXES):
            return "nifti"
        return "pictures" if name.endswith(IMAGE_SUFFIXES) else "dicom"

    def volume(self, *, series_uid: str = "") -> Volume:
        """Reads a DICOM study or NIfTI file.

        Args:
          series_uid: the DICOM series to take, or the end of its UID; empty to choose.

        Raises:
          InputError: with the file, what is wrong and the cure.
        """
        if self.kind() == "nifti":
            from jcs_jax.study.nifti import read_nifti  # noqa: PLC0415  brings nibabel

            return read_nifti(self.source)
        from jcs_jax.study.dicom.reader import read_dicom  # noqa: PLC0415  brings pydicom

        return read_dicom(self.source, series_uid=series_uid)

    def files(self) -> tuple[Path, ...]:
        """The case's pictures in natural order of their names (slice2 before slice10), hidden ones left out.

        Raises:
          InputError: if the source is missing or is a folder without pictures.
        """
        if not self.source.is_dir():
            return (self.source,)
        pictures = [path for path in _visible(self.source) if path.suffix.lower() in IMAGE_SUFFIXES]
        if not pictures:
            raise InputError(
                f"{self.source}: no PNG or JPEG picture in this folder; give the folder that holds the slices"
            )
        return tuple(sorted(pictures, key=lambda path: natural_key(path.name)))

    def notes(self) -> tuple[str, ...]:
        """What a reader must know of how a case of pictures was put together."""
        if not self.source.is_dir():
            return ()
        ignored = sum(path.suffix.lower() not in IMAGE_SUFFIXES for path in _visible(self.source))
        return (f"{ignored} files and folders that are no PNG or JPEG were left out",) if ignored else ()

    def check(self) -> int:
        """Reads every picture once, so that a bad one shows before any is worked on; returns their number.

        Raises:
          InputError: at the first picture that can't be read.
        """
        return sum(1 for _ in self.slices())

    def slices(self) -> Iterator[SliceImage]:
        """Reads the pictures one by one; raises InputError at the first that can't be read."""
        for path in self.files():
            yield read_slice(path)

    def _folder_kind(self) -> CaseKind:
        entries = sorted(_visible(self.source))
        names = [path.name.lower() for path in entries]
        pictures = any(name.endswith(IMAGE_SUFFIXES) for name in names)
        others = [path for path in entries if path.is_file() and not path.name.lower().endswith(IMAGE_SUFFIXES)]
        if pictures and not any(map(_is_dicom, others[:_MOST_LOOKED_AT])):
            return "pictures"
        if not pictures and any(name.endswith(NIFTI_SUFFIXES) for name in names):
            raise InputError(f"{self.source}: holds NIfTI files; name each of them, since each is a case of its own")
        return "dicom"


def find_cases(inputs: Iterable[str | os.PathLike[str]]) -> list[Case]:
    """Makes one case of every input, in order; inputs of the same name get -2, -3, ... behind it.

    Whether an input exists and can be read shows when the case is read, so that one bad case doesn't stop others.
    """
    cases: list[Case] = []
    taken: set[str] = set()
    for place, given in enumerate(inputs, start=1):
        source = Path(given)
        base = _folder_name(source)
        name, number = base, 1
        while name.lower() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name.lower())
        cases.append(Case(source, name, place))
    return cases


def read_study(path: str | os.PathLike[str], *, series_uid: str = "") -> Volume:
    """Reads a CT study in HU.

    Args:
      path: a DICOM folder, zip file, DICOMDIR or file, or a NIfTI file.
      series_uid: the DICOM series to take, or the end of its UID; empty to choose.

    Returns:
      The volume, in the patient's order.

    Raises:
      InputError: with the file, what is wrong and the cure; for pictures too, which hold no HU and no millimetres.
    """
    case = Case(Path(path), "")
    if case.kind() == "pictures":
        raise InputError(f"{path}: pictures hold no HU and no millimetres; give DICOM or NIfTI")
    return case.volume(series_uid=series_uid)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that compares runs of digits as numbers and the rest without regard to capitals."""
    parts = [part for part in re.split(r"([0-9]+)", name) if part]
    key = [(0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in parts]
    return [*key, (-1, 0, name)]


def _folder_name(source: Path) -> str:
    """A name without its suffix; a DICOMDIR is called after its folder, `..` is looked up, and a root is `case`."""
    path = source.parent if source.name.upper() == "DICOMDIR" else source
    path = path if path.name not in ("", "..") else path.resolve()
    name = shown_name(path)
    suffix = next((suffix for suffix in _SUFFIXES if path.name.lower().endswith(suffix)), "")
    stem = name[: -len(suffix)] if suffix else name
    return stem.strip(" .")[:_LONGEST_NAME] or "case"


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC_AT + len(_MAGIC)).endswith(_MAGIC)
    except OSError:
        return False


def _visible(folder: Path) -> list[Path]:
    """Entries of a folder whose names don't begin with a dot.

    Raises:
      InputError: if the folder can't be listed.
    """
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: can't be listed ({error.strerror}); check its permissions") from error
