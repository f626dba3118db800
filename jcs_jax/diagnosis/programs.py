"""What a network computes for a diagnosis, batch by batch, whoever runs it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export
from jaxtyping import Array, Float
from scipy.special import expit

from jcs_jax import explain
from jcs_jax.models.compilation import halves_pay, run_together
from jcs_jax.models.ensemble import Ensemble
from jcs_jax.models.joint import JointNetwork
from jcs_jax.models.output import class_head_kernel, lesion_probability
from jcs_jax.models.presets import Preset, with_transformed_kernels
from jcs_jax.remembered import RememberedProgram


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


jax_export.register_namedtuple_serialization(Screening, serialized_name="jcs_jax.Screening")


class Programs(Protocol):
    """Runs the two stages on batches of (N, H, W, 3)."""

    @property
    def classifies(self) -> bool:
        """Whether there is a class head."""

    @property
    def segments(self) -> bool:
        """Whether there are side maps."""

    @property
    def few_shapes(self) -> bool:
        """Whether batches of few sizes are wanted, since each is compiled."""

    def screen(self, images: Float[np.ndarray, "n h w 3"]) -> Screening:
        """Classifies; only with a class head."""

    def segment(self, images: Float[np.ndarray, "n h w 3"], trunk: Mapping[str, Any]) -> Float[Any, "n h w"]:
        """Probability of opacity of every pixel; `trunk` is what `screen` left of these slices, or empty."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A network's two stages as functions of its variables and of images, for whoever compiles or exports them.

    Attributes:
      model: a Linen module as `jcs_jax.models.presets.build` makes it.
      classifies: whether it has a class head.
      segments: whether it has side maps.
    """

    model: nn.Module
    classifies: bool
    segments: bool

    @classmethod
    def of(cls, model: nn.Module, variables: Mapping[str, Any], preset: Preset) -> Network:
        """Finds out what a network can do."""
        return cls(model, class_head_kernel(variables["params"]) is not None, preset.architecture != "classifier")

    @property
    def shares_trunk(self) -> bool:
        """Whether the segmentation goes on from maps of the classification."""
        model = self.model
        joint = isinstance(model, JointNetwork) or (isinstance(model, Ensemble) and model.shares_trunk)
        return joint and self.classifies

    def screen(self, variables: Mapping[str, Any], images: Float[Array, "n h w 3"]) -> Screening:
        """Classifies slices as they are; maps of the trunk are without an axis of views, (N, h, w, C)."""
        model: Any = cast(Any, self.model).screening_part() if self.shares_trunk else self.model
        kernel = class_head_kernel(variables["params"])
        if kernel is None:
            raise ValueError("this network does not classify")
        output: Any = model.apply(variables, images, train=False)
        maps = output.intermediates["class_features"]
        activation = explain.class_activation_map(maps, kernel, explain.INFECTED, against=explain.UNINFECTED)
        stages = {name: value for name, value in output.intermediates.items() if name.startswith("res2net.")}
        pooled = [jnp.mean(value, axis=(1, 2), dtype=jnp.float32) for value in (stages or {"": maps}).values()]
        trunk = {name.partition(".")[2]: value for name, value in stages.items() if self.shares_trunk}
        return Screening(_probability(activation, jnp), activation, jnp.concatenate(pooled, axis=-1), trunk)

    def segment(
        self,
        variables: Mapping[str, Any],
        images: Float[Array, "n h w 3"],
        trunk: Mapping[str, Float[Array, "n i j c"]],
    ) -> Float[Array, "n h w"]:
        """Of the side maps only the first is the answer; the compiler leaves the others out."""
        stages = {"res2net_stages": dict(trunk)} if trunk else {}
        probability = lesion_probability(self.model.apply(variables, images, **stages, train=False))  # type: ignore[arg-type]
        if probability is None:
            raise ValueError("this network does not segment")
        return probability


class JaxPrograms:
    """A network's stages, jitted for this process's default device.

    Args:
      model: a Linen module as `jcs_jax.create_model` makes it.
      variables: its variables.
      preset: of the network.
      flip: average over the slice and its mirror image.
    """

    def __init__(self, model: nn.Module, variables: Mapping[str, Any], preset: Preset, *, flip: bool = False):
        network = Network.of(model, variables, preset)
        self.few_shapes = True
        self.classifies, self.segments = network.classifies, network.segments
        self._variables = jax.device_put(with_transformed_kernels(model, variables))

        def screen(variables: Any, images: Any) -> Screening:
            return averaged_screening(functools.partial(network.screen, variables), images, flip=flip, xp=jnp)

        def segment(variables: Any, images: Any, trunk: Any) -> Any:
            return averaged_segmentation(
                functools.partial(network.segment, variables), images, trunk, flip=flip, xp=jnp
            )

        self._screen = RememberedProgram(screen, model, f"screen, flip {flip}")
        self._segment = RememberedProgram(segment, model, f"segment, flip {flip}")

    def screen(self, images: Float[np.ndarray, "n h w 3"]) -> Screening:
        """As `Programs.screen`; what it returns stays on the device."""
        if not self._halved(images):
            return self._screen(self._variables, images)
        halves = np.split(images, 2)
        first, second = run_together(lambda half: self._screen(self._variables, halves[half]))
        rest = jax.tree.map(_joined, first._replace(trunk={}), second._replace(trunk={}))
        trunk = {name: jnp.concatenate([maps, second.trunk[name]], axis=1) for name, maps in first.trunk.items()}
        return rest._replace(trunk=trunk)

    def segment(self, images: Float[np.ndarray, "n h w 3"], trunk: Mapping[str, Any]) -> Any:
        """As `Programs.segment`."""
        if not self._halved(images):
            return self._segment(self._variables, images, trunk)
        count = len(images) // 2

        def run(half: int) -> Any:
            own = slice(half * count, (half + 1) * count)
            return self._segment(self._variables, images[own], {name: maps[:, own] for name, maps in trunk.items()})

        return _joined(*run_together(run))

    def _halved(self, images: np.ndarray) -> bool:
        return halves_pay(images.shape, jax.default_backend())


def _joined(first: Array, second: Array) -> Array:
    return jnp.concatenate([first, second])


def averaged_screening(screen: Callable[[Any], Screening], images: Any, *, flip: bool, xp: Any) -> Screening:
    """Log-odds, maps and features are averaged over the views, so the map's mean stays the log-odds.

    Args:
      screen: of images as they are; its trunk has no axis of views.
      images: (N, H, W, 3).
      flip: look at the mirror image, too.
      xp: NumPy, or its counterpart in JAX.
    """
    looks = [(view, screen(view(images))) for view in _views(flip)]
    activation = xp.mean(xp.stack([view(one.activation) for view, one in looks]), axis=0)
    features = xp.mean(xp.stack([one.features for _, one in looks]), axis=0)
    trunk = {name: xp.stack([one.trunk[name] for _, one in looks]) for name in looks[0][1].trunk}
    return Screening(_probability(activation, xp), activation, features, trunk)


def averaged_segmentation(
    segment: Callable[[Any, Mapping[str, Any]], Any], images: Any, trunk: Mapping[str, Any], *, flip: bool, xp: Any
) -> Any:
    """The mean probability over the views; see `averaged_screening`."""
    answers = []
    for number, view in enumerate(_views(flip)):
        own = {name: maps[number] for name, maps in trunk.items()}
        answers.append(view(segment(view(images), own)))
    return xp.mean(xp.stack(answers), axis=0)


def _probability(activation: Any, xp: Any) -> Any:
    """The softmax of two classes, from the map whose mean is the difference of their logits."""
    log_odds = xp.mean(activation, axis=(1, 2))
    return expit(log_odds) if xp is np else jax.nn.sigmoid(log_odds)


def _views(flip: bool) -> Sequence[Callable[[Any], Any]]:
    """Ways to look at slices; each is its own inverse."""
    return (_same, _mirrored) if flip else (_same,)


def _same(maps: Any) -> Any:
    return maps


def _mirrored(maps: Any) -> Any:
    """(N, H, W, ...) with left and right exchanged."""
    return maps[:, :, ::-1]
