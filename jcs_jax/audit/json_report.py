"""`audit.json`: everything that was found, as strict JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from jcs_jax import __version__
from jcs_jax.audit.confounding import RULE, Confounder
from jcs_jax.audit.findings import Audit, Copy, SameSlices
from jcs_jax.audit.near_duplicates import COPY
from jcs_jax.notice import RESEARCH_USE

SCHEMA = "jcs-audit/1"


def audit_report(audit: Audit) -> dict[str, Any]:
    """Plain values; no path, no user name."""
    return {
        "schema": SCHEMA,
        "research_use": RESEARCH_USE,
        "notes": list(audit.notes),
        "tool": {"name": "jcs-jax", "version": __version__},
        "leaks": any(audit.leaks.values()),
        "counts": audit.leaks,
        "parts": [dataclasses.asdict(part) for part in audit.parts],
        "patients": [{"patient": item.patient, "slices": dict(item.slices)} for item in audit.patients],
        "pictures": [_same(item) for item in audit.pictures],
        "names": [_same(item) for item in audit.names],
        "copies": {"threshold": COPY, "pairs": [_copy(item) for item in audit.copies]},
        "confounding": {"rule": RULE, "features": [_confounder(item) for item in audit.confounders]},
    }


def to_text(report: dict[str, Any]) -> str:
    """The report as strict JSON text; ValueError for a value that JSON can't hold."""
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


def _same(item: SameSlices) -> list[dict[str, str]]:
    return [place._asdict() for place in item.places]


def _copy(item: Copy) -> dict[str, Any]:
    return {
        "first": item.first._asdict(),
        "second": item.second._asdict(),
        "similarity": round(item.similarity, 4),
        "change": item.change,
    }


def _confounder(item: Confounder) -> dict[str, Any]:
    low, high = item.auc.interval
    return {
        "feature": item.feature,
        "part": item.part,
        "auc": _finite(item.auc.value),
        "interval_95": [_finite(low), _finite(high)],
        "infected": item.auc.infected,
        "uninfected": item.auc.uninfected,
        "flagged": item.flagged,
        "note": item.note,
    }


def _finite(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None
