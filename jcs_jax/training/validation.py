"""How good the network is on slices that choose its best checkpoint, and are never reported."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from jcs_jax.data.examples import SliceRecord, Source
from jcs_jax.data.inputs import network_example
from jcs_jax.data.pipeline import HostShard, evaluation_batches
from jcs_jax.data.transforms import AUGMENTATIONS
from jcs_jax.errors import InputError
from jcs_jax.metrics import ScoreRanks
from jcs_jax.models.inputs import network_arguments
from jcs_jax.models.output import ModelOutput, infection_probability, lesion_probability
from jcs_jax.models.presets import Preset
from jcs_jax.training.objective import Objective
from jcs_jax.training.sharding import Layout
from jcs_jax.training.state import TrainState


class Validation:
    """Measures a state on the validation split, in the network's frame.

    Args:
      config: `validation.metric` and the batch size count.
      preset: of the network.
      model: the network.
      objective: its loss, always of each image by itself.
      layout: the devices.
      source: the slices.

    Attributes:
      metric: `dice`, the mean over slices that have opacities, at the preset's threshold; `auc` of the infection's
        probability; or `loss`.

    Raises:
      InputError: the metric can't be measured with this network on these slices.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        preset: Preset,
        model: nn.Module,
        *,
        objective: Objective,
        layout: Layout,
        source: Source,
    ):
        self._preset, self._layout, self._source = preset, layout, source
        self._objective = dataclasses.replace(objective, segmentation="per_image")
        self._batch_size = -(-config.batch_size // layout.devices) * layout.devices
        self.metric = _chosen(config.validation.metric, preset, source)
        self._measure = jax.jit(lambda state, batch: self._layout.replicate(self._rows(model, state, batch)))

    def __call__(self, state: TrainState) -> dict[str, float]:
        """Every number that is defined, by name: `dice`, `auc`, `loss`."""
        measured = list(self._batches(state))
        rows = {key: np.concatenate([batch[key] for batch in measured]) for key in measured[0] if key != "losses"}
        return {
            **_dice(rows),
            **_auc(rows),
            "loss": self._loss([batch["losses"] for batch in measured]),
        }

    def score(self, values: dict[str, float]) -> float:
        """The number to choose by, higher is better; minus infinity for one that is not a number."""
        value = values[self.metric]
        if math.isnan(value):
            return -math.inf
        return -value if self.metric == "loss" else value

    def _batches(self, state: TrainState) -> Iterator[dict[str, Any]]:
        host = HostShard(jax.process_index(), jax.process_count())
        for batch in evaluation_batches(
            self._source,
            self._preset.preprocessing,
            batch_size=self._batch_size,
            stage_features=self._preset.stage_features,
            host=host,
        ):
            yield jax.device_get(self._measure(state, self._layout.place_batch(batch.arrays)))

    def _rows(self, model: nn.Module, state: TrainState, batch: dict[str, jax.Array]) -> dict[str, Any]:
        """What each slice of a batch contributes."""
        variables = state.inference_variables()
        if self._layout.shards_state:
            variables = self._layout.replicate(variables)
        output = cast(ModelOutput, model.apply(variables, **network_arguments(batch), train=False))
        kernel = variables["params"]["class_head"]["kernel"] if output.class_logits is not None else None
        counts = self._objective.counts(batch)
        sums = self._objective.losses(output, batch, dict.fromkeys(counts, jnp.ones(())), head_kernel=kernel)
        rows: dict[str, Any] = {"losses": {name: (value, counts[name]) for name, value in sums.items()}}
        lesions, infection = lesion_probability(output), infection_probability(output)
        if lesions is not None:
            predicted = lesions >= self._preset.mask_threshold
            truth = (batch["mask"] > 0.5) & (batch["valid"] * batch["mask_valid"] > 0)[:, None, None]
            areas = {"hit": predicted & truth, "predicted": predicted, "opacified": truth}
            rows |= {name: jnp.sum(values, axis=(1, 2)) for name, values in areas.items()}
        if infection is not None:
            known = batch["valid"] * batch["label_valid"] > 0
            rows |= {"infection": infection, "label": jnp.where(known, batch["label"], -1.0)}
        return rows

    def _loss(self, batches: list[dict[str, tuple[np.ndarray, np.ndarray]]]) -> float:
        """The objective over all slices."""
        total = 0.0
        for name, weight in self._objective.weights().items():
            if name in batches[0]:
                value, count = (math.fsum(float(batch[name][index]) for batch in batches) for index in (0, 1))
                total += float(weight) * value / max(count, 1.0)
        return total


def _dice(rows: dict[str, np.ndarray]) -> dict[str, float]:
    if "hit" not in rows or not (rows["opacified"] > 0).any():
        return {}
    there = rows["opacified"] > 0
    values = 2 * rows["hit"][there] / (rows["predicted"][there] + rows["opacified"][there])
    return {"dice": float(values.mean(dtype=np.float64))}


def _auc(rows: dict[str, np.ndarray]) -> dict[str, float]:
    if "label" not in rows:
        return {}
    labels = rows["label"].astype(int)
    if not {0, 1} <= set(labels.tolist()):
        return {}
    if np.isnan(rows["infection"][labels >= 0]).any():
        return {"auc": math.nan}
    return {"auc": ScoreRanks.from_scores(rows["infection"], labels).auc().value}


def _chosen(metric: str, preset: Preset, source: Source) -> str:
    """The metric that is meant, after checking that it will be defined."""
    records = list(source.records())
    if not records:
        raise InputError("config.validation.split: holds no slice; choose a wider range")
    possible = {
        "dice": preset.architecture != "classifier" and _has_opacities(preset, source, records),
        "auc": _classifies(preset) and {0, 1} <= {record.label for record in records},
        "loss": True,
    }
    if metric == "auto":
        return next(name for name, defined in possible.items() if defined)
    if not possible[metric]:
        defined = ", ".join(name for name, is_defined in possible.items() if is_defined)
        raise InputError(
            f"config.validation.metric={metric}: is not defined for {preset.name} on the validation split; "
            f"defined are {defined}"
        )
    return metric


def _has_opacities(preset: Preset, source: Source, records: Sequence[SliceRecord]) -> bool:
    """Whether a mask has any in the network's frame; a record may tell of one too small, or of one never drawn."""
    draws_nothing, none = np.random.default_rng(0), AUGMENTATIONS["none"]
    told = (index for index, record in enumerate(records) if record.lesion_area > 0)
    examples = (
        network_example(source[index], preset.preprocessing, none, draws_nothing, preset.stage_features)
        for index in told
    )
    return any(bool(example["mask"].any()) for example in examples)


def _classifies(preset: Preset) -> bool:
    return preset.architecture == "classifier" or bool(preset.options.get("classes"))
