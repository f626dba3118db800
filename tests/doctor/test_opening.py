"""The splits that a checkup reads."""

import pytest

from jcs_jax.data.examples import ArraySource
from jcs_jax.doctor import opening
from jcs_jax.errors import InputError
from jcs_jax.training import data


@pytest.fixture
def stored(monkeypatch, grey):
    """Splits in place of a prepared data set; `leak` shares patients with `train`."""
    splits = {"train": ArraySource(grey[:8]), "leak": ArraySource(grey[6:10]), "test": ArraySource(grey[12:])}

    def open_source(data_dir, dataset, split):
        if split not in splits:
            raise InputError(f"split '{split}': no such split; it has {', '.join(splits)}")
        return splits[split]

    for module in (data, opening):
        monkeypatch.setattr(module, "open_source", open_source)


def test_only_the_splits_that_the_config_names_are_opened(stored, config):
    assert {role: len(source) for role, source in opening.open_sources(config).items()} == {"training": 8}


def test_splits_that_share_something_are_opened_all_the_same(stored, config):
    config.validation.split, config.data.eval_split = "leak", "test"
    sources = opening.open_sources(config)
    assert {role: len(source) for role, source in sources.items()} == {"training": 8, "validation": 4, "evaluation": 20}
    assert not config.data.allow_leakage


def test_a_split_that_is_not_there_is_refused(stored, config):
    config.data.eval_split = "tset"
    with pytest.raises(InputError, match="no such split"):
        opening.open_sources(config)
