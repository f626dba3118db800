"""Models in two files, to copy, publish and ship: a description, and all arrays in half or single precision."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from jcs_jax.array_file import largest_rounding, to_float16, write_arrays
from jcs_jax.checkpoints import PACKED_ARRAYS, describe_model, flatten, load_model, weights_digest, write_model_folder
from jcs_jax.errors import InputError
from jcs_jax.models.folding import FOLDABLE, fold_norms
from jcs_jax.models.presets import Preset
from jcs_jax.shipped import resolve_model

PACKED_DTYPES = ("float32", "float16")


@dataclasses.dataclass(frozen=True)
class PackedModel:
    """What `pack_model` wrote.

    Attributes:
      folder: of the model.
      name: of the model's preset.
      size: of the file of arrays, in bytes.
      rounding: largest absolute change of a value; 0 for float32.
      rounded: the array that has it; empty if no value changed.
    """

    folder: Path
    name: str
    size: int
    rounding: float
    rounded: str


def pack_model(
    name_or_path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    dtype: str = "float32",
    fold: bool = False,
) -> PackedModel:
    """Writes a model again with all arrays in one file, under a temporary name until it is whole.

    Args:
      name_or_path: a model folder of either form, or the name of a shipped model.
      output: the folder to write; one that exists is replaced in one step.
      dtype: "float32", or "float16" for half the size, which loading widens again.
      fold: make norms part of the convolutions before them, see `fold_norms`: for inference, not to train on.

    Raises:
      ValueError: another dtype.
      InputError: no sound model is there, a value is too large for the dtype, or its norm can't be folded.
    """
    if dtype not in PACKED_DTYPES:
        raise ValueError(f"dtype is {dtype!r}; choose one of {', '.join(PACKED_DTYPES)}")
    folder = resolve_model(name_or_path)
    _, variables, preset = load_model(folder)
    if fold:
        preset, variables = _folded(folder, preset, variables)
    arrays = {name: np.asarray(leaf, np.float32) for name, leaf in flatten(variables).items()}
    packed, rounding, rounded = arrays, 0.0, ""
    if dtype == "float16":
        try:
            packed = {name: to_float16(array, name) for name, array in arrays.items()}
        except InputError as error:
            raise InputError(f"{folder}: {error}") from error
        rounding, rounded = max((largest_rounding(array, packed[name]), name) for name, array in arrays.items())
    written = write_model_folder(
        output,
        lambda target: write_arrays(target / PACKED_ARRAYS, packed),
        preset=preset.to_json(),
        provenance=describe_model(folder)[1],
        packed={"dtype": dtype, "largest_rounding": rounding, "weights_sha256": weights_digest(folder)},
    )
    size = (written / PACKED_ARRAYS).stat().st_size
    return PackedModel(written, preset.name, size, rounding, rounded if rounding else "")


def _folded(folder: Path, preset: Preset, variables: Any) -> tuple[Preset, dict[str, Any]]:
    """Both without norms."""
    norm = preset.options.get("norm")
    if norm not in FOLDABLE:
        raise InputError(
            f"{folder}: its norm is {norm}; only {', '.join(FOLDABLE)} can be folded: leave --fold_norms out"
        )
    return fold_norms(preset, variables)
