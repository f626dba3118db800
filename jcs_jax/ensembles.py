"""Models of one kind become one, whose answer is the mean of theirs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jcs_jax.checkpoints import describe_model, load_model, save_model, weights_digest
from jcs_jax.errors import InputError
from jcs_jax.models.operating_point import PatientRule
from jcs_jax.models.output import MEMBER
from jcs_jax.models.presets import Preset
from jcs_jax.shipped import resolve_model


def join_models(names_or_paths: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> Path:
    """Writes a model folder with the networks of several, which are fed alike and whose answers are averaged.

    Thresholds of slices and pixels are kept where all members have the same. What was chosen on validation data for one
    member, a patient's threshold and temperature and what is familiar, is not the ensemble's and is left out.

    Args:
      names_or_paths: two and more model folders or names of shipped models; the same may not come twice.
      output: the folder to write; one that exists is replaced in one step.

    Returns:
      The folder.

    Raises:
      InputError: fewer than two, one that is no sound model or is itself an ensemble, the same weights twice, or models
        that differ in network, preprocessing or thresholds.
    """
    folders = [resolve_model(name) for name in names_or_paths]
    if len(folders) < 2:
        raise InputError("an ensemble needs two models and more; name them with --checkpoint A,B")
    first = describe_model(folders[0])[0]
    members: list[Any] = []
    provenance = []
    for folder in folders:
        preset, told = describe_model(folder)
        if "members" in preset.options:
            raise InputError(f"{folder}: is an ensemble already; name its members instead")
        if different := _differences(first, preset):
            told_of = ", ".join(different)
            raise InputError(f"{folder}: differs from {folders[0]} in {told_of}; join models of one kind")
        variables = load_model(folder)[1]
        for other, known in zip(folders, members, strict=False):
            if jax.tree.all(jax.tree.map(np.array_equal, variables, known)):
                raise InputError(f"{folder}: has the weights of {other}; leave one of them out")
        members.append(variables)
        provenance.append({**told, "weights_sha256": weights_digest(folder)})
    joined = {
        kind: {f"{MEMBER}{number}": one[kind] for number, one in enumerate(members, start=1)} for kind in members[0]
    }
    preset = dataclasses.replace(
        first,
        options={**first.options, "members": len(members)},
        source=f"mean of {len(members)} networks; the first: {first.source}",
        patient=PatientRule(),
        familiar=None,
    )
    return save_model(output, joined, preset, provenance={"members": provenance})


def _differences(one: Preset, other: Preset) -> list[str]:
    """What members must have in common and don't."""
    names = ("name", "architecture", "options", "preprocessing", "class_threshold", "mask_threshold")
    return [name.replace("_", " ") for name in names if getattr(one, name) != getattr(other, name)]
