"""From slices to findings: the one object that runs a network for a user."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array, Float

from jcs_jax import explain
from jcs_jax.diagnosis.result import MapAgreement, ModelCard, SliceDiagnosis, SliceFindings
from jcs_jax.errors import InputError
from jcs_jax.models.output import infection_probability, lesion_probability
from jcs_jax.models.presets import Preset
from jcs_jax.study.images import SliceImage

CENTRE_ONLY = "the network looked at the central crop of the picture only: what lies outside was not judged"


class _Answer(NamedTuple):
    """What the network says of one slice, on its own frame; with a leading axis, of a batch.

    Attributes:
      class_probability: () in [0, 1], of infection; None without a class head.
      lesion_probability: (h, w) in [0, 1], of opacification; None without segmentation.
      activation: (h', w'), coarse and signed, with the log-odds of `class_probability` as its mean; None
        without a class head.
    """

    class_probability: Array | np.ndarray | None
    lesion_probability: Array | np.ndarray | None
    activation: Array | np.ndarray | None


def _run_network(model: nn.Module, variables: Mapping[str, Any], images: Float[Array, "n h w 3"]) -> _Answer:
    """Applies the network in evaluation mode; of the side maps only the first is the answer."""
    output: Any = model.apply(variables, images, train=False)
    activation = None
    if output.class_logits is not None:
        kernel = variables["params"]["class_head"]["kernel"]
        features = output.intermediates["class_features"]
        activation = explain.class_activation_map(features, kernel, explain.INFECTED, against=explain.UNINFECTED)
    return _Answer(infection_probability(output), lesion_probability(output), activation)


class Predictor:
    """Diagnoses slices with one network.

    Args:
      model: a Linen module as `jcs_jax.create_model` makes it.
      variables: its variables.
      preset: its preprocessing and thresholds.
      batch_size: most slices that go through the network at once.
      checkpoint: name to report for the weights.

    Raises:
      ValueError: if batch_size is below 1.
    """

    def __init__(
        self,
        model: nn.Module,
        variables: Mapping[str, Any],
        preset: Preset,
        *,
        batch_size: int = 8,
        checkpoint: str | None = None,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        self.preset = preset
        self.batch_size = batch_size
        self.card = ModelCard(checkpoint, preset.to_json(), preset.class_threshold, preset.mask_threshold)
        self._variables = variables
        self._run = jax.jit(functools.partial(_run_network, model))

    @classmethod
    def from_checkpoint(cls, name_or_path: str | os.PathLike[str], *, batch_size: int = 8) -> Predictor:
        """Loads a model folder, as `jcs train` and `jcs convert` write it.

        Raises:
          InputError: if it is none.
        """
        from jcs_jax import load_model  # noqa: PLC0415  Orbax takes seconds to import

        model, variables, preset = load_model(name_or_path)
        name = Path(name_or_path).resolve().name
        return cls(model, variables, preset, batch_size=batch_size, checkpoint=name)

    def predict(self, slices: Iterable[SliceImage]) -> list[SliceDiagnosis]:
        """Diagnoses slices that fit into memory together with their maps; see `stream`."""
        return list(self.stream(slices))

    def stream(self, slices: Iterable[SliceImage]) -> Iterator[SliceDiagnosis]:
        """Diagnoses slices one batch after the other, reading no further ahead than a batch.

        Args:
          slices: intensities in [0, 1]; sizes may differ.

        Yields:
          One result per slice, in order, with maps at the slice's own resolution.

        Raises:
          InputError: if the network answers with values that aren't finite.
        """
        remaining = iter(slices)
        while batch := list(itertools.islice(remaining, self.batch_size)):
            for image, answer in zip(batch, self._predict_batch(batch), strict=True):
                yield self._diagnose(image, answer)

    def _predict_batch(self, batch: list[SliceImage]) -> list[_Answer]:
        """Runs one batch, padded to a power of two so that few shapes are compiled; drops the padding."""
        inputs = np.stack([self.preset.preprocessing.network_input(image.intensity) for image in batch])
        width = min(self.batch_size, 1 << (len(batch) - 1).bit_length())
        padding = np.zeros((width - len(batch), *inputs.shape[1:]), inputs.dtype)
        answer = jax.device_get(self._run(self._variables, np.concatenate([inputs, padding])))
        answers = [jax.tree.map(lambda values, i=index: values[i], answer) for index in range(len(batch))]
        for image, values in zip(batch, answers, strict=True):
            if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(values)):
                raise InputError(
                    f"{image.name}: the network's answer is not finite; convert or train its checkpoint again"
                )
        return answers

    def _diagnose(self, image: SliceImage, answer: _Answer) -> SliceDiagnosis:
        """Brings one slice's maps back onto the slice and measures them."""
        preprocessing = self.preset.preprocessing
        shape = (image.intensity.shape[0], image.intensity.shape[1])
        probability = mask = activation = agreement = infected = None
        if answer.lesion_probability is not None:
            probability = preprocessing.to_source(np.asarray(answer.lesion_probability), shape)
            mask = probability >= self.preset.mask_threshold
        if answer.activation is not None:
            activation = preprocessing.to_source(np.asarray(answer.activation), shape)
        if answer.class_probability is not None:
            infected = float(answer.class_probability)
        if mask is not None and activation is not None:
            agreement = MapAgreement.measure(activation, mask)
        findings = SliceFindings(
            name=image.name,
            shape=shape,
            pixels_sha256=image.pixels_sha256,
            notes=image.notes if preprocessing.geometry == "stretch" else (*image.notes, CENTRE_ONLY),
            class_probability=infected,
            positive=None if infected is None else infected >= self.preset.class_threshold,
            lesion_share=None if mask is None else float(mask.mean()),
            agreement=agreement,
        )
        return SliceDiagnosis(findings, image.intensity, probability, mask, activation)
