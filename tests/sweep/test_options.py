"""Options: values travel through the command line unchanged, and what doesn't fit a config is refused by name."""

import re

import pytest

from jcs_jax.errors import InputError
from jcs_jax.sweep.options import as_flag, typed
from jcs_jax.training.config import leaves
from jcs_jax.training.config_files import load_config

# ml_collections loads config files in a way that Python will drop one day.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.train_split", "fold0+fold1"),
        ("data.train_split", ""),
        ("data.train_split", 'it\'s "quoted" = 3, (a) $HOME --config.steps=9'),
        ("data.train_split", "1e-3"),
        ("data.train_split", "True"),
        ("optimizer.learning_rate", 1e-5),
        ("optimizer.learning_rate", 0.1 + 0.2),
        ("steps", -3),
        ("remat", True),
        ("remat", False),
        ("data.weights", (0.5, 2.0)),
        ("data.weights", (3.0,)),
        ("data.weights", ()),
        ("data.weights", ("a b", "c,d")),
    ],
)
def test_a_value_survives_the_command_line(config_file, key, value):
    config = load_config(config_file, [as_flag(key, value)])
    arrived = dict(leaves(config))[key]
    assert arrived == value
    assert type(arrived) is type(value)


def test_a_table_survives_the_command_line_also_as_a_config(config_file):
    flag = as_flag("optimizer.factors", {"res2net": 0.1, "vgg": 0})
    factors = load_config(config_file, [flag]).optimizer.factors
    assert factors.to_dict() == {"res2net": 0.1, "vgg": 0}
    assert as_flag("optimizer.factors", factors) == flag


def test_the_argument_of_a_config_reaches_it(config_file):
    assert load_config(f"{config_file}:reference", []).optimizer.name == "reference"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("optimizer.learning_rate", 1, 1.0),
        ("data.weights", [1, [2, 3]], (1, (2, 3))),
        ("optimizer.factors", {"a": 1}, {"a": 1}),
        ("seed", 7, 7),
    ],
)
def test_a_value_takes_the_options_type(config_file, key, value, expected):
    result = typed(key, value, load_config(config_file, []))
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("steps", 1.5, "steps: takes a whole number (the config has 10), not 1.5"),
        ("steps", True, "steps: takes a whole number"),
        ("remat", 1, "remat: takes true or false (the config has False), not 1"),
        (
            "optimizer.learning_rate",
            "fast",
            "optimizer.learning_rate: takes a number (the config has 0.001), not 'fast'",
        ),
        ("data.train_split", 3, "data.train_split: takes text in quotes (the config has 'train'), not 3"),
        ("data.weights", 1.0, "data.weights: takes a list"),
        ("optimizer.factors", 0.1, "optimizer.factors: takes a table"),
        ("optimizer", {"name": "a"}, "optimizer: is a section; name the options in it"),
        ("optimizer.learnin_rate", 1.0, "no such option; the nearest is optimizer.learning_rate"),
        ("learning_rate", 1.0, "learning_rate: no such option; the nearest is optimizer.learning_rate"),
        ("validation.train_split", "a", "the nearest is data.train_split"),
        ("seed.more", 1, "seed.more: no such option; the nearest is seed"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(config_file, key, value, message):
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        typed(key, value, load_config(config_file, []))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def get_config(", "never closed"),
        ("x = 1", "get_config"),
        ("def get_config(): raise ValueError('no such recipe')", "no such recipe"),
        ("def get_config(): return {}", "must return a ConfigDict"),
    ],
    ids=["syntax", "no get_config", "raises", "no ConfigDict"],
)
def test_a_broken_config_is_refused_although_another_was_read_before(config_file, tmp_path, source, message):
    load_config(config_file, [])
    (tmp_path / "broken.py").write_text(source)
    with pytest.raises(InputError, match=message) as refused:
        load_config(str(tmp_path / "broken.py"), [])
    assert "broken.py: " in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_config_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent\.py: no config can be read there"):
        load_config(str(tmp_path / "absent.py"), [])
