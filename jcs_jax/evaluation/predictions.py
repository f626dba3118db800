"""Runs a model over a data set in padded batches: every slice once, one compilation."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jcs_jax import explain
from jcs_jax.data.examples import Example, Source, example_intensity
from jcs_jax.data.pipeline import evaluation_batches
from jcs_jax.errors import InputError
from jcs_jax.models.inputs import network_arguments
from jcs_jax.models.output import ModelOutput, class_head_kernel, infection_probability, lesion_probability
from jcs_jax.models.presets import Preset


class Prediction(NamedTuple):
    """What a model says of one slice.

    Attributes:
      example: the slice.
      intensity: (H, W) float32 in [0, 1], the slice as the model was shown it, before resizing; None where only
        stage features are stored.
      lesions: (H, W) float32 in [0, 1], probability of opacity at the slice's own size; None without segmentation.
      infection: probability of infection in [0, 1]; None without a class head.
      log_odds: of infection against no infection; None without a class head.
      activation: (H, W) float32, signed, at the slice's own size: the share of every position in the log-odds of
        infection against no infection; zero where the network didn't look; None without class features.
    """

    example: Example
    intensity: Float[np.ndarray, "h w"] | None
    lesions: Float[np.ndarray, "h w"] | None
    infection: float | None
    log_odds: float | None
    activation: Float[np.ndarray, "h w"] | None


class _Outputs(NamedTuple):
    """What the network gives for a batch, on its own frame; None where it has no such output.

    Attributes:
      lesions: (N, h, w), probability of opacity of each pixel.
      infection: (N,), probability of infection of each slice.
      log_odds: (N,), of each slice.
      activation: (N, h', w'), coarse.
    """

    lesions: Float[Array, "n h w"] | None
    infection: Float[Array, " n"] | None
    log_odds: Float[Array, " n"] | None
    activation: Float[Array, "n h2 w2"] | None


def predictions(
    model: nn.Module, variables: Mapping[str, PyTree], preset: Preset, source: Source, *, batch_size: int
) -> Iterator[Prediction]:
    """Yields the prediction of every slice, in order.

    The network always sees `batch_size` slices; the last batch is filled up with blank ones, whose outputs are
    dropped.

    Raises:
      InputError: if a prediction isn't finite; the message names the slice.
    """
    variables = jax.device_put(variables)
    batches = evaluation_batches(
        source, preset.preprocessing, batch_size=batch_size, stage_features=preset.stage_features
    )
    for examples, arrays in batches:
        outputs: _Outputs = jax.device_get(_run_network(model, variables, network_arguments(arrays)))
        for row, example in enumerate(examples):
            yield _prediction(example, jax.tree.map(lambda values, i=row: values[i], outputs), preset)


def _prediction(example: Example, outputs: _Outputs, preset: Preset) -> Prediction:
    """One slice's outputs, checked and put back on the slice."""
    if not all(np.isfinite(values).all() for values in jax.tree.leaves(outputs)):
        raise InputError(
            f"{example.name or 'a slice'}: the prediction is NaN or infinite; check the slice for values that are no "
            "numbers, or take an earlier checkpoint"
        )
    shape = _own_shape(example, preset)
    lesions, activation = (
        None if plane is None else preset.preprocessing.to_source(np.asarray(plane), shape)
        for plane in (outputs.lesions, outputs.activation)
    )
    intensity = None if example.image is None else example_intensity(example, preset.preprocessing)
    infection, log_odds = (None if value is None else float(value) for value in (outputs.infection, outputs.log_odds))
    return Prediction(example, intensity, lesions, infection, log_odds, activation)


def _own_shape(example: Example, preset: Preset) -> tuple[int, int]:
    """Rows and columns of the slice, or of its mask where only features of the slice are stored."""
    plane = example.image if example.image is not None else example.mask
    return preset.preprocessing.size if plane is None else (plane.shape[0], plane.shape[1])


def infection_map(output: ModelOutput, variables: Mapping[str, PyTree]) -> Float[Array, "n h w"] | None:
    """The share of every position in the log-odds of infection, on the network's coarse grid.

    Args:
      output: of the network.
      variables: of it.

    Returns:
      (N, h, w), signed; None without class features.
    """
    features = output.intermediates.get("class_features")
    kernel = None if features is None else class_head_kernel(variables["params"])
    if features is None or kernel is None:
        return None
    return explain.class_activation_map(features, kernel, explain.INFECTED, against=explain.UNINFECTED)


@functools.partial(jax.jit, static_argnums=0)
def _run_network(model: nn.Module, variables: Mapping[str, PyTree], arguments: Mapping[str, Any]) -> _Outputs:
    output = cast(ModelOutput, model.apply(variables, **arguments, train=False))
    log_odds = None
    if output.class_logits is not None:
        logits = output.class_logits.astype(jnp.float32)
        log_odds = logits[:, explain.INFECTED] - logits[:, explain.UNINFECTED]
    activation = infection_map(output, variables)
    return _Outputs(lesion_probability(output), infection_probability(output), log_odds, activation)
