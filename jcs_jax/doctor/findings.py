"""What a check has found, how bad that is, and what cures it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from PIL import Image

Severity = Literal["ok", "warning", "error"]
SHOWN = 3  # slices that are named


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
      check: what was looked at, in a word or two.
      severity: `ok`; `warning`, look at it; `error`, the run would fail or learn the wrong thing.
      found: a sentence with its numbers.
      cure: a sentence on what to do; empty if nothing has to be done.
      numbers: the same numbers by name: numbers, texts, None, or mappings and sequences of these.
    """

    check: str
    severity: Severity
    found: str
    cure: str = ""
    numbers: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Checkup:
    """Everything that was found before a training run.

    Attributes:
      findings: in the order of the checks.
      first_batch: what the network would be given first, as a picture; None where it can't be made.
      config: the run's options, plain values without paths.
    """

    findings: Sequence[Finding]
    first_batch: Image.Image | None
    config: Mapping[str, Any]

    def count(self, severity: Severity) -> int:
        """How many findings are that bad."""
        return sum(finding.severity == severity for finding in self.findings)


def some(names: Collection[str]) -> str:
    """The first few names in brackets, for a sentence; empty for none."""
    named = [name for name in names if name]
    more = ", ..." if len(names) > SHOWN and named else ""
    return f" ({', '.join(named[:SHOWN])}{more})" if named else ""


def percent(share: float) -> str:
    """`2.6 %`; two digits below one per cent."""
    return f"{share * 100:.2g} %" if share < 0.01 else f"{share * 100:.1f} %"
