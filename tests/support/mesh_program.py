"""Run with eight simulated devices: trains and validates a small network on several meshes, prints JSON.

usage: mesh_program.py, with XLA_FLAGS=--xla_force_host_platform_device_count=8 in the environment.

AdamW with a large epsilon: the biases before the norms have no gradient but rounding, which a small one would make
steps of.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import stub_network
import tiny
from jax.sharding import AxisType, Mesh
from jaxtyping import Array

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.errors import InputError
from jcs_jax.models.output import ModelOutput
from jcs_jax.nn.layers import ConvNormAct, Style
from jcs_jax.preprocessing import Preprocessing
from jcs_jax.training.config import default_config
from jcs_jax.training.objective import Objective
from jcs_jax.training.optimizers import modern_optimizer
from jcs_jax.training.pictures import ExampleSlices
from jcs_jax.training.self_training import SelfTraining
from jcs_jax.training.sharding import DATA, FSDP, Layout, check_divisible, make_layout
from jcs_jax.training.state import TrainState, create_state
from jcs_jax.training.steps import make_train_step
from jcs_jax.training.validation import Validation

SIDE, BATCH, STEPS = 32, 16, 4
MESHES = {"1": (1, 1), "8": (8, 1), "4x2": (4, 2)}
TAUGHT = SelfTraining(1.0, 2, 0.5, first_row=5, preprocessing=Preprocessing(size=(SIDE, SIDE)))
SLICES = 13  # on 8 devices, three rows of the second batch are padding


class Network(nn.Module):
    """One block with a norm over the batch, one with a norm of each image, dropout, five side maps, a class head."""

    live: bool = True

    @nn.compact
    def __call__(self, images: Array, *, train: bool = False) -> ModelOutput:
        x = ConvNormAct(8, style=Style(norm="batch" if self.live else "group"), name="first")(images, train=train)
        x = ConvNormAct(16, style=Style(norm="group"), name="second")(x, train=train)
        x = nn.Dropout(0.25 if self.live else 0.0, deterministic=not train)(x)
        logits = nn.Dense(2, use_bias=False, name="class_head")(x.mean((1, 2)))
        return ModelOutput(logits, nn.Conv(5, (3, 3), name="heads")(x), {"class_features": x})


def layout(data: int, fsdp: int) -> Layout:
    """A mesh of the first devices."""
    devices = np.asarray(jax.devices()[: data * fsdp]).reshape(data, fsdp)
    return Layout(Mesh(devices, (DATA, FSDP), axis_types=(AxisType.Auto,) * 2))


def batches() -> list[dict[str, np.ndarray]]:
    """Of noise; masks and labels are missing in places."""
    rng = np.random.default_rng(0)
    known = [(rng.random((2, BATCH)) > 0.3).astype(np.float32) for _ in range(STEPS)]
    return [
        {
            "image": rng.normal(size=(BATCH, SIDE, SIDE, 3)).astype(np.float32),
            "mask": (rng.random((BATCH, SIDE, SIDE)) > 0.7).astype(np.float32),
            "label": (np.arange(BATCH) % 2).astype(np.float32),
            **{"valid": np.ones(BATCH, np.float32), "mask_valid": masks, "label_valid": labels},
        }
        for masks, labels in known
    ]


def first_state(model: nn.Module, optimizer: optax.GradientTransformation) -> TrainState:
    return create_state(tiny.random_variables(model, jnp.zeros((1, SIDE, SIDE, 3))), optimizer, seed=0)


def trained(
    mesh: tuple[int, int],
    model: nn.Module,
    objective: Objective,
    optimizer: optax.GradientTransformation | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Losses and final parameters, and what the devices hold."""
    optimizer, where = optimizer or optax.adamw(1e-3, eps=1e-3), layout(*mesh)
    step = make_train_step(model, optimizer, objective, ema_decay=0.9, layout=where, **options)
    state = where.place_state(first_state(model, optimizer))
    losses, placed = [], {}
    for batch in batches():
        placed, before = where.place_batch(batch), state
        state, metrics = step(state, placed)
        losses.append(float(metrics["loss"]))
    held, expected = jax.tree.leaves(state), jax.tree.leaves(where.state_shardings(state))
    weights = jax.tree.leaves((state.params, state.opt_state))
    return {
        "losses": losses,
        "params": where.gather(state.params),
        "statistics": where.gather(state.batch_stats),
        "ratio": sum(x.nbytes for x in weights) / sum(x.addressable_shards[0].data.nbytes for x in weights),
        "as_laid_out": all(x.sharding.is_equivalent_to(y, x.ndim) for x, y in zip(held, expected, strict=True)),
        "donated": all(leaf.is_deleted() for leaf in jax.tree.leaves(before)),
        "rows": sorted(
            (shard.index[0].start or 0, shard.data.shape[0]) for shard in placed["image"].addressable_shards
        ),
    }


def deviation(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """The largest relative one of the losses, the largest absolute ones of parameters and statistics."""
    losses = np.abs(np.array(found["losses"]) / expected["losses"] - 1).max()
    arrays = {
        key: max(
            (
                float(np.abs(x - y).max())
                for x, y in zip(jax.tree.leaves(found[key]), jax.tree.leaves(expected[key]), strict=True)
            ),
            default=0.0,
        )
        for key in ("params", "statistics")
    }
    told = {key: found[key] for key in ("ratio", "as_laid_out", "donated", "rows")}
    return {"losses": float(losses), **arrays, **told}


def trained_in_fixed_parts(parts: int) -> dict[str, bool]:
    """Whether each mesh ends with the bits of one device, with `jcs train`'s optimiser and a clip that takes effect."""
    optimizer = modern_optimizer(optax.constant_schedule(1e-2), clip_norm=1.0)
    runs = {
        name: trained(mesh, Network(), Objective(), optimizer, fixed_parts=parts)
        for name, mesh in [*MESHES.items(), ("2x4", (2, 4))]
    }
    bits = {
        name: [
            np.asarray(leaf).tobytes()
            for leaf in jax.tree.leaves([run[key] for key in ("losses", "params", "statistics")])
        ]
        for name, run in runs.items()
    }
    return {name: found == bits["1"] for name, found in bits.items()}


def source() -> ArraySource:
    """Squares on noise; the mask or the label of some slices is unknown."""
    rng, examples = np.random.default_rng(1), []
    for index in range(SLICES):
        image = rng.random((SIDE, SIDE), np.float32)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        if index % 3:
            mask[4:20, 4 + index : 20] = 1
        examples.append(
            Example(
                np.clip(image + 0.3 * mask, 0, 1),
                mask=None if index % 5 == 1 else mask,
                label=-1 if index % 4 == 3 else int(mask.any()),
                name=str(index),
            )
        )
    return ArraySource(examples)


def looked_at(mesh: tuple[int, int]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """What validation measures and what is drawn of the first slices."""
    config, where, model = default_config(), layout(*mesh), Network()
    config.batch_size = 6  # not a multiple of the devices
    preset, optimizer = stub_network.preset(size=(SIDE, SIDE)), optax.sgd(0.1)
    state = where.place_state(first_state(model, optimizer))
    measure = Validation(config, preset, model, objective=Objective(), layout=where, source=source())
    drawn = ExampleSlices(preset, model, where, source()).draw(state)
    return measure(state), {name: np.asarray(picture, np.float32) for name, picture in drawn.items()}


def refusals() -> dict[str, str]:
    """The messages for meshes and batches that don't fit eight devices."""
    attempts = {
        "data 3": lambda: make_layout(3, 1),
        "fsdp 3": lambda: make_layout(-1, 3),
        "data 8 x fsdp 2": lambda: make_layout(8, 2),
        "batch 12": lambda: check_divisible(12, 1, make_layout(-1, 2)),
        "batch 24 in 2": lambda: check_divisible(24, 2, make_layout(8, 1)),
        "6 fixed parts": lambda: check_divisible(24, 1, make_layout(8, 1), fixed_parts=6),
        "4 fixed parts": lambda: check_divisible(24, 1, make_layout(8, 1), fixed_parts=4),
        "8 fixed parts in 2": lambda: check_divisible(16, 2, make_layout(8, 1), fixed_parts=8),
    }
    said = {}
    for name, attempt in attempts.items():
        try:
            attempt()
        except InputError as error:
            said[name] = str(error)
    check_divisible(32, 2, make_layout(4, 2))
    return said


def main() -> None:
    reference = Objective(segmentation="reference")
    runs = {name: trained(mesh, Network(), Objective()) for name, mesh in MESHES.items()}
    still = Network(live=False)
    whole = trained((1, 1), still, Objective())
    others = {
        "accumulate 2 on 4x2": deviation(trained((4, 2), still, Objective(), accumulate=2), whole),
        "self-training on 4x2": deviation(
            trained((4, 2), still, Objective(), teacher=TAUGHT),
            trained((1, 1), still, Objective(), teacher=TAUGHT),
        ),
        "whole-batch Dice on 4x2": deviation(trained((4, 2), still, reference), trained((1, 1), still, reference)),
    }
    seen = {name: looked_at(MESHES[name]) for name in ("1", "4x2")}
    pictures = {
        name: max(float(np.abs(picture - seen["1"][1][key]).max()) for key, picture in drawn.items())
        for name, (_, drawn) in seen.items()
    }
    result = {
        "devices": len(jax.devices()),
        "same_bits": {parts: trained_in_fixed_parts(parts) for parts in (8, 16)},
        "runs": {name: deviation(run, runs["1"]) for name, run in runs.items()} | others,
        "validation": {name: values for name, (values, _) in seen.items()},
        "pictures": pictures,
        "drawn": sorted(seen["1"][1]),
        "refused": refusals(),
    }
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
