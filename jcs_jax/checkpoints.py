"""Folders that hold a network ready for use: a description in JSON, and arrays as Orbax or as one safetensors file.

Nothing in them is executed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jcs_jax import described_folder
from jcs_jax.array_file import read_arrays
from jcs_jax.described_folder import check_files, read_description, write_folder
from jcs_jax.errors import InputError
from jcs_jax.models.presets import Preset, build
from jcs_jax.remembered import remembered
from jcs_jax.shipped import DESCRIPTION, resolve_model, shipped_models

FORMAT = "jcs-model/1"
ARRAYS = "variables"
PACKED_ARRAYS = "variables.safetensors"
SHOWN = 20
_COPY = "copy the whole model folder again"
_FLOATS = ("float32", "float16", "bfloat16")


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

    def write(folder: Path) -> None:
        with _checkpointer() as checkpointer:
            arrays = {kind: jax.tree.map(np.asarray, tree) for kind, tree in variables.items() if tree}
            checkpointer.save(folder.resolve() / ARRAYS, arrays)

    return write_model_folder(path, write, preset=preset.to_json(), provenance=provenance)


def write_model_folder(path: str | os.PathLike[str], write: Callable[[Path], None], **values: Any) -> Path:
    """Writes a model folder in either form: the arrays, and a description that tells the digests of their files.

    Args:
      path: the folder; one that exists is replaced in one step.
      write: writes the arrays into the folder it is given.
      **values: plain values for the description; `preset` and `provenance` are needed.

    Returns:
      The folder.
    """
    return write_folder(path, write, description=DESCRIPTION, form=FORMAT, **values)


def require_free(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Refuses to replace anything but a model folder, and that only when asked to.

    Raises:
      InputError: if something is in the way.
    """
    described_folder.require_free(path, description=DESCRIPTION, kind="model", overwrite=overwrite)


def describe_model(path: str | os.PathLike[str]) -> tuple[Preset, dict[str, Any]]:
    """Reads the preset and provenance of a model folder, without its arrays.

    Args:
      path: a model folder of either form, or the name of a shipped model.

    Raises:
      InputError: if it is no model folder or was written by another version.
    """
    preset, provenance, _ = _read_description(resolve_model(path))
    return preset, provenance


def weights_digest(path: str | os.PathLike[str]) -> str | None:
    """SHA-256 over names and digests of a model folder's arrays, which tells weights of one preset apart.

    Args:
      path: a model folder of either form, or the name of a shipped model.

    Returns:
      Hex digits; None for a folder that doesn't tell its files' digests. The two forms of one model have different
      ones.
    """
    folder = resolve_model(path)
    if not (folder / DESCRIPTION).is_file():
        return None
    digests = _read_description(folder)[2]
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest() if digests else None


def _read_description(folder: Path) -> tuple[Preset, dict[str, Any], dict[str, str]]:
    """Preset, provenance and the files' digests."""
    file = folder / DESCRIPTION
    if not file.is_file():
        cure = "name a folder written by `jcs train` or `jcs convert`"
        if str(folder) in (shipped := shipped_models()):
            cure = "this folder hides the model of that name that comes with the package: rename it, or work elsewhere"
        elif shipped:
            cure += f", or a model that comes with the package: {', '.join(shipped)}"
        raise InputError(f"{folder}: no model here ({DESCRIPTION} is missing); {cure}")
    try:
        description = read_description(file, form=FORMAT, cure="convert it again")
        return Preset.from_json(description["preset"]), description["provenance"], dict(description.get("files", {}))
    except InputError:
        raise
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: not a model description ({type(error).__name__}: {error}); copy it again") from error


def load_model(name_or_path: str | os.PathLike[str]) -> tuple[nn.Module, Any, Preset]:
    """Loads a network with its weights.

    Args:
      name_or_path: a model folder, as `jcs train`, `jcs convert` and `jcs pack` write them, or the name of a shipped
        model, as `jcs_jax.shipped.shipped_models` lists them. A folder of that name goes before the shipped model.

    Returns:
      Module, variables (for `model.apply`), preset.

    Raises:
      InputError: if the folder is none, is damaged, or its arrays don't fit its description.
    """
    folder = resolve_model(name_or_path)
    preset, _, digests = _read_description(folder)
    model, expected = _network(folder, preset)
    _check_files(folder, digests)
    read = _read_packed if (folder / PACKED_ARRAYS).is_file() else _read_orbax
    return model, read(folder, expected), preset


def _read_packed(folder: Path, expected: Any) -> Any:
    """Variables from one file."""
    arrays = read_arrays(folder / PACKED_ARRAYS)
    shapes = flatten(expected)
    _compare(folder / PACKED_ARRAYS, shapes, arrays)
    device = jax.local_devices()[0]
    filled = {name: jax.device_put(arrays[name].astype(leaf.dtype), device) for name, leaf in shapes.items()}
    return flax.traverse_util.unflatten_dict(filled, sep="/")


def _read_orbax(folder: Path, expected: Any) -> Any:
    """Variables from Orbax's folder of arrays."""
    arrays = (folder / ARRAYS).resolve()
    try:
        with _checkpointer() as checkpointer:
            stored = checkpointer.metadata(arrays).item_metadata.tree
            check_shapes(folder, expected, stored)
            for name, leaf in flatten(stored).items():
                if str(leaf.dtype) not in _FLOATS:
                    raise InputError(
                        f"{arrays}: {name} has elements of type {leaf.dtype}, expected {' or '.join(_FLOATS)}; convert "
                        "or train again"
                    )
            sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
            target = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), expected
            )
            variables = checkpointer.restore(arrays, target)
    except InputError:
        raise
    except Exception as error:  # Orbax and TensorStore raise many kinds for a damaged folder
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"{arrays}: its arrays can't be read ({reason}); copy or convert the model again") from error
    for name, leaf in flatten(variables).items():
        if not np.isfinite(np.asarray(leaf, np.float32)).all():
            raise InputError(f"{arrays}: {name} holds values that aren't finite; convert or train again")
    return variables


def _checkpointer() -> ocp.StandardCheckpointer:
    """One that waits for no other process: a model folder is written and read by single ones."""
    options = ocp.options.MultiprocessingOptions()
    if jax.process_count() > 1:
        own = jax.process_index()
        options = ocp.options.MultiprocessingOptions(
            primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process_{own}"
        )
    return ocp.StandardCheckpointer(multiprocessing_options=options)


def _network(folder: Path, preset: Preset) -> tuple[nn.Module, Any]:
    """The preset's module and the shapes of its variables."""
    try:
        model = build(preset)
        shapes = json.loads(remembered(model, "shapes", lambda: _shapes(model)))
    except (ValueError, TypeError, AttributeError) as error:  # options are plain values out of a file
        file = folder / DESCRIPTION
        raise InputError(f"{file}: describes no network of this version ({error}); convert or train again") from error
    leaves = {name: jax.ShapeDtypeStruct(tuple(shape), dtype) for name, (shape, dtype) in shapes.items()}
    return model, flax.traverse_util.unflatten_dict(leaves, sep="/")


def _shapes(model: nn.Module) -> bytes:
    """Of all variables, by name, with their types: JSON."""
    images = jnp.zeros((1, 32, 32, 3))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), images))
    return json.dumps({name: (leaf.shape, str(leaf.dtype)) for name, leaf in flatten(variables).items()}).encode()


def _check_files(folder: Path, digests: dict[str, str]) -> None:
    """Refuses arrays that are not those that were saved; Orbax reads over a flipped bit in silence."""
    packed, orbax = (folder / PACKED_ARRAYS).is_file(), (folder / ARRAYS).is_dir()
    if packed and orbax:
        raise InputError(f"{folder}: holds both {ARRAYS} and {PACKED_ARRAYS}; {_COPY}")
    if not packed and not orbax:
        raise InputError(f"{folder / (PACKED_ARRAYS if PACKED_ARRAYS in digests else ARRAYS)}: is missing; {_COPY}")
    check_files(folder, digests, cure=_COPY)
    if packed and digests and PACKED_ARRAYS not in digests:
        raise InputError(f"{folder / PACKED_ARRAYS}: {DESCRIPTION} tells nothing of it; {_COPY}")


def check_shapes(path: str | os.PathLike[str], expected: Any, stored: Any) -> None:
    """Refuses stored variables that aren't those of a network, by name and shape.

    Args:
      path: the model folder, for the message.
      expected: variables of the network, or their shapes.
      stored: what the folder holds, or its shapes.

    Raises:
      InputError: with the list of what is missing (-), too much (+) or misshapen.
    """
    _compare(path, flatten(expected), flatten(stored))


def flatten(variables: Any) -> dict[str, Any]:
    """Leaves of variables by their names, which slashes join, such as `params/class_head/bias`."""
    return flax.traverse_util.flatten_dict(variables, sep="/")


def _compare(path: str | os.PathLike[str], expected: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """As `check_shapes`, of leaves by name."""
    wanted = {key: tuple(leaf.shape) for key, leaf in expected.items()}
    found = {key: tuple(leaf.shape) for key, leaf in stored.items()}
    if wanted == found:
        return
    missing = [f"- {key}" for key in wanted if key not in found]
    left_over = [f"+ {key}" for key in found if key not in wanted]
    shapes = [f"- {k}: {found[k]}, expected {s}" for k, s in wanted.items() if k in found and found[k] != s]
    faults = [*missing, *left_over, *shapes]
    more = [f"... and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    raise InputError("\n".join([f"{path}: these arrays are not those of the network:", *faults[:SHOWN], *more]))
