"""Splits: their sizes, and what they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jcs_jax.data.examples import SliceRecord
from jcs_jax.data.splits import find_overlap
from jcs_jax.doctor.findings import Finding, Severity, some

_CHECK = "splits"


def check_splits(parts: Mapping[str, Sequence[SliceRecord]], *, allow_leakage: bool) -> list[Finding]:
    """Counts slices and patients of every split, and what each two of them share.

    Args:
      parts: what the split is for (`training`, `validation`, `evaluation`) -> its slices.
      allow_leakage: whether the config lets splits share something.

    Returns:
      A line on the sizes, and one for each two splits that share names, patients or pictures.
    """
    told, numbers = [], {}
    for role, records in parts.items():
        patients = len({record.patient for record in records} - {""})
        known = f"{patients} patients" if patients else "patients unknown"
        told.append(f"{role} {len(records)} slices ({known})")
        numbers[role] = {"slices": len(records), "patients": patients}
    findings = [Finding(_CHECK, "ok", ", ".join(told), numbers=numbers)]
    roles = list(parts)
    for position, first in enumerate(roles):
        for second in roles[position + 1 :]:
            overlap = find_overlap(parts[first], parts[second])
            shared = {kind: count for kind, count in overlap.counts().items() if count}
            if shared:
                counts = ", ".join(f"{count} {kind}" for kind, count in shared.items())
                named = some(overlap.patients or overlap.names or overlap.pictures)
                found = f"{first} and {second} share {counts}{named}"
                cure = (
                    "choose disjoint splits, or set config.data.allow_leakage=True and call the score a training score"
                )
                severity: Severity = "warning" if allow_leakage else "error"
                findings.append(Finding(_CHECK, severity, found, cure, {"first": first, "second": second, **shared}))
    return findings
