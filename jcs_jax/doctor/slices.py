"""A sample of the training slices, each decoded once for all checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float

from jcs_jax.data.examples import Example, SliceRecord, Source, example_intensity
from jcs_jax.data.inputs import MASK_AREA_THRESHOLD
from jcs_jax.evaluation.lungs import lung_mask
from jcs_jax.preprocessing import Preprocessing, resize_array

MOST_SLICES = 200  # looked at; half of them from those with a lesion, where the index knows
LARGEST_SIDE = 512  # of what is looked at; larger slices are reduced to it


@dataclasses.dataclass(frozen=True)
class SampledSlice:
    """A slice as the checks look at it.

    Attributes:
      example: as it is stored.
      intensity: (h, w) float32, clipped to [0, 1], sides of at most 512; None for stored features.
      mask: (h, w), on the same pixels; None where there is none or it has another shape than the slice.
      lungs: (h, w), found by thresholds; None for stored features.
    """

    example: Example
    intensity: Float[np.ndarray, "h w"] | None
    mask: Bool[np.ndarray, "h w"] | None
    lungs: Bool[np.ndarray, "h w"] | None


def choose_slices(records: Sequence[SliceRecord], *, most: int = MOST_SLICES, seed: int = 0) -> list[int]:
    """Positions of the slices to look at: all, or a random sample with enough lesions in it.

    Args:
      records: of all slices.
      most: slices to choose.
      seed: of the sample.

    Returns:
      Ascending positions. Up to half of a sample are slices of which the index knows a lesion, and the rest is drawn
      from the others, so that rare masks are not missed.
    """
    rng = np.random.default_rng(seed)
    if len(records) <= most:
        return list(range(len(records)))
    order = rng.permutation(len(records))
    lesions = [int(index) for index in order if records[index].lesion_area > 0][: most // 2]
    chosen = set(lesions)
    others = [int(index) for index in order if int(index) not in chosen][: most - len(lesions)]
    return sorted([*lesions, *others])


def sampled_slices(source: Source, preprocessing: Preprocessing, positions: Sequence[int]) -> Iterator[SampledSlice]:
    """Yields slices as the checks look at them.

    Args:
      source: the training data.
      preprocessing: whose window turns HU into intensities.
      positions: which slices.

    Yields:
      One after the other, in the order of `positions`.
    """
    for position in positions:
        example = source[position]
        if example.image is None:
            mask = None if example.mask is None else np.asarray(example.mask) > 0
            yield SampledSlice(example, None, mask, None)
            continue
        intensity = np.clip(np.nan_to_num(example_intensity(example, preprocessing)), 0, 1)
        fits = example.mask is not None and np.shape(example.mask) == intensity.shape
        size = _reduced(intensity.shape)
        intensity = resize_array(intensity, size, antialias=True)
        mask = None
        if fits:
            plane = (np.asarray(example.mask) > 0).astype(np.float32)
            mask = resize_array(plane, size, antialias=True) > MASK_AREA_THRESHOLD
        yield SampledSlice(example, intensity, mask, lung_mask(intensity))


def _reduced(shape: tuple[int, ...]) -> tuple[int, int]:
    factor = min(1.0, LARGEST_SIDE / max(shape))
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))
