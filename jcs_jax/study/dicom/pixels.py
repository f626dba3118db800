"""The pixels of slices in HU."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Shaped
from pydicom.pixels import pixel_array

from jcs_jax.dicom_headers import quiet_dicom
from jcs_jax.errors import InputError
from jcs_jax.study.dicom.headers import SliceHeader, read_dataset
from jcs_jax.study.volume import AIR

_CODECS = "pip install 'jcs-jax[dicom]' brings more decoders, or export it uncompressed"


def read_hounsfield(slices: Sequence[SliceHeader]) -> Iterator[Shaped[np.ndarray, "h w"]]:
    """Yields every slice in HU, unclipped, its padding turned to air; a file of many frames is decoded once.

    Raises:
      InputError: pixels that can't be decoded, or no slope and intercept to HU.
    """
    for _, members in itertools.groupby(slices, key=lambda one: one.file.name):
        same_file = list(members)
        frames = _decode(same_file[0], max(one.frame for one in same_file) + 1)
        for one in same_file:
            yield _to_hounsfield(frames[one.frame], one)


def _decode(header: SliceHeader, frames: int) -> Shaped[np.ndarray, "n h w"]:
    name = header.file.name
    with header.file.open() as stream:
        dataset = read_dataset(stream, name, pixels=True)
    stored: Any = None
    with quiet_dicom():
        try:
            stored = pixel_array(dataset)
        except Exception as error:  # decoders raise what they like
            raise InputError(f"{name}: its pixels can't be decoded ({_reason(error)}); {_CODECS}") from error
    stored = np.asarray(stored).reshape(-1, *header.size)
    if len(stored) < frames:
        raise InputError(f"{name}: holds {len(stored)} frames and tells of {frames}; export it again")
    return stored


def _to_hounsfield(stored: Shaped[np.ndarray, "h w"], header: SliceHeader) -> Shaped[np.ndarray, "h w"]:
    if header.rescale is None:
        raise InputError(
            f"{header.file.name}: does not say how its values become HU (slope and intercept); export it again"
        )
    slope, intercept = header.rescale
    scaled: np.ndarray
    if float(slope).is_integer() and float(intercept).is_integer():
        scaled = stored.astype(np.int32) * int(slope) + int(intercept)
    else:
        scaled = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    if header.padding is not None:
        scaled[(stored >= header.padding[0]) & (stored <= header.padding[1])] = AIR
    return scaled


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:160]
