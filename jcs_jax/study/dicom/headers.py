"""What a DICOM file says of itself, without its pixels: enough to choose a series and stack its slices."""

from __future__ import annotations

import dataclasses
import io
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import pydicom
from jaxtyping import Float
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, EnhancedCTImageStorage

from jcs_jax.dicom_headers import first_value, frame_groups, quiet_dicom
from jcs_jax.errors import InputError
from jcs_jax.study.dicom.files import MOST_BYTES, StudyFile

MOST_SIDE, MOST_FRAMES = 4096, 4096
_LARGEST_HEADER = 2**26  # bytes
_CT = "CT"
_NOT_DICOM = "is no DICOM file"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a slice lies.

    Attributes:
      position: (3,) LPS millimetres of the centre of its first pixel.
      axes: (3, 2) directions along a row (to the next column) and along a column (to the next row).
      spacing: millimetres between rows and between columns.
    """

    position: Float[np.ndarray, 3]
    axes: Float[np.ndarray, "3 2"]
    spacing: tuple[float, float]

    @property
    def normal(self) -> Float[np.ndarray, 3]:
        """Of the slice, pointing where slices of a right-handed stack go."""
        return np.cross(self.axes[:, 0], self.axes[:, 1])


@dataclasses.dataclass(frozen=True)
class SliceHeader:
    """One slice of CT: a file, or a frame of one.

    Attributes:
      file: that holds it.
      frame: its number in the file, from 0.
      place: where it lies; None where the file doesn't say.
      size: rows and columns.
      rescale: slope and intercept to HU; None where the file has none.
      padding: stored values that stand for nothing, from and to; None if there are none.
      slice_uid: SOP Instance UID of the file.
      acquisition: what tells repeated scans of one place apart.
    """

    file: StudyFile
    frame: int
    place: Place | None
    size: tuple[int, int]
    rescale: tuple[float, float] | None
    padding: tuple[int, int] | None
    slice_uid: str
    acquisition: str


@dataclasses.dataclass(frozen=True)
class FileHeader:
    """One DICOM picture.

    Attributes:
      series_uid: of its series.
      series_number: of its series, as the scanner counts; empty if it doesn't.
      modality: `CT`, `MR`, ...
      image_type: such as ORIGINAL, PRIMARY, AXIAL.
      body_part: in capitals; empty if it isn't told.
      description: of the series, in capitals; not for outputs, since names stand in some.
      lossy: whether its pixels were ever compressed with loss.
      contrast: whether it names a contrast agent; None where nothing is told.
      slices: one, or as many as it has frames.
    """

    series_uid: str
    series_number: str
    modality: str
    image_type: tuple[str, ...]
    body_part: str
    description: str
    lossy: bool
    contrast: bool | None
    slices: tuple[SliceHeader, ...]


def read_header(file: StudyFile) -> FileHeader:
    """Reads a picture's header.

    Raises:
      InputError: no DICOM, damaged, or without a picture.
    """
    with file.open() as stream:
        dataset = read_dataset(stream, file.name, pixels=False)
    try:
        with quiet_dicom():  # values are converted when they are asked for
            return _header(dataset, file)
    except InputError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError, RecursionError) as error:
        raise InputError(f"{file.name}: its header is damaged ({_line(error)}); export it again") from error


def read_dataset(stream: BinaryIO, name: str, *, pixels: bool) -> Any:
    """Parses a DICOM file, with or without the preamble that it should have.

    Args:
      stream: of the file.
      name: of the file, for errors.
      pixels: read its pixels as well.

    Raises:
      InputError: it isn't one, or is damaged.
    """
    with quiet_dicom():
        try:
            _refuse_bomb(stream, name)
            dataset = pydicom.dcmread(stream, stop_before_pixels=not pixels, force=True)
            if len(dataset) == 0 or not (dataset.file_meta or "SOPClassUID" in dataset):
                raise InputError(f"{name}: {_NOT_DICOM}; take it out or export it again")
        except InputError:
            raise
        except RecursionError as error:
            raise InputError(f"{name}: its elements are nested too deep; export it again") from error
        except Exception as error:  # a parser fed with damaged bytes raises what it likes
            raise InputError(f"{name}: {_NOT_DICOM} or is damaged ({_line(error)}); export it again") from error
    return dataset


def _refuse_bomb(stream: BinaryIO, name: str) -> None:
    """A deflated file is inflated in one go by the parser; this looks first how large that gets."""
    start = stream.tell()
    try:
        meta = pydicom.dcmread(io.BytesIO(stream.read(4096)), specific_tags=[], stop_before_pixels=True).file_meta
    except Exception:  # noqa: BLE001  no meta information: not deflated either
        return
    finally:
        stream.seek(start)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    stream.seek(start + 128 + 4 + 12 + int(meta.FileMetaInformationGroupLength))
    while chunk := stream.read(1 << 16):
        while chunk:
            size += len(inflater.decompress(chunk, 1 << 20))
            chunk = inflater.unconsumed_tail
            if size > MOST_BYTES:
                raise InputError(f"{name}: unpacks to more than {MOST_BYTES >> 20} MiB; that is no CT")
    stream.seek(start)


def _header(dataset: Any, file: StudyFile) -> FileHeader:
    modality = str(dataset.get("Modality") or "").strip().upper()
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if not rows or not columns:
        kind = f" (modality {_word(modality)})" if modality else ""
        raise InputError(f"{file.name}: holds no picture{kind}; give the files of a CT")
    if max(rows, columns) > MOST_SIDE:
        raise InputError(f"{file.name}: says it is {columns} x {rows} pixels, too large for CT; export it again")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if not 1 <= frames <= MOST_FRAMES:
        raise InputError(f"{file.name}: says it has {frames} frames; export it again")
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise InputError(f"{file.name}: is a coloured picture; only CT has HU")
    enhanced = dataset.get("SOPClassUID") == EnhancedCTImageStorage or "SharedFunctionalGroupsSequence" in dataset
    if frames > 1 and not enhanced:
        raise InputError(f"{file.name}: holds {frames} frames that don't say where they lie; only enhanced CT does")
    places = [frame_groups(dataset, index) for index in range(frames)] if enhanced else [[dataset]]
    slices = [_slice(dataset, groups, index, file, (rows, columns)) for index, groups in enumerate(places)]
    syntax = dataset.file_meta.get("TransferSyntaxUID") if dataset.get("file_meta") else None
    return FileHeader(
        str(dataset.get("SeriesInstanceUID") or ""),
        str(dataset.get("SeriesNumber") or ""),
        modality or (_CT if "CT" in UID(str(dataset.get("SOPClassUID") or "")).name.split() else ""),
        tuple(str(word).strip().upper() for word in _several(dataset.get("ImageType"))),
        str(dataset.get("BodyPartExamined") or "").strip().upper(),
        " ".join(str(dataset.get(key) or "") for key in ("SeriesDescription", "ProtocolName")).upper(),
        str(dataset.get("LossyImageCompression") or "") == "01" or "Lossy" in UID(str(syntax or "")).name,
        _contrast(dataset),
        tuple(slices),
    )


def _slice(dataset: Any, groups: Sequence[Any], index: int, file: StudyFile, size: tuple[int, int]) -> SliceHeader:
    slope, intercept = first_value(groups, "RescaleSlope"), first_value(groups, "RescaleIntercept")
    padding = dataset.get("PixelPaddingValue")
    limit = dataset.get("PixelPaddingRangeLimit", padding)
    acquisition = [first_value([dataset, *groups], key) for key in ("AcquisitionNumber", "TemporalPositionIndex")]
    return SliceHeader(
        file=file,
        frame=index,
        place=_place(groups),
        size=size,
        rescale=None if slope is None or intercept is None else (float(slope), float(intercept)),
        padding=None if padding is None else (min(int(padding), int(limit)), max(int(padding), int(limit))),
        slice_uid=str(dataset.get("SOPInstanceUID") or ""),
        acquisition="/".join(str(value) for value in acquisition if value is not None),
    )


def _place(groups: Sequence[Any]) -> Place | None:
    """None unless position, orientation and spacing are all there and make sense."""
    position, cosines, spacing = (
        _numbers(first_value(groups, key), count)
        for key, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
    )
    if position is None or cosines is None or spacing is None or (spacing <= 0).any():
        return None
    axes = cosines.reshape(2, 3).T
    if not np.allclose(axes.T @ axes, np.eye(2), atol=1e-2):
        return None
    return Place(position, axes, (float(spacing[0]), float(spacing[1])))


def _numbers(value: Any, count: int) -> np.ndarray | None:
    try:
        numbers = np.array([float(number) for number in _several(value)])
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None


def _several(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | int | float) else list(value)


def _contrast(dataset: Any) -> bool | None:
    if "ContrastBolusAgent" not in dataset and "ContrastBolusAgentSequence" not in dataset:
        return None
    return bool(dataset.get("ContrastBolusAgent") or dataset.get("ContrastBolusAgentSequence"))


def _word(text: str) -> str:
    return "".join(filter(str.isalnum, text))[:16]


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
