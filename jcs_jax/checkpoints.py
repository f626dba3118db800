"""Folders that hold a network ready for use: Orbax arrays and a description in JSON. Nothing is executed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jcs_jax.errors import InputError
from jcs_jax.files import atomic_directory
from jcs_jax.models.presets import Preset, build

FORMAT = "jcs-model/1"
DESCRIPTION = "model.json"
ARRAYS = "variables"
NOTICE = "Research use only: not a medical device."


def save_model(path: str | os.PathLike[str], variables: Any, preset: Preset, *, provenance: dict[str, Any]) -> Path:
    """Writes a model folder, under a temporary name until it is whole.

    Args:
      path: the folder to write; one that exists is replaced in one step.
      variables: of the preset's network.
      preset: what the network is and how it is fed.
      provenance: plain values that say where the weights come from (data, config, scores).

    Returns:
      The folder.
    """
    description = {"format": FORMAT, "notice": NOTICE, "preset": preset.to_json(), "provenance": provenance}
    with atomic_directory(path) as folder:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(folder.resolve() / ARRAYS, jax.tree.map(np.asarray, variables))
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return Path(path)


def describe_model(path: str | os.PathLike[str]) -> tuple[Preset, dict[str, Any]]:
    """Reads the preset and provenance of a model folder, without its arrays.

    Raises:
      InputError: if it is no model folder or was written by another version.
    """
    file = Path(path) / DESCRIPTION
    if not file.is_file():
        raise InputError(
            f"{path}: no model here ({DESCRIPTION} is missing); name a folder written by `jcs train` or `jcs convert`"
        )
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise InputError(f"{file}: format {description['format']!r}, expected {FORMAT!r}; convert it again")
        return Preset.from_json(description["preset"]), description["provenance"]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: not a model description ({type(error).__name__}: {error}); copy it again") from error


def load_model(name_or_path: str | os.PathLike[str]) -> tuple[nn.Module, Any, Preset]:
    """Loads a network with its weights.

    Args:
      name_or_path: a model folder, as `jcs train` and `jcs convert` write them.

    Returns:
      Module, variables (for `model.apply`), preset.

    Raises:
      InputError: if the folder is none, is damaged, or its arrays don't fit its description.
    """
    preset, _ = describe_model(name_or_path)
    model = build(preset)
    images = jnp.zeros((1, 32, 32, 3))
    expected = jax.eval_shape(lambda: model.init(jax.random.key(0), images))
    folder = (Path(name_or_path) / ARRAYS).resolve()
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            _check_shapes(name_or_path, expected, checkpointer.metadata(folder).item_metadata.tree)
            sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
            target = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), expected
            )
            return model, checkpointer.restore(folder, target), preset
    except InputError:
        raise
    except Exception as error:  # Orbax and TensorStore raise many kinds for a damaged folder
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"{folder}: its arrays can't be read ({reason}); copy or convert the model again") from error


def _check_shapes(path: str | os.PathLike[str], expected: Any, stored: Any) -> None:
    wanted = {key: leaf.shape for key, leaf in flax.traverse_util.flatten_dict(expected, sep="/").items()}
    found = {key: tuple(leaf.shape) for key, leaf in flax.traverse_util.flatten_dict(stored, sep="/").items()}
    if wanted == found:
        return
    missing = [f"- {key}" for key in wanted if key not in found]
    left_over = [f"+ {key}" for key in found if key not in wanted]
    shapes = [f"- {k}: {found[k]}, expected {s}" for k, s in wanted.items() if k in found and found[k] != s]
    raise InputError("\n".join([f"{path}: these arrays are not those of its preset:", *missing, *left_over, *shapes]))
