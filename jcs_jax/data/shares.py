"""Batches that always hold so many slices of each data set, whatever their sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jcs_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Share:
    """The slices of one part of a source, and how many of them are in every batch.

    Attributes:
      first: index of the part's first slice in the source.
      size: slices of the part.
      rows: of every batch that it fills.
    """

    first: int
    size: int
    rows: int


def shares_of(sizes: Sequence[int], rows: Sequence[int], batch_size: int) -> tuple[Share, ...]:
    """The shares of a source that is made of parts.

    Args:
      sizes: slices of each part, in the source's order.
      rows: of every batch for each part; empty: one share of all, so that each part has its share by size.
      batch_size: slices per batch.

    Raises:
      InputError: rows that don't fit the parts or the batch, or a part without slices.
    """
    if not rows:
        return (Share(0, sum(sizes), batch_size),)
    numbers = all(isinstance(number, int) and number >= 1 for number in rows)
    if len(rows) != len(sizes) or not numbers or sum(rows) != batch_size:
        raise InputError(
            f"config.data.rows is {tuple(rows)}; give {len(sizes)} numbers of at least 1, one for each data set to "
            f"train on, that add up to config.batch_size={batch_size}"
        )
    if min(sizes) < 1:
        raise InputError(
            f"config.data.rows: data set {sizes.index(0) + 1} of the {len(sizes)} to train on has no slice; "
            "leave it out"
        )
    firsts = [sum(sizes[:number]) for number in range(len(sizes))]
    return tuple(Share(*values) for values in zip(firsts, sizes, rows, strict=True))
