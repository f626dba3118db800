"""Are two splits really disjoint? The gate before a score is believed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from absl import logging

from jcs_jax.errors import InputError

Identity = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Overlap:
    """What two splits share.

    Attributes:
      names: slices in both, sorted.
      patients: known patients in both, sorted.
      unknown_patients: slices of either split whose patient nobody recorded.
    """

    names: tuple[str, ...]
    patients: tuple[str, ...]
    unknown_patients: int


def find_overlap(train: Iterable[Identity], held_out: Iterable[Identity]) -> Overlap:
    """Compares two splits.

    Args:
      train: (slice name, patient) pairs; an empty patient is unknown.
      held_out: likewise.

    Returns:
      What they share; all empty for disjoint splits of known patients.
    """
    first, second = list(train), list(held_out)
    names = {name for name, _ in first} & {name for name, _ in second}
    patients = {patient for _, patient in first} & {patient for _, patient in second} - {""}
    unknown = sum(not patient for _, patient in first + second)
    return Overlap(tuple(sorted(names)), tuple(sorted(patients)), unknown)


def check_disjoint(train: Iterable[Identity], held_out: Iterable[Identity], *, allow_leakage: bool = False) -> Overlap:
    """Refuses splits that share a slice or a patient.

    Args:
      train: (slice name, patient) pairs; an empty patient is unknown.
      held_out: likewise.
      allow_leakage: warn instead of refusing.

    Returns:
      The overlap; unless leakage is allowed, only its `unknown_patients` can be other than empty.

    Raises:
      InputError: they share something; a score on `held_out` would be a training score.
    """
    overlap = find_overlap(train, held_out)
    for kind, shared in (("slices", overlap.names), ("patients", overlap.patients)):
        if shared:
            shown = ", ".join(shared[:3]) + (", ..." if len(shared) > 3 else "")
            fault = f"the training and held-out splits share {len(shared)} {kind} ({shown})"
            if not allow_leakage:
                raise InputError(f"{fault}; choose disjoint splits, or set config.data.allow_leakage=True")
            logging.warning("%s: the score on the held-out split is a training score", fault)
    return overlap
