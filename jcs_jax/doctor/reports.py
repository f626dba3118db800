"""A checkup on the terminal and as `doctor.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jcs_jax import __version__
from jcs_jax.doctor.findings import Checkup
from jcs_jax.notice import RESEARCH_USE

SCHEMA = "jcs-doctor/1"
_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}
_UNATTENDED_WIDTH = 140  # of a table that goes to a file or a pipe


def print_checkup(checkup: Checkup) -> None:
    """Prints every finding with its cure, and the verdict, to standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_UNATTENDED_WIDTH)
    table = Table(box=box.SIMPLE, show_header=False)
    for heading in ("severity", "check", "found"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "found")
    for finding in checkup.findings:
        style = _STYLES[finding.severity]
        told = Text(finding.found)
        if finding.cure:
            told.append(f"\nCure: {finding.cure}.", style=style)
        table.add_row(Text(finding.severity, style=style), Text(finding.check), told)
    console.print(table)
    worst = "error" if checkup.count("error") else "warning" if checkup.count("warning") else "ok"
    console.print(Text(verdict(checkup), style=_STYLES[worst]))
    console.print(Text(RESEARCH_USE))


def verdict(checkup: Checkup) -> str:
    """One line: can the run be started?"""
    errors, warnings = (_counted(checkup.count(severity), severity) for severity in ("error", "warning"))
    if checkup.count("error"):
        return f"{errors}, {warnings}: cure the errors before you train."
    if checkup.count("warning"):
        return f"No error, {warnings}: look at it before you train."
    return "Nothing found that speaks against this run."


def checkup_report(checkup: Checkup) -> dict[str, Any]:
    """Plain values; no path, no user name. Numbers that are not finite become null."""
    return {
        "schema": SCHEMA,
        "research_use": RESEARCH_USE,
        "tool": {"name": "jcs-jax", "version": __version__},
        "verdict": verdict(checkup),
        "errors": checkup.count("error"),
        "warnings": checkup.count("warning"),
        "findings": [
            {
                "check": finding.check,
                "severity": finding.severity,
                "found": finding.found,
                "cure": finding.cure,
                "numbers": _plain(finding.numbers),
            }
            for finding in checkup.findings
        ],
        "config": _plain(checkup.config),
    }


def to_text(report: Mapping[str, Any]) -> str:
    """The report as strict JSON text."""
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _plain(value: Any) -> Any:
    """What JSON can hold, with six significant digits."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(inner) for inner in value]
    return value
