"""From a weight file to a network ready for use."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import jax
import jax.numpy as jnp

from jcs_jax.convert.assign import from_torch
from jcs_jax.convert.tensor_files import read_weights
from jcs_jax.errors import InputError
from jcs_jax.models.presets import Preset, build, get_preset


def model_from_file(
    path: str | os.PathLike[str], name: str, *, part: str | None = None, **overrides: Any
) -> tuple[Any, Preset]:
    """Reads a released weight file into the variables of a network.

    Args:
      path: a .pth file of any age, or safetensors.
      name: network, as for `create_model`.
      part: `vgg` or `res2net` if the file holds just that encoder; everything else is initialised from seed 0.
      **overrides: options of the network, e.g. `norm="batch"`.

    Returns:
      Variables (float32), and the preset with the overrides in it.

    Raises:
      InputError: if the file can't be read or isn't that network; the message names the file.
    """
    try:
        preset = get_preset(name)
        preset = dataclasses.replace(preset, options={**preset.options, **overrides})
        variables = from_torch(name, read_weights(path), part=part, **overrides)
    except ValueError as error:
        message = str(error)
        raise InputError(message if str(path) in message else f"{path}: {message}") from error
    source = f"converted from a PyTorch file; {preset.source}"
    if part is not None:
        model = build(preset)
        initial = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
        variables = {
            collection: {**modules, **variables.get(collection, {})} for collection, modules in initial.items()
        }
        source = f"{part} converted from a PyTorch file, the rest untrained; {preset.source}"
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), variables), dataclasses.replace(
        preset, source=source
    )
