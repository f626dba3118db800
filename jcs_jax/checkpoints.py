"""Folders that hold a network ready for use: Orbax arrays and a description in JSON. Nothing is executed."""

from __future__ import annotations

import hashlib
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
from jcs_jax.notice import RESEARCH_USE

FORMAT = "jcs-model/1"
DESCRIPTION = "model.json"
ARRAYS = "variables"
SHOWN = 20


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
    description = {"format": FORMAT, "notice": RESEARCH_USE, "preset": preset.to_json(), "provenance": provenance}
    with atomic_directory(path) as folder:
        with _checkpointer() as checkpointer:
            arrays = {kind: jax.tree.map(np.asarray, tree) for kind, tree in variables.items() if tree}
            checkpointer.save(folder.resolve() / ARRAYS, arrays)
        files = sorted(file for file in (folder / ARRAYS).rglob("*") if file.is_file())
        description["files"] = {file.relative_to(folder).as_posix(): _sha256(file) for file in files}
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return Path(path)


def require_free(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Refuses to replace anything but a model folder, and that only when asked to.

    Raises:
      InputError: if something is in the way.
    """
    folder = Path(path)
    if not folder.exists():
        return
    if not (folder / DESCRIPTION).is_file():
        raise InputError(f"{folder}: exists and is no model folder; name another --output")
    if not overwrite:
        raise InputError(f"{folder}: exists already; name another --output or add --overwrite")


def describe_model(path: str | os.PathLike[str]) -> tuple[Preset, dict[str, Any]]:
    """Reads the preset and provenance of a model folder, without its arrays.

    Raises:
      InputError: if it is no model folder or was written by another version.
    """
    preset, provenance, _ = _read_description(path)
    return preset, provenance


def weights_digest(path: str | os.PathLike[str]) -> str | None:
    """SHA-256 over names and digests of a model folder's arrays, which tells weights of one preset apart.

    Args:
      path: a model folder.

    Returns:
      Hex digits; None for a folder that doesn't tell its files' digests.
    """
    if not (Path(path) / DESCRIPTION).is_file():
        return None
    digests = _read_description(path)[2]
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest() if digests else None


def _read_description(path: str | os.PathLike[str]) -> tuple[Preset, dict[str, Any], dict[str, str]]:
    """Preset, provenance and the files' digests."""
    file = Path(path) / DESCRIPTION
    if not file.is_file():
        raise InputError(
            f"{path}: no model here ({DESCRIPTION} is missing); name a folder written by `jcs train` or `jcs convert`"
        )
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise InputError(f"{file}: format {description['format']!r}, expected {FORMAT!r}; convert it again")
        return Preset.from_json(description["preset"]), description["provenance"], dict(description.get("files", {}))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, KeyError, TypeError, AttributeError) as error:
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
    preset, _, digests = _read_description(name_or_path)
    model, expected = _network(name_or_path, preset)
    folder = (Path(name_or_path) / ARRAYS).resolve()
    _check_files(Path(name_or_path), digests)
    try:
        with _checkpointer() as checkpointer:
            check_shapes(name_or_path, expected, checkpointer.metadata(folder).item_metadata.tree)
            sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
            target = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), expected
            )
            return model, checkpointer.restore(folder, target), preset
    except InputError:
        raise
    except Exception as error:  # Orbax and TensorStore raise many kinds for a damaged folder
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"{folder}: its arrays can't be read ({reason}); copy or convert the model again") from error


def _checkpointer() -> ocp.StandardCheckpointer:
    """One that waits for no other process: a model folder is written and read by single ones."""
    options = ocp.options.MultiprocessingOptions()
    if jax.process_count() > 1:
        own = jax.process_index()
        options = ocp.options.MultiprocessingOptions(
            primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process_{own}"
        )
    return ocp.StandardCheckpointer(multiprocessing_options=options)


def _network(path: str | os.PathLike[str], preset: Preset) -> tuple[nn.Module, Any]:
    """The preset's module and the shapes of its variables."""
    images = jnp.zeros((1, 32, 32, 3))
    try:
        model = build(preset)
        return model, jax.eval_shape(lambda: model.init(jax.random.key(0), images))
    except (ValueError, TypeError, AttributeError) as error:  # options are plain values out of a file
        file = Path(path) / DESCRIPTION
        raise InputError(f"{file}: describes no network of this version ({error}); convert or train again") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_files(folder: Path, digests: dict[str, str]) -> None:
    """Refuses arrays that are not those that were saved; Orbax reads over a flipped bit in silence."""
    if not (folder / ARRAYS).is_dir():
        raise InputError(f"{folder / ARRAYS}: is missing; copy the whole model folder again")
    for name, digest in digests.items():
        file = folder / name
        if not file.is_file():
            raise InputError(f"{file}: is missing; copy the whole model folder again")
        if _sha256(file) != digest:
            raise InputError(f"{file}: is damaged; copy the whole model folder again")


def check_shapes(path: str | os.PathLike[str], expected: Any, stored: Any) -> None:
    """Refuses stored variables that aren't those of a network, by name and shape.

    Args:
      path: the model folder, for the message.
      expected: variables of the network, or their shapes.
      stored: what the folder holds, or its shapes.

    Raises:
      InputError: with the list of what is missing (-), too much (+) or misshapen.
    """
    wanted = {key: leaf.shape for key, leaf in flax.traverse_util.flatten_dict(expected, sep="/").items()}
    found = {key: tuple(leaf.shape) for key, leaf in flax.traverse_util.flatten_dict(stored, sep="/").items()}
    if wanted == found:
        return
    missing = [f"- {key}" for key in wanted if key not in found]
    left_over = [f"+ {key}" for key in found if key not in wanted]
    shapes = [f"- {k}: {found[k]}, expected {s}" for k, s in wanted.items() if k in found and found[k] != s]
    faults = [*missing, *left_over, *shapes]
    more = [f"... and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    raise InputError("\n".join([f"{path}: these arrays are not those of the network:", *faults[:SHOWN], *more]))
