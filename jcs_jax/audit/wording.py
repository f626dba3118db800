"""What the terminal and the page say in the same words."""

from __future__ import annotations

import math

from jcs_jax.audit.confounding import Confounder
from jcs_jax.audit.findings import Audit, PartSummary, SameSlices, SharedPatient

_KINDS = {
    "patients": ("patient", "patients"),
    "pictures": ("exact picture", "exact pictures"),
    "names": ("name of different slices", "names of different slices"),
    "copies": ("changed copy", "changed copies"),
}
PART_HEADINGS = ("part", "slices", "patients", "label 1", "label 0", "no label", "masks", "empty masks", "full masks")
CONFOUNDER_HEADINGS = ("feature", "part", "AUC", "95 % interval", "label 1", "label 0", "")
FLAG = "confounded"
_SHOWN_MASKS = 3


def counted(kind: str, count: int) -> str:
    """`3 changed copies in two parts`: a kind of leak, as in `Audit.leaks`, with its number."""
    singular, plural = _KINDS[kind]
    return f"{count} {singular if count == 1 else plural} in two parts"


def verdict(audit: Audit) -> str:
    """One line: whether something leaks, and what."""
    found = [counted(kind, count) for kind, count in audit.leaks.items() if count]
    return f"LEAKS: {', '.join(found)}" if found else "No leak found between the parts."


def warning(audit: Audit) -> str:
    """One line on classes that trivial features tell apart; empty if none does."""
    flagged = dict.fromkeys(item.feature for item in audit.confounders if item.flagged)
    return f"Warning: the classes can be told apart by {', '.join(flagged)}." if flagged else ""


def part_cells(part: PartSummary) -> tuple[str, ...]:
    """The cells of a part's row, under `PART_HEADINGS`."""
    patients = str(part.patients)
    if part.unknown_patients:
        patients = "unknown" if part.unknown_patients == part.slices else f"{part.patients} + unknown"
    counts = (part.infected, part.uninfected, part.unlabelled, part.masks)
    masks = (_few(part.empty_masks), _few(part.full_masks))
    return (part.name, str(part.slices), patients, *map(str, counts), *masks)


def confounder_cells(item: Confounder) -> tuple[str, ...]:
    """The cells of a feature's row, under `CONFOUNDER_HEADINGS`."""
    low, high = item.auc.interval
    flag = FLAG if item.flagged else ""
    counts = (str(item.auc.infected), str(item.auc.uninfected))
    return (item.feature, item.part, f"{item.auc.value:.3f}", f"{low:.3f} to {high:.3f}", *counts, flag)


def measured(audit: Audit) -> list[Confounder]:
    """Features with a number, flagged ones first."""
    rows = [item for item in audit.confounders if not math.isnan(item.auc.value)]
    return sorted(rows, key=lambda item: not item.flagged)


def patient_line(item: SharedPatient) -> str:
    """A patient and the slices in each part."""
    return f"{item.patient}: " + ", ".join(f"{count} in {part}" for part, count in item.slices.items())


def same_line(item: SameSlices) -> str:
    """All places of a picture or name."""
    return " = ".join(f"{place.part} {place.name}" for place in item.places)


def _few(names: tuple[str, ...]) -> str:
    """How many, and the first few names."""
    shown = ", ".join(names[:_SHOWN_MASKS]) + (", ..." if len(names) > _SHOWN_MASKS else "")
    return f"{len(names)} ({shown})" if names else "0"
