"""The data of a run: joined in order, and nothing of them in two splits."""

import ml_collections
import numpy as np
import pytest

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.errors import InputError
from jcs_jax.training import data
from jcs_jax.training.config import default_config
from jcs_jax.training.data import open_data

RNG = np.random.default_rng(0)


def _source(*names: str, **info) -> ArraySource:
    """Slices of patients with the same names."""
    return ArraySource([Example(RNG.random((4, 4), np.float32), name=name, patient=name) for name in names], info)


TEST = _source("t", "u")
PREPARED = {
    "own:train": _source("a", "b", "c", licence="free", warning="synthetic"),
    "own:more": _source("d"),
    "own:validation": _source("v"),
    "own:test": TEST,
    "own:leak": _source("a"),
    "other/clean:train": _source("v", "x", warning="from papers"),
    "other/clean:train[:1]": _source("v"),
    "copies:train": ArraySource([Example(TEST[0].image, name="t as a copy")]),
    "clear:train": ArraySource([Example(RNG.random((4, 4), np.float32), name="healthy", label=0)]),
    "classes:train": ArraySource(
        [Example(RNG.random((4, 4), np.float32), name=f"{n}", patient=f"{n}", label=n % 2) for n in range(20)]
    ),
    "stored:train": ArraySource([Example(None, name="s", vgg_features=np.zeros((4, 4, 2), np.uint8))]),
}


@pytest.fixture(autouse=True)
def prepared(monkeypatch):
    """Data sets in memory, by NAME/CONFIG:SPLIT."""

    def open_source(data_dir, dataset, split):
        if f"{dataset}:{split}" not in PREPARED:
            raise InputError(f"split '{split}' of {dataset}: no such split")
        return PREPARED[f"{dataset}:{split}"]

    monkeypatch.setattr(data, "open_source", open_source)


def _config(also: str = "", validation: str = "", evaluation: str = "", **options) -> ml_collections.ConfigDict:
    config = default_config()
    config.data.dataset, config.data.also_train_on, config.data.eval_split = "own", also, evaluation
    config.validation.split = validation
    config.data.update(options)
    return config


def test_without_more_data_the_training_split_is_what_is_trained_on():
    opened = open_data(_config())
    assert opened.train is PREPARED["own:train"]
    assert (opened.validation, opened.leakage) == (None, None)
    assert opened.warnings == ["own:train: synthetic"]


def test_validation_is_opened_and_evaluation_is_only_compared():
    opened = open_data(_config(validation="validation", evaluation="test"))
    assert opened.validation is PREPARED["own:validation"]
    assert opened.leakage is None


def test_more_data_follow_in_the_order_in_which_they_are_named():
    train = open_data(_config(" other/clean:train, own:more ")).train
    assert [train[index].name for index in range(len(train))] == ["a", "b", "c", "v", "x", "d"]
    assert train.info == {**PREPARED["own:train"].info, "also_trained_on": "other/clean:train, own:more"}


def test_a_split_of_more_data_may_be_cut():
    assert len(open_data(_config("other/clean:train[:1]")).train) == 4


def test_every_data_set_that_is_trained_on_is_warned_of():
    warnings = open_data(_config("own:more,other/clean:train")).warnings
    assert warnings == ["own:train: synthetic", "other/clean:train: from papers"]


@pytest.mark.parametrize(
    ("also", "said"),
    [
        ("other/clean", "also_train_on: other/clean names no split; write NAME/CONFIG:SPLIT"),
        ("other/clean:", "names no split"),
        ("own:train", "also_train_on: own:train is named twice"),
        ("own:more,own:more", "own:more is named twice"),
        ("own:nothing", "split 'nothing' of own: no such split"),
        ("own:more,stored:train", "some hold pictures and some stored features"),
    ],
)
def test_more_data_that_cannot_be_joined_are_refused(also, said):
    with pytest.raises(InputError, match=said):
        open_data(_config(also))


def test_uninfected_slices_of_a_named_data_set_have_an_empty_mask():
    train = open_data(_config("clear:train,own:more", empty_masks_of=" clear:train")).train
    masks = {train[index].name: train[index].mask for index in range(len(train))}
    assert masks["healthy"] is not None
    assert not masks["healthy"].any()
    assert all(mask is None for name, mask in masks.items() if name != "healthy")


def test_labels_are_permuted_in_each_data_set_by_the_seed_and_that_is_warned_of():
    def labels(seed: int) -> list[int]:
        config = _config("clear:train", dataset="classes", permute_labels=True)
        config.seed = seed
        opened = open_data(config)
        assert all("labels are shuffled between patients" in warning for warning in opened.warnings)
        assert len(opened.warnings) == 2
        assert opened.train.sizes == [20, 1]
        return [record.label for record in opened.train.records()]

    truth = [record.label for record in PREPARED["classes:train"].records()]
    assert labels(0) == labels(0) != labels(1)
    assert sum(labels(0)[:20]) == sum(truth)
    assert labels(0)[:20] != truth
    assert labels(0)[20] == 0


@pytest.mark.parametrize(
    ("empty", "options", "said"),
    [
        ("clear:train", {}, "empty_masks_of: clear:train is not trained on; name some of own:train"),
        ("stored:train", {"dataset": "stored"}, "empty_masks_of: stored:train holds stored features"),
    ],
)
def test_empty_masks_of_what_has_none_are_refused(empty, options, said):
    with pytest.raises(InputError, match=said):
        open_data(_config(empty_masks_of=empty, **options))


def test_a_name_in_another_data_set_is_not_a_leak():
    # Slice v of patient v is in the validation split, and another v of another v in the other data set.
    assert open_data(_config("other/clean:train", validation="validation")).leakage is None


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        ({"evaluation": "leak"}, "the training and evaluation splits share 1 slices"),
        ({"validation": "leak"}, "the training and validation splits share 1 slices"),
        ({"validation": "test", "evaluation": "test"}, "the validation and evaluation splits share 2 slices"),
        ({"also": "own:leak", "train_split": "more", "evaluation": "leak"}, "training and evaluation splits share 1"),
        ({"also": "copies:train", "evaluation": "test"}, "the training and evaluation splits share 1 pictures"),
    ],
)
def test_splits_that_share_something_are_refused_pairwise(splits, said):
    with pytest.raises(InputError, match=said):
        open_data(_config(**splits))


def test_leakage_that_is_allowed_is_counted_for_the_evaluation_split():
    counts = {"names": 1, "patients": 1, "pictures": 0}
    assert open_data(_config(evaluation="leak", allow_leakage=True)).leakage == counts
    both = open_data(_config(validation="test", evaluation="test", allow_leakage=True))
    assert both.leakage == {"names": 2, "patients": 2, "pictures": 2}  # of the split that chooses the best step
    assert open_data(_config(validation="leak", allow_leakage=True)).leakage is None  # no score is reported on it
    copied = open_data(_config("copies:train", evaluation="test", allow_leakage=True))
    assert copied.leakage == {"names": 0, "patients": 0, "pictures": 1}
