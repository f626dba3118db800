"""How alike two aligned slices are in their fine structure: copies differ from neighbouring slices only there."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from jcs_jax.audit.alignment import Alignment, refine

_FINE = 1.0, 2.0  # pixels: below is noise of re-encoding, above what all chests have in common
_LARGER = 0.75, 4.0  # pixels at half the resolution: structures that overlap although the alignment is a pixel off
_PROMISING = 0.4  # their correlation; that of copies is above 0.6 at once
_RIM = 9  # pixels left out along the edges of the overlap, where the filter sees what isn't there
_FEWEST_PIXELS = 400
_SMALLEST_OVERLAP = 0.3  # of the smaller picture
_PLAIN = 0.5  # grey levels of fine structure, below which there is nothing to compare
_PLACE = 32  # pixels a side
_FEWEST_PLACES = 12
_TELLING = 0.2  # of the mean variance of places: in less there is noise alone
_LEVELS, _FEWEST_OF_LEVEL = 64, 20


class Comparison(NamedTuple):
    """What is seen when a slice is laid over another.

    Attributes:
      similarity: correlation of the fine structure, at most 1; 0 where too little overlaps.
      first_shown: share of the first slice that the second shows, too.
      second_shown: share of the second slice that the first shows, too.
      alignment: adjusted to a fraction of a pixel.
    """

    similarity: float
    first_shown: float
    second_shown: float
    alignment: Alignment


def compare(first: UInt8[np.ndarray, "h w"], second: UInt8[np.ndarray, "h w"], alignment: Alignment) -> Comparison:
    """Compares two slices where they overlap, in the frame and at the resolution of the coarser one.

    Args:
      first: reduced picture.
      second: reduced picture.
      alignment: of the first on the second, to about a pixel.

    Returns:
      Similarity and overlap.
    """
    if alignment.scale > 1:
        swapped = compare(second, first, alignment.inverse())
        return Comparison(swapped.similarity, swapped.second_shown, swapped.first_shown, swapped.alignment.inverse())
    fine, coarse = _blurred(first, alignment.scale), second.astype(np.float32)
    if not _worth_refining(fine, coarse, alignment):
        return Comparison(0.0, 0.0, 0.0, alignment)
    alignment = refine(alignment, fine, coarse)
    overlap = _overlap(first.shape, second.shape, alignment)
    shown = float(overlap.mean())
    first_shown = min(1.0, float(overlap.sum()) / (first.size * alignment.scale**2))
    inner = cv2.erode(overlap.astype(np.uint8), np.ones((_RIM, _RIM), np.uint8), borderValue=0) > 0
    if inner.sum() < _FEWEST_PIXELS or max(shown, first_shown) < _SMALLEST_OVERLAP:
        return Comparison(0.0, first_shown, shown, alignment)
    laid = lay_over(fine, second.shape, alignment)
    return Comparison(_similarity(laid, coarse, inner), first_shown, shown, alignment)


def lay_over(
    picture: np.ndarray, shape: tuple[int, ...], alignment: Alignment, *, outside: float | None = None
) -> np.ndarray:
    """The picture in the other's frame.

    Args:
      picture: (h, w), float32 or uint8.
      shape: of the other, (H, W).
      alignment: of the picture on the other.
      outside: the value where the picture has nothing; None to go on with its edge.
    """
    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    return cv2.warpAffine(
        picture, alignment.matrix, shape[::-1], flags=cv2.INTER_CUBIC, borderMode=border, borderValue=outside or 0
    )


def _blurred(picture: UInt8[np.ndarray, "h w"], scale: float) -> Float[np.ndarray, "h w"]:
    """The picture without the detail that is lost when it shrinks by `scale`."""
    sigma = 0.5 * np.sqrt(max(0.0, 1 / scale**2 - 1))
    picture = picture.astype(np.float32)
    return cv2.GaussianBlur(picture, (0, 0), sigma) if sigma > 0.1 else picture


def _worth_refining(first: np.ndarray, second: np.ndarray, alignment: Alignment) -> bool:
    """Whether pictures that are aligned to about a pixel have larger structures in common."""
    inside = _overlap(first.shape, second.shape, alignment)
    if inside.sum() < _FEWEST_PIXELS:
        return False
    size = (second.shape[1] + 1) // 2, (second.shape[0] + 1) // 2
    laid = lay_over(first, second.shape, alignment)
    halves = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in (laid, second)]
    structures = [_structure(half, *_LARGER)[inside[::2, ::2]] for half in halves]
    return _correlation(*structures) >= _PROMISING


def _overlap(shape: tuple[int, ...], target: tuple[int, ...], alignment: Alignment) -> Bool[np.ndarray, "h w"]:
    covered = cv2.warpAffine(np.ones(shape, np.uint8), alignment.matrix, target[::-1], flags=cv2.INTER_NEAREST)
    return covered > 0


def _similarity(first: np.ndarray, second: np.ndarray, inside: Bool[np.ndarray, "h w"]) -> float:
    """Correlation of the fine structure, after giving one picture the other's window and gamma where that helps.

    It is looked at in many small places, and that of the lower quartile counts: a copy agrees in nearly all of
    them, even if arrows and letters were drawn on it, a neighbouring slice only where bones and the table are.
    """
    trials = (first, second), (_recoloured(first, second, inside), second), (first, _recoloured(second, first, inside))
    structures = [(_structure(a, *_FINE), _structure(b, *_FINE)) for a, b in trials]
    whole = [_correlation(a[inside], b[inside]) for a, b in structures]
    best = int(np.argmax(whole))
    places = _local_correlations(*structures[best], inside)
    return float(np.percentile(places, 25)) if len(places) >= _FEWEST_PLACES else whole[best]


def _structure(picture: Float[np.ndarray, "h w"], fine: float, coarse: float) -> Float[np.ndarray, "h w"]:
    """What is larger than `fine` and smaller than `coarse`."""
    return cv2.GaussianBlur(picture, (0, 0), fine) - cv2.GaussianBlur(picture, (0, 0), coarse)


def _correlation(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> float:
    first, second = first - first.mean(), second - second.mean()
    if min(first.std(), second.std()) < _PLAIN:
        return 0.0
    return float((first * second).mean() / (first.std() * second.std()))


def _local_correlations(first: np.ndarray, second: np.ndarray, inside: Bool[np.ndarray, "h w"]) -> np.ndarray:
    """(k,) correlations within 32 x 32 pixels, every 16 pixels, where there is something to compare."""
    weight = inside.astype(np.float32)

    def mean(values: np.ndarray) -> np.ndarray:
        summed = cv2.blur(values * weight, (_PLACE, _PLACE), borderType=cv2.BORDER_CONSTANT)
        return summed[_PLACE // 2 :: _PLACE // 2, _PLACE // 2 :: _PLACE // 2]

    covered = mean(np.ones_like(weight))
    known = covered > 0.5
    share = np.maximum(covered, 0.5)
    first_mean, second_mean = mean(first) / share, mean(second) / share
    first_variance = np.maximum(mean(first**2) / share - first_mean**2, 0)
    second_variance = np.maximum(mean(second**2) / share - second_mean**2, 0)
    spread = np.sqrt(first_variance * second_variance)
    if not known.any():
        return np.zeros(0)
    telling = known & (spread > max(_PLAIN**2, _TELLING * float(spread[known].mean())))
    covariance = mean(first * second) / share - first_mean * second_mean
    return covariance[telling] / spread[telling]


def _recoloured(picture: np.ndarray, model: np.ndarray, inside: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """The picture with every grey level replaced by the mean of the model's pixels there."""
    level = np.clip(picture * (_LEVELS / 256), 0, _LEVELS - 1).astype(np.intp)
    counts = np.bincount(level[inside], minlength=_LEVELS)
    sums = np.bincount(level[inside], model[inside], minlength=_LEVELS)
    used = np.flatnonzero(counts >= _FEWEST_OF_LEVEL)
    if len(used) < 2:
        return picture
    centres = (used + 0.5) * (256 / _LEVELS)
    return np.interp(picture, centres, sums[used] / counts[used]).astype(np.float32)
