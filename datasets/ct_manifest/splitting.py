"""Giving the rows of a manifest their splits, and saying what is to be known of them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.splits import HELD_OUT, SplitRow, assign_splits, fold_blocks
from jcs_datasets.ct_manifest.reading import CheckedRow


@dataclasses.dataclass(frozen=True)
class Splits:
    """The splits of a manifest's rows.

    Attributes:
      names: of each row.
      note: where they come from, and how far patients are known.
      warning: what a user must know before trusting a score; empty if nothing.
    """

    names: tuple[str, ...]
    note: str
    warning: str


def choose_splits(checked: Sequence[CheckedRow], *, folds: int | None, seed: int | None, source: str) -> Splits:
    """Keeps the splits that rows have and assigns the others.

    Rows of one patient, and rows that show one picture under two names, are one group: those without a split
    follow the others. Groups without any are assigned, see `assign_splits`.

    Args:
      checked: the rows, in the manifest's order.
      folds: as many folds, in place of train, validation and test.
      seed: of the assignment; None for 0.
      source: how an error names the manifest.

    Raises:
      SourceError: nothing is left to assign though `folds` or `seed` asks for it; folds are given that it would
        not make; fewer groups than splits.
    """
    given = [item.row.split for item in checked]
    if all(given):
        if folds is not None or seed is not None:
            raise SourceError(
                f"{source}: every row has a split already; leave --folds and --seed out, or empty the column"
            )
        return Splits(tuple(given), f"as listed; {_patients_note(checked)}", _shared(checked, given))
    _check_folds(checked, folds)
    rows = [SplitRow(_keys(item), item.row.stratum or str(item.row.label), item.row.split) for item in checked]
    try:
        names = assign_splits(rows, fold_blocks(folds) if folds else HELD_OUT, seed=seed or 0)
    except ValueError as error:
        raise SourceError(
            f"{source}: {error} (patients, or pictures of unknown patients); add some, or fill the column split"
        ) from None
    shares = f"{folds} folds" if folds else "train, validation and test 70/15/15"
    kept = f"; {sum(map(bool, given))} of {len(given)} rows had one" if any(given) else ""
    note = f"assigned by patient, stratified, seed {seed or 0}: {shares}{kept}; {_patients_note(checked)}"
    return Splits(tuple(names), note, _shared(checked, names))


def _keys(item: CheckedRow) -> frozenset[tuple[str, str]]:
    pictures = {("picture", digest) for digest in item.telling}
    return frozenset(pictures | ({("patient", item.patient)} if item.patient else set()))


def _check_folds(checked: Sequence[CheckedRow], folds: int | None) -> None:
    """Some rows are to be assigned: the folds that others have must be among those it makes."""
    made = {f"fold{fold}" for fold in range(folds or 0)}
    for item in checked:
        split = item.row.split
        if split.startswith("fold") and split not in made:
            where = item.row.line or item.row.name
            cure = f"give fewer than {folds}" if folds else "add --folds, as rows without a split are to be assigned"
            raise SourceError(
                f"{where}: split {split} is none of those that are made; {cure}, or fill the column split"
            )


def _patients_note(checked: Sequence[CheckedRow]) -> str:
    unknown = sum(item.slices for item in checked if not item.patient)
    if not unknown:
        return "the patient of every slice is told"
    total = sum(item.slices for item in checked)
    return f"the patient of {unknown} of {total} slices is unknown: such slices of one patient may be in two splits"


def _shared(checked: Sequence[CheckedRow], names: Sequence[str]) -> str:
    """Counts the patients and the pictures that are in two splits; who they are stays out of it."""
    seen: dict[tuple[str, str], set[str]] = {}
    for item, split in zip(checked, names, strict=True):
        for key in _keys(item):
            seen.setdefault(key, set()).add(split)
    counts = Counter(kind for (kind, _), splits in seen.items() if len(splits) > 1)
    if not counts:
        return ""
    shown = " and ".join(
        f"{counts[kind]} {kind}{'s' * (counts[kind] > 1)}" for kind in ("patient", "picture") if counts[kind]
    )
    return f"{shown} in more than one split, as listed: a score on such a split is a training score"
