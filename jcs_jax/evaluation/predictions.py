"""Runs a model over a data set in padded batches: every slice once, one compilation."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from jcs_jax.data.examples import Example, Source, example_intensity
from jcs_jax.data.pipeline import evaluation_batches
from jcs_jax.errors import InputError
from jcs_jax.models.inputs import network_arguments
from jcs_jax.models.output import ModelOutput, infection_probability, lesion_probability
from jcs_jax.models.presets import Preset


class Prediction(NamedTuple):
    """What a model says of one slice.

    Attributes:
      example: the slice.
      intensity: (H, W) float32 in [0, 1], the slice as the model was shown it, before resizing; None where only
        stage features are stored.
      lesions: (H, W) float32 in [0, 1], probability of opacity at the slice's own size; None without segmentation.
      infection: probability of infection in [0, 1]; None without a class head.
    """

    example: Example
    intensity: Float[np.ndarray, "h w"] | None
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
    batches = evaluation_batches(
        source, preset.preprocessing, batch_size=batch_size, stage_features=preset.stage_features
    )
    for examples, arrays in batches:
        maps, infections = jax.device_get(_probabilities(model, variables, network_arguments(arrays)))
        for row, example in enumerate(examples):
            outputs = [output[row] for output in (maps, infections) if output is not None]
            if any(np.isnan(output).any() for output in outputs):
                raise InputError(
                    f"{example.name or 'a slice'}: the prediction is NaN; check the slice for values that are no "
                    "numbers, or take an earlier checkpoint"
                )
            intensity = None if example.image is None else example_intensity(example, preset.preprocessing)
            shape = _own_shape(example, preset)
            lesions = None if maps is None else preset.preprocessing.to_source(maps[row], shape)
            infection = None if infections is None else float(infections[row])
            yield Prediction(example, intensity, lesions, infection)


def _own_shape(example: Example, preset: Preset) -> tuple[int, int]:
    """Rows and columns of the slice, or of its mask where only features of the slice are stored."""
    plane = example.image if example.image is not None else example.mask
    return preset.preprocessing.size if plane is None else (plane.shape[0], plane.shape[1])


@functools.partial(jax.jit, static_argnums=0)
def _probabilities(
    model: nn.Module, variables: Mapping[str, PyTree], arguments: Mapping[str, Any]
) -> tuple[Float[Array, "n h w"] | None, Float[Array, " n"] | None]:
    """The probability of opacity of each pixel and of infection of each slice; None where there is no such output."""
    output = cast(ModelOutput, model.apply(variables, **arguments, train=False))
    return lesion_probability(output), infection_probability(output)
