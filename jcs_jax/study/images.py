"""One CT slice from a PNG or JPEG picture, with what such a picture can't tell."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError

from jcs_jax.errors import InputError
from jcs_jax.files import write_atomically

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
MIN_SIDE = 32
MAX_PIXELS = 64_000_000
MAX_ASPECT = 8

WINDOWED_PICTURE = (
    "windowed picture: it holds no HU and no millimetres, so its display window is taken on trust and areas "
    "are shares of the picture"
)
ONE_GREY_LEVEL = "the picture has a single grey level: there is nothing on it to read"

_EXPORT = "export the slice as 8-bit grey PNG with a lung window (level -600, width 1500)"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BIT_DEPTH_BYTE = 24  # of a PNG, inside its first chunk
_EXIF_ORIENTATION = 274
_GREY_MODES = ("L", "P", "RGB")
_ALPHA_MODES = ("LA", "PA", "RGBA")
_COLOUR_SPREAD = 32  # of 255, between a pixel's channels; chroma noise of a grey JPEG stays below
_COLOUR_SHARE = 0.0005  # an arrow is about 0.002 of a slice
# What Pillow and the decoders under it can raise on damaged files.
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


@dataclasses.dataclass(frozen=True)
class SliceImage:
    """One axial slice as display intensities.

    Attributes:
      intensity: (H, W) float32 in [0, 1]; 0 is the window's lower end.
      name: of the file, without its folder.
      notes: what a reader of the result must know about the picture.
      pixels_sha256: hex digest of the (H, W) 8-bit grey levels, row by row; None if it didn't come from 8 bits.
    """

    intensity: Float[np.ndarray, "h w"]
    name: str
    notes: tuple[str, ...] = ()
    pixels_sha256: str | None = None


def read_slice(path: str | os.PathLike[str]) -> SliceImage:
    """Reads one PNG or JPEG picture of a CT slice.

    Colour pictures are taken by their luminance, with a note if they show real colour. An EXIF orientation is
    not applied, because it would move left and right; a note names it.

    Args:
      path: the file.

    Returns:
      The slice at the picture's own size.

    Raises:
      InputError: if the file is missing, empty, damaged, no PNG or JPEG, smaller than 32 pixels on a side, over
        64 million pixels, of more than 8 bits, with an alpha channel or animated.
    """
    path = Path(path)
    _require_content(path)
    try:
        # Pillow warns of size, palettes and broken EXIF; those that matter are errors or notes here.
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            header = file.read(_BIT_DEPTH_BYTE + 1)
            file.seek(0)
            with Image.open(file, formats=("PNG", "JPEG")) as image:
                _require_slice(path, image, header)
                image.load()
                orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
                grey, notes = _grey_levels(image)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: more than {MAX_PIXELS:,} pixels; {_EXPORT} at its own size") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not a readable 8-bit PNG or JPEG picture; {_EXPORT}") from error
    except _DECODE_ERRORS as error:
        raise InputError(f"{path}: damaged or cut off ({error}); copy or export it again") from error
    if orientation != 1:
        notes.append(
            f"EXIF orientation {orientation} was not applied: the picture was read as stored and may be rotated "
            "or mirrored"
        )
    digest = hashlib.sha256(grey.tobytes()).hexdigest()
    return SliceImage(grey.astype(np.float32) / np.float32(255), shown_name(path), (WINDOWED_PICTURE, *notes), digest)


def write_slice(path: str | os.PathLike[str], intensity: Float[np.ndarray, "h w"]) -> Path:
    """Writes intensities in [0, 1] as the 8-bit grey PNG that `read_slice` reads; returns its path."""
    levels = np.round(255 * np.clip(intensity, 0, 1)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, format="PNG")
    return write_atomically(path, buffer.getvalue())


def shown_name(path: Path) -> str:
    """The last part of a path, with anything that can't be printed or encoded replaced by `?`."""
    name = path.name.encode("utf-8", "replace").decode("utf-8")
    return "".join(character if character.isprintable() else "?" for character in name)


def _require_content(path: Path) -> None:
    """Raises InputError unless the path is a file with at least a byte in it."""
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise InputError(f"{path}: not a file; give a PNG or JPEG picture")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes); copy or export it again")


def _require_slice(path: Path, image: Image.Image, header: bytes) -> None:
    """Raises InputError for what the header alone shows not to be an 8-bit picture of a slice."""
    width, height = image.size
    size = f"{width} x {height} pixels"
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{path}: {size} is too small for a CT slice (at least {MIN_SIDE} a side); {_EXPORT}")
    if width * height > MAX_PIXELS:
        raise InputError(f"{path}: {size}, more than {MAX_PIXELS:,}; {_EXPORT} at its own size")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InputError(f"{path}: {size} is no shape of a CT slice; {_EXPORT}, one slice a file")
    if header.startswith(_PNG_SIGNATURE) and header[_BIT_DEPTH_BYTE] > 8:
        raise InputError(
            f"{path}: {header[_BIT_DEPTH_BYTE]} bits a sample, and a picture can't say which HU they stand for; "
            f"{_EXPORT}"
        )
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        raise InputError(
            f"{path}: has an alpha channel ({image.mode}), so what shows depends on the viewer; "
            "flatten it and save it as 8-bit grey"
        )
    if image.mode not in _GREY_MODES:
        raise InputError(f"{path}: colour mode {image.mode} is not a grey picture; {_EXPORT}")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise InputError(f"{path}: it holds {frames} frames; save each slice as a file of its own")


def _grey_levels(image: Image.Image) -> tuple[UInt8[np.ndarray, "h w"], list[str]]:
    """Grey levels of a loaded picture, and notes on what was lost."""
    notes = []
    if image.mode != "L":
        channels = np.asarray(image.convert("RGB"))
        share = float(np.mean(np.ptp(channels, axis=-1) > _COLOUR_SPREAD))
        if share > _COLOUR_SHARE:
            notes.append(
                f"{share:.2%} of the pixels are coloured (arrows, letters or a colour map?); they were turned "
                "to grey by luminance and can mislead the network"
            )
        image = image.convert("RGB").convert("L")
    grey = np.array(image, dtype=np.uint8)
    if grey.min() == grey.max():
        notes.append(ONE_GREY_LEVEL)
    return grey, notes
