"""Tiny networks with random weights, packed as models that ship with the package are."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import tiny

from jcs_jax.checkpoints import save_model
from jcs_jax.models.presets import build
from jcs_jax.packed import pack_model

IMAGES = jnp.zeros((1, 32, 32, 3))


def write_packed(folder: Path, architecture: str = "classifier", *, dtype: str = "float32", **options) -> Path:
    """A packed model folder."""
    preset = tiny.preset(architecture, **options)
    beside = folder.with_name(f"{folder.name}_as_orbax")
    save_model(beside, tiny.random_variables(build(preset), IMAGES), preset, provenance={"data": "noise"})
    return pack_model(beside, folder, dtype=dtype).folder
