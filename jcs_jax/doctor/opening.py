"""Opens the splits of a run, also those that share something: that is a finding, and no reason to stop."""

from __future__ import annotations

import ml_collections

from jcs_jax.data.examples import Source
from jcs_jax.data.sources import open_source
from jcs_jax.doctor.checkup import EVALUATION, TRAINING, VALIDATION
from jcs_jax.training.data import open_data


def open_sources(config: ml_collections.ConfigDict) -> dict[str, Source]:
    """The splits that a config names, by what they are for.

    Raises:
      InputError: a data set that isn't prepared, or no such split.
    """
    lenient = config.copy_and_resolve_references()
    lenient.data.allow_leakage = True
    data = open_data(lenient)
    sources: dict[str, Source] = {TRAINING: data.train}
    if data.validation is not None:
        sources[VALIDATION] = data.validation
    if config.data.eval_split:
        sources[EVALUATION] = open_source(config.data.data_dir, config.data.dataset, config.data.eval_split)
    return sources
