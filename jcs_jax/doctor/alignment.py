"""Do the masks lie on their slices? Against mirrored and turned masks, shifted ones, and masks of other slices."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from jcs_jax.doctor.findings import Finding, Severity, percent
from jcs_jax.doctor.pictures import LUNGS_SHARE
from jcs_jax.doctor.slices import SampledSlice
from jcs_jax.preprocessing import resize_array

SIDE = 128  # of the planes that are compared, in pixels
_CHECK = "position of masks"
_FEWEST, _ENOUGH, _MANY = 4, 8, 12  # slices to say anything, to be certain, to compare with other slices
_LIKELY, _CERTAIN = 3.0, 5.0  # paired t from which another orientation fits better
_BELONGS = 2.0  # t that masks reach on their own slices against other slices
_LARGEST_SHIFT = SIDE // 4
_SHIFT, _SHIFT_GAIN = 4, 1.25  # pixels of the plane, and how much better a shifted mask must fit
_LARGEST_EDGE = 5.0  # times the mean gradient; the skin's would drown all others
# Whether to transpose, then mirror rows, then columns -> in words.
_ORIENTATIONS = {
    (False, False, False): "",
    (False, False, True): "mirrored left to right",
    (False, True, False): "turned upside down",
    (False, True, True): "turned by 180 degrees",
    (True, False, False): "transposed",
    (True, False, True): "turned right by 90 degrees",
    (True, True, False): "turned left by 90 degrees",
    (True, True, True): "transposed along the other diagonal",
}


@dataclasses.dataclass(frozen=True)
class AlignmentLook:
    """A slice and its mask as two pairs of planes, (128, 128) each.

    Attributes:
      brightness: intensity in the lungs, 0 elsewhere; None where no lungs were found.
      mask: opacified share of each pixel, to be found where the lungs are bright.
      edges: gradient of the picture.
      outline: of the mask, to be found on edges.
    """

    brightness: Float[np.ndarray, "s s"] | None
    mask: Float[np.ndarray, "s s"]
    edges: Float[np.ndarray, "s s"]
    outline: Float[np.ndarray, "s s"]


def look_at_alignment(item: SampledSlice) -> AlignmentLook | None:
    """The planes to compare; None without a picture or a lesion that is large enough."""
    if item.intensity is None or item.lungs is None or item.mask is None:
        return None
    mask = _plane(item.mask.astype(np.float32))
    region = mask > 0.5
    if not region.any() or region.all():
        return None
    picture = _plane(item.intensity)
    gradient = ndimage.gaussian_gradient_magnitude(picture, 1.0)
    if not gradient.any():
        return None
    edges = np.minimum(gradient / gradient.mean(), _LARGEST_EDGE)
    outline = (region & ~ndimage.binary_erosion(region)).astype(np.float32)
    in_lungs = item.lungs.mean() >= LUNGS_SHARE
    brightness = _plane(np.where(item.lungs, item.intensity, 0)) if in_lungs else None
    return AlignmentLook(brightness, mask, edges, outline)


def check_alignment(looks: Sequence[AlignmentLook]) -> list[Finding]:
    """Compares how masks lie on their slices with seven other orientations, with shifts and with other slices.

    Where lungs are found in most slices, a mask fits that covers what is bright in them; else one whose outline
    runs along edges of the picture. Slices are the sample of a paired t statistic.

    Args:
      looks: at the slices that have a lesion.

    Returns:
      At most one thing that is wrong: orientation before shift before masks of other slices. Nothing without masks.
    """
    if not looks:
        return []
    pairs, how = _pairs(looks)
    if len(pairs) < _FEWEST:
        return [Finding(_CHECK, "ok", f"not checked: {len(pairs)} slices with a lesion are too few")]
    pictures, masks = (_normalized(np.stack(planes)) for planes in zip(*pairs, strict=True))
    fits = {name: _fit(pictures, _oriented(masks, key)) for key, name in _ORIENTATIONS.items()}
    t_values = {name: _paired_t(fit - fits[""]) for name, fit in fits.items() if name}
    numbers = {
        "slices": len(pairs),
        "measured_by": how,
        "correlation": float(fits[""].mean()),
        "correlation_of_others": {name: float(fit.mean()) for name, fit in fits.items() if name},
    }
    best = max(t_values, key=lambda name: t_values[name])
    turned, shift = float(fits[best].mean()), _best_shift(pictures, masks)
    as_they_are = f"{fits[''].mean():.2f} as they are, over {len(pairs)} slices"
    if t_values[best] >= _LIKELY and (shift is None or turned >= shift.correlation):
        severity: Severity = "error" if t_values[best] >= _CERTAIN and len(pairs) >= _ENOUGH else "warning"
        found = f"masks fit their slices better when {best}: correlation {turned:.2f} against {as_they_are}"
        cure = f"look at the first batch; the masks probably have to be {best}"
        return [Finding(_CHECK, severity, found, cure, numbers)]
    if shift is not None:
        found = f"masks fit their slices better when moved {shift.words}: correlation {shift.correlation:.2f}"
        cure = "look at the first batch: were slices and masks cropped or padded differently?"
        told = {**numbers, "shift": {"down": shift.down, "right": shift.right}}
        return [Finding(_CHECK, "warning", f"{found} against {as_they_are}", cure, told)]
    return [_strangers(pictures, masks, fits[""], numbers) or _fitting(numbers)]


class _Shift(NamedTuple):
    """A shift of all masks, as shares of the side, and how well they fit with it."""

    down: float
    right: float
    correlation: float

    @property
    def words(self) -> str:
        ways = ((self.right, "to the right", "to the left"), (self.down, "to the bottom", "to the top"))
        return " and ".join(f"{percent(abs(by))} {plus if by > 0 else minus}" for by, plus, minus in ways if by)


def _fitting(numbers: dict) -> Finding:
    others = max(numbers["correlation_of_others"].values())
    found = (
        f"masks fit their slices as they lie: correlation with {numbers['measured_by']} {numbers['correlation']:.2f}, "
        f"at most {others:.2f} mirrored or turned, over {numbers['slices']} slices"
    )
    return Finding(_CHECK, "ok", found, numbers=numbers)


def _best_shift(pictures: np.ndarray, masks: np.ndarray) -> _Shift | None:
    """The shift of all masks that fits best, if it is clearly better than none."""
    size = (2 * SIDE, 2 * SIDE)
    spectrum = (np.fft.rfft2(pictures, size) * np.conj(np.fft.rfft2(masks, size))).mean(axis=0)
    fit = np.fft.irfft2(spectrum, size)
    reach = _LARGEST_SHIFT
    window = np.roll(fit, (reach, reach), axis=(0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    row, column = (int(place) - reach for place in np.unravel_index(window.argmax(), window.shape))
    if math.hypot(row, column) < _SHIFT or window.max() < _SHIFT_GAIN * max(fit[0, 0], 0.0):
        return None
    return _Shift(row / SIDE, column / SIDE, float(window.max()))


def _strangers(pictures: np.ndarray, masks: np.ndarray, own: np.ndarray, numbers: dict) -> Finding | None:
    """Masks that fit other slices as well as their own."""
    count = len(own)
    if count < _MANY:
        return None
    others = (np.tensordot(pictures, masks, axes=((1, 2), (1, 2))).sum(axis=1) - own) / (count - 1)
    if _paired_t(own - others) >= _BELONGS:
        return None
    found = (
        f"masks fit their own slices no better than others: correlation {own.mean():.2f} against {others.mean():.2f}, "
        f"over {count} slices"
    )
    cure = "look at the first batch: are slices and masks paired by name, in the same order?"
    return Finding(_CHECK, "warning", found, cure, {**numbers, "correlation_with_other_slices": float(others.mean())})


def _pairs(looks: Sequence[AlignmentLook]) -> tuple[list[tuple[np.ndarray, np.ndarray]], str]:
    """The planes to compare, and what the first of each pair shows."""
    by_lungs = [(look.brightness, look.mask) for look in looks if look.brightness is not None and look.brightness.any()]
    if len(by_lungs) >= max(_FEWEST, len(looks) / 2):
        return by_lungs, "brightness in the lungs"
    return [(look.edges, look.outline) for look in looks], "edges"


def _plane(array: np.ndarray) -> Float[np.ndarray, "s s"]:
    return resize_array(array, (SIDE, SIDE), antialias=True)


def _normalized(planes: Float[np.ndarray, "n s s"]) -> Float[np.ndarray, "n s s"]:
    """Zero mean and unit length, so that a product of two is their correlation; an even plane becomes zeros."""
    centred = planes - planes.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt((centred**2).sum(axis=(1, 2), keepdims=True))
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)


def _oriented(planes: Float[np.ndarray, "n s s"], key: tuple[bool, bool, bool]) -> Float[np.ndarray, "n s s"]:
    transpose, rows, columns = key
    turned = planes.transpose(0, 2, 1) if transpose else planes
    return turned[:, :: -1 if rows else 1, :: -1 if columns else 1]


def _fit(pictures: np.ndarray, masks: np.ndarray) -> Float[np.ndarray, " n"]:
    return (pictures * masks).sum(axis=(1, 2), dtype=np.float64)


def _paired_t(differences: Float[np.ndarray, " n"]) -> float:
    """Mean difference in its standard errors."""
    spread = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    mean = float(differences.mean())
    return mean / spread if spread else math.copysign(math.inf, mean) if mean else 0.0
