"""Assigning slices to splits by patient, so that no group is divided and growing the set moves nothing."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

Blocks = Sequence[Sequence[str]]

TRAIN, VALIDATION, TEST, UNLABELLED = "train", "validation", "test", "unlabelled"
# 70/15/15 in 20 groups. In three parts, so that a stratum of seven groups is already held out in part.
HELD_OUT: Blocks = (
    (TRAIN,) * 5 + (VALIDATION, TEST),
    (TRAIN,) * 5 + (VALIDATION, TEST),
    (TRAIN,) * 4 + (VALIDATION, TEST),
)


class SplitRow(NamedTuple):
    """What the assignment needs to know of a row (a slice, or all slices of a volume).

    Attributes:
      keys: rows that share a key (a patient, a picture) stay together; without any, a row is a group of its own.
      stratum: the kind, such as the label, of which every split gets its share.
      split: the one it has already; empty if it is to be assigned.
    """

    keys: frozenset[Hashable]
    stratum: str
    split: str = ""


def fold_blocks(folds: int) -> Blocks:
    """The blocks of N folds, `fold0` to `fold{N-1}`."""
    return (tuple(f"fold{fold}" for fold in range(folds)),)


def assign_splits(rows: Sequence[SplitRow], blocks: Blocks, *, seed: int) -> list[str]:
    """Gives every row a split: permuted-block randomisation of groups within strata.

    Rows that share a key, also by way of a third row, are one group. A group's stratum is the greatest of its
    rows' (by text), and its split, where a row has one already, the first of these: its other rows follow.
    The groups are taken in the order in which they first appear. In each stratum they fill blocks of splits,
    each block in an order of its own, drawn from SHA-256 of (seed, stratum, block): within a stratum the sizes
    are therefore exact after every whole round of blocks. A group that has a split already takes up a place of
    it, so that those it leaves to the others make up for it. The first groups of all go to a split each, in a
    drawn order, so that none stays empty in a small set.

    Nothing looks ahead: rows appended at the end never move earlier ones, as long as they bring new groups, or
    more of the same stratum to old ones. Rows inserted elsewhere, a new order, or an appended row that joins
    two groups or changes a group's stratum can move others; a manifest written with its splits keeps them.

    Args:
      rows: in the manifest's order.
      blocks: the splits to assign, as often as their shares; used in turn, again and again.
      seed: another seed draws other orders.

    Returns:
      A split for each row: its own where it has one.

    Raises:
      ValueError: fewer groups than splits, and none that has a split already.
    """
    groups = _groups([row.keys for row in rows])
    strata: dict[int, str] = {}
    kept: dict[int, str] = {}
    for group, row in zip(groups, rows, strict=True):
        strata[group] = max(strata.get(group, row.stratum), row.stratum)
        kept[group] = kept.get(group) or row.split
    chosen = _assign_groups(strata, kept, blocks, seed)
    return [row.split or chosen[group] for group, row in zip(groups, rows, strict=True)]


def _assign_groups(strata: dict[int, str], kept: dict[int, str], blocks: Blocks, seed: int) -> dict[int, str]:
    """Group -> split, group by group in order of first appearance."""
    splits = sorted({split for block in blocks for split in block})
    empty = sorted(splits, key=lambda split: _draw(seed, "first", split))
    places = {stratum: _Places(stratum, blocks, seed) for stratum in strata.values()}
    chosen = {}
    for group, stratum in strata.items():
        chosen[group] = split = kept[group]
        if not split:
            chosen[group] = split = places[stratum].take(empty[0] if empty else "")
        elif split in splits:
            places[stratum].take(split)
        if split in empty:
            empty.remove(split)
    if empty and not set(kept.values()) & set(splits):
        raise ValueError(f"{len(splits)} splits need at least {len(splits)} groups, not {len(strata)}")
    return chosen


class _Places:
    """The free places of one stratum, block after block without end."""

    def __init__(self, stratum: str, blocks: Blocks, seed: int):
        self._blocks = self._drawn(stratum, blocks, seed)
        self._free: dict[str, deque[int]] = {split: deque() for block in blocks for split in block}
        self._opened = 0

    def take(self, wanted: str = "") -> str:
        """Takes the first free place of a split, or the first of all, and says of which split it is."""
        while not (self._free[wanted] if wanted else any(self._free.values())):
            for split in next(self._blocks):
                self._free[split].append(self._opened)
                self._opened += 1
        taken = wanted or min((place[0], split) for split, place in self._free.items() if place)[1]
        self._free[taken].popleft()
        return taken

    @staticmethod
    def _drawn(stratum: str, blocks: Blocks, seed: int) -> Iterator[list[str]]:
        number = 0
        while True:
            block = blocks[number % len(blocks)]
            order = sorted(range(len(block)), key=lambda place: _draw(seed, stratum, number, place))
            yield [block[place] for place in order]
            number += 1


def _groups(keys: Sequence[frozenset[Hashable]]) -> list[int]:
    """A number for each row: the same for rows joined by keys, counted in order of first appearance."""
    parents = list(range(len(keys)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    holders: dict[Hashable, int] = {}
    for row, own in enumerate(keys):
        for key in own:
            first, second = sorted((root(holders.setdefault(key, row)), root(row)))
            parents[second] = first
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(row), len(numbers)) for row in range(len(keys))]


def _draw(*values: object) -> str:
    return hashlib.sha256("/".join(map(str, values)).encode()).hexdigest()
