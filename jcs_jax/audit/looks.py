"""Decoding every picture once, and keeping of it only what the audit needs."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np

from jcs_jax.audit.local_features import SIDE, LocalFeatures, extract
from jcs_jax.audit.parts import Part
from jcs_jax.data.examples import Source, example_intensity
from jcs_jax.preprocessing import Preprocessing

SMALLEST_SIDE = 64  # pixels on the longer side; in less, one chest looks like another
_DISPLAY = Preprocessing(size=(SIDE, SIDE))  # its window turns HU into intensities


class Look(NamedTuple):
    """What is kept of a picture.

    Attributes:
      brightness: mean intensity, 0 to 1; nan without a picture.
      mask_share: share of the picture that its mask covers; nan without a mask.
      features: to find it again; None if there is no picture, it is too small, or nothing is to be compared.
    """

    brightness: float = math.nan
    mask_share: float = math.nan
    features: LocalFeatures | None = None


def has_pictures(source: Source) -> bool:
    """Whether slices have pictures; stored features alone would be gigabytes to read, and tell nothing here."""
    return source.info.get("image_encoding") != "features"


def look_at(parts: Sequence[Part], executor: Executor, *, find_features: bool) -> list[Look]:
    """Looks at every slice of all parts, in order.

    Args:
      parts: to look at.
      executor: runs the work on single slices.
      find_features: also find local features, which takes most of the time.
    """

    def one(task: tuple[Source, int]) -> Look:
        source, index = task
        if not has_pictures(source):
            return Look()
        example = source[index]
        mask_share = math.nan if example.mask is None else float(np.count_nonzero(example.mask) / example.mask.size)
        if example.image is None:
            return Look(mask_share=mask_share)
        intensity = example_intensity(example, _DISPLAY)
        wanted = find_features and max(intensity.shape) >= SMALLEST_SIDE
        return Look(float(intensity.mean()), mask_share, extract(intensity) if wanted else None)

    tasks = ((part.source, index) for part in parts for index in range(len(part.source)))
    return list(executor.map(one, tasks))


@contextlib.contextmanager
def workers() -> Iterator[Executor]:
    """A thread for each processor; OpenCV works in the thread that calls it, and starts none of its own."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as executor:
            yield executor
    finally:
        cv2.setNumThreads(threads)
