"""Do trivial features tell the classes apart? Then a model may learn those instead of the disease."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from jcs_jax.audit.looks import Look
from jcs_jax.audit.parts import Slice
from jcs_jax.audit.ranking import FEWEST_PATIENTS, Auc, clustered_auc, cross_fitted_auc

ALL_PARTS = "all parts"
MARGIN, FEWEST = 0.1, 10
RULE = (
    f"flagged: the AUC differs from 0.5 by at least {MARGIN}, its 95 % interval excludes 0.5, and each class has at "
    f"least {FEWEST} slices of at least {FEWEST_PATIENTS} patients; intervals take slices of one patient together; "
    "above 0.5, infected slices have more of it"
)
CROSS_FITTED = "by the share of infected slices of the same kind among other patients (two-fold, ten divisions)"


@dataclasses.dataclass(frozen=True)
class Confounder:
    """One trivial feature as a classifier.

    Attributes:
      feature: its name.
      part: where it was measured.
      auc: how well it tells the classes apart.
      flagged: whether that is worth a warning, by `RULE`.
      note: why there is no number, or how a category became one.
    """

    feature: str
    part: str
    auc: Auc
    flagged: bool
    note: str


_DATA_SET = "data set"
_NUMBERS: dict[str, Callable[[Slice, Look], float]] = {
    "mean brightness": lambda item, look: look.brightness,
    "height": lambda item, look: item.record.height,
    "width": lambda item, look: item.record.width,
    "area": lambda item, look: item.record.height * item.record.width,
    "aspect": lambda item, look: item.record.width / max(1, item.record.height),
}
_CATEGORIES: dict[str, Callable[[Slice], Hashable]] = {
    "file type": lambda item: item.record.file_type,
    "source": lambda item: item.record.origin,
    _DATA_SET: lambda item: item.namespace,
}


def find_confounders(slices: Sequence[Slice], looks: Sequence[Look]) -> list[Confounder]:
    """Measures every trivial feature in every part, and in all of them together where there are several.

    Args:
      slices: of all parts.
      looks: at the same slices.

    Returns:
      A row for each feature and part that has slices of both classes.
    """
    positions: dict[str, list[int]] = {}
    for position, item in enumerate(slices):
        if item.record.label >= 0:
            positions.setdefault(item.part, []).append(position)
    if len(positions) > 1:
        positions[ALL_PARTS] = sorted(position for part in positions.values() for position in part)
    rows = []
    for part, chosen in positions.items():
        if len({slices[position].record.label for position in chosen}) == 2:
            rows += _measure(part, [slices[position] for position in chosen], [looks[position] for position in chosen])
    return rows


def _measure(part: str, slices: Sequence[Slice], looks: Sequence[Look]) -> list[Confounder]:
    labels = np.array([item.record.label for item in slices])
    people: dict[Hashable, int] = {}
    groups = np.array([people.setdefault(item.person or position, len(people)) for position, item in enumerate(slices)])
    rows = []
    for feature, value in _NUMBERS.items():
        values = np.array([value(item, look) for item, look in zip(slices, looks, strict=True)], np.float64)
        known = np.isfinite(values)
        note = "no pictures" if not known.any() else "the same in every slice" if np.ptp(values[known]) == 0 else ""
        auc = _nothing(labels) if note else clustered_auc(values[known], labels[known], groups[known])
        rows.append(_row(feature, part, auc, note))
    for feature, category in _CATEGORIES.items():
        if feature == _DATA_SET and part != ALL_PARTS:
            continue  # a part is of one data set
        categories = [category(item) for item in slices]
        note = _single(feature, set(categories))
        auc = _nothing(labels) if note else cross_fitted_auc(categories, labels, groups)
        rows.append(_row(feature, part, auc, note or CROSS_FITTED))
    return rows


def _single(feature: str, kinds: set[Hashable]) -> str:
    if kinds == {""}:
        return "unknown"
    return f"the same {feature} in every slice" if len(kinds) == 1 else ""


def _nothing(labels: np.ndarray) -> Auc:
    return Auc(math.nan, math.inf, int((labels == 1).sum()), int((labels == 0).sum()))


def _row(feature: str, part: str, auc: Auc, note: str) -> Confounder:
    low, high = auc.interval
    telling = abs(auc.value - 0.5) >= MARGIN and not low <= 0.5 <= high
    return Confounder(feature, part, auc, telling and min(auc.infected, auc.uninfected) >= FEWEST, note)
