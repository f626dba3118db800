"""Networks so narrow that a test compiles and runs them in a second or two, and weights without an initialiser."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jcs_jax.models.presets import Preset, get_preset
from jcs_jax.preprocessing import Preprocessing

SIDE = 32
VGG = {"vgg_channels": (4, 4, 4, 4, 4), "vgg_depths": (1, 1, 1, 1, 1)}
RES2NET = {"stem": (4, 4, 4), "planes": (4, 4, 4, 4), "depths": (1, 1, 1, 1)}
DECODER = {"decoder_channels": (4, 4, 4, 4, 4, 4)}
OPTIONS: dict[str, dict[str, Any]] = {
    "classifier": RES2NET,
    "segmenter": {**VGG, **DECODER},
    "joint": {**VGG, **RES2NET, **DECODER, "fusion_channels": (4, 4, 4, 4, 4)},
}


def quick_jit(function: Callable) -> Callable:
    """`jax.jit` that compiles in two thirds of the time, for programs that run only a few times."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def preset(architecture: str, *, side: int = SIDE, **options: Any) -> Preset:
    """The `_tiny` preset, far narrower and with a small input."""
    given = get_preset(f"{architecture}_tiny")
    return dataclasses.replace(
        given,
        options={**given.options, **OPTIONS[architecture], **options},
        preprocessing=Preprocessing(size=(side, side)),
    )


def random_variables(module: nn.Module, *inputs: Any, seed: int = 0, **arguments: Any) -> dict[str, Any]:
    """Variables of plausible size; compiling the network's own initialisers costs more than running it."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, **arguments))
    rng = np.random.default_rng(seed)

    def fill(path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        name = path[-1].key
        if name == "kernel":
            value = rng.normal(size=leaf.shape) * math.sqrt(2 / math.prod(leaf.shape[:-1]))
        elif name in ("scale", "var"):
            value = rng.uniform(0.5, 1.5, leaf.shape)
        else:
            value = 0.1 * rng.normal(size=leaf.shape)
        return jnp.asarray(value, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)
