"""Reading grey pictures and masks strictly: what cannot be read exactly is refused with the cure."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from jcs_datasets.common.errors import SourceError

SMALLEST_SIDE = 32
LARGEST_SIDE = 16384
OPAQUE = 255
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
_HIGH_DEPTH_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_CONVERTIBLE_MODES = ("L", "P", "RGB")
_ALPHA_MODES = ("LA", "PA", "RGBA", "RGBX")
_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError)
_WINDOW_CURE = "window it to 8 bits first (lung: level -600, width 1500 HU, to 0..255)"


class Picture(NamedTuple):
    """A slice read from a picture.

    Attributes:
      gray: (H, W) uint8, 0..255.
      coloured: its channels differed, so `gray` is their luminance.
      file_type: `png`, `jpeg`, `bmp` or `tiff`, by the file's content.
    """

    gray: np.ndarray
    coloured: bool
    file_type: str


def read_picture(path: Path, where: str) -> Picture:
    """Reads a CT slice from a figure of a paper or a web page, which may have colour and an opaque alpha channel.

    Args:
      path: as for `read_gray`.
      where: how an error names the file, with the list line that asked for it.

    Returns:
      The slice; of colours, the luminance 0.299 R + 0.587 G + 0.114 B.

    Raises:
      SourceError: as `read_gray`, except for colour; of alpha channels, only those with transparent pixels.
    """
    picture = _open(path, where)
    file_type = str(picture.format).lower()
    if picture.mode == "1":
        return Picture(np.asarray(picture, np.uint8) * 255, False, file_type)
    picture = _flattened(picture, where)
    if picture.mode == "L":
        return Picture(np.asarray(picture, np.uint8), False, file_type)
    rgb = _rgb(picture, where)
    if _is_coloured(rgb):
        return Picture(np.asarray(Image.fromarray(rgb).convert("L")), True, file_type)
    return Picture(np.ascontiguousarray(rgb[..., 0]), False, file_type)


def read_gray(path: Path, where: str) -> np.ndarray:
    """Reads a grey CT slice.

    Args:
      path: a PNG, JPEG, BMP or TIFF file of 8 bits: grey, or colour with three equal channels.
      where: how an error names the file, with the list line that asked for it.

    Returns:
      (H, W) uint8, 0..255.

    Raises:
      SourceError: empty, not a picture, damaged, too small, more than 8 bits, with an alpha channel or coloured.
    """
    picture = _open(path, where)
    if picture.mode == "1":
        return np.asarray(picture, np.uint8) * 255
    return _equal_channels(picture, where)


def read_mask(path: Path, where: str) -> np.ndarray:
    """Reads a lesion mask.

    Args:
      path: a picture of which the palette indices, or the grey values, are 0 and 1, or 0 and 255.
      where: how an error names the file, with the list line that asked for it.

    Returns:
      (H, W) uint8, 0 or 1.

    Raises:
      SourceError: as `read_gray`; or other values than these.
    """
    picture = _open(path, where)
    indexed = picture.mode in ("P", "1")
    values = np.asarray(picture, np.uint8) if indexed else _equal_channels(picture, where)
    present = sorted(set(np.unique(values).tolist()))
    if not (set(present) <= {0, 1} or set(present) <= {0, 255}):
        shown = ", ".join(map(str, present[:8])) + (", ..." if len(present) > 8 else "")
        raise SourceError(
            f"{where}: a mask holds 0 and 1, or 0 and 255, but this one holds {shown}; save it as a PNG "
            "(JPEG blurs values) with 0 for background and 255 for lesion"
        )
    return (values > 0).astype(np.uint8)


def picture_size(path: Path, where: str) -> tuple[int, int]:
    """Checks a picture by its header alone.

    Args:
      path: a PNG, JPEG, BMP or TIFF file of 8 bits.
      where: how an error names the file, with the list line that asked for it.

    Returns:
      Rows and columns.

    Raises:
      SourceError: empty, not a picture, too small or large, more than 8 bits.
    """
    picture = _open_header(path, where)
    return picture.height, picture.width


def _open(path: Path, where: str) -> Image.Image:
    """Opens and decodes a picture whose size, depth and frames are acceptable; no file stays open."""
    picture = _open_header(path, where)
    try:
        picture.load()
    except _DECODING_ERRORS:
        raise SourceError(f"{where}: is damaged or cut short; copy it again from the source") from None
    return picture


def _open_header(path: Path, where: str) -> Image.Image:
    """Opens a picture whose size, depth and frames are acceptable, without decoding it."""
    if not path.is_file():
        raise SourceError(f"{where}: is not a file; put the picture there")
    data = path.read_bytes()
    if not data:
        raise SourceError(f"{where}: is empty (0 bytes); copy it again from the source")
    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
        frames = getattr(picture, "n_frames", 1)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise SourceError(f"{where}: is far too large for a CT slice; export the slice itself") from None
    except _DECODING_ERRORS:
        raise SourceError(f"{where}: is not a PNG, JPEG, BMP or TIFF picture; convert it to PNG") from None
    _check_header(picture, frames, where)
    return picture


def _check_header(picture: Image.Image, frames: int, where: str) -> None:
    """Refuses by what the header says, before the pixels are decoded."""
    width, height = picture.size
    if min(width, height) < SMALLEST_SIDE:
        raise SourceError(
            f"{where}: is {width}x{height} pixels, and a slice has at least {SMALLEST_SIDE} on a side; "
            "export it at full size"
        )
    if max(width, height) > LARGEST_SIDE:
        raise SourceError(f"{where}: is {width}x{height} pixels, too large for a CT slice; export the slice itself")
    if frames > 1:
        raise SourceError(f"{where}: holds {frames} pictures; save one slice a file")
    if picture.mode in _HIGH_DEPTH_MODES or any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ())):
        raise SourceError(f"{where}: has more than 8 bits a pixel; {_WINDOW_CURE}")


def _equal_channels(picture: Image.Image, where: str) -> np.ndarray:
    """(H, W) uint8 of a picture that is grey, however it is stored."""
    if _has_alpha(picture):
        raise SourceError(f"{where}: has an alpha channel ({picture.mode}); flatten it and save it as 8-bit grey")
    if picture.mode == "L":
        return np.asarray(picture, np.uint8)
    rgb = _rgb(picture, where)
    if _is_coloured(rgb):
        raise SourceError(f"{where}: is coloured; save the plain slice as 8-bit grey, without overlays")
    return np.ascontiguousarray(rgb[..., 0])


def _has_alpha(picture: Image.Image) -> bool:
    return picture.mode in _ALPHA_MODES or "transparency" in picture.info


def _flattened(picture: Image.Image, where: str) -> Image.Image:
    """The picture without its alpha channel, which must hide nothing."""
    if not _has_alpha(picture):
        return picture
    rgba = picture.convert("RGBA")
    if np.asarray(rgba.getchannel("A")).min() < OPAQUE:
        raise SourceError(
            f"{where}: has transparent pixels, which look different on every background; flatten it and save it "
            "without an alpha channel"
        )
    return rgba.convert("RGB")


def _rgb(picture: Image.Image, where: str) -> np.ndarray:
    """(H, W, 3) uint8 of a picture without an alpha channel."""
    if picture.mode not in _CONVERTIBLE_MODES:
        raise SourceError(f"{where}: is a {picture.mode} picture; save it as 8-bit grey")
    return np.asarray(picture.convert("RGB"), np.uint8)


def _is_coloured(rgb: np.ndarray) -> bool:
    return bool((rgb[..., :1] != rgb[..., 1:]).any())
