"""The results of an evaluation: in memory, as files, and as a table."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8
from rich.console import Console
from rich.table import Table

from jcs_jax.files import write_atomically
from jcs_jax.metrics import Measurement
from jcs_jax.notice import RESEARCH_USE

POLICY = (
    "Segmentation numbers are means over the slices with a mask. A number that is not defined for a slice (Dice of "
    "an empty mask) or at all (AUC of a single class) is null, is left out of the mean and counted in n_absent; "
    "slices without a label count there for the classification numbers. best_threshold_dice and best_threshold "
    "are chosen on the evaluated slices themselves, each map min-max scaled, and so are optimistic. Explanation "
    "numbers compare the activation map of infection with the mask of slices that aren't labelled uninfected, and are "
    "not defined where that mask is empty: whether its highest value lies inside (pointing_game), the share of its "
    "positive part inside (energy_inside; 0 for a map without one), both beside what a map without information gives "
    "(energy_chance, the mask's share of the slice), and how often an opacified pixel has a higher value than a clear "
    "one (map_auc; 0.5 without information). A lesion is an 8-connected piece of the reader's mask, small below 0.1 % "
    "of the slice's area, medium below 1 %, large from there on; it is detected if a tenth of it is predicted; "
    "n counts lesions there. Hausdorff distances are 95th percentiles, the slice's diagonal where nothing was "
    "predicted. A patient's probability is that of jcs diagnose for slices of one thickness. Intervals hold 95 %, from "
    "a bootstrap over patients (BCa); slices of unknown patients count as patients. That of ece holds the true number "
    "less often."
)


@dataclasses.dataclass(frozen=True)
class Case:
    """One slice and what was measured on it.

    Attributes:
      name: the slice's name.
      patient: identifier, empty if unknown.
      label: 0 uninfected, 1 infected, -1 unknown.
      values: number by name; nan where it isn't defined, left out where it wasn't measured.
      origin: site, paper or collection that the slice comes from; empty if unknown.
    """

    name: str
    patient: str
    label: int
    values: Mapping[str, float]
    origin: str = ""


@dataclasses.dataclass(frozen=True)
class PatientCase:
    """One patient and the decision on them.

    Attributes:
      patient: identifier.
      label: 0 uninfected, 1 infected, -1 unknown.
      slices: how many of the patient's slices were judged.
      probability: calibrated, of infection, in [0, 1].
      origin: of the patient's first slice.
    """

    patient: str
    label: int
    slices: int
    probability: float
    origin: str = ""


@dataclasses.dataclass(frozen=True)
class CasePicture:
    """A slice that a reader should look at.

    Attributes:
      name: the slice's name.
      kind: `worst` or `best`.
      dice: of its mask.
      picture: (H, W, 3) uint8; the slice with the predicted mask outlined and the reader's one.
    """

    name: str
    kind: Literal["worst", "best"]
    dice: float
    picture: UInt8[np.ndarray, "h w 3"]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A model measured on a data set.

    Attributes:
      preset: name of the model's preset.
      thresholds: operating points used: `class` and `mask`.
      counts: what the data held: slices, with_mask, empty_mask, infected, uninfected, unlabelled, patients.
      summary: group -> number -> measurement; the model's groups are `segmentation`, `classification` and
        `explanation`, the baselines' start with `baseline_`.
      cases: one row per slice, in the data's order.
      notes: what a reader must know, such as a warning of the data set.
      leakage: how many names, patients and pictures the training split shares with this one; None if no
        training split was given.
      patients: one row per patient with a known identifier; empty without a class head or identifiers.
      subgroups: origin of the slices -> summary of these alone; empty where there is one origin or none is known.
      pictures: the worst and the best masks, worst first; empty without masks.
      threshold_dice: (256,) mean Dice over thresholds of the scaled maps; None without masks.
    """

    preset: str
    thresholds: Mapping[str, float]
    counts: Mapping[str, int]
    summary: Mapping[str, Mapping[str, Measurement]]
    cases: Sequence[Case]
    notes: Sequence[str] = ()
    leakage: Mapping[str, int] | None = None
    patients: Sequence[PatientCase] = ()
    subgroups: Mapping[str, Mapping[str, Mapping[str, Measurement]]] = dataclasses.field(default_factory=dict)
    pictures: Sequence[CasePicture] = ()
    threshold_dice: Float[np.ndarray, " 256"] | None = None


def write_evaluation(
    evaluation: Evaluation,
    output_dir: str | os.PathLike[str],
    *,
    checkpoint: str,
    dataset: str,
    split: str,
    train_split: str | None = None,
    thresholds_chosen_on: str = "",
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Writes `cases.csv`, `patients.csv` where there are patients, and then `metrics.json`, each in one step.

    Older ones are replaced, other files stay.

    Args:
      evaluation: what to write.
      output_dir: the folder; created if need be.
      checkpoint: what was evaluated, in words or as a path.
      dataset: name of the data set.
      split: the evaluated split.
      train_split: the split a baseline's threshold was chosen on, if any.
      thresholds_chosen_on: NAME/CONFIG:SPLIT; empty for defaults.
      more: further entries of the document, plain values.

    Returns:
      The path of `metrics.json`: strict JSON, null for nan.
    """
    folder = Path(output_dir)
    document = {
        "schema_version": 2,
        "notice": RESEARCH_USE,
        "checkpoint": checkpoint,
        "preset": evaluation.preset,
        "dataset": dataset,
        "split": split,
        "train_split": train_split,
        "leakage": None if evaluation.leakage is None else dict(evaluation.leakage),
        "thresholds": dict(evaluation.thresholds),
        "thresholds_chosen_on": thresholds_chosen_on or None,
        "counts": dict(evaluation.counts),
        "policy": POLICY,
        "summary": _summary_json(evaluation.summary),
        "subgroups": {origin: _summary_json(summary) for origin, summary in evaluation.subgroups.items()},
        **(more or {}),
        "notes": list(evaluation.notes),
    }
    if evaluation.patients:
        write_atomically(folder / "patients.csv", _patients_csv(evaluation.patients))
    write_atomically(folder / "cases.csv", _cases_csv(evaluation.cases))
    return write_atomically(folder / "metrics.json", json.dumps(document, indent=2, allow_nan=False) + "\n")


def _summary_json(summary: Mapping[str, Mapping[str, Measurement]]) -> dict[str, dict[str, Any]]:
    return {
        group: {name: measured.to_json() for name, measured in numbers.items()} for group, numbers in summary.items()
    }


def show_evaluation(evaluation: Evaluation, written: Path) -> None:
    """Prints the summary, the notes and where the files are."""
    console = Console(soft_wrap=True)
    console.print(summary_table(evaluation))
    for note in evaluation.notes:
        console.print(f"Note: {note}", highlight=False, markup=False)
    console.print(f"Written: {written}, evaluation.html and cases.csv beside it", highlight=False, markup=False)


def summary_table(evaluation: Evaluation) -> Table:
    """The summary as a table."""
    table = Table(title=f"{evaluation.preset} on {evaluation.counts['slices']} slices", caption=RESEARCH_USE)
    table.add_column("number")
    for column in ("value", "95 % interval", "n", "not defined"):
        table.add_column(column, justify="right")
    for group, numbers in evaluation.summary.items():
        table.add_section()
        table.add_row(f"[bold]{group.replace('_', ' ')}[/bold]")
        for name, measured in numbers.items():
            value = "-" if math.isnan(measured.value) else f"{measured.value:.4f}"
            ends = "-" if math.isnan(measured.low) else f"{measured.low:.3f} to {measured.high:.3f}"
            table.add_row(f"  {name.replace('_', ' ')}", value, ends, str(measured.n), str(measured.n_absent))
    return table


def _cases_csv(cases: Sequence[Case]) -> str:
    """One line per case; an empty field where a number isn't defined or wasn't measured."""
    columns = list(dict.fromkeys(name for case in cases for name in case.values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "patient", "label", *columns])
    for case in cases:
        values = (case.values.get(column, math.nan) for column in columns)
        fields = ("" if math.isnan(value) else f"{value:.9g}" for value in values)
        writer.writerow([case.name, case.patient, "" if case.label < 0 else case.label, *fields])
    return text.getvalue()


def _patients_csv(patients: Sequence[PatientCase]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["patient", "label", "slices", "infection_probability"])
    for one in patients:
        writer.writerow([one.patient, "" if one.label < 0 else one.label, one.slices, f"{one.probability:.9g}"])
    return text.getvalue()
