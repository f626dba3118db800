"""Parts of data sets in memory, and the slices and looks that an audit makes of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from jcs_jax.audit.looks import Look
from jcs_jax.audit.parts import Part, Slice
from jcs_jax.data.examples import ArraySource, Example, SliceRecord


def known(name: str, part: str = "set:train", **told: object) -> Slice:
    """A slice of a part as its index tells it; the data set is what stands before the colon."""
    record = {"patient": "", "label": -1, "origin": "", "file_type": "", "digest": name, "height": 100, "width": 100}
    return Slice(part, part.partition(":")[0], SliceRecord(name=name, **{**record, **told}))


def unseen(slices: Sequence[Slice]) -> list[Look]:
    """Looks at slices without pictures."""
    return [Look(math.nan) for _ in slices]


def part(split: str, pictures: Sequence[np.ndarray], *, dataset: str = "set", **told: Sequence) -> Part:
    """A part of uint8 pictures; `told` has values of `Example` for each, and names are made of the split."""
    names = told.pop("name", [f"{split}-{number}" for number in range(len(pictures))])
    examples = [
        Example(
            picture.astype(np.float32) / 255,
            name=names[number],
            **{field: values[number] for field, values in told.items()},
        )
        for number, picture in enumerate(pictures)
    ]
    return Part(dataset, split, dataset, ArraySource(examples))
