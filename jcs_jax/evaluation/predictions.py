"""Runs a model over a data set in padded batches: every slice once, one compilation."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from jcs_jax.data.examples import Example, Source, example_intensity
from jcs_jax.errors import InputError
from jcs_jax.models.output import ModelOutput, infection_probability, lesion_probability
from jcs_jax.models.presets import Preset


class Prediction(NamedTuple):
    """What a model says of one slice.

    Attributes:
      example: the slice.
      intensity: (H, W) float32 in [0, 1], the slice as the model was shown it, before resizing.
      lesions: (H, W) float32 in [0, 1], probability of opacity at the slice's own size; None without segmentation.
      infection: probability of infection in [0, 1]; None without a class head.
    """

    example: Example
    intensity: Float[np.ndarray, "h w"]
    lesions: Float[np.ndarray, "h w"] | None
    infection: float | None


def predictions(
    model: nn.Module, variables: Mapping[str, PyTree], preset: Preset, source: Source, *, batch_size: int
) -> Iterator[Prediction]:
    """Yields the prediction of every slice, in order.

    The network always sees `batch_size` slices; the last batch is filled up with blank ones, whose outputs are
    dropped.

    Raises:
      InputError: if a prediction is NaN; the message names the slice.
    """
    variables = jax.device_put(variables)
    images = np.zeros((batch_size, *preset.preprocessing.size, 3), np.float32)
    for start in range(0, len(source), batch_size):
        examples = [source[index] for index in range(start, min(start + batch_size, len(source)))]
        intensities = [example_intensity(example, preset.preprocessing) for example in examples]
        for row, intensity in enumerate(intensities):
            images[row] = preset.preprocessing.network_input(intensity)
        images[len(examples) :] = 0.0
        maps, infections = jax.device_get(_probabilities(model, variables, images))
        for row, (example, intensity) in enumerate(zip(examples, intensities, strict=True)):
            outputs = [output[row] for output in (maps, infections) if output is not None]
            if any(np.isnan(output).any() for output in outputs):
                raise InputError(
                    f"{example.name or f'slice {start + row}'}: the prediction is NaN; check the slice for values "
                    "that are no numbers, or take an earlier checkpoint"
                )
            lesions = None if maps is None else preset.preprocessing.to_source(maps[row], intensity.shape)
            infection = None if infections is None else float(infections[row])
            yield Prediction(example, intensity, lesions, infection)


@functools.partial(jax.jit, static_argnums=0)
def _probabilities(
    model: nn.Module, variables: Mapping[str, PyTree], images: Float[Array, "n h w 3"]
) -> tuple[Float[Array, "n h w"] | None, Float[Array, " n"] | None]:
    """The probability of opacity of each pixel and of infection of each slice; None where there is no such output."""
    output = cast(ModelOutput, model.apply(variables, images, train=False))
    return lesion_probability(output), infection_probability(output)
