"""Every experiment's config can be built: network, schedule and optimiser."""

import ast
import importlib.util
import json
from pathlib import Path

import jax
import ml_collections
import numpy as np
import pytest

from jcs_jax.data.transforms import AUGMENTATIONS
from jcs_jax.errors import InputError
from jcs_jax.models.presets import build
from jcs_jax.training.config import RECIPES, check, default_config, demo_config
from jcs_jax.training.config_files import load_config
from jcs_jax.training.objective import Objective
from jcs_jax.training.setup import create_optimizer, create_schedule, preset_of, state_shapes

FOLDER = Path(__file__).parents[1] / "experiments/configs"
FILES = sorted(FOLDER.glob("*.py"))


def _load(path: Path, *arguments: str) -> ml_collections.ConfigDict:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*arguments)


STAGES = ("classification", "classification_aligned", "segmentation", "joint")
CONFIGS = {
    **{path.stem: _load(path) for path in FILES},
    **{f"{stage}:{recipe}": _load(FOLDER / f"{stage}.py", recipe) for stage in STAGES for recipe in RECIPES},
    "default": default_config(),
    "demo": demo_config(),
}


def test_there_are_configs():
    assert FILES


@pytest.mark.parametrize("name", CONFIGS)
def test_config_builds_a_network_a_schedule_and_an_optimiser(name):
    config = CONFIGS[name]
    check(config)
    preset = preset_of(config)
    build(preset)
    Objective(**{name: value for name, value in config.loss.items() if name != "balance_classes"})
    assert config.data.augment in AUGMENTATIONS
    if config.model.input_size:
        assert preset.preprocessing.size == (config.model.input_size,) * 2
    schedule = create_schedule(config, steps_per_epoch=5)
    rates = np.array([schedule(step) for step in range(0, config.steps, max(1, config.steps // 7))])
    assert np.isfinite(rates).all()
    assert 0 < rates.max() <= config.optimizer.learning_rate * (1 + 1e-6)
    optimizer = create_optimizer(config, schedule)
    shapes = state_shapes(config, preset, build(preset), optimizer)  # all parts named in the config are there
    updates, _ = jax.eval_shape(optimizer.update, shapes.params, shapes.opt_state, shapes.params)
    assert jax.tree.structure(updates) == jax.tree.structure(shapes.params)


@pytest.mark.parametrize("name", CONFIGS)
def test_config_has_no_option_that_the_default_lacks(name):
    def keys(config: ml_collections.ConfigDict) -> set[str]:
        return {key for key, _ in config.items(preserve_field_references=True)}

    config, default = CONFIGS[name], default_config()
    assert keys(config) == keys(default)
    for part in ("checkpoint", "data", "loss", "mesh", "model", "optimizer", "self_training", "validation"):
        assert keys(config[part]) == keys(default[part])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_the_same_training_data_in_both_recipes_seen_as_often(stage):
    reference, modern = (CONFIGS[f"{stage}:{recipe}"] for recipe in RECIPES)
    assert reference.model.name == modern.model.name
    assert reference.data.train_split == modern.data.train_split
    assert reference.steps * reference.batch_size == modern.steps * modern.batch_size
    assert reference.optimizer.learning_rate == 2.5e-5
    assert reference.optimizer.name == "reference"
    assert modern.optimizer.name == "modern"


def test_an_unknown_recipe_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="the recipe is reference or modern, not 'mine'"):
        _load(FOLDER / "joint.py", "mine")


SEMISEG_STAGES = ("coarse", "fine", "self_training")


@pytest.mark.parametrize("stage", SEMISEG_STAGES)
@pytest.mark.parametrize("fold", range(5))
def test_covid_semiseg_trains_on_four_folds_and_measures_the_fifth(fold, stage):
    config = _load(FOLDER / "covid_semiseg.py", f"{fold},{stage}")
    assert config.data.eval_split == f"fold{fold}"
    assert config.data.train_split.split("+") == [f"fold{other}" for other in range(5) if other != fold]
    taught = stage == "self_training"
    assert bool(config.self_training.weight) == bool(config.data.also_train_on) == taught
    assert sum(config.data.rows) == (config.batch_size if taught else 0)


def test_covid_semiseg_begins_with_slices_that_nobody_outlined_and_with_nothing_of_a_fold():
    config = _load(FOLDER / "covid_semiseg.py", "all,restoration")
    assert config.data.train_split == "unlabelled"
    assert not config.data.also_train_on and not config.data.eval_split and not config.data.paste_opacities
    assert config.loss.segmentation == "restoration"
    assert config.model == _load(FOLDER / "covid_semiseg.py", "2").model


def test_covid_semiseg_on_all_folds_measures_nothing_and_begins_coarse():
    config = _load(FOLDER / "covid_semiseg.py", "all")
    assert config.data.train_split == "fold0+fold1+fold2+fold3+fold4"
    assert not config.data.eval_split
    sides = [_load(FOLDER / "covid_semiseg.py", f"all,{stage}").model.input_size for stage in SEMISEG_STAGES]
    assert sides == [config.model.input_size, 192, 192]


@pytest.mark.parametrize("argument", ["7", "-1", "x", "", "1,", "1,semi", "1.0", "fine", "1,fine,2", "1,restoration"])
def test_covid_semiseg_refuses_what_is_no_fold_or_stage(argument):
    with pytest.raises(InputError, match=f"a fold from 0 to 4 or all.*'{argument}'; write --config=FILE.py:0,fine"):
        _load(FOLDER / "covid_semiseg.py", argument)


def test_the_shipped_weights_learn_from_training_parts_only():
    config = _load(FOLDER / "jcs_tiny.py", "fine")
    parts = {part.partition(":")[2] for part in config.data.also_train_on.split(",")}
    splits = {name.partition("[")[0] for part in parts for name in part.split("+")}
    all_folds = "fold0+fold1+fold2+fold3+fold4"  # of sets that are for training as a whole
    assert splits == {"train", *all_folds.split("+")}
    assert config.data.train_split == all_folds
    assert sum(config.data.rows) == config.batch_size
    assert config.data.empty_masks_of in config.data.also_train_on
    with pytest.raises(InputError, match="the argument is coarse or fine, not 'huge'"):
        _load(FOLDER / "jcs_tiny.py", "huge")


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections' way to load a config
@pytest.mark.parametrize("file", ["covid_semiseg.py:2,self_training", "segmentation.py"])
def test_rows_and_self_training_are_set_on_the_command_line_and_written_as_they_are(file):
    flags = ["--config.data.rows=(6,2)", "--config.self_training.weight=0.5", "--config.self_training.cut_mix=0.25"]
    config = load_config(f"{FOLDER}/{file}", [*flags, "--config.self_training.warmup_steps=9"])
    assert config.data.rows == (6, 2)
    written = json.loads(config.to_json_best_effort())
    assert written["data"]["rows"] == [6, 2]
    assert written["self_training"] == {"weight": 0.5, "warmup_steps": 9, "cut_mix": 0.25}
    read = ml_collections.ConfigDict(written)
    check(read)
    assert tuple(read.data.rows) == (6, 2)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_config_file_says_what_it_is(path):
    told = ast.get_docstring(ast.parse(path.read_text()))
    assert "jcs train --config=" in told
    assert path.name in told


@pytest.mark.parametrize(
    ("key", "value"),
    [("steps", 0), ("batch_size", 0), ("log_every", 0), ("seed", -1), ("data.threads", 0), ("model.input_size", -8)],
)
def test_a_number_that_no_run_can_have_is_refused_by_name(key, value):
    config = default_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError, match=f"config.{key} is {value}"):
        check(config)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("optimizer.name", "lion", "'lion'; it is one of reference, modern"),
        ("convolutions", "fft", "'fft'; it is one of auto, xla, cpu"),
        ("dtype", "float16", "'float16'; it is one of auto, float32, bfloat16"),
        ("validation.metric", "f1", "'f1'; it is one of auto, dice, auc, loss"),
        ("mesh.data", 0, "at least 1, or -1 for all devices"),
        ("optimizer.ema_decay", 1.0, "at least 0 and below 1"),
        ("self_training.weight", float("nan"), "must be at least 0"),
        ("self_training.weight", float("inf"), "must be at least 0"),
        ("self_training.warmup_steps", -1, "must be at least 0"),
        ("self_training.cut_mix", 1.5, "must be between 0 and 1"),
        ("self_training.cut_mix", -0.1, "must be between 0 and 1"),
        ("self_training.cut_mix", float("nan"), "must be between 0 and 1"),
        ("loss.class_weights", (0.0, 0.0), "two numbers, not negative, not both 0"),
        ("loss.class_weights", (1.0, 1.0, 1.0), "two numbers"),
        ("optimizer.learning_rate", float("nan"), "must be at least 0"),
    ],
)
def test_a_word_or_number_that_means_nothing_is_refused_with_what_does(key, value, said):
    config = default_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError, match=rf"config\.{key} is .*{said}"):
        check(config)


@pytest.mark.parametrize("factor", [-0.5, "slow", float("inf")])
def test_a_factor_of_the_learning_rate_that_is_none_is_refused(factor):
    config = default_config()
    config.optimizer.learning_rate_factors = {"vgg": factor}
    with pytest.raises(InputError, match=r"learning_rate_factors\.vgg"):
        check(config)


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
