"""Several data sets as one."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Iterator, Mapping

from jcs_jax.data.examples import Example, SliceRecord, Source


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
