"""A model folder becomes a folder of programs, each compared with what JAX computes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jcs_jax.checkpoints import describe_model, load_model, weights_digest
from jcs_jax.described_folder import write_folder
from jcs_jax.diagnosis.programs import Network
from jcs_jax.engines.exported import EXPORT_DESCRIPTION, EXPORT_FORMAT, IMAGES, ONNX, SEGMENT, TRUNK
from jcs_jax.engines.runtimes import open_program
from jcs_jax.errors import InputError
from jcs_jax.export.programs import FORMS, Stage, stages_of
from jcs_jax.models.folding import fold_norms
from jcs_jax.models.presets import build
from jcs_jax.shipped import resolve_model

TOLERANCE = 1e-3  # of probabilities


@dataclasses.dataclass(frozen=True)
class ExportedProgram:
    """What became of a stage.

    Attributes:
      file: its name.
      size: in bytes.
      difference: largest one of the probabilities to those that JAX computes of noise; None where it is JAX's own form.
    """

    file: str
    size: int
    difference: float | None


def export_model(
    name_or_path: str | os.PathLike[str], output: str | os.PathLike[str], forms: Sequence[str] = (ONNX,)
) -> list[ExportedProgram]:
    """Writes a network's stages as programs, norms folded into convolutions where they can be.

    Args:
      name_or_path: a model folder of either form, or the name of a shipped model.
      output: the folder to write; one that exists is replaced in one step.
      forms: of `programs.FORMS`.

    Returns:
      The programs.

    Raises:
      ValueError: another form.
      InputError: no sound model is there, or an ONNX file doesn't compute what JAX computes.
    """
    if unknown := sorted(set(forms) - set(FORMS)):
        raise ValueError(f"no form is called {', '.join(unknown)}; choose from {', '.join(FORMS)}")
    folder = resolve_model(name_or_path)
    _, variables, preset = load_model(folder)
    folded, variables = fold_norms(preset, variables)
    network = Network.of(build(folded, dtype=jnp.float32), variables, folded)
    stages = stages_of(network, variables, preset.preprocessing.size)
    made: list[ExportedProgram] = []

    def write(target: Path) -> None:
        for name, stage in stages.items():
            for form in forms:
                file = target / f"{name}.{form}"
                data = FORMS[form](stage)
                file.write_bytes(data)
                difference = _difference(folder, stage, file) if form == ONNX else None
                made.append(ExportedProgram(file.name, len(data), difference))

    trunk = [name.removeprefix(TRUNK) for name in stages[SEGMENT].inputs if name != IMAGES] if SEGMENT in stages else []
    write_folder(
        output,
        write,
        description=EXPORT_DESCRIPTION,
        form=EXPORT_FORMAT,
        preset=folded.to_json(),
        provenance=describe_model(folder)[1],
        model={"checkpoint": folder.resolve().name, "weights_sha256": weights_digest(folder)},
        programs=list(stages),
        trunk=trunk,
    )
    return made


def _difference(folder: Path, stage: Stage, file: Path) -> float:
    """Largest difference of probabilities between ONNX Runtime and JAX, on noise."""
    rng = np.random.default_rng(0)
    inputs = {name: rng.standard_normal((1, *one.shape[1:]), np.float32) for name, one in stage.inputs.items()}
    wanted = np.asarray(jax.jit(stage)(inputs)["probability"])
    found = open_program(file, "onnxruntime", "float32")(inputs)["probability"]
    difference = float(np.abs(wanted - found).max())
    if not difference <= TOLERANCE:
        raise InputError(
            f"{folder}: as {file.name} its probabilities differ from JAX's by up to {difference:.2g}; this is a fault "
            "of the export: report it, and diagnose with --engine=jax"
        )
    return difference
