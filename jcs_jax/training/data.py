"""The data of a run: what is trained on, what chooses the best step, and that nothing is in two of them."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import ml_collections

from jcs_jax.data.examples import Example, SliceRecord, Source
from jcs_jax.data.sources import open_source
from jcs_jax.data.splits import check_disjoint
from jcs_jax.errors import InputError


class RunData(NamedTuple):
    """The data of a run.

    Attributes:
      train: what is trained on.
      validation: what chooses the best step; None where nothing does.
      leakage: what the training data share with the evaluation split, where that is allowed; None if nothing.
      warnings: what the data sets say of themselves that a person should read first.
    """

    train: Source
    validation: Source | None
    leakage: Mapping[str, int] | None
    warnings: Sequence[str]


class JoinedSource:
    """Several data sets as one, one after the other.

    Names and patients mean something within one data set only: those of another than the first are told with its
    name before them, so that patient 1 of both is not taken for one person.

    Args:
      sources: each with what its data set calls itself, NAME/CONFIG:SPLIT.

    Attributes:
      info: of the first; `also_trained_on` names the others.
      sizes: slices of each.
    """

    def __init__(self, sources: Mapping[str, Source]):
        self._sources = list(sources.values())
        self.sizes = [len(source) for source in self._sources]
        self._ends = list(itertools.accumulate(self.sizes))
        first, *others = sources
        self.info: Mapping[str, str | int] = {**self._sources[0].info, "also_trained_on": ", ".join(others)}
        names = [_builder(name) for name in sources]
        self._prefixes = ["" if name == _builder(first) else f"{name}/" for name in names]

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Example:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"index {index} is outside the {len(self)} slices")
        number = bisect.bisect_right(self._ends, position)
        return self._sources[number][position - (self._ends[number - 1] if number else 0)]

    def records(self) -> Iterator[SliceRecord]:
        """What is known of every slice, in order."""
        for prefix, source in zip(self._prefixes, self._sources, strict=True):
            for record in source.records():
                patient = record.patient and prefix + record.patient
                yield dataclasses.replace(record, name=prefix + record.name, patient=patient)


def _builder(name: str) -> str:
    return name.partition(":")[0].partition("/")[0]


def open_data(config: ml_collections.ConfigDict) -> RunData:
    """Opens what a config names and refuses splits that share a slice, a patient or a picture.

    Args:
      config: as `default_config`.

    Raises:
      InputError: a data set that isn't prepared or can't be joined, or splits that are not disjoint.
    """
    options = config.data
    sources = _training_sources(options)
    train = JoinedSource(sources) if len(sources) > 1 else next(iter(sources.values()))
    held_out = {
        name: open_source(options.data_dir, options.dataset, split) if split else None
        for name, split in (("validation", config.validation.split), ("evaluation", options.eval_split))
    }
    validation, evaluation = held_out["validation"], held_out["evaluation"]
    leakage: dict[str, int] = {}
    splits = {"training": train, "validation": validation, "evaluation": evaluation}
    for names in (("training", "evaluation"), ("training", "validation"), ("validation", "evaluation")):
        one, other = splits[names[0]], splits[names[1]]
        if one is None or other is None:
            continue
        overlap = check_disjoint(one.records(), other.records(), allow_leakage=options.allow_leakage, names=names)
        counts = overlap.counts()
        if other is evaluation and any(counts.values()):
            leakage = {kind: max(count, leakage.get(kind, 0)) for kind, count in counts.items()}
    warnings = [f"{name}: {source.info['warning']}" for name, source in sources.items() if source.info.get("warning")]
    return RunData(train, validation, leakage or None, warnings)


def _training_sources(options: ml_collections.ConfigDict) -> dict[str, Source]:
    """What is trained on, by NAME/CONFIG:SPLIT."""
    named = {f"{options.dataset}:{options.train_split}": (options.dataset, options.train_split)}
    for part in filter(None, (text.strip() for text in options.also_train_on.split(","))):
        dataset, colon, split = part.partition(":")
        if not colon or not split or part in named:
            problem = "is named twice" if part in named else "names no split"
            raise InputError(f"config.data.also_train_on: {part} {problem}; write NAME/CONFIG:SPLIT, joined by commas")
        named[part] = (dataset, split)
    sources: dict[str, Source] = {name: open_source(options.data_dir, *which) for name, which in named.items()}
    if len({source[0].image is None for source in sources.values()}) > 1:
        raise InputError(
            f"config.data.also_train_on: of {', '.join(sources)} some hold pictures and some stored features; name "
            "data sets of one kind"
        )
    return sources
