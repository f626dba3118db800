"""`diagnosis.json`: a case's result as strict JSON, laid out by `diagnosis.schema.json` beside this file."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jcs_jax import __version__
from jcs_jax.diagnosis.result import Diagnosis, ModelCard
from jcs_jax.notice import RESEARCH_USE, TOOL

SCHEMA = "jcs-diagnosis/2"
FILE_NAME = "diagnosis.json"
PICTURES = ("mask", "overlay", "activation")
FILES = ("html", "mask_nifti", "lesions_nifti", "seg", "sr", "captures")


def case_report(
    diagnosis: Diagnosis,
    *,
    pictures: Sequence[Mapping[str, str]],
    activation_scale: float | None,
    files: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything there is to say of a case, notes and warnings first; no path, no user name.

    Args:
      diagnosis: the result.
      pictures: for every slice the files written, by kind (`PICTURES`); kinds that weren't written are left out.
      activation_scale: value of the last colour in the activation pictures; None without a class head.
      files: of the whole case, by kind (`FILES`); kinds that weren't written may be left out.

    Returns:
      Plain values that follow `schema()`.

    Raises:
      ValueError: if there aren't as many `pictures` as slices.
    """
    values = diagnosis.to_json()
    model, screening = diagnosis.model, diagnosis.screening_model or diagnosis.model
    slices = [
        {**findings, "files": {kind: written.get(kind) for kind in PICTURES}}
        for findings, written in zip(values["slices"], pictures, strict=True)
    ]
    activation = {
        "class": "infected",
        "unit": "log-odds of infection against no infection; the mean over the network's positions is that of the "
        "class probability",
        "scale": activation_scale,
    }
    return {
        "schema": SCHEMA,
        "research_use": RESEARCH_USE,
        "notes": list(diagnosis.notes),
        "tool": {"name": TOOL, "version": __version__},
        "model": model_values(model),
        "screening_model": diagnosis.screening_model and model_values(diagnosis.screening_model),
        "thresholds": {"class_probability": screening.class_threshold, "mask_probability": model.mask_threshold},
        **{part: values[part] for part in ("case", "decision", "geometry", "lesions")},
        "files": {kind: (files or {}).get(kind) for kind in FILES},
        "activation": None if activation_scale is None else activation,
        "slices": slices,
    }


def model_values(model: ModelCard) -> dict[str, Any]:
    """What a report says of a network, as plain values."""
    return {
        "name": model.preset["name"],
        "checkpoint": model.checkpoint,
        "weights_sha256": model.weights_sha256,
        "engine": model.engine,
        "precision": model.precision,
        "source": model.preset["source"],
        "preset": dict(model.preset),
    }


def to_text(report: Mapping[str, Any]) -> str:
    """The report as strict JSON text; ValueError for a value that JSON can't hold, such as NaN."""
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `diagnosis.json`."""
    return json.loads((importlib.resources.files(__package__) / "diagnosis.schema.json").read_text("utf-8"))
