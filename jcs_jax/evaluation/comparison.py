"""Two models measured on the same slices, number by number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from jcs_jax.errors import InputError
from jcs_jax.evaluation.clusters import Clusters
from jcs_jax.evaluation.measuring import EXPLANATIONS, OVERLAPS
from jcs_jax.evaluation.page.facts import ComparedNumber, Comparison
from jcs_jax.evaluation.paired import paired_difference
from jcs_jax.evaluation.paired_statistics import PairedAuc, PairedMean
from jcs_jax.evaluation.results import Evaluation

_SEGMENTATION = (*OVERLAPS, "iou_adaptive", "mae", "hausdorff_95_mm", "surface_dice_2mm", "hausdorff_95_pixels")


def compare(first: Evaluation, second: Evaluation, names: tuple[str, str]) -> Comparison:
    """Paired differences, second less first, with interval and p-value; numbers that only one of them has are left out.

    Args:
      first: of a model.
      second: of another one on the same slices.
      names: of both, for tables.

    Raises:
      InputError: they were measured on other slices.
    """
    if [case.name for case in first.cases] != [case.name for case in second.cases]:
        raise InputError("the two models were measured on other slices; compare them on the same split")
    clusters = Clusters.from_patients([case.patient for case in first.cases])
    numbers = []
    for group, name, statistic in _statistics(first, second):
        found = paired_difference(statistic, clusters, n=statistic.n)
        ones, chosen = np.ones((1, len(first.cases))), np.ones((1, len(first.cases)), bool)
        own, others = (float(statistic(ones, choice)[0]) for choice in (chosen, ~chosen))
        ends = (found.low, found.high, found.p_value, found.n)
        numbers.append(ComparedNumber(group, name, others, own, found.value, *ends))
    return Comparison(*names, numbers)


def _statistics(first: Evaluation, second: Evaluation) -> Iterator[tuple[str, str, PairedMean | PairedAuc]]:
    """What both have, as functions of a mix of their outputs."""
    labels = np.array([case.label for case in first.cases], np.int64)
    for group, names in (("segmentation", _SEGMENTATION), ("explanation", tuple(EXPLANATIONS))):
        for name in names:
            if name in first.summary.get(group, {}) and name in second.summary.get(group, {}):
                yield group, name, PairedMean.from_values(_column(first, name), _column(second, name))
    if "classification" not in first.summary or "classification" not in second.summary:
        return
    scores = [_column(one, "infection_probability") for one in (first, second)]
    yield "classification", "auc", PairedAuc.from_scores(scores[0], scores[1], labels)
    called = [score >= one.thresholds["class"] for score, one in zip(scores, (first, second), strict=True)]
    for name, counted in (("sensitivity", labels == 1), ("specificity", labels == 0), ("accuracy", labels >= 0)):
        right = [np.where(counted, one == (labels == 1), np.nan) for one in called]
        yield "classification", name, PairedMean.from_values(right[0], right[1])
    errors = [np.where(labels >= 0, (score - labels) ** 2, np.nan) for score in scores]
    yield "classification", "brier", PairedMean.from_values(errors[0], errors[1])


def _column(evaluation: Evaluation, name: str) -> Float[np.ndarray, " n"]:
    return np.array([case.values.get(name, np.nan) for case in evaluation.cases], np.float64)
