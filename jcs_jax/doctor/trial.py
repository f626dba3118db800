"""A few slices that are trained on again and again: a network that can't learn them by heart learns nothing."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from jcs_jax.data.examples import Source
from jcs_jax.data.inputs import Batch, network_example, stack
from jcs_jax.data.transforms import AUGMENTATIONS
from jcs_jax.doctor.attempts import Answer, Attempt
from jcs_jax.doctor.recording import recording
from jcs_jax.doctor.sample import Member
from jcs_jax.metrics import dice
from jcs_jax.models.inputs import network_arguments
from jcs_jax.models.output import ModelOutput, infection_probability, lesion_probability
from jcs_jax.models.presets import Preset
from jcs_jax.training import setup
from jcs_jax.training.restoration import Restoration
from jcs_jax.training.state import NEVER, TrainState
from jcs_jax.training.steps import make_train_step

MOST_SLICES = 4
_LOOK_EVERY, _FIRST_STEPS = 10, 10
_LEARNED = ("segmentation_loss", "classification_loss")


class Trial:
    """The config's network, optimiser and step on up to four slices that are not augmented.

    The learning rate is constant, the config's highest; labels are not smoothed. Everything else is the run's.

    Args:
      config: of the run.
      preset: of the network.
      source: the training data.
      positions: of the slices to learn.

    Attributes:
      batch: the slices.
      random_parts: parts of the network that start at random.
      frozen: parts that don't learn.
      weights: factor of each loss, by name.
      restores: damaged slices are to be given back, which has no right answer to learn by heart.

    Raises:
      InputError: weights, class weights, stored features or a teacher that the run would be refused for as well.
    """

    def __init__(self, config: ml_collections.ConfigDict, preset: Preset, source: Source, positions: Sequence[int]):
        self._preset = preset
        self._model = setup.network_of(config, preset)
        optimizer = recording(setup.create_optimizer(config, optax.constant_schedule(config.optimizer.learning_rate)))
        objective = dataclasses.replace(setup.objective_of(config, source), label_smoothing=0.0)
        teacher = setup.teacher_of(config, preset, source)
        self.restores = isinstance(teacher, Restoration)  # of the other teachers' slices those with masks are tried
        shapes = setup.state_shapes(config, preset, self._model, optimizer)
        setup.check_accepted(preset, self._model, shapes, source)
        state, self.random_parts = setup.initial_state(config, preset, self._model, optimizer)
        self._first = jax.device_get(state)
        self.frozen = setup.frozen_parts(config)
        self.batch = _load(source, preset, positions)
        self.weights = {name: float(weight) for name, weight in objective.weights().items()}
        ema_decay = config.optimizer.ema_decay
        step = make_train_step(
            self._model,
            optimizer,
            objective,
            ema_decay=ema_decay,
            frozen=self.frozen,
            teacher=teacher if self.restores else None,
        )
        self._step = functools.cache(lambda: step.lower(self._first, self.batch).compile(compiler_options=_quick()))  # type: ignore[attr-defined]
        self._predict = jax.jit(
            lambda variables, arguments: _probabilities(self._model, variables, arguments), compiler_options=_quick()
        )

    @property
    def parts(self) -> list[str]:
        """The parts of the network."""
        return sorted(self._first.params)

    def untrained(self) -> Answer:
        """What the network says before the first step."""
        return self._answer(self._first)

    def train(self, steps: int, *, rate: float = 1.0) -> Attempt:
        """Trains from the first state.

        Args:
          steps: at most; at least 1. It ends sooner when the slices are fitted or the loss is no longer finite.
          rate: factor of the learning rate.

        Returns:
          How it went.
        """
        opt_state = self._first.opt_state._replace(rate=np.asarray(rate, np.float32))
        state = jax.tree.map(jnp.array, self._first.replace(opt_state=opt_state))  # copies, which the step may destroy
        before = after = self.untrained()
        seen: list[dict[str, float]] = []
        gradients: list[dict[str, float]] = []
        for step in range(1, steps + 1):
            state, metrics = self._step()(state, self.batch)
            told = {**metrics, "ratio": state.opt_state.ratio}
            seen.append({name: float(value) for name, value in jax.device_get(told).items()})
            seen[-1]["learned"] = sum(seen[-1].get(name, 0.0) * self.weights[name] for name in _LEARNED)
            gradients.append({part: float(norm) for part, norm in jax.device_get(state.opt_state.gradients).items()})
            if seen[-1]["failed_step"] != NEVER:
                break
            if step == steps or step % _LOOK_EVERY == 0:
                after = self._answer(state)
                if _attempt(rate, seen, gradients, before, after).fitted:
                    break
        return _attempt(rate, seen, gradients, before, after)

    def _answer(self, state: TrainState) -> Answer:
        statistics = {"batch_stats": state.batch_stats} if state.batch_stats else {}
        variables = {"params": state.params, **statistics}
        maps, infection = jax.device_get(self._predict(variables, network_arguments(self.batch)))
        finite = all(np.isfinite(output).all() for output in (maps, infection) if output is not None)
        right = None
        if infection is not None and self.weights["classification_loss"]:
            known = self.batch["label_valid"] > 0
            called = infection >= self._preset.class_threshold
            right = int((called == (self.batch["label"] > 0.5))[known].sum()), int(known.sum())
        if maps is None or self.restores or not self.weights["segmentation_loss"]:
            return Answer(math.nan, math.nan, math.nan, right, finite)
        values = dice(maps >= self._preset.mask_threshold, self.batch["mask"] > 0.5)
        there = values[(self.batch["mask_valid"] > 0) & ~np.isnan(values)]
        return Answer(
            float(there.mean()) if there.size else math.nan, float(maps.max()), float(maps.mean()), right, finite
        )


def _attempt(
    rate: float, seen: Sequence[dict[str, float]], gradients: Sequence[dict[str, float]], before: Answer, after: Answer
) -> Attempt:
    return Attempt(
        rate=rate,
        losses=[values["learned"] for values in seen],
        parts={name: value for name, value in seen[0].items() if name.endswith("_loss")},
        gradient_norm=float(np.median([values["gradient_norm"] for values in seen])),
        gradients=gradients[0],
        ratio=float(np.median([values["ratio"] for values in seen[:_FIRST_STEPS]])),
        failed_step=int(seen[-1]["failed_step"]),
        before=before,
        after=after,
    )


def choose_trial(members: Sequence[Member], size: int, *, classifies: bool) -> list[int]:
    """The slices to learn by heart: the largest lesions, which are the easiest, and both classes.

    Args:
      members: of the sample.
      size: how many to choose, at most four.
      classifies: whether to take slices of both classes in turn.

    Returns:
      Positions.
    """

    def opacified(member: Member) -> float:
        return member.mask.share if member.mask is not None and member.mask.framed else 0.0

    ordered = sorted(members, key=opacified, reverse=True)
    if classifies:
        infected = [member for member in ordered if member.label == 1]
        others = sorted((member for member in ordered if member.label != 1), key=lambda member: member.label != 0)
        shorter = min(len(infected), len(others))
        turns = [member for pair in zip(infected, others, strict=False) for member in pair]
        ordered = [*turns, *infected[shorter:], *others[shorter:]]
    return [member.position for member in ordered[: min(size, MOST_SLICES)]]


def _quick() -> dict[str, Any] | None:
    """On CPUs, compiling as little as still runs fast: the step runs a hundred times and not a hundred thousand."""
    return {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None


def _load(source: Source, preset: Preset, positions: Sequence[int]) -> Batch:
    unused = np.random.default_rng(0)  # `none` draws nothing
    none = AUGMENTATIONS["none"]
    return stack(
        [
            network_example(source[position], preset.preprocessing, none, unused, preset.stage_features)
            for position in positions
        ]
    )


def _probabilities(model: nn.Module, variables: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[Any, Any]:
    output = cast(ModelOutput, model.apply(variables, **arguments, train=False))
    return lesion_probability(output), infection_probability(output)
