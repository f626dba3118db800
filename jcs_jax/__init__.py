"""JCS-JAX: joint classification and segmentation of COVID-19 in chest CT. Research use only."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from jcs_jax import convert as convert
    from jcs_jax.checkpoints import load_model as load_model
    from jcs_jax.diagnosis.predictor import Predictor as Predictor
    from jcs_jax.diagnosis.result import Diagnosis as Diagnosis
    from jcs_jax.diagnosis.study_predictor import StudyPredictor as StudyPredictor
    from jcs_jax.models.presets import create_model as create_model
    from jcs_jax.study.cases import read_study as read_study

_PUBLIC = {
    "create_model": "jcs_jax.models.presets",
    "load_model": "jcs_jax.checkpoints",
    "Predictor": "jcs_jax.diagnosis.predictor",
    "StudyPredictor": "jcs_jax.diagnosis.study_predictor",
    "Diagnosis": "jcs_jax.diagnosis.result",
    "read_study": "jcs_jax.study.cases",
}
__all__ = ["Diagnosis", "Predictor", "StudyPredictor", "create_model", "load_model", "read_study"]


def __getattr__(name: str) -> Any:
    """Imports a public name on first use, so that `import jcs_jax` costs nothing."""
    if name == "convert":
        return importlib.import_module("jcs_jax.convert")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'jcs_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
