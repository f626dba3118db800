"""The two stages of a diagnosis, jitted: classification of every slice, segmentation of some."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jcs_jax import explain
from jcs_jax.errors import InputError
from jcs_jax.models.ensemble import Ensemble
from jcs_jax.models.joint import JointNetwork
from jcs_jax.models.output import ModelOutput, class_head_kernel, lesion_probability
from jcs_jax.models.presets import Preset


class Screening(NamedTuple):
    """What the class head says of a slice; with a leading axis, of a batch.

    Attributes:
      probability: () of infection, 0 to 1.
      activation: (h, w), coarse and signed; its mean is the log-odds of infection against no infection.
      features: (C,) means of the maps of all the encoder's stages: the first ones know noise and texture, the last ones
        what the classes look like.
      trunk: maps that the segmentation goes on from, by name, with an axis of views before the others (the slice, and
        mirrored if flips are averaged); empty where it starts anew.
    """

    probability: Array | np.ndarray
    activation: Array | np.ndarray
    features: Array | np.ndarray
    trunk: Mapping[str, Array | np.ndarray]


class Stages:
    """One network's stages.

    Args:
      model: a Linen module as `jcs_jax.create_model` makes it.
      variables: its variables.
      preset: how slices become its input.
      flip: average over the slice and its mirror image.
      batch_size: most slices that go through the network at once.

    Attributes:
      classifies: whether there is a class head.
      segments: whether there are side maps.
    """

    def __init__(
        self,
        model: nn.Module,
        variables: Mapping[str, Any],
        preset: Preset,
        *,
        flip: bool = False,
        batch_size: int = 8,
    ):
        self.preset, self.batch_size = preset, batch_size
        self.segments = preset.architecture != "classifier"
        self.classifies = class_head_kernel(variables["params"]) is not None
        joint = isinstance(model, JointNetwork) or (isinstance(model, Ensemble) and model.shares_trunk)
        shares = joint and self.classifies
        first: Any = cast(Any, model).screening_part() if shares else model
        self._variables = jax.device_put(variables)
        self._screen = jax.jit(functools.partial(_screen, first, shares, _views(flip)))
        self._segment = jax.jit(functools.partial(_segment, model, _views(flip)))

    def screen(self, inputs: Sequence[Float[np.ndarray, "h w 3"]]) -> list[Screening]:
        """Classifies as many slices as a batch holds; what `trunk` holds stays on the device.

        Raises:
          InputError: an answer that is not finite.
        """
        answer = self._screen(self._variables, _padded(inputs, self.batch_size))
        told = jax.device_get(answer._replace(trunk={}))
        _require_finite(told)
        return [
            Screening(
                told.probability[index],
                told.activation[index],
                told.features[index],
                {name: maps[:, index] for name, maps in answer.trunk.items()},
            )
            for index in range(len(inputs))
        ]

    def segment(
        self, inputs: Sequence[Float[np.ndarray, "h w 3"]], trunks: Sequence[Mapping[str, Any]]
    ) -> list[Float[np.ndarray, "h w"]]:
        """Probability of opacity of every pixel of as many slices as a batch holds.

        Args:
          inputs: of the network.
          trunks: of every slice, as `screen` gave them; empty mappings to start anew.

        Raises:
          InputError: an answer that is not finite.
        """
        images = _padded(inputs, self.batch_size)
        filled = [*trunks, *[trunks[0]] * (len(images) - len(trunks))]
        trunk = {name: jnp.stack([one[name] for one in filled], axis=1) for name in trunks[0]}
        probability = np.asarray(jax.device_get(self._segment(self._variables, images, trunk)))
        _require_finite(probability)
        return list(probability[: len(inputs)])


def _mirrored(maps: Array) -> Array:
    """(N, H, W, ...) with left and right exchanged."""
    return maps[:, :, ::-1]


def _views(flip: bool) -> tuple[Callable[[Array], Array], ...]:
    """Ways to look at slices; each is its own inverse."""
    return (_same, _mirrored) if flip else (_same,)


def _same(maps: Array) -> Array:
    return maps


def _screen(
    model: nn.Module,
    keep_trunk: bool,
    views: tuple[Callable[[Array], Array], ...],
    variables: Mapping[str, Any],
    images: Float[Array, "n h w 3"],
) -> Screening:
    """Log-odds, maps and features are averaged over the views, so the map's mean stays the log-odds."""
    kernel = class_head_kernel(variables["params"])
    if kernel is None:
        raise ValueError("this network does not classify")
    activations, features, trunks = [], [], []
    for view in views:
        output: Any = model.apply(variables, view(images), train=False)
        maps = output.intermediates["class_features"]
        activation = explain.class_activation_map(maps, kernel, explain.INFECTED, against=explain.UNINFECTED)
        activations.append(view(activation))
        stages = {name: value for name, value in output.intermediates.items() if name.startswith("res2net.")}
        pooled = [jnp.mean(value, axis=(1, 2)) for value in (stages or {"": maps}).values()]
        features.append(jnp.concatenate(pooled, axis=-1))
        trunks.append(stages)
    activation = jnp.mean(jnp.stack(activations), axis=0)
    probability = jax.nn.sigmoid(jnp.mean(activation, axis=(1, 2)))  # the softmax of two classes
    trunk = {name.partition(".")[2]: jnp.stack([one[name] for one in trunks]) for name in trunks[0] if keep_trunk}
    return Screening(probability, activation, jnp.mean(jnp.stack(features), axis=0), trunk)


def _segment(
    model: nn.Module,
    views: tuple[Callable[[Array], Array], ...],
    variables: Mapping[str, Any],
    images: Float[Array, "n h w 3"],
    trunk: Mapping[str, Float[Array, "v n i j c"]],
) -> Float[Array, "n h w"]:
    """Of the side maps only the first is the answer; the compiler leaves the others out."""
    probabilities = []
    for number, view in enumerate(views):
        stages: dict[str, Any] = {}
        if trunk:
            stages["res2net_stages"] = {name: maps[number] for name, maps in trunk.items()}
        output: Any = model.apply(variables, view(images), **stages, train=False)
        probabilities.append(view(_lesions(output)))
    return jnp.mean(jnp.stack(probabilities), axis=0)


def _lesions(output: ModelOutput) -> Array:
    probability = lesion_probability(output)
    if probability is None:
        raise ValueError("this network does not segment")
    return probability


def _padded(inputs: Sequence[np.ndarray], most: int) -> np.ndarray:
    """A batch, filled up to a power of two with blank slices so that few shapes are compiled."""
    width = min(most, 1 << (len(inputs) - 1).bit_length())
    padding = np.zeros((width - len(inputs), *inputs[0].shape), np.float32)
    return np.concatenate([np.stack(inputs), padding])


def _require_finite(values: Any) -> None:
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(values)):
        raise InputError("the network's answer is not finite; convert or train its checkpoint again")
