"""The training step: a pure function of state and batch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from jcs_jax.models.compilation import compiler_options
from jcs_jax.models.inputs import network_arguments
from jcs_jax.training.objective import Metrics, Objective
from jcs_jax.training.sharding import Layout
from jcs_jax.training.state import NEVER, TrainState

Batch = Mapping[str, Any]
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
_Gradient = tuple[Any, Metrics, Any]  # gradient, loss and its parts, new statistics


class Teacher(Protocol):
    """Gives slices without a mask something to teach; see `SelfTraining` and `Restoration`."""

    def teach(self, model: nn.Module, state: TrainState, batch: Batch) -> dict[str, Any]:
        """The batch, changed."""


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    objective: Objective,
    *,
    ema_decay: float,
    accumulate: int = 1,
    fixed_parts: int = 0,
    frozen: Collection[str] = (),
    layout: Layout | None = None,
    teacher: Teacher | None = None,
) -> TrainStep:
    """Builds the jitted step.

    Args:
      model: network.
      optimizer: whose state `state.opt_state` is. Its `update` is told the `gradient_norm`, and whether the step is
        `accepted`: if not, it must leave its own state alone.
      objective: what is minimised.
      ema_decay: of the parameters' moving average; its first steps average faster, min(decay, (1+t)/(10+t)).
      accumulate: parts that the batch is computed in, one after the other, for less memory. The gradient is that
        of the whole batch; live batch norms see one part at a time.
      fixed_parts: parts that the batch is computed in and whose sum is taken in one order, whatever the devices of
        `layout`, which share the parts out: a power of two and a multiple of the devices. The step then has the same
        bits on all of them. Live batch norms see one part at a time, and their statistics are averaged. 0 leaves the
        order to the devices.
      frozen: top-level names of the parameters whose gradient is not computed and whose statistics stay.
      layout: the devices that share the work, over which state and batches have been placed; None for one device.
      teacher: what slices without a mask are to teach; None leaves them out of the segmentation's loss.

    Returns:
      `step(state, batch) -> (state, metrics)`; the given state's buffers are donated. Metrics are scalars on
      the device: `loss`, its parts, `gradient_norm` and `failed_step`. A step whose loss or gradient is not finite
      changes nothing but `failed_step`, nor do the steps after it.

    Raises:
      ValueError: fixed parts without a layout.
    """
    optimizer = optax.with_extra_args_support(optimizer)
    if not fixed_parts:
        gradient = _accumulated(_gradient_function(model, objective, frozen, layout), objective, accumulate)
    elif layout is None:
        raise ValueError("fixed_parts needs a layout that says which devices share them")
    else:
        gradient = _in_fixed_parts(_gradient_function(model, objective, frozen, None), objective, fixed_parts, layout)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        if teacher is not None:
            batch = _taught(teacher, model, layout, state, batch)
        grads, metrics, batch_stats = gradient(state, batch)
        if layout is not None:  # each device keeps its share of the sum
            grads = layout.constrain_state(grads)
        if fixed_parts:
            grads, metrics = _apart((grads, metrics))
        else:
            metrics = {**metrics, "gradient_norm": optax.tree.norm(grads)}
        norm = metrics["gradient_norm"]
        running = state.failed_step == NEVER
        finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(norm)
        told = {"gradient_norm": norm, "accepted": finite & running}
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params, **told)
        params = optax.apply_updates(state.params, updates)
        ema = None
        if state.ema_params is not None:
            decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
            ema = optax.incremental_update(params, state.ema_params, 1 - decay)
        failed = jnp.where(running & ~finite, state.step, state.failed_step)
        moved = TrainState(state.step + 1, params, batch_stats, state.opt_state, ema, state.rng, failed)
        kept = jax.tree.map(lambda new, old: jnp.where(finite & running, new, old), moved, state)
        kept = kept.replace(opt_state=opt_state, failed_step=failed)  # the optimiser was told
        metrics["failed_step"] = failed
        if layout is not None:
            kept, metrics = layout.constrain_state(kept), layout.replicate(metrics)
        return kept, metrics

    return jax.jit(step, donate_argnums=0, compiler_options=compiler_options(jax.default_backend()))


def _taught(teacher: Teacher, model: nn.Module, layout: Layout | None, state: TrainState, batch: Batch) -> Batch:
    """The batch with something to learn for slices without a mask, laid out as it was."""
    if layout is None:
        return teacher.teach(model, state, batch)
    whole = layout.replicate(state) if layout.shards_state else state  # what isn't read is never gathered
    return layout.constrain_batch(teacher.teach(model, whole, batch))


def _gradient_function(
    model: nn.Module, objective: Objective, frozen: Collection[str], layout: Layout | None
) -> Callable[..., _Gradient]:
    """The gradient of one part of a batch, which has `counts` images in all."""

    def loss_fn(
        params: Any, batch_stats: Any, batch: Batch, extra: dict[str, Any]
    ) -> tuple[Array, tuple[Metrics, Any]]:
        if layout is not None and layout.shards_state:  # gathered for the computation, kept in shares
            params = layout.replicate(params)
        params = {name: jax.lax.stop_gradient(part) if name in frozen else part for name, part in params.items()}
        output, updated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            **network_arguments(batch),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": extra["key"]},
        )
        kernel = params["class_head"]["kernel"] if "class_head" in params else None
        loss, parts = objective(output, batch, counts=extra["counts"], head_kernel=kernel, step=extra["step"])
        moved = updated.get("batch_stats", {})
        kept = {name: batch_stats[name] if name in frozen else part for name, part in moved.items()}
        return loss, (parts, kept)

    def gradient(params: Any, batch_stats: Any, batch: Batch, extra: dict[str, Any]) -> _Gradient:
        (loss, (parts, moved)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, batch_stats, batch, extra)
        return grads, {"loss": loss, **parts}, moved

    return gradient


def _accumulated(
    gradient: Callable[..., _Gradient], objective: Objective, parts: int
) -> Callable[[TrainState, Batch], _Gradient]:
    """The gradient of a whole batch, computed in `parts`."""

    def extra(state: TrainState, batch: Batch, part: Array | int) -> dict[str, Any]:
        return {"key": _part_key(state.rng, state.step, part), "counts": objective.counts(batch), "step": state.step}

    def whole(state: TrainState, batch: Batch) -> _Gradient:
        return gradient(state.params, state.batch_stats, batch, extra(state, batch, 0))

    def in_parts(state: TrainState, batch: Batch) -> _Gradient:
        # Every part takes rows of all devices: row r is in part r % parts.
        split = {key: jnp.moveaxis(value.reshape(-1, parts, *value.shape[1:]), 1, 0) for key, value in batch.items()}

        def add(carried: _Gradient, part: tuple[Array, Batch]) -> tuple[_Gradient, None]:
            index, rows = part
            grads, metrics, moved = gradient(state.params, carried[2], rows, extra(state, batch, index))
            return (*jax.tree.map(jnp.add, carried[:2], (grads, metrics)), moved), None

        first = jax.tree.map(lambda rows: rows[0], split)
        shapes = jax.eval_shape(gradient, state.params, state.batch_stats, first, extra(state, batch, 0))
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes[:2])
        total, _ = jax.lax.scan(add, (*zeros, state.batch_stats), (jnp.arange(parts), split))
        return total

    return whole if parts == 1 else in_parts


def _part_key(rng: Array, step: Array, part: Array | int) -> Array:
    """The random key of one part of one step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.wrap_key_data(rng), step), part)


def _in_fixed_parts(
    gradient: Callable[..., _Gradient], objective: Objective, parts: int, layout: Layout
) -> Callable[[TrainState, Batch], _Gradient]:
    """The gradient of a whole batch, and its norm among the metrics, by the same operations on any devices.

    Every part is computed by itself, one after the other where a device has several. The sum is a balanced binary
    tree over consecutive parts: first each device's own, then those of pairs of devices.
    """
    here = parts // layout.devices

    def on_a_device(needed: tuple[Any, Any, Array, Array], rows: Batch, counts: Metrics) -> _Gradient:
        params, batch_stats, rng, step = needed
        split = {key: value.reshape(here, -1, *value.shape[1:]) for key, value in rows.items()}
        first = layout.device_index() * here

        def one_part(numbered: tuple[Array, Batch]) -> _Gradient:
            number, part = numbered
            extra = {"key": _part_key(rng, step, number), "counts": counts, "step": step}
            return _apart(gradient(*_apart((params, batch_stats, part, extra))))

        grads, metrics, moved = _apart(layout.tree_sum(jax.lax.map(one_part, (first + jnp.arange(here), split))))
        metrics["gradient_norm"] = optax.tree.norm(grads)
        return grads, metrics, jax.tree.map(lambda total: total / parts, moved)

    def whole(state: TrainState, batch: Batch) -> _Gradient:
        needed = layout.replicate((state.params, state.batch_stats, state.rng, state.step))
        return layout.on_each_device(on_a_device, needed, batch, objective.counts(batch))

    return whole


def _apart(tree: Any) -> Any:
    """The same values, which the compiler may not compute in one go with what comes before or after."""
    return jax.lax.optimization_barrier(tree)
