"""Every experiment's config can be built: network, schedule and optimiser."""

import ast
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from jcs_jax.data.transforms import AUGMENTATIONS
from jcs_jax.errors import InputError
from jcs_jax.models.presets import build
from jcs_jax.training.config import check, create_optimizer, create_schedule, default_config, demo_config
from jcs_jax.training.loop import preset_of
from jcs_jax.training.steps import Objective

FOLDER = Path(__file__).parents[1] / "experiments/configs"
FILES = sorted(FOLDER.glob("*.py"))


def _load(path: Path) -> ml_collections.ConfigDict:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


CONFIGS = {**{path.stem: _load(path) for path in FILES}, "default": default_config(), "demo": demo_config()}


def test_there_are_configs():
    assert FILES


@pytest.mark.parametrize("name", CONFIGS)
def test_config_builds_a_network_a_schedule_and_an_optimiser(name):
    config = CONFIGS[name]
    check(config)
    preset = preset_of(config)
    build(preset)
    Objective(**config.loss)
    assert config.data.augment in AUGMENTATIONS
    if config.model.input_size:
        assert preset.preprocessing.size == (config.model.input_size,) * 2
    schedule = create_schedule(config, steps_per_epoch=5)
    rates = np.array([schedule(step) for step in range(0, config.steps, max(1, config.steps // 7))])
    assert np.isfinite(rates).all()
    assert 0 < rates.max() <= config.optimizer.learning_rate * (1 + 1e-6)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    optimizer = create_optimizer(config, schedule)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert jax.tree.structure(updates) == jax.tree.structure(params)


@pytest.mark.parametrize("name", CONFIGS)
def test_config_has_no_option_that_the_default_lacks(name):
    def keys(config: ml_collections.ConfigDict) -> set[str]:
        return {key for key, _ in config.items(preserve_field_references=True)}

    config, default = CONFIGS[name], default_config()
    assert keys(config) == keys(default)
    for part in ("data", "loss", "model", "optimizer"):
        assert keys(config[part]) == keys(default[part])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_config_file_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize(
    ("key", "value"),
    [("steps", 0), ("batch_size", 0), ("log_every", 0), ("seed", -1), ("data.threads", 0), ("model.input_size", -8)],
)
def test_a_number_that_no_run_can_have_is_refused_by_name(key, value):
    config = default_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError, match=f"config.{key} is {value}"):
        check(config)


def test_an_unknown_optimiser_is_refused_with_those_there_are():
    config = default_config()
    config.optimizer.name = "lion"
    with pytest.raises(InputError, match="modern or reference, not 'lion'"):
        create_schedule(config, 5)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.name", "joint_huge", "joint_tiny"),
        ("model.options", {"colour": 1}, "no option colour; it has"),
    ],
)
def test_a_network_that_is_not_there_is_refused_with_those_there_are(key, value, message):
    config = default_config()
    config.model.update({key.split(".")[1]: value})
    with pytest.raises(InputError, match=message):
        preset_of(config)


def test_the_trained_preset_has_the_configs_options_and_input_size():
    config = default_config()
    config.model.name = "segmenter_tiny"
    config.model.options = {"norm": "batch", "vgg_depths": (1, 1, 1, 1, 1)}
    config.model.input_size = 96
    preset = preset_of(config)
    assert preset.options["norm"] == "batch"
    assert preset.options["vgg_depths"] == (1, 1, 1, 1, 1)
    assert preset.options["vgg_channels"] == (8, 16, 32, 48, 64)
    assert preset.preprocessing.size == (96, 96)
