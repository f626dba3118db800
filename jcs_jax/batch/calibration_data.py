"""The patients that a rule is chosen on: who they are, and that the network was not trained on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from jcs_jax.data.examples import SliceRecord, Source
from jcs_jax.data.part_names import part_names
from jcs_jax.data.sources import open_source
from jcs_jax.data.splits import find_overlap
from jcs_jax.errors import InputError

LEAST_PATIENTS = 4
UNKNOWN_TRAINING = "the weights don't tell what they were trained on, so whether on these patients wasn't checked"
NOT_PREPARED = "whether the model was trained on these patients wasn't checked for {part}: it isn't in --data_dir"
HELD_OUT = (
    "these data share slices or patients with {part}, which the model was to be measured on: scores there are "
    "optimistic now"
)


@dataclasses.dataclass(frozen=True)
class Patients:
    """Slices by patient.

    Attributes:
      rows: (N,) where the patients' slices are in their source.
      numbers: (N,) the patient of each, from 0 on.
      infected: (P,) whether any slice of the patient is labelled infected.
      unlabelled: patients left out because no slice of theirs has a label.
      nameless: slices left out because nobody recorded their patient.
    """

    rows: Int[np.ndarray, " n"]
    numbers: Int[np.ndarray, " n"]
    infected: Bool[np.ndarray, " p"]
    unlabelled: int
    nameless: int


def group_patients(records: Iterable[SliceRecord], name: str) -> Patients:
    """Groups the slices of a split by patient.

    Args:
      records: of the slices, in their source's order.
      name: of the split, for messages.

    Raises:
      InputError: nobody recorded the patients, there are fewer than `LEAST_PATIENTS` with a label, or all of them are
        infected or none is.
    """
    rows: dict[str, list[int]] = {}
    labels: dict[str, int] = {}
    nameless = 0
    for row, record in enumerate(records):
        if not record.patient:
            nameless += 1
            continue
        rows.setdefault(record.patient, []).append(row)
        labels[record.patient] = max(labels.get(record.patient, record.label), record.label)
    if not rows:
        raise InputError(f"{name}: doesn't tell its patients, and the rule is one for patients; choose other data")
    labelled = [patient for patient in rows if labels[patient] >= 0]
    infected = np.array([labels[patient] == 1 for patient in labelled], bool)
    missing = "infected" if not infected.any() else "uninfected" if infected.all() else ""
    if missing or len(labelled) < LEAST_PATIENTS:
        fault = f"no {missing} patient among {len(labelled)}" if missing else f"only {len(labelled)} patients"
        raise InputError(
            f"{name}: {fault} with a label; choose data with at least {LEAST_PATIENTS}, infected and uninfected"
        )
    numbers = [np.full(len(rows[patient]), number) for number, patient in enumerate(labelled)]
    joined = np.concatenate([np.array(rows[patient]) for patient in labelled])
    return Patients(joined, np.concatenate(numbers), infected, len(rows) - len(labelled), nameless)


def require_unseen(provenance: Mapping[str, Any], source: Source, name: str, data_dir: str | Path) -> tuple[str, ...]:
    """Refuses data that share a slice, a patient or a picture with those that a model was trained on.

    Args:
      provenance: of the model, as training writes it.
      source: the data.
      name: of the data, NAME/CONFIG:SPLIT.
      data_dir: where the data sets are that it was trained on.

    Returns:
      Notes: what could not be checked, and whether the model was to be measured on these data.

    Raises:
      InputError: they share something.
    """
    options = (provenance.get("config") or {}).get("data") or {}
    dataset = options.get("dataset", "")
    trained = [f"{dataset}:{options['train_split']}"] if options.get("train_split") else []
    trained += part_names(options.get("also_train_on", ""))
    notes = [] if trained else [UNKNOWN_TRAINING]
    for part in trained:
        shared = _shared(part, source, name, data_dir)
        if shared is None:
            notes.append(NOT_PREPARED.format(part=part))
        elif any(shared.values()):
            told = ", ".join(f"{count} {kind}" for kind, count in shared.items() if count)
            raise InputError(
                f"{name}: the model was trained on {part}, which shares slices or patients with it ({told}); choose a "
                "split that the model never saw"
            )
    if options.get("eval_split"):
        part = f"{dataset}:{options['eval_split']}"
        if any((_shared(part, source, name, data_dir) or {}).values()):
            notes.append(HELD_OUT.format(part=part))
    return tuple(notes)


def _shared(part: str, source: Source, name: str, data_dir: str | Path) -> Mapping[str, int] | None:
    """How many slices, patients and pictures data share with a part of data sets; None if that isn't at hand.

    Names and patients mean something within one data set only; pictures anywhere.
    """
    dataset, _, split = part.partition(":")
    try:
        other = open_source(data_dir, dataset, split)
    except InputError:
        return None
    counts = find_overlap(other.records(), source.records()).counts()
    same = dataset.partition("/")[0] == name.partition("/")[0]
    return counts if same else {"pictures": counts["pictures"]}
