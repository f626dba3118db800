"""What the page holds of every slice: greys in 8 bits, mask and lesions' numbers, the activation map; small files all.

Greys are WebP with loss: at the same size its errors in HU were a fifth (thick slices) to a third (noisy ones) below
JPEG's, and PNG was three times as large. Masks are exact.
"""

from __future__ import annotations

import base64
import concurrent.futures
import dataclasses
import functools
import io
import itertools
import os
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8, UInt16
from PIL import Image

from jcs_jax.report.colormap import normalize_map

# Greys rise with HU in three straight parts: half of the steps for lung, 100 for soft tissue, the rest for bone.
KNOT_HOUNSFIELD = (-1024, -160, 240, 600)
KNOT_GREYS = (0, 128, 228, 255)
QUALITIES = (95, 90, 85, 80, 75)  # of WebP, tried in this order
_EFFORT = 2  # of WebP, 0 to 6: beyond it files shrink by a few hundredths and take twice as long
_PAGE_BYTES = 23_000_000  # for the greys of all slices, in base64
_LEAST_SLICE_BYTES = 4_000
_AT_ONCE = 8  # slices
_MEASURED = 64  # slices, at least, that tell the mean error


@dataclasses.dataclass(frozen=True)
class ViewerSlice:
    """One slice as it is looked at.

    Attributes:
      values: (H, W), HU, or intensities in [0, 1] for a case without HU.
      mask: (H, W), the opacities; None without segmentation.
      labels: (H, W), each lesion's number, 0 outside; None where lesions weren't measured.
      activation: (h, w), covers the whole slice; log-odds, positive where it speaks for infection. None without a
        class head.
    """

    values: Int[np.ndarray, "H W"] | Float[np.ndarray, "H W"]
    mask: Bool[np.ndarray, "H W"] | None = None
    labels: UInt16[np.ndarray, "H W"] | None = None
    activation: Float[np.ndarray, "h w"] | None = None


class SliceEncoder:
    """Makes the files of slices.

    Quality falls, and never rises again, when a slice takes more than its share of the page.

    Attributes:
      quality: of WebP, that of the next slice.
      mean_error: mean absolute difference between what is shown and what was given, over the slices so far, of many
        over 64 to 127 that are evenly spread: HU within the range shown, or grey levels for a case without HU.
    """

    def __init__(self, slices: int, *, hounsfield: bool, activation_scale: float | None):
        self._hounsfield = hounsfield
        self._activation_scale = activation_scale
        self._allowed = max(_LEAST_SLICE_BYTES, _PAGE_BYTES * 3 // 4 // max(slices, 1))
        self._measured_every = max(1, slices // _MEASURED)
        self._level = 0
        self._error, self._pixels = 0.0, 0

    @property
    def quality(self) -> int:
        return QUALITIES[self._level]

    @property
    def mean_error(self) -> float:
        return self._error / max(self._pixels, 1)

    def encode(self, items: Iterable[ViewerSlice]) -> Iterator[tuple[ViewerSlice, dict[str, str]]]:
        """Yields every slice with its files in base64, in their order.

        The files are `greys`, and where there is something to show `regions` and `activation`. Several slices are made
        at once, a core each, with the quality that the first of them has; those behind one that takes too much are
        made again.

        Raises:
          ValueError: if the shapes of slice, mask and labels differ, or a map isn't finite.
        """
        remaining = enumerate(items)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as threads:
            while several := list(itertools.islice(remaining, _AT_ONCE)):
                told = threads.map(functools.partial(self._encode, level=self._level), *zip(*several, strict=True))
                for (index, item), one in zip(several, told, strict=True):
                    made = one if one.tried == self._level else self._encode(index, item, self._level)
                    self._level = made.level
                    self._error += made.error
                    self._pixels += made.pixels
                    yield item, made.files

    def _encode(self, index: int, item: ViewerSlice, level: int) -> _Encoded:
        """One slice's files, with the first of the qualities from `level` on that it is small enough at."""
        shape, tried = item.values.shape, level
        for name, region in (("mask", item.mask), ("labels", item.labels)):
            if region is not None and region.shape != shape:
                raise ValueError(f"{name}: shape {region.shape}, but the slice has {shape}")
        greys = to_greys(item.values, hounsfield=self._hounsfield)
        data = _webp(greys, level)
        while len(data) > self._allowed and level < len(QUALITIES) - 1:
            level += 1
            data = _webp(greys, level)
        files = {"greys": data, "regions": _regions(item), "activation": None}
        if item.activation is not None and self._activation_scale is not None:
            levels = np.rint(255 * normalize_map(item.activation, self._activation_scale)).astype(np.uint8)
            files["activation"] = _file(levels, "PNG", optimize=False)
        texts = {kind: base64.b64encode(data).decode("ascii") for kind, data in files.items() if data}
        if index % self._measured_every:
            return _Encoded(texts, tried, level, 0.0, 0)
        return _Encoded(texts, tried, level, self._difference(data, item.values, greys), greys.size)

    def _difference(self, data: bytes, values: Shaped[np.ndarray, "H W"], greys: UInt8[np.ndarray, "H W"]) -> float:
        """Sum over pixels of what is shown and what was given."""
        shown = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
        table = grey_values(hounsfield=self._hounsfield)
        given = np.clip(values, table[0], table[-1]) if self._hounsfield else greys
        return float(np.abs(table[shown] - given).sum(dtype=np.float64))


@dataclasses.dataclass(frozen=True)
class _Encoded:
    """A slice's files in base64.

    Attributes:
      files: by kind.
      tried: the quality that was tried first.
      level: the quality that the greys have.
      error: sum over the pixels that were measured.
      pixels: how many were.
    """

    files: dict[str, str]
    tried: int
    level: int
    error: float
    pixels: int


def to_greys(values: Shaped[np.ndarray, "*hw"], *, hounsfield: bool) -> UInt8[np.ndarray, "*hw"]:
    """HU or intensities in [0, 1] as the 256 levels that the page holds."""
    if hounsfield and values.dtype == np.int16:
        return _greys_of_whole_hounsfield()[
            np.clip(values, KNOT_HOUNSFIELD[0], KNOT_HOUNSFIELD[-1]) - KNOT_HOUNSFIELD[0]
        ]
    levels = np.interp(values, KNOT_HOUNSFIELD, KNOT_GREYS) if hounsfield else 255 * np.clip(values, 0, 1)
    return np.rint(levels).astype(np.uint8)


@functools.cache
def _greys_of_whole_hounsfield() -> UInt8[np.ndarray, " n"]:
    """Levels of the whole HU that are told apart, from the lowest up."""
    return to_greys(np.arange(KNOT_HOUNSFIELD[0], KNOT_HOUNSFIELD[-1] + 1, dtype=np.int32), hounsfield=True)


def grey_values(*, hounsfield: bool) -> Float[np.ndarray, " 256"]:
    """What each level stands for: HU, or the level itself."""
    levels = np.arange(256, dtype=np.float32)
    return np.interp(levels, KNOT_GREYS, KNOT_HOUNSFIELD).astype(np.float32) if hounsfield else levels


def _regions(item: ViewerSlice) -> bytes | None:
    """An RGB picture: red the mask, green and blue the lesion's number, low byte first; None if all are 0."""
    if item.mask is None and item.labels is None:
        return None
    numbers = np.zeros(item.values.shape, np.uint16) if item.labels is None else item.labels
    mask = numbers > 0 if item.mask is None else item.mask
    if not (mask.any() or numbers.any()):
        return None
    planes = [np.where(mask, 255, 0), numbers & 255, numbers >> 8]
    return _file(np.stack(planes, axis=-1).astype(np.uint8), "PNG", optimize=False)


def _webp(greys: UInt8[np.ndarray, "H W"], level: int) -> bytes:
    return _file(greys, "WEBP", quality=QUALITIES[level], method=_EFFORT)


def _file(pixels: UInt8[np.ndarray, "h w *c"], kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind, **options)
    return buffer.getvalue()
