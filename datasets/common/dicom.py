"""DICOM CT: one slice, or the one series of a folder, without a word of what the headers say of the patient."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jcs_datasets.common.dicom_elements import is_whole
from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.itk import ItkVolume, Where, load_itk, quiet_stderr
from jcs_datasets.common.spacing import pixel_spacing

_IO = "GDCMImageIO"
_MODALITY, _SERIES, _FRAMES = "0008|0060", "0020|000e", "0028|0008"
_POSITION, _ORIENTATION, _SPACING = "0020|0032", "0020|0037", "0028|0030"
_BESIDE = {".txt", ".csv", ".md", ".json", ".xml"}
_LARGEST_SIDE = 4096  # a detailed reconstruction has 2048
_AXIAL = np.cos(np.deg2rad(45))


class _Header(NamedTuple):
    """Where a slice lies: position of its first pixel (mm, LPS), axes as columns, and millimetres.

    `spacing` is between rows and between columns, None where nobody tells; `step` from slice to slice.
    """

    path: Path
    series: str
    size: tuple[int, int]
    position: np.ndarray | None
    axes: np.ndarray
    spacing: tuple[float, float] | None
    step: float

    @property
    def height(self) -> float:
        """Along the slice's normal."""
        return float(self.position @ self.axes[:, 2]) if self.position is not None else 0.0


def read_dicom_slice(path: Path, where: Where) -> ItkVolume:
    """Reads one CT slice.

    Args:
      path: a DICOM file.
      where: how an error names a file.

    Returns:
      One slice: HU, 32-bit integers; measured if it has a Pixel Spacing.

    Raises:
      SourceError: no DICOM, no picture, damaged, another modality than CT, colour, several frames, not axial.
    """
    return _image([_read_header(path, where)], where)


def read_dicom_series(folder: Path, where: Where) -> ItkVolume:
    """Reads the CT series of a folder.

    Args:
      folder: holds the files of one series; hidden files, DICOMDIR and text beside them are passed over.
      where: how an error names a file.

    Returns:
      HU, 32-bit integers, its slices in the order of their positions; measured if every slice has a Pixel Spacing.

    Raises:
      SourceError: no files, folders or links out among them, several series, slices of different size, direction or
        spacing or at the same place; or as `read_dicom_slice`.
    """
    files = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "DICOMDIR")
    files = [path for path in files if path.suffix.lower() not in _BESIDE]
    folders = [path.name for path in files if path.is_dir()]
    if folders or not files:
        found = f"holds the folder {folders[0]}" if folders else "holds no DICOM file"
        raise SourceError(f"{where(folder)}: {found}; name the folder of one series")
    for path in files:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise SourceError(f"{where(path)}: is a link that leaves the folder of the series; copy the file there")
    headers = [_read_header(path, where) for path in files]
    series = Counter(header.series for header in headers)
    if len(series) > 1:
        sizes = ", ".join(map(str, series.values()))
        raise SourceError(
            f"{where(folder)}: holds {len(series)} series (of {sizes} slices); put each into a folder of its own and "
            "give it a row"
        )
    headers.sort(key=lambda header: header.height)
    _check_stack(headers, where)
    return _image(headers, where)


def _read_header(path: Path, where: Where) -> _Header:
    itk = load_itk()
    reader = itk.ImageFileReader()
    reader.SetImageIO(_IO)
    reader.SetFileName(str(path))
    try:
        if not is_whole(path):
            raise RuntimeError
        with quiet_stderr():
            reader.ReadImageInformation()
    except RuntimeError:
        raise SourceError(
            f"{where(path)}: is no DICOM picture: cut short, damaged, without pixels, or another kind of file; export "
            "it again or take it out"
        ) from None

    def told(tag: str) -> str:
        return reader.GetMetaData(tag).strip() if reader.HasMetaDataKey(tag) else ""

    if told(_MODALITY) not in ("CT", ""):
        modality = "".join(filter(str.isalnum, told(_MODALITY)))[:16]
        raise SourceError(f"{where(path)}: is of modality {modality}; only CT has HU")
    if reader.GetNumberOfComponents() > 1:
        raise SourceError(f"{where(path)}: is a coloured DICOM picture; only CT has HU")
    size = reader.GetSize()
    if told(_FRAMES) not in ("", "1") or len(size) != 3 or size[2] != 1:
        raise SourceError(
            f"{where(path)}: holds several frames; convert it to NIfTI, or to classic DICOM of one slice a file"
        )
    if max(size) > _LARGEST_SIDE:
        raise SourceError(f"{where(path)}: says it is {size[0]}x{size[1]} pixels, too large for CT; copy it again")
    position, axes = _place(told, where(path))
    spacing = _pixel_spacing(told(_SPACING))
    return _Header(path, told(_SERIES), size[:2], position, axes, spacing, reader.GetSpacing()[2])


def _place(told: Callable[[str], str], where: str) -> tuple[np.ndarray | None, np.ndarray]:
    """Position and axes from the elements themselves: ITK takes damaged ones for the usual ones."""
    position, directions = _numbers(told(_POSITION), 3), _numbers(told(_ORIENTATION), 6)
    rows, columns = np.eye(3)[:2] if directions is None else directions.reshape(2, 3)
    axes = np.stack([rows, columns, np.cross(rows, columns)], axis=1)
    if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-2) or (position is not None and np.isnan(position).any()):
        raise SourceError(f"{where}: its position is no point, or its directions no right angle; export it again")
    if abs(axes[2, 2]) < _AXIAL:
        raise SourceError(f"{where}: is not an axial slice (a scout, coronal or sagittal one); take it out")
    return position, axes


def _pixel_spacing(text: str) -> tuple[float, float] | None:
    # From the element itself, too: ITK takes an absent or damaged one for 1 mm without a word.
    numbers = _numbers(text, 2)
    return None if numbers is None else pixel_spacing(*numbers.tolist())


def _numbers(text: str, count: int) -> np.ndarray | None:
    """The numbers of an element, None for an empty one, NaN for a damaged one."""
    try:
        numbers = np.array(text.split("\\"), float) if text else None
    except ValueError:
        return np.full(count, np.nan)
    return (
        numbers if numbers is None or (numbers.size == count and np.isfinite(numbers).all()) else np.full(count, np.nan)
    )


def _check_stack(headers: Sequence[_Header], where: Where) -> None:
    """Slices of one stack have one size, direction and spacing, and a place each."""
    first = headers[0]
    for below, header in itertools.pairwise(headers):
        if not _alike(header, first):
            raise SourceError(
                f"{where(header.path)}: has another size, direction or spacing than {first.path.name}; keep one stack "
                "a folder"
            )
        if header.position is None or header.height - below.height < 1e-3:
            wrong = "says no position" if header.position is None else f"lies where {below.path.name} lies"
            raise SourceError(f"{where(header.path)}: {wrong}, so the slices have no order; keep one stack a folder")


def _alike(header: _Header, first: _Header) -> bool:
    same = header.size == first.size and np.allclose(header.axes, first.axes, atol=1e-3)
    if header.spacing is None or first.spacing is None:
        return same
    return same and np.allclose(header.spacing, first.spacing, rtol=1e-3)


def _image(headers: Sequence[_Header], where: Where) -> ItkVolume:
    """The slices on top of each other; a tilted gantry's shift from slice to slice is not undone."""
    itk = load_itk()
    image = itk.GetImageFromArray(np.stack([_read_pixels(header.path, where) for header in headers]))
    first, last = headers[0], headers[-1]
    step = (last.height - first.height) / (len(headers) - 1) if len(headers) > 1 else first.step
    row, column = first.spacing or (1.0, 1.0)
    image.SetSpacing((column, row, step))
    image.SetDirection(first.axes.ravel().tolist())
    if first.position is not None:
        image.SetOrigin(first.position.tolist())
    return ItkVolume(image, measured=all(header.spacing is not None for header in headers))


def _read_pixels(path: Path, where: Where) -> np.ndarray:
    """(H, W) int32, HU: ITK has applied slope and intercept, which need not be whole numbers."""
    itk = load_itk()
    try:
        with quiet_stderr():
            pixels = itk.GetArrayFromImage(itk.ReadImage(str(path), itk.sitkFloat64, _IO))[0]
    except RuntimeError:
        raise SourceError(
            f"{where(path)}: its pixels can't be decoded: damaged, or compressed in an unknown way; export it "
            "uncompressed"
        ) from None
    return np.rint(pixels).astype(np.int32)
