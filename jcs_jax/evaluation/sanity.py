"""Checks of a classifying network that no score shows: is its explanation one, and does it look at the lungs?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np
from jaxtyping import PyTree

from jcs_jax.data.examples import ArraySource, Source
from jcs_jax.data.pipeline import EvaluationBatch, evaluation_batches
from jcs_jax.errors import InputError
from jcs_jax.evaluation.clusters import Clusters
from jcs_jax.evaluation.erased_lungs import ErasedLungs, LungsOnly
from jcs_jax.evaluation.intervals import with_interval
from jcs_jax.evaluation.randomisation import RandomisationStep, judge, judge_all, randomise_weights
from jcs_jax.metrics import Measurement, ScoreRanks, SortedScores
from jcs_jax.models.presets import Preset

MOST_SIMILAR = 0.5  # absolute rank correlation of the maps of a network that has lost its weights
CHANCE = (0.45, 0.55)  # an AUC whose interval lies outside is far from a coin's
MOST_SLICES = 48  # that weights are randomised on: the maps' similarity is a mean that few slices settle

_UNDEFINED = Measurement(math.nan, 0)


@dataclasses.dataclass(frozen=True)
class Sanity:
    """What the checks have found.

    Attributes:
      randomisation: one row a part of the network, from the output down; the last one is of a network that has lost
        what it had learned. Empty without an activation map.
      auc: of the slices as they are; nan without both classes, as the two below.
      auc_erased: with the lungs erased (`ErasedLungs`); about 0.5 if the answer comes from the lungs.
      auc_lungs_only: with everything but the lungs erased (`LungsOnly`).
      notes: what could not be checked, and what a reader must know.
      faults: what failed, in words; empty if nothing did.
    """

    randomisation: tuple[RandomisationStep, ...]
    auc: Measurement
    auc_erased: Measurement
    auc_lungs_only: Measurement
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values for strict JSON."""
        return {
            "randomisation": [row.to_json() for row in self.randomisation],
            **{name: getattr(self, name).to_json() for name in ("auc", "auc_erased", "auc_lungs_only")},
            "notes": list(self.notes),
            "faults": list(self.faults),
        }


def run_sanity(
    model: nn.Module,
    variables: Mapping[str, PyTree],
    preset: Preset,
    source: Source,
    *,
    batch_size: int = 4,
    draws: int = 3,
    most_slices: int = MOST_SLICES,
) -> Sanity:
    """Randomises the network's weights, and erases the lungs and then everything else from the slices.

    Args:
      model: a network with a class head.
      variables: its parameters and statistics.
      preset: its preprocessing.
      source: slices, of which some should be labelled.
      batch_size: slices per call of the network.
      draws: how often the weights are redrawn.
      most_slices: that weights are randomised on, evenly spread over the source.

    Returns:
      The numbers with 95 % intervals over patients, and in words what failed. The map fails where the network without
      its weights still gives it with a correlation above 0.5; the answer fails where the whole interval of the AUC
      with the lungs erased lies outside 0.45 to 0.55.

    Raises:
      InputError: no slices, or a network without a class head: nothing can be checked.
    """
    if not len(source):
        raise InputError("the data has no slices to check the network on; choose another split")
    batches = _batches(_spread(source, most_slices), preset, batch_size)
    infection, maps = judge_all(model, variables, batches[:1])
    if infection is None:
        raise InputError(f"{preset.name}: has no class head, so nothing can be checked; choose one that classifies")
    rows, notes = _randomise(model, variables, batches, maps, draws)
    sources: dict[str, Source] = {"auc": source}
    if source[0].image is None:
        notes.append("the lungs were not erased: the data has stored features instead of pictures")
    else:
        sources["auc_erased"] = ErasedLungs(source, preset.preprocessing)
        sources["auc_lungs_only"] = LungsOnly(source, preset.preprocessing)
    numbers = {name: _auc(model, variables, preset, one, batch_size) for name, one in sources.items()}
    erased, lungs_only = (numbers.get(name, _UNDEFINED) for name in ("auc_erased", "auc_lungs_only"))
    sanity = Sanity(tuple(rows), numbers["auc"], erased, lungs_only)
    return dataclasses.replace(sanity, notes=(*notes, *_notes_of_auc(sanity)), faults=tuple(_faults(sanity)))


def _randomise(
    model: nn.Module,
    variables: Mapping[str, PyTree],
    batches: list[EvaluationBatch],
    maps: np.ndarray | None,
    draws: int,
) -> tuple[list[RandomisationStep], list[str]]:
    """The rows and what to say of them."""
    if maps is None:
        return [], ["the activation map was not checked: the network gives no class features"]
    rows = randomise_weights(model, variables, batches, draws=draws)
    slices, positions = sum(len(batch.examples) for batch in batches), maps[0].size
    notes = [f"weights were redrawn {draws} times and compared on {slices} slices"]
    if not rows or not rows[-1].similarity.n:
        return rows, [*notes, f"the activation map could not be compared: {positions} positions, or constant maps"]
    chance = math.sqrt(2 / (math.pi * (positions - 1)))  # the mean size of a normal number of variance 1 / (k - 1)
    return rows, [*notes, f"unrelated maps of {positions} positions have a similarity of {chance:.2f} by chance"]


def _auc(
    model: nn.Module, variables: Mapping[str, PyTree], preset: Preset, source: Source, batch_size: int
) -> Measurement:
    """The AUC over the slices with a label, and its interval."""
    batches = evaluation_batches(
        source, preset.preprocessing, batch_size=batch_size, stage_features=preset.stage_features
    )
    members: list[tuple[str, str, int]] = []
    parts: list[np.ndarray] = []
    for examples, judged in judge(model, variables, batches):
        members += [(example.name, example.patient, example.label) for example in examples]
        parts += [] if judged.infection is None else [judged.infection]
    scores, labels = np.concatenate(parts), np.array([label for *_, label in members])
    odd = np.flatnonzero(~np.isfinite(scores))
    if odd.size:
        raise InputError(f"{members[odd[0]][0] or 'a slice'}: the prediction is NaN or infinite; check its values")
    measured = ScoreRanks.from_scores(scores, labels).auc()
    known = labels >= 0
    clusters = Clusters.from_patients([patient for _, patient, label in members if label >= 0])
    ranks = SortedScores.from_scores(scores[known], labels[known])
    return with_interval(measured, ranks.auc, clusters, *(labels[known] == kind for kind in (0, 1)))


def _notes_of_auc(sanity: Sanity) -> list[str]:
    whole, erased = sanity.auc, sanity.auc_erased
    if math.isnan(whole.value):
        return ["where the answer comes from was not checked: the data lacks labels of both classes"]
    if math.isnan(erased.value):
        return ["no AUC without the lungs: too few slices in which they were found"] if erased.n_absent else []
    notes = []
    if erased.n_absent > whole.n_absent:
        lost = erased.n_absent - whole.n_absent
        notes.append(f"no lungs were found in {lost} of the slices: they count in the AUC of the whole slices only")
    if math.isnan(erased.low):
        notes.append("too few patients for an interval: the AUC without the lungs was not judged")
    elif not whole.low > CHANCE[1]:
        notes.append("the network hardly tells the classes apart: where its answer comes from says little")
    return notes


def _faults(sanity: Sanity) -> list[str]:
    faults = []
    if sanity.randomisation and (similarity := sanity.randomisation[-1].similarity).value > MOST_SIMILAR:
        faults.append(
            f"the activation map doesn't depend on the weights: with all of them redrawn it still correlates "
            f"{_told(similarity)} with the original; don't read it as an explanation"
        )
    erased = sanity.auc_erased
    if erased.low > CHANCE[1] or erased.high < CHANCE[0]:
        faults.append(
            f"the answer doesn't come from the lungs alone: with the lungs erased the AUC is still {_told(erased)}; "
            "look for marks, borders and formats that differ between the classes (`jcs audit`)"
        )
    return faults


def _told(measured: Measurement) -> str:
    interval = "" if math.isnan(measured.low) else f" (95 % interval {measured.low:.2f} to {measured.high:.2f})"
    return f"{measured.value:.2f}{interval}"


def _batches(source: Source, preset: Preset, batch_size: int) -> list[EvaluationBatch]:
    options: dict[str, Any] = {"batch_size": batch_size, "stage_features": preset.stage_features}
    return list(evaluation_batches(source, preset.preprocessing, **options))


def _spread(source: Source, most: int) -> ArraySource:
    """Slices from all over the source, at most so many, in memory."""
    places = np.unique(np.linspace(0, len(source) - 1, min(len(source), most)).round().astype(int))
    return ArraySource([source[int(place)] for place in places])
