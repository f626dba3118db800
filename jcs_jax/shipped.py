"""Models that come with the package, found by name."""

from __future__ import annotations

import importlib.resources
import os
from pathlib import Path

from jcs_jax.errors import InputError

DESCRIPTION = "model.json"  # is what makes a folder a model folder
DEFAULT_MODEL = "jcs_tiny"
WEIGHTS = Path(str(importlib.resources.files("jcs_jax").joinpath("weights")))
"""Holds a packed model folder per name. A real folder: pip unpacks a wheel; run out of a zip file, none is found."""


def shipped_models() -> list[str]:
    """Names of the models that come with the package, sorted; empty where it was built without."""
    if not WEIGHTS.is_dir():
        return []
    return sorted(folder.name for folder in WEIGHTS.iterdir() if (folder / DESCRIPTION).is_file())


def resolve_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder that a user means.

    Args:
      name_or_path: a model folder, or the name of a model that comes with the package.

    Returns:
      The path as it was given if it is a folder, or else the shipped model's folder. What is neither comes back as it
      was given: reading it tells what is wrong.
    """
    path = Path(name_or_path)
    return WEIGHTS / path if os.fspath(name_or_path) in shipped_models() and not path.is_dir() else path


def default_model() -> Path:
    """The folder of the shipped model that is taken where the user names none, whatever the current folder holds.

    Raises:
      InputError: the package was built without it.
    """
    if DEFAULT_MODEL not in shipped_models():
        raise InputError(
            f"{WEIGHTS / DEFAULT_MODEL}: this installation holds no weights; name a model folder with --checkpoint"
        )
    return WEIGHTS / DEFAULT_MODEL
