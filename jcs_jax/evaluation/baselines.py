"""What a model has to beat: predictions that need no training, or one number of it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from jaxtyping import Bool, Float

from jcs_jax.data.examples import Source, example_intensity
from jcs_jax.evaluation.lungs import lung_mask
from jcs_jax.metrics import Measurement, ThresholdCurve
from jcs_jax.preprocessing import Preprocessing


def brightness_in_lungs(
    intensity: Float[np.ndarray, "h w"], lungs: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w"]:
    """The slice's intensity within the lungs, clipped to [0, 1], and 0 elsewhere: a map to threshold."""
    return np.where(lungs, np.clip(intensity, 0.0, 1.0), 0.0).astype(np.float64)


def choose_brightness_threshold(
    source: Source, preprocessing: Preprocessing, *, exclude: Collection[str] = ()
) -> tuple[Measurement, int]:
    """Finds the brightness within the lungs from which a pixel is best called opacified.

    Args:
      source: the slices to choose on; those without a mask or with an empty one don't count.
      preprocessing: whose window turns HU into intensities.
      exclude: names of slices to leave out: those that will be evaluated.

    Returns:
      The threshold, one of 1/255 .. 255/255, with the highest Dice averaged over the slices (value nan if
      none counts), and how many slices were left out by name.
    """
    curve, excluded = ThresholdCurve.empty(), 0
    for index in range(len(source)):
        example = source[index]
        if example.name in exclude:
            excluded += 1
        elif example.mask is not None:
            intensity = example_intensity(example, preprocessing)
            brightness = brightness_in_lungs(intensity, lung_mask(intensity))
            curve = curve.merge(ThresholdCurve.from_maps(brightness[np.newaxis], example.mask[np.newaxis], scale=False))
    return curve.best_threshold(lowest=1), excluded
