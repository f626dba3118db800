"""Masks: are there any, what do they hold, and is anything left of them at the network's size?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from jcs_jax.data.examples import Example
from jcs_jax.data.inputs import framed
from jcs_jax.doctor.findings import Finding, Severity, percent, some
from jcs_jax.preprocessing import Preprocessing, resize_array

_CHECK = "masks"
_INVERTED = 0.5  # median share from which background and foreground are probably swapped
_LOST = 0.1  # share of the lesions that may vanish at the network's size
_MOST_VALUES = 6  # shown


@dataclasses.dataclass(frozen=True)
class MaskLook:
    """What is to be known of one mask.

    Attributes:
      name: of the slice.
      label: of the slice.
      shape: of the mask.
      slice_shape: of its slice; None for stored features.
      values: the different values in it, the first few.
      share: of the pixels that are opacified.
      framed: whether any of them is left at the network's size.
    """

    name: str
    label: int
    shape: tuple[int, ...]
    slice_shape: tuple[int, ...] | None
    values: tuple[float, ...]
    share: float
    framed: bool


def look_at_mask(example: Example, preprocessing: Preprocessing) -> MaskLook | None:
    """Measures the mask of a slice; None where there is none."""
    if example.mask is None:
        return None
    mask = np.asarray(example.mask)
    values = tuple(float(value) for value in np.unique(mask)[:_MOST_VALUES])
    shape = None if example.image is None else example.image.shape
    return MaskLook(
        example.name, example.label, mask.shape, shape, values, float((mask > 0).mean()), _left(example, preprocessing)
    )


def _left(example: Example, preprocessing: Preprocessing) -> bool:
    """Whether the network is shown anything of the lesions."""
    if example.image is not None:
        _, mask = framed(example, preprocessing)
        return mask is not None and bool(mask.any())
    plane = resize_array(np.asarray(example.mask, np.float32), preprocessing.size, antialias=True)
    return bool((plane > 0.5).any())


def check_masks(looks: Sequence[MaskLook], slices: int, *, needed: bool, everywhere: bool) -> list[Finding]:
    """Judges all masks together.

    Args:
      looks: at the slices that have a mask.
      slices: how many were looked at.
      needed: whether a loss learns from masks.
      everywhere: whether that loss takes a slice without a mask for one without a lesion.

    Returns:
      What is wrong with sizes, values, shares and small lesions, and how much of the pictures is opacified.
    """
    numbers: dict[str, float] = {"slices": slices, "masks": len(looks)}
    if not looks:
        found = f"none of the {slices} slices looked at has a mask"
        if not needed:
            return [Finding(_CHECK, "ok", found, numbers=numbers)]
        cure = "add masks, train a classifier, or set the weights of the losses that need them to 0 in config.loss"
        return [Finding(_CHECK, "error", f"{found}: there is nothing to learn to segment from", cure, numbers)]
    findings = [*_wrong_shapes(looks), *_wrong_values(looks)]
    if needed and everywhere and len(looks) < slices:
        found = f"{slices - len(looks)} of {slices} slices looked at have no mask, and the loss takes theirs for empty"
        cure = "set config.loss.segmentation=per_image, or train on slices with masks only"
        findings.append(Finding(_CHECK, "error", found, cure, {"without_mask": slices - len(looks)}))
    lesions = [look for look in looks if look.share > 0]
    told = f"{len(looks)} of {slices} slices looked at have a mask, {len(looks) - len(lesions)} of them empty"
    numbers["empty_masks"] = len(looks) - len(lesions)
    if not lesions:
        cure = "look at the files: a palette read wrongly, masks drawn in 1 of 255 steps, or those of other slices"
        severity: Severity = "error" if needed else "warning"
        return [*findings, Finding(_CHECK, severity, f"{told}: nothing is opacified anywhere", cure, numbers)]
    low, median, high = (float(share) for share in np.percentile([look.share for look in lesions], (5, 50, 95)))
    numbers |= {"foreground_median": median, "foreground_5th": low, "foreground_95th": high}
    span = f"5th to 95th percentile {percent(low)} to {percent(high)}"
    told += f"; of the others {percent(median)} is opacified (median; {span})"
    if median > _INVERTED:
        cure = "invert the masks if 1 is the background"
        return [*findings, Finding(_CHECK, "warning", f"{told}: more than half", cure, numbers), *_lost(lesions)]
    return [*findings, Finding(_CHECK, "ok", told, numbers=numbers), *_lost(lesions)]


def _wrong_shapes(looks: Sequence[MaskLook]) -> list[Finding]:
    wrong = [look for look in looks if look.slice_shape is not None and look.shape != look.slice_shape]
    if not wrong:
        return []
    first = wrong[0]
    found = (
        f"{len(wrong)} of {len(looks)} masks have another size than their slice{some([look.name for look in wrong])}: "
        f"{_shape(first.shape)} on {_shape(first.slice_shape)}"
    )
    cure = "pair each slice with its own mask, and resize masks to their slices without interpolation"
    return [Finding(_CHECK, "error", found, cure, {"other_size": len(wrong)})]


def _wrong_values(looks: Sequence[MaskLook]) -> list[Finding]:
    wrong = [look for look in looks if not set(look.values) <= {0.0, 1.0}]
    if not wrong:
        return []
    values = sorted({value for look in wrong for value in look.values})
    shown = ", ".join(f"{value:g}" for value in values[:_MOST_VALUES])
    found = f"{len(wrong)} of {len(looks)} masks hold {shown} in place of 0 and 1{some([look.name for look in wrong])}"
    if set(values) <= {0.0, 255.0}:
        cure = "divide the masks by 255"
    else:
        cure = "store 1 where a pixel is opacified and 0 elsewhere: read a palette's indices, and merge classes"
    return [Finding(_CHECK, "error", found, cure, {"other_values": len(wrong), "values": values[:_MOST_VALUES]})]


def _lost(lesions: Sequence[MaskLook]) -> list[Finding]:
    lost = [look.name for look in lesions if not look.framed]
    if len(lost) <= _LOST * len(lesions):
        return []
    found = f"{len(lost)} of {len(lesions)} lesions vanish at the network's size{some(lost)}: their masks become empty"
    cure = "raise config.model.input_size"
    return [Finding(_CHECK, "warning", found, cure, {"vanished": len(lost), "lesions": len(lesions)})]


def _shape(shape: tuple[int, ...] | None) -> str:
    return " x ".join(map(str, shape or ()))
