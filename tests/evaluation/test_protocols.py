"""Protocols name data, splits and options that the builders have, and published numbers that say where they stand."""

import importlib
import re
import shlex
import string

import pytest
from absl import flags
from made_evaluation import made_summary

from jcs_jax.commands import prepare
from jcs_jax.errors import InputError
from jcs_jax.evaluation.page.facts import PublishedNumber
from jcs_jax.evaluation.protocol import Round
from jcs_jax.evaluation.protocols import get_protocol, protocol_names

NAMES = [
    "covid_semiseg_50_48",
    "covid_semiseg_folds",
    "ct100_folds",
    "ucsd_official",
    "mosmed_ct0_ct12",
    "covid_cs_paper",
]
PROTOCOLS = [get_protocol(name) for name in NAMES]
CITED = [(protocol.name, number) for protocol in PROTOCOLS for number in protocol.published]
SOURCE = re.compile(r"https://doi\.org/10\.\d{4,}/\S+|arXiv:\d{4}\.\d{5}(v\d+)?|https://github\.com/[\w-]+/[\w-]+")
# What the rows of the builders say by themselves; without, slices are assigned to train, validation and test.
LISTED = {"covid_semiseg": {"train", "unlabelled", "test"}, "covid_cs": {"train", "test"}}


def _names(group):
    """Names of a group; the made-up summary leaves accuracy out."""
    return made_summary()[group].keys() | ({"accuracy"} if group in ("classification", "patients") else set())


def _flags(protocol):
    """The protocol's command line, as `jcs prepare` itself reads it: the data set and its flags."""
    program, verb, *arguments = shlex.split(protocol.prepare)
    assert (program, verb) == ("jcs", "prepare")
    values = flags.FlagValues()
    prepare.define_flags(values)
    _, dataset = values(["jcs", *arguments])
    return dataset, values


def _builder(name):
    return importlib.import_module(f"jcs_datasets.{name}").Builder


def _offered(name, config, folds):
    splits = importlib.import_module("jcs_datasets.common.splits")
    if folds := folds or getattr(config, "folds", 0):
        return set(splits.fold_blocks(folds)[0])
    return LISTED.get(name, {split for block in splits.HELD_OUT for split in block})


def test_the_protocols_are_listed_by_name():
    assert protocol_names() == NAMES
    assert [protocol.name for protocol in PROTOCOLS] == NAMES


def test_an_unknown_name_is_one_line_that_lists_the_names():
    with pytest.raises(InputError, match="no protocol is called 'covid_semiseg'; choose one of covid_semi") as caught:
        get_protocol("covid_semiseg")
    assert "\n" not in str(caught.value)
    assert all(name in str(caught.value) for name in NAMES)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=NAMES)
def test_the_command_line_prepares_the_data_that_are_evaluated(protocol):
    dataset, values = _flags(protocol)
    name, _, config = protocol.data.partition("/")
    assert dataset == name
    assert values.config == (config or None)
    assert values.data_dir
    assert bool(values.source) != bool(values.download)
    builder = _builder(name)
    configs = {one.name: one for one in builder.BUILDER_CONFIGS}
    assert not config or config in configs
    used = {option for option in ("folds", "seed", "download", "beam") if values[option].value is not None}
    assert used <= set(builder.OPTIONS)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=NAMES)
def test_every_split_is_one_that_the_builder_offers(protocol):
    name, values = _flags(protocol)
    configs = {one.name: one for one in _builder(name).BUILDER_CONFIGS}
    offered = _offered(name, configs[values.config or "default"], values.folds)
    for one in protocol.rounds():
        joined = "+".join(filter(None, (one.train_split, one.threshold_split, one.split))).split("+")
        assert set(joined) <= offered
        assert len(joined) == len(set(joined)), "a split that is used twice leaks"
    if protocol.folds:
        assert offered == {one.split for one in protocol.rounds()}


def test_the_lists_that_the_tests_count_on_are_those_of_the_builders():
    semiseg = importlib.import_module("jcs_datasets.covid_semiseg.layout")
    assert LISTED["covid_semiseg"] == {semiseg.TRAIN, semiseg.UNLABELLED, semiseg.TEST}
    assert LISTED["covid_cs"] < set(importlib.import_module("jcs_datasets.covid_cs.lists").SPLITS)
    ucsd = importlib.import_module("jcs_datasets.ucsd_covid_ct.layout")
    assert set(ucsd._SPLITS.values()) == _offered("ucsd_covid_ct", None, 0) == {"train", "validation", "test"}


def test_a_round_of_folds_holds_one_out_and_trains_on_the_others():
    rounds = get_protocol("ct100_folds").rounds()
    assert len(rounds) == 5
    assert rounds[1] == Round("fold0+fold2+fold3+fold4", "", "fold1")
    assert [one.split for one in rounds] == ["fold0", "fold1", "fold2", "fold3", "fold4"]


def test_without_folds_there_is_one_round_with_the_splits_as_they_stand():
    assert get_protocol("ucsd_official").rounds() == (Round("train", "validation", "test"),)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=NAMES)
def test_patterns_stand_in_the_splits_of_folds_only(protocol):
    patterns = (protocol.split, protocol.train_split, protocol.threshold_split)
    fields = {field for text in patterns for _, field, _, _ in string.Formatter().parse(text) if field}
    assert fields == ({"fold", "others"} if protocol.folds else set())


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=NAMES)
def test_the_headline_is_a_number_of_an_evaluation(protocol):
    group, number = protocol.headline
    assert number in _names(group)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=NAMES)
def test_words_are_plain_and_on_one_line(protocol):
    words = [protocol.title, protocol.question, protocol.needs, *protocol.cautions]
    words += [number.note for number in protocol.published]
    assert protocol.cautions
    for text in words:
        assert text
        assert text == " ".join(text.split())
    assert protocol.question.endswith("?")


@pytest.mark.parametrize(("protocol", "number"), CITED)
def test_a_published_number_is_a_share_with_a_known_name_and_a_source(protocol, number):
    assert isinstance(number, PublishedNumber)
    assert 0 <= number.value <= 1
    assert number.name in _names(number.group)
    assert SOURCE.fullmatch(number.source)
    assert re.search(r", .+20\d\d", number.who)


def test_no_number_is_cited_twice():
    for protocol in PROTOCOLS:
        keys = [(one.who, one.group, one.name) for one in protocol.published]
        assert len(keys) == len(set(keys))


def test_numbers_that_nobody_looked_up_say_so():
    unverified = {(name, one.who.partition(",")[0]) for name, one in CITED if "not verified here" in one.note}
    models = ("U-Net", "U-Net++", "Inf-Net", "Semi-Inf-Net")
    assert unverified == {(name, model) for name in NAMES[:2] for model in models}


def test_scores_of_other_slices_are_marked_as_such():
    for number in get_protocol("covid_semiseg_folds").published:
        assert number.note.startswith("other slices than these: 48 held-out slices")
        assert number.n == 48


def test_the_papers_numbers_are_those_of_its_abstract_and_of_the_release():
    told = {(one.group, one.name, one.who): one.value for one in get_protocol("covid_cs_paper").published}
    assert told == {
        ("patients", "sensitivity", "JCS, Wu et al., IEEE TIP 2021"): 0.950,
        ("patients", "specificity", "JCS, Wu et al., IEEE TIP 2021"): 0.930,
        ("segmentation", "dice", "JCS, Wu et al., IEEE TIP 2021, joint network"): 0.785,
        ("segmentation", "dice", "JCS, Wu et al., IEEE TIP 2021, segmentation alone"): 0.775,
    }


def test_nothing_is_cited_where_nothing_comparable_was_found():
    assert {protocol.name for protocol in PROTOCOLS if not protocol.published} == {"ct100_folds", "mosmed_ct0_ct12"}
