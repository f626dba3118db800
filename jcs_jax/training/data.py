"""The data of a run: what is trained on, what chooses the best step, and that nothing is in two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import ml_collections

from jcs_jax.data.empty_masks import EmptyMasks
from jcs_jax.data.examples import Source
from jcs_jax.data.joined import JoinedSource
from jcs_jax.data.part_names import dataset_and_split, part_names
from jcs_jax.data.permuted_labels import PermutedLabels
from jcs_jax.data.sources import open_source
from jcs_jax.data.splits import check_disjoint
from jcs_jax.errors import InputError


class RunData(NamedTuple):
    """The data of a run.

    Attributes:
      train: what is trained on.
      validation: what chooses the best step; None where nothing does.
      leakage: what the training data share with the evaluation split, where that is allowed; None if nothing.
      warnings: what the data sets say of themselves that a person should read first.
    """

    train: Source
    validation: Source | None
    leakage: Mapping[str, int] | None
    warnings: Sequence[str]


def open_data(config: ml_collections.ConfigDict) -> RunData:
    """Opens what a config names and refuses splits that share a slice, a patient or a picture.

    Args:
      config: as `default_config`.

    Raises:
      InputError: a data set that isn't prepared or can't be joined, or splits that are not disjoint.
    """
    options = config.data
    sources = _training_sources(options)
    if options.permute_labels:
        sources = {name: PermutedLabels(source, config.seed) for name, source in sources.items()}
    train = JoinedSource(sources) if len(sources) > 1 else next(iter(sources.values()))
    held_out = {
        name: open_source(options.data_dir, options.dataset, split) if split else None
        for name, split in (("validation", config.validation.split), ("evaluation", options.eval_split))
    }
    validation, evaluation = held_out["validation"], held_out["evaluation"]
    leakage: dict[str, int] = {}
    splits = {"training": train, "validation": validation, "evaluation": evaluation}
    for names in (("training", "evaluation"), ("training", "validation"), ("validation", "evaluation")):
        one, other = splits[names[0]], splits[names[1]]
        if one is None or other is None:
            continue
        overlap = check_disjoint(one.records(), other.records(), allow_leakage=options.allow_leakage, names=names)
        counts = overlap.counts()
        if other is evaluation and any(counts.values()):
            leakage = {kind: max(count, leakage.get(kind, 0)) for kind, count in counts.items()}
    warnings = [f"{name}: {source.info['warning']}" for name, source in sources.items() if source.info.get("warning")]
    return RunData(train, validation, leakage or None, warnings)


def _training_sources(options: ml_collections.ConfigDict) -> dict[str, Source]:
    """What is trained on, by NAME/CONFIG:SPLIT."""
    named = {f"{options.dataset}:{options.train_split}": (options.dataset, options.train_split)}
    for part in part_names(options.also_train_on):
        if part in named:
            raise InputError(
                f"config.data.also_train_on: {part} is named twice; write NAME/CONFIG:SPLIT, joined by commas"
            )
        named[part] = dataset_and_split(part, "config.data.also_train_on")
    sources: dict[str, Source] = {name: open_source(options.data_dir, *which) for name, which in named.items()}
    if len({source[0].image is None for source in sources.values()}) > 1:
        raise InputError(
            f"config.data.also_train_on: of {', '.join(sources)} some hold pictures and some stored features; name "
            "data sets of one kind"
        )
    for part in part_names(options.empty_masks_of):
        if part not in sources or sources[part][0].image is None:
            problem = "is not trained on" if part not in sources else "holds stored features, which have no masks"
            raise InputError(f"config.data.empty_masks_of: {part} {problem}; name some of {', '.join(sources)}")
        sources[part] = EmptyMasks(sources[part])
    return sources
