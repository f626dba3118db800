"""Slices of uninfected people, which have no opacity to outline, as outlined ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from jcs_jax.data.examples import Example, SliceRecord, Source

UNINFECTED = 0


class EmptyMasks:
    """A source whose uninfected slices without a mask get an empty one.

    Right only where uninfected means that the lungs are clear. Slices that show another disease may have opacities.

    Args:
      source: the examples, with pictures; slices with a mask, infected ones and those without a label stay as they are.

    Attributes:
      info: of the source.
    """

    def __init__(self, source: Source):
        self._source = source
        self.info: Mapping[str, str | int] = source.info

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Example:
        example = self._source[index]
        if example.label != UNINFECTED or example.mask is not None or example.image is None:
            return example
        return dataclasses.replace(example, mask=np.zeros(example.image.shape, np.uint8))

    def records(self) -> Iterator[SliceRecord]:
        """What is known of every slice, in order; an empty mask has no lesion and an area of 0."""
        for record in self._source.records():
            bare = record.label == UNINFECTED and record.lesion_area < 0
            yield dataclasses.replace(record, lesion_count=0, lesion_area=0.0) if bare else record
