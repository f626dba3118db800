"""Labels that say nothing: what is trained on them must not be able to tell the true ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jcs_jax.data.examples import UNKNOWN_LABEL, Example, SliceRecord, Source


class PermutedLabels:
    """A source whose labels are shuffled between patients.

    All slices of a patient get one label; a patient counts as infected if any slice does, a slice without a known
    patient is one of its own, and slices without a label stay without. As many patients are called infected as before,
    and the same share of them among the truly infected and the truly uninfected, up to rounding: the new labels have
    nothing to do with the true ones, also where patients are few and a plain shuffle would leave much of them.

    A network that is trained on it and then measured on other patients with true labels must find an AUC of 0.5 on
    average; if not, training sees what it shouldn't. A single run scatters far beyond the interval over patients, since
    what is learned by chance goes with the classes or against them: train with several seeds and look at the mean.
    Masks stay as they are: train without the segmentation's loss.

    Args:
      source: the true examples; labels are read from its records.
      seed: of the shuffle.

    Attributes:
      info: of the source, with a warning that the labels are permuted.
    """

    def __init__(self, source: Source, seed: int = 0):
        self._source = source
        records = list(source.records())
        patients = [record.patient for record in records]
        self._labels = permute_labels([record.label for record in records], patients, seed)
        told = f"labels are shuffled between patients (seed {seed}): for a check of training and nothing else"
        warning = source.info.get("warning")
        self.info: Mapping[str, str | int] = {**source.info, "warning": f"{told}. {warning}" if warning else told}

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Example:
        return dataclasses.replace(self._source[index], label=self._labels[index])

    def records(self) -> Iterator[SliceRecord]:
        """What is known of every slice, in order, with the shuffled labels."""
        for record, label in zip(self._source.records(), self._labels, strict=True):
            yield dataclasses.replace(record, label=label)


def permute_labels(labels: Sequence[int], patients: Sequence[str], seed: int) -> list[int]:
    """Shuffles labels between patients, see `PermutedLabels`.

    Args:
      labels: of each slice: 0, 1 or -1 (unknown).
      patients: of each slice; empty if unknown.
      seed: of the shuffle.

    Returns:
      The new label of each slice.
    """
    own = [patient or index for index, patient in enumerate(patients)]
    truth: dict[str | int, int] = {}
    for patient, label in zip(own, labels, strict=True):
        truth[patient] = max(label, truth.get(patient, UNKNOWN_LABEL))
    infected, uninfected = ([patient for patient, label in truth.items() if label == kind] for kind in (1, 0))
    rng = np.random.default_rng(seed)
    kept = _share_kept(len(infected), len(uninfected), rng)
    called = {infected[i] for i in rng.permutation(len(infected))[:kept]}
    called |= {uninfected[i] for i in rng.permutation(len(uninfected))[: len(infected) - kept]}
    return [
        label if label == UNKNOWN_LABEL else int(patient in called) for patient, label in zip(own, labels, strict=True)
    ]


def _share_kept(infected: int, uninfected: int, rng: np.random.Generator) -> int:
    """How many of the infected are called so again: their share of all, a remainder rounded at random."""
    expected = infected**2 / max(infected + uninfected, 1)
    return int(np.floor(expected + rng.random()))
