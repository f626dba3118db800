"""Slices without their lungs, and lungs without the rest: where does a network's answer come from?

A network that tells infected from uninfected slices after the lungs are gone reads something else: marks burnt into
the picture, the table, the field of view, the way a hospital stores its files.

Source of the idea: Maguolo and Nanni, "A critic evaluation of methods for COVID-19 automatic detection from X-ray
images", Information Fusion 2021.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from jcs_jax.data.examples import (
    UNKNOWN_LABEL,
    UNKNOWN_NUMBER,
    ArraySource,
    Example,
    SliceRecord,
    Source,
    example_intensity,
)
from jcs_jax.errors import InputError
from jcs_jax.evaluation.lungs import lung_mask
from jcs_jax.preprocessing import Preprocessing

DILATION = 0.02  # of the slice's shorter side: the lungs' edge goes with the lungs


class _ChangedSlices:
    """Slices of a source with other pictures; subclasses say which."""

    def __init__(self, source: Source, preprocessing: Preprocessing):
        _refuse_features(source)
        self._source, self._preprocessing = source, preprocessing
        self.info: Mapping[str, str | int] = source.info

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Example:
        raise NotImplementedError

    def records(self) -> Iterator[SliceRecord]:
        """What is known of every slice, in order; every slice is decoded."""
        return _changed_records(self, self._source)


class ErasedLungs(_ChangedSlices):
    """A source whose slices have a plain box in place of the lungs.

    The box is the smallest around both lungs, a little dilated, and made even about the middle column of the picture.
    So neither the lungs' outline nor a lung that is too opaque to be found shows; how large the lungs are still does,
    roughly. It is filled with one intensity for all slices, the mean that the network's input is standardised by. HU
    become intensities by the preset's window; opacities are gone, so there is no mask. A slice in which no lungs are
    found is all of that intensity and has no label, so that nobody counts it.

    Args:
      source: with pictures.
      preprocessing: of the network.

    Attributes:
      info: of the source.

    Raises:
      InputError: the source has stored features instead of pictures.
    """

    def __getitem__(self, index: int) -> Example:
        example = self._source[index]
        intensity, lungs = _with_lungs(example, self._preprocessing)
        erased = box_around(lungs) if lungs.any() else np.ones_like(lungs)
        changed = _filled(example, intensity, erased, lungs, self._preprocessing)
        return dataclasses.replace(changed, mask=None)


class LungsOnly(_ChangedSlices):
    """A source whose slices have nothing but the lungs.

    What lies outside the lungs, a little dilated, gets one intensity as in `ErasedLungs`. The lungs' outline stays, and
    with it what it tells. The lungs are found by thresholds: a consolidation at the chest wall can be lost. A slice
    in which no lungs are found is all of that intensity and has no label.

    Args:
      source: with pictures.
      preprocessing: of the network.

    Attributes:
      info: of the source.

    Raises:
      InputError: the source has stored features instead of pictures.
    """

    def __getitem__(self, index: int) -> Example:
        example = self._source[index]
        intensity, lungs = _with_lungs(example, self._preprocessing)
        return _filled(example, intensity, ~lungs, lungs, self._preprocessing)


def box_around(region: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The smallest box around a region that is even about the picture's middle column; nothing around nothing."""
    box = np.zeros_like(region)
    if region.any():
        rows, columns = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
        left = min(columns[0], region.shape[1] - 1 - columns[-1])
        box[rows[0] : rows[-1] + 1, left : region.shape[1] - left] = True
    return box


def _refuse_features(source: Source) -> None:
    if len(source) and source[0].image is None:
        raise InputError(
            f"{source[0].name}: has stored features, in which no lungs can be erased; choose a data set with pictures"
        )


def _with_lungs(
    example: Example, preprocessing: Preprocessing
) -> tuple[Float[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """The slice in [0, 1] and its lungs, a little dilated."""
    intensity = example_intensity(example, preprocessing)
    lungs = lung_mask(intensity)
    if lungs.any():
        lungs = ndimage.distance_transform_edt(~lungs) <= DILATION * min(lungs.shape)
    return intensity, lungs


def _filled(
    example: Example,
    intensity: Float[np.ndarray, "h w"],
    region: Bool[np.ndarray, "h w"],
    lungs: Bool[np.ndarray, "h w"],
    preprocessing: Preprocessing,
) -> Example:
    """The example with one intensity in a region; without a label where there are no lungs."""
    image = np.where(region, np.float32(np.mean(preprocessing.mean)), intensity).astype(np.float32)
    label = example.label if lungs.any() else UNKNOWN_LABEL
    return dataclasses.replace(example, image=image, encoding="intensity", label=label)


def _changed_records(changed: Source, source: Source) -> Iterator[SliceRecord]:
    """The records of the source with what erasing has changed: label, digest, and lesions where they are gone."""
    for index, record in enumerate(source.records()):
        own = next(ArraySource([changed[index]]).records())
        told: dict[str, Any] = {"label": own.label, "digest": own.digest, "lesion_area": own.lesion_area}
        if own.lesion_area == UNKNOWN_NUMBER:
            told |= {"lesion_count": UNKNOWN_NUMBER, "lesion_location": ""}
        yield dataclasses.replace(record, **told)
