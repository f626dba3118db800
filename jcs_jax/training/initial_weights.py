"""Where a run's weights come from: random, or other networks that have been trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax.numpy as jnp

from jcs_jax.checkpoints import DESCRIPTION, check_shapes, load_model
from jcs_jax.errors import InputError
from jcs_jax.shipped import resolve_model

_HEAD = "class_head"  # of a classifier


def model_folders(init_from: str) -> list[Path]:
    """The model folders that `config.init_from` names.

    Args:
      init_from: model folders, finished runs (which stand for the model in them) or names of shipped models, joined by
        commas.

    Raises:
      InputError: one of them is no model folder.
    """
    folders = []
    for name in filter(None, (part.strip() for part in init_from.split(","))):
        folder = Path(name).expanduser()
        candidates = [resolve_model(folder), folder / "model"]
        found = next((path for path in candidates if (path / DESCRIPTION).is_file()), None)
        if found is None:
            raise InputError(
                f"config.init_from: {folder} is neither a model folder nor a finished run; name one that "
                "`jcs train` or `jcs convert` wrote"
            )
        folders.append(found)
    return folders


def start_from(variables: Mapping[str, Any], folders: Sequence[Path]) -> tuple[dict[str, Any], list[str]]:
    """Puts trained weights in the place of random ones.

    Args:
      variables: of the network, random.
      folders: one model folder of the same network, or several that each have parts of it: the joint network takes
        Res2Net from a classifier and VGG, context and decoder from a segmenter.

    Returns:
      The variables, and the top-level names of the parameters that stay random.

    Raises:
      InputError: a folder has arrays that the network lacks or that have another shape, lacks some of a part, or two
        folders have the same part.
    """
    wanted = flax.traverse_util.flatten_dict(dict(variables))
    given: dict[tuple[str, ...], Any] = {}
    origin: dict[str, Path] = {}
    for folder in folders:
        _, trained, preset = load_model(folder)
        arrays = flax.traverse_util.flatten_dict(trained)
        if _HEAD not in _parts(wanted):  # the joint network of the release has no class head
            arrays = {path: leaf for path, leaf in arrays.items() if path[1] != _HEAD}
        unknown = sorted(_parts(arrays) - _parts(wanted))
        if unknown:
            raise InputError(
                f"config.init_from: {folder} is a {preset.architecture}, and its {', '.join(unknown)} have no place in "
                f"this network, which has {', '.join(sorted(_parts(wanted)))}; name another model"
            )
        same_parts = {path: leaf for path, leaf in wanted.items() if path[1] in _parts(arrays)}
        check_shapes(folder, *map(flax.traverse_util.unflatten_dict, (same_parts, arrays)))
        twice = sorted(_parts(arrays) & origin.keys())
        if twice:
            raise InputError(
                f"config.init_from: {origin[twice[0]]} and {folder} both have {', '.join(twice)}; name one of them"
            )
        given |= arrays
        origin |= dict.fromkeys(_parts(arrays), folder)
    filled = {path: jnp.asarray(given.get(path, leaf)) for path, leaf in wanted.items()}
    return flax.traverse_util.unflatten_dict(filled), sorted(_parts(wanted) - origin.keys())


def _parts(arrays: Mapping[tuple[str, ...], Any]) -> set[str]:
    """The parts of a network that arrays belong to: the second word of their paths, after the collection."""
    return {path[1] for path in arrays}
