"""A local copy of COVID-CS, checked from its lists and the headers of its files before anything is written."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.pictures import picture_size
from jcs_datasets.covid_cs.annotations import check_listed, patients_by_name, read_annotations, read_patients
from jcs_datasets.covid_cs.feature_files import find_features
from jcs_datasets.covid_cs.forms import Form, Slice
from jcs_datasets.covid_cs.lists import read_lists


@dataclasses.dataclass(frozen=True)
class Layout:
    """What the folder holds.

    Attributes:
      splits: split name -> its slices, in the list's order.
      features_folder: where the features are; empty if the lists say it.
      warnings: what a user must know before trusting a score.
    """

    splits: dict[str, list[Slice]]
    features_folder: str
    warnings: list[str]


def read_layout(folder: Path, form: Form) -> Layout:
    """Reads the lists and tables and checks the header of every file.

    What only the values can show, a damaged stream or a mask with a 7, comes up when the slice is read.

    Args:
      folder: the copy.
      form: the form it is in.

    Raises:
      SourceError: the first thing that is wrong.
    """
    splits, features_folder = read_lists(folder, form)
    slices = _with_records(folder, form, {item.record.name: item for listed in splits.values() for item in listed})
    for item in slices.values():
        _check_headers(item, form)
    chosen = {split: [slices[item.record.name] for item in listed] for split, listed in splits.items()}
    return Layout(chosen, features_folder, _leaks(chosen))


def _with_records(folder: Path, form: Form, slices: Mapping[str, Slice]) -> dict[str, Slice]:
    """The slices with what their names and the tables say of them; annotations.csv has the last word."""
    annotations = read_annotations(folder)
    check_listed(annotations, slices.keys(), "this slice is in none of the lists")
    patients = read_patients(folder) if form.content == "pictures" else {}
    named = patients_by_name(slices.keys())
    told = {}
    for name, item in slices.items():
        own = annotations[name].values if name in annotations else {}
        known = {**named.get(name, {}), **own}
        of_patient = patients.get(known.get("patient", ""))
        values = {**(of_patient.values if of_patient else {}), **known}
        told[name] = dataclasses.replace(item, record=dataclasses.replace(item.record, **values))
    check_listed(patients, {item.record.patient for item in told.values()}, "this patient has no slice in the lists")
    return told


def _check_headers(item: Slice, form: Form) -> None:
    """Refuses what the headers of a slice's files show."""
    if item.features is not None:
        find_features(item.features, form, item.where(item.features))
    allowed = {(side, side) for side in form.mask_sides}
    if item.image is not None:
        allowed = {picture_size(item.image, item.where(item.image))}
    if item.mask is not None:
        size = picture_size(item.mask, item.where(item.mask))
        if size not in allowed:
            fitting = " or ".join(f"{columns}x{rows}" for rows, columns in sorted(allowed))
            raise SourceError(
                f"{item.where(item.mask)}: is {size[1]}x{size[0]} pixels, but its slice has {fitting}; "
                "use the mask drawn on this slice, and the --config of this edition"
            )


def _leaks(splits: Mapping[str, Iterable[Slice]]) -> list[str]:
    """Says how many slices and how many known patients the lists put into two splits."""
    warnings = []
    slices = _shared({split: {item.record.name for item in listed} for split, listed in splits.items()})
    if slices:
        warnings.append(
            f"{slices} slices are in more than one of the lists: a score on one of them is a training score"
        )
    patients = _shared({split: {item.record.patient for item in listed} - {""} for split, listed in splits.items()})
    if patients:
        warnings.append(
            f"{patients} patients have slices in more than one of the lists: scores are too good by an unknown amount"
        )
    return warnings


def _shared(keys: Mapping[str, set[str]]) -> int:
    """How many keys more than one split has."""
    splits_of = Counter(itertools.chain(*keys.values()))
    return sum(count > 1 for count in splits_of.values())
