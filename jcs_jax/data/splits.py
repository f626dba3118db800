"""Are two splits really disjoint? The gate before a score is believed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from absl import logging

from jcs_jax.data.examples import SliceRecord
from jcs_jax.errors import InputError

SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Overlap:
    """What two splits share.

    Attributes:
      names: slices in both, sorted.
      patients: known patients in both, sorted.
      pictures: slices of the held-out split whose very picture is in the other, whatever its name; sorted.
      unknown_patients: slices of either split whose patient nobody recorded.
    """

    names: tuple[str, ...]
    patients: tuple[str, ...]
    pictures: tuple[str, ...]
    unknown_patients: int

    def counts(self) -> dict[str, int]:
        """How many slices, patients and pictures leak."""
        return {"names": len(self.names), "patients": len(self.patients), "pictures": len(self.pictures)}


def find_overlap(train: Iterable[SliceRecord], held_out: Iterable[SliceRecord]) -> Overlap:
    """Compares two splits.

    Args:
      train: records of the slices; an empty patient is unknown.
      held_out: likewise.

    Returns:
      What they share; all empty for disjoint splits of known patients.
    """
    first, second = list(train), list(held_out)
    names = {record.name for record in first} & {record.name for record in second}
    patients = {record.patient for record in first} & {record.patient for record in second} - {""}
    digests = {record.digest for record in first} - {""}  # blank slices are nobody's
    pictures = {record.name for record in second if record.digest in digests}
    unknown = sum(not record.patient for record in first + second)
    return Overlap(tuple(sorted(names)), tuple(sorted(patients)), tuple(sorted(pictures)), unknown)


def check_disjoint(
    train: Iterable[SliceRecord],
    held_out: Iterable[SliceRecord],
    *,
    allow_leakage: bool = False,
    names: tuple[str, str] = ("training", "held-out"),
) -> Overlap:
    """Refuses splits that share a slice, a patient or a picture.

    Args:
      train: records of the slices; an empty patient is unknown.
      held_out: likewise.
      allow_leakage: warn instead of refusing.
      names: of the two splits, for the message.

    Returns:
      The overlap; unless leakage is allowed, only its `unknown_patients` can be other than empty.

    Raises:
      InputError: they share something; a score on `held_out` would be a training score.
    """
    overlap = find_overlap(train, held_out)
    for kind, shared in (("slices", overlap.names), ("patients", overlap.patients), ("pictures", overlap.pictures)):
        if shared:
            shown = ", ".join(shared[:SHOWN]) + (", ..." if len(shared) > SHOWN else "")
            fault = f"the {names[0]} and {names[1]} splits share {len(shared)} {kind} ({shown})"
            if not allow_leakage:
                raise InputError(
                    f"{fault}; choose disjoint splits, or train with --allow_leakage (config.data.allow_leakage=True)"
                )
            logging.warning("%s: the score on the %s split is a training score", fault, names[1])
    return overlap
