"""Does the activation map depend on what the network has learned? Its weights are redrawn and the maps compared.

A map that stays as it is while the weights are lost shows edges of the picture, not what the network knows.

Parts are redrawn from the output down and stay so: first the class head, then one stage of the encoder after the
other, at last its stem. Every array gets a permutation of its own values: they keep their histogram, so that
activations keep about their size, and no initialiser has to be known. Statistics of norms are permuted by channel,
mean and variance together.

Source: Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018, cascading randomisation. There weights are
initialised anew; to permute them is our choice.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, PyTree
from scipy import stats

from jcs_jax.data.examples import Example
from jcs_jax.data.pipeline import EvaluationBatch
from jcs_jax.evaluation.clusters import Clusters
from jcs_jax.evaluation.intervals import mean_with_interval
from jcs_jax.evaluation.predictions import infection_map
from jcs_jax.metrics import Measurement
from jcs_jax.models.inputs import network_arguments
from jcs_jax.models.output import MEMBER, ModelOutput, infection_probability

STEM = "res2net.stem"
FEWEST_POSITIONS = 9  # unrelated maps of 9 positions correlate by 0.28 in absolute value, of 4 by 0.46


class Judged(NamedTuple):
    """What a network says of some slices.

    Attributes:
      infection: (N,) float32, probability of infection; None without a class head.
      maps: (N, h, w) float32, coarse: the share of every position in the log-odds of infection; None without them.
    """

    infection: Float[np.ndarray, " n"] | None
    maps: Float[np.ndarray, "n h w"] | None


@dataclasses.dataclass(frozen=True)
class RandomisationStep:
    """How much of the maps is left after one more part was redrawn. Means over slices, each that of all draws.

    Attributes:
      part: the last part that was redrawn, such as `res2net.stage4`.
      similarity: Spearman's correlation of the map with the original one, in absolute value: 0 to 1.
      signed: the same with its sign, -1 to 1.
      infection_change: of the probability of infection, in absolute value: 0 to 1.
    """

    part: str
    similarity: Measurement
    signed: Measurement
    infection_change: Measurement

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        numbers = {name: getattr(self, name).to_json() for name in ("similarity", "signed", "infection_change")}
        return {"part": self.part, **numbers}


def randomise_weights(
    model: nn.Module, variables: Mapping[str, PyTree], batches: Sequence[EvaluationBatch], *, draws: int = 3
) -> list[RandomisationStep]:
    """Redraws the weights part by part and compares the maps with those of the network as it is.

    Args:
      model: a network with a class head and class features.
      variables: its parameters and statistics.
      batches: slices to compare on, of pictures or stored features.
      draws: how often everything is redrawn; the seeds are 0, 1 and so on.

    Returns:
      One row a part, cascading: the last one is of a network that has lost all it knew of infection. A correlation is
      not defined for a constant map, one that isn't finite, or one of fewer than 9 positions.
    """
    parts = parts_from_the_output(variables, stored_features="image" not in batches[0].arrays)
    original = judge_all(model, variables, batches)
    rows: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {part: [] for part in parts}
    for draw in range(draws):
        for part, redrawn in cascade(variables, parts, seed=draw):
            judged = judge_all(model, redrawn, batches)
            with np.errstate(invalid="ignore"):  # of probabilities that are no longer finite
                change = np.abs(_present(judged.infection) - _present(original.infection))
            rows[part].append((spearman(_present(judged.maps), _present(original.maps)), change))
    clusters = Clusters.from_patients([example.patient for batch in batches for example in batch.examples])
    return [_step(part, np.array(told), clusters) for part, told in rows.items()]


def cascade(
    variables: Mapping[str, PyTree], parts: Sequence[str], *, seed: int
) -> Iterator[tuple[str, dict[str, PyTree]]]:
    """The variables after each part in turn was redrawn by permutation; the given ones stay as they are."""
    arrays = flatten_dict(jax.device_get(dict(variables)))
    rng = np.random.default_rng(seed)
    for part in parts:
        orders: dict[tuple[str, ...], np.ndarray] = {}
        for path in sorted(path for path in arrays if _part_of(path) == part):
            array = np.asarray(arrays[path])
            if path[0] == "params":
                arrays[path] = rng.permutation(array.ravel()).reshape(array.shape)
                continue
            order = orders.setdefault(path[:-1], rng.permutation(array.shape[-1]))
            arrays[path] = array[..., order]
        yield part, unflatten_dict(arrays)


def parts_from_the_output(variables: Mapping[str, PyTree], *, stored_features: bool = False) -> list[str]:
    """The parts that the activation map depends on, the last one first; without the stem where it isn't run."""
    parts = {part for path in flatten_dict(dict(variables)) if (part := _part_of(path)) is not None}
    stages = sorted(parts - {"class_head", STEM}, reverse=True)
    order = ["class_head", *stages, *([] if stored_features else [STEM])]
    return [part for part in order if part in parts]


def judge_all(model: nn.Module, variables: Mapping[str, PyTree], batches: Iterable[EvaluationBatch]) -> Judged:
    """Probability of infection and coarse map of every slice; compiled once for a network, whatever its weights."""
    told = [part for _, part in judge(model, variables, batches)]
    joined = [None if parts[0] is None else np.concatenate(parts) for parts in zip(*told, strict=True)]
    return Judged(*joined)


def judge(
    model: nn.Module, variables: Mapping[str, PyTree], batches: Iterable[EvaluationBatch]
) -> Iterator[tuple[tuple[Example, ...], Judged]]:
    """The slices of each batch and what the network says of them."""
    variables = jax.device_put(dict(variables))
    for examples, arrays in batches:
        judged = jax.device_get(_run_network(model, variables, network_arguments(arrays)))
        yield examples, Judged(*(None if values is None else values[: len(examples)] for values in judged))


def spearman(one: Float[np.ndarray, "n h w"], other: Float[np.ndarray, "n h w"]) -> Float[np.ndarray, " n"]:
    """Spearman's rank correlation of each pair of maps, ties sharing their mean rank.

    Returns:
      (N,) in [-1, 1]; nan for a constant map, one that isn't finite, or fewer than 9 positions.
    """
    flat = [np.where(np.isfinite(maps), maps, math.nan).reshape(len(maps), -1) for maps in (one, other)]
    if flat[0].shape[1] < FEWEST_POSITIONS:
        return np.full(len(one), math.nan)
    ranks = [stats.rankdata(maps, axis=1) for maps in flat]  # nan throughout where a value is nan
    first, second = (values - values.mean(axis=1, keepdims=True) for values in ranks)
    size = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    correlation = np.divide((first * second).sum(axis=1), size, out=np.full(len(one), math.nan), where=size > 0)
    return np.clip(correlation, -1, 1)


def _step(part: str, told: Float[np.ndarray, "draws 2 n"], clusters: Clusters) -> RandomisationStep:
    correlation, change = told[:, 0], told[:, 1]
    return RandomisationStep(
        part,
        mean_with_interval(np.abs(correlation).mean(axis=0), clusters),
        mean_with_interval(correlation.mean(axis=0), clusters, bounds=(-1, 1)),
        mean_with_interval(change.mean(axis=0), clusters),
    )


def _part_of(path: Sequence[str]) -> str | None:
    """Which part an array belongs to; None if the class logits don't depend on it."""
    names = path[2:] if path[1].startswith(MEMBER) else path[1:]  # the parts of all members of an ensemble at once
    module = names[0]
    if module == "res2net":
        return STEM if names[1].startswith("stem") else f"res2net.{names[1].partition('_')[0]}"
    return module if module == "class_head" else None


def _present(values: np.ndarray | None) -> np.ndarray:
    if values is None:
        raise ValueError("the network gives no class logits or no class features; check it before")
    return values


@functools.partial(jax.jit, static_argnums=0)
def _run_network(
    model: nn.Module, variables: Mapping[str, PyTree], arguments: Mapping[str, Any]
) -> tuple[Float[Array, " n"] | None, Float[Array, "n h w"] | None]:
    """What doesn't lead to the two outputs, such as a decoder, is left out by the compiler."""
    output = cast(ModelOutput, model.apply(variables, **arguments, train=False))
    return infection_probability(output), infection_map(output, variables)
