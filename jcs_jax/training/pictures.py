"""A few slices with what the network makes of them while it is trained."""

from __future__ import annotations

from typing import Any, cast

import flax.linen as nn
import jax
import numpy as np
from PIL import Image

from jcs_jax.data.examples import ArraySource, Source
from jcs_jax.data.inputs import framed
from jcs_jax.data.pipeline import HostShard, evaluation_batches
from jcs_jax.explain import INFECTED, UNINFECTED, class_activation_map
from jcs_jax.models.inputs import network_arguments
from jcs_jax.models.output import ModelOutput, infection_probability, lesion_probability
from jcs_jax.models.presets import Preset
from jcs_jax.training.board import example_pictures
from jcs_jax.training.sharding import Layout
from jcs_jax.training.state import TrainState

COUNT = 4


class ExampleSlices:
    """Four slices spread over a split, always the same ones; their names stay out of the pictures.

    Args:
      preset: of the network.
      model: the network.
      layout: the devices.
      source: has pictures, not stored features.
    """

    def __init__(self, preset: Preset, model: nn.Module, layout: Layout, source: Source):
        count = min(COUNT, len(source))
        examples = [source[number * len(source) // count] for number in range(count)]
        rows = -(-COUNT // layout.devices) * layout.devices
        host = HostShard(jax.process_index(), jax.process_count())
        shown = ArraySource(examples)
        (batch,) = evaluation_batches(shown, preset.preprocessing, batch_size=rows, host=host, threads=1)
        self._preset, self._batch = preset, layout.place_batch(batch.arrays)
        self._examples = [(*framed(example, preset.preprocessing), example.label) for example in examples]
        self._outputs = jax.jit(lambda state, batch: layout.replicate(_outputs(model, layout, state, batch)))

    def draw(self, state: TrainState) -> dict[str, Image.Image]:
        """Pictures by name: masks and activation maps, whichever the network gives."""
        outputs = jax.device_get(self._outputs(state, self._batch))
        count = len(self._examples)
        captions = []
        for row, (_, _, label) in enumerate(self._examples):
            known = {0: ", labelled uninfected", 1: ", labelled infected"}.get(label, "")
            said = f", probability of infection {outputs['infection'][row]:.2f}" if "infection" in outputs else ""
            captions.append(f"slice {row}{known}{said}")
        return example_pictures(
            [intensity for intensity, _, _ in self._examples],
            names=[str(row) for row in range(count)],
            captions=captions,
            masks=[mask for _, mask, _ in self._examples],
            probabilities=_rows(outputs, "lesions", count),
            activations=_rows(outputs, "activation", count),
            mask_threshold=self._preset.mask_threshold,
        )


def _rows(outputs: dict[str, np.ndarray], name: str, count: int) -> list[np.ndarray] | None:
    return list(outputs[name][:count]) if name in outputs else None


def _outputs(model: nn.Module, layout: Layout, state: TrainState, batch: dict[str, jax.Array]) -> dict[str, Any]:
    variables = state.inference_variables()
    if layout.shards_state:
        variables = layout.replicate(variables)
    output = cast(ModelOutput, model.apply(variables, **network_arguments(batch), train=False))
    values: dict[str, Any] = {"lesions": lesion_probability(output), "infection": infection_probability(output)}
    if output.class_logits is not None:
        kernel = variables["params"]["class_head"]["kernel"]
        features = output.intermediates["class_features"]
        values["activation"] = class_activation_map(features, kernel, INFECTED, against=UNINFECTED)
    return {name: value for name, value in values.items() if value is not None}
