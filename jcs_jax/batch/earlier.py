"""Reports of an earlier run, and whether they may stand beside those of this one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jcs_jax.diagnosis.result import ModelCard
from jcs_jax.errors import InputError
from jcs_jax.report import json_report

_OTHER_RUN = "their weights, thresholds or versions differ: give another --output, or --overwrite without --skip_done"


def earlier_report(file: Path, cards: tuple[ModelCard, ModelCard | None]) -> dict[str, Any]:
    """The report of an earlier run.

    Args:
      file: that holds it.
      cards: of this run's network, and of the one that screens if it is another.

    Raises:
      InputError: it is of another run, or can't be read.
    """
    made_by = [card and json_report.model_values(card) for card in cards]
    wanted = [json_report.SCHEMA, *json.loads(json.dumps(made_by))]
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        found = [report["schema"], report["model"], report["screening_model"]]
        told = _told(found)
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{file}: is no report of a diagnosis; move its folder away") from error
    if found != wanted:
        raise InputError(f"{file}: {told} made it, and this run has {_told(wanted)}; {_OTHER_RUN}")
    return report


def _told(versions: Sequence[Any]) -> str:
    schema, *models = versions
    return f"{' and '.join(str(model['checkpoint']) for model in models if model)} ({schema})"
