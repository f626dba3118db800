"""Folders that hold a network for other programs than JAX: what `jcs export` writes and engines read."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from jcs_jax.described_folder import check_files, read_description
from jcs_jax.errors import InputError
from jcs_jax.models.presets import Preset

EXPORT_FORMAT = "jcs-export/1"
EXPORT_DESCRIPTION = "export.json"
SCREEN, SEGMENT = "screen", "segment"  # names of the two stages' programs
ONNX = "onnx"  # ending of a program's file
IMAGES = "images"  # name of an input
TRUNK = "trunk."  # begins the names of outputs of the first stage that are inputs of the second
_COPY = "copy the whole folder again"


@dataclasses.dataclass(frozen=True)
class Exported:
    """A network's programs, found and checked.

    Attributes:
      folder: that holds them.
      preset: how slices become their input, and thresholds.
      checkpoint: name of the model they were made from.
      weights_sha256: hex digits that tell its weights apart; None where the model didn't tell.
      programs: names of those there are.
      trunk: names of the maps that the second stage takes from the first; empty where it starts anew.
    """

    folder: Path
    preset: Preset
    checkpoint: str
    weights_sha256: str | None
    programs: tuple[str, ...]
    trunk: tuple[str, ...]

    def file(self, program: str, ending: str) -> Path:
        """Of a program in one of its forms."""
        return self.folder / f"{program}.{ending}"


def read_export(path: str | os.PathLike[str]) -> Exported:
    """Reads a folder's description and checks its files.

    Raises:
      InputError: if the folder is none, is damaged or is of another version.
    """
    folder = Path(path)
    file = folder / EXPORT_DESCRIPTION
    if not file.is_file():
        cure = "make it of a model folder with `jcs export --checkpoint MODEL --output DIR`"
        raise InputError(f"{folder}: no exported model here ({EXPORT_DESCRIPTION} is missing); {cure}")
    try:
        told = read_description(file, form=EXPORT_FORMAT, cure="export it again")
        model, digests = told["model"], dict(told["files"])
        found = Exported(
            folder,
            Preset.from_json(told["preset"]),
            str(model["checkpoint"]),
            model["weights_sha256"],
            tuple(told["programs"]),
            tuple(told["trunk"]),
        )
    except InputError:
        raise
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file}: not a description of an export ({type(error).__name__}: {error}); copy it again"
        ) from error
    if not found.programs or not set(found.programs) <= {SCREEN, SEGMENT}:
        raise InputError(f"{file}: names no programs of this version; export it again")
    if unknown := [f"{name}.{ONNX}" for name in found.programs if f"{name}.{ONNX}" not in digests]:
        raise InputError(f"{file}: tells nothing of {', '.join(unknown)}; export it again with --formats={ONNX}")
    check_files(folder, digests, cure=_COPY)
    return found
