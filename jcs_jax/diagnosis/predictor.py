"""From slices to findings: the one object that runs a network for a user."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jcs_jax.diagnosis.decision import DEFAULT_RULE, LEAST_SLICES, decide, familiarity
from jcs_jax.diagnosis.programs import JaxPrograms, Programs, Screening
from jcs_jax.diagnosis.result import Diagnosis, MapAgreement, ModelCard, SliceDiagnosis, SliceFindings
from jcs_jax.diagnosis.stages import Stages
from jcs_jax.errors import InputError
from jcs_jax.models.compilation import convolutions_for
from jcs_jax.models.folding import fold_norms
from jcs_jax.models.presets import Preset, build, with_convolutions
from jcs_jax.study.images import SliceImage

PICTURES_ONLY = "the decision takes the pictures for slices of one patient that are evenly spread, all with lung"
CENTRE_ONLY = "the network looked at the central crop of the picture only: what lies outside was not judged"


class Predictor:
    """Diagnoses slices with one network.

    Args:
      programs: that run the network.
      preset: its preprocessing and thresholds.
      batch_size: most slices that go through the network at once.
      card: what to report of the network; of the preset alone if left out.

    Raises:
      ValueError: if batch_size is below 1.
    """

    def __init__(self, programs: Programs, preset: Preset, *, batch_size: int = 8, card: ModelCard | None = None):
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        self.preset = preset
        self.batch_size = batch_size
        self.card = card or ModelCard.of(None, preset.to_json())
        self.stages = Stages(programs, preset, batch_size=batch_size)

    @classmethod
    def of(
        cls,
        model: nn.Module,
        variables: Mapping[str, Any],
        preset: Preset,
        *,
        batch_size: int = 8,
        flip: bool = False,
        card: ModelCard | None = None,
    ) -> Predictor:
        """Of a network in memory, which JAX runs.

        Args:
          model: a Linen module as `jcs_jax.create_model` makes it.
          variables: its variables.
          preset: its preprocessing and thresholds.
          batch_size: most slices that go through the network at once.
          flip: average over every slice and its mirror image.
          card: what to report of the network.
        """
        return cls(JaxPrograms(model, variables, preset, flip=flip), preset, batch_size=batch_size, card=card)

    @classmethod
    def from_checkpoint(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        batch_size: int = 8,
        flip: bool = False,
        engine: str = "jax",
        precision: str = "float32",
    ) -> Predictor:
        """Loads a model folder, as `jcs train` and `jcs convert` write it; norms are folded where they can be.

        Args:
          name_or_path: the folder, or the name of a shipped model; for an engine other than JAX, a folder that
            `jcs export` wrote.
          batch_size: most slices that go through the network at once.
          flip: average over every slice and its mirror image.
          engine: "jax", "onnxruntime" or "openvino".
          precision: "float32" or "bfloat16", in which most is computed.

        Raises:
          InputError: if it is none, or the engine can't run it.
        """
        settings: dict[str, Any] = {"engine": engine, "precision": precision}
        if engine != "jax":
            from jcs_jax.diagnosis.engine_programs import EnginePrograms  # noqa: PLC0415  only for those who want an engine
            from jcs_jax.engines.exported import read_export  # noqa: PLC0415  as above

            found = read_export(name_or_path)
            programs = EnginePrograms(found, engine, precision, flip=flip, batch_size=batch_size)
            card = ModelCard.of(found.checkpoint, found.preset.to_json(), found.weights_sha256, **settings)
            return cls(programs, found.preset, batch_size=batch_size, card=card)
        from jcs_jax import load_model  # noqa: PLC0415  Orbax takes seconds to import
        from jcs_jax.checkpoints import weights_digest  # noqa: PLC0415  as above

        model, variables, preset = load_model(name_or_path)
        folded, variables = fold_norms(preset, variables)
        if folded is not preset or precision != "float32":
            own = {} if precision == "float32" else {"dtype": jnp.dtype(precision)}
            model = build(folded, **own)
        model = with_convolutions(model, convolutions_for(jax.default_backend()))
        card = ModelCard.of(
            Path(name_or_path).resolve().name, preset.to_json(), weights_digest(name_or_path), **settings
        )
        return cls.of(model, variables, preset, batch_size=batch_size, flip=flip, card=card)

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
            inputs = [self.preset.preprocessing.network_input(image.intensity) for image in batch]
            try:
                screened = self.stages.screen(inputs) if self.stages.classifies else [None] * len(batch)
                trunks = [{} if one is None else one.trunk for one in screened]
                lesions = self.stages.segment(inputs, trunks) if self.stages.segments else [None] * len(batch)
            except InputError as error:
                raise InputError(f"{batch[0].name} to {batch[-1].name}: {error}") from error
            for image, screening, probability in zip(batch, screened, lesions, strict=True):
                yield self._diagnose(image, screening, probability)

    def _diagnose(
        self, image: SliceImage, screening: Screening | None, lesions: Float[np.ndarray, "h w"] | None
    ) -> SliceDiagnosis:
        """Brings one slice's maps back onto the slice and measures them."""
        preprocessing = self.preset.preprocessing
        shape = (image.intensity.shape[0], image.intensity.shape[1])
        probability = mask = activation = agreement = infected = distance = None
        if lesions is not None:
            probability = preprocessing.to_source(lesions, shape)
            mask = probability >= self.preset.mask_threshold
        if screening is not None:
            activation = preprocessing.to_source(np.asarray(screening.activation), shape)
            infected = float(screening.probability)
            if self.preset.familiar is not None:
                distance = float(self.preset.familiar.distance(np.asarray(screening.features)[np.newaxis])[0])
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
            distance=distance,
        )
        return SliceDiagnosis(findings, image.intensity, probability, mask, activation)


def picture_diagnosis(
    predictor: Predictor, case: str, findings: tuple[SliceFindings, ...], *, notes: tuple[str, ...] = ()
) -> Diagnosis:
    """The numbers of a case of pictures; three and more get a decision, each counting the same.

    Args:
      predictor: that found them.
      case: its name.
      findings: of its slices.
      notes: what a reader must know of how the case was put together.
    """
    rule = predictor.preset.patient
    probabilities = np.array([one.class_probability for one in findings if one.class_probability is not None])
    decision = None
    if len(probabilities) >= LEAST_SLICES:
        distances = np.array([one.distance for one in findings if one.distance is not None])
        told, doubts = familiarity(distances, predictor.preset.familiar)
        notes = (*notes, PICTURES_ONLY, *([] if rule.chosen_on else [DEFAULT_RULE]), *told)
        certain = np.clip(probabilities, 1e-12, 1 - 1e-12)
        decision = decide(
            np.log(certain / (1 - certain)),
            probabilities >= predictor.preset.class_threshold,
            rule,
            extents=np.ones(len(findings)),
            lung_bearing=np.ones(len(findings), bool),
            millimetres=False,
            doubts=doubts,
        )
    return Diagnosis(case, predictor.card, findings, notes, decision=decision)
