"""From a config to the parts of a run."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
import tiny

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.data.joined import JoinedSource
from jcs_jax.errors import InputError
from jcs_jax.models.presets import build
from jcs_jax.training import setup
from jcs_jax.training.config import default_config, use_recipe
from jcs_jax.training.restoration import Restoration
from jcs_jax.training.self_training import SelfTraining

SIDE = 32


def _config(architecture: str = "classifier", **changes) -> ml_collections.ConfigDict:
    config = default_config()
    config.model.name = f"{architecture}_tiny"
    config.model.options = {**tiny.OPTIONS[architecture], "norm": "batch"}
    config.model.input_size = SIDE
    config.update_from_flattened_dict(changes)
    return config


def _source(labels, masks=None) -> ArraySource:
    image, mask = np.zeros((8, 8), np.float32), np.ones((8, 8), np.uint8)
    known = masks or [False] * len(labels)
    return ArraySource(
        [
            Example(image, mask=mask if drawn else None, label=label, name=str(index))
            for index, (label, drawn) in enumerate(zip(labels, known, strict=True))
        ]
    )


def test_the_preset_keeps_size_and_grey_of_the_config():
    kept = setup.preset_of(_config(**{"model.tissue_grey": 0.7})).preprocessing
    assert (kept.size, kept.tissue_grey) == ((SIDE, SIDE), 0.7)
    assert setup.preset_of(_config()).preprocessing.tissue_grey == 0.0


def test_networks_of_an_ensemble_learn_one_by_one():
    config = _config()
    config.model.options = {"members": 2}
    with pytest.raises(InputError, match=r"^config.model.options.members: .*`jcs ensemble`$"):
        setup.preset_of(config)


def test_opacities_are_pasted_as_often_as_the_config_says():
    config = _config(**{"data.paste_opacities": 1.0, "batch_size": 2})
    batches = setup.training_batches(config, setup.preset_of(config), _source([0, 1], masks=[True, True]))
    assert all(" + " in name for name in batches.names(0))


class TestObjective:
    def test_it_is_the_configs_loss(self):
        changes = {"loss.segmentation_weight": 0.5, "loss.label_smoothing": 0.1, "loss.map_weight": 2.0}
        objective = setup.objective_of(_config(**changes), _source([0, 1]))
        assert (objective.segmentation_weight, objective.label_smoothing, objective.map_weight) == (0.5, 0.1, 2.0)
        assert tuple(objective.class_weights) == (1.0, 1.0)

    def test_balanced_classes_weigh_the_same_in_sum(self):
        # Of 4 slices with a label 3 are uninfected: 4 / (2 * 3) and 4 / (2 * 1), times what is given.
        source = _source([0, 0, 1, 0, -1])
        plain = setup.objective_of(_config(**{"loss.balance_classes": True}), source)
        assert plain.class_weights == pytest.approx((2 / 3, 2.0))
        given = _config(**{"loss.balance_classes": True, "loss.class_weights": (1.5, 0.5)})
        assert setup.objective_of(given, source).class_weights == pytest.approx((1.0, 1.0))

    @pytest.mark.parametrize(("labels", "said"), [([0, 0, -1], "2 uninfected and 0 infected"), ([-1], "0 .* and 0 ")])
    def test_classes_that_are_not_both_there_cannot_be_balanced(self, labels, said):
        with pytest.raises(InputError, match=f"balance_classes: the training data have {said}"):
            setup.objective_of(_config(**{"loss.balance_classes": True}), _source(labels))


def _joined(*parts: ArraySource) -> JoinedSource:
    return JoinedSource({f"set{number}:train": part for number, part in enumerate(parts)})


OUTLINED, BARE = _source([1, 1, 0], [True] * 3), _source([1, 1], [False] * 2)


class TestSelfTraining:
    def _of(self, source, architecture="segmenter", **changes):
        told = {"self_training.weight": 0.5, "self_training.warmup_steps": 7, "self_training.cut_mix": 0.25, **changes}
        return setup.teacher_of(_config(architecture, **told), tiny.preset(architecture), source)

    def test_it_is_the_configs_with_the_networks_preprocessing(self):
        made = self._of(_joined(OUTLINED, BARE))
        assert made == SelfTraining(0.5, 7, 0.25, 0, tiny.preset("segmenter").preprocessing)

    def test_without_a_weight_there_is_none_whatever_the_run(self):
        assert self._of(OUTLINED, "classifier", **{"self_training.weight": 0.0}) is None

    @pytest.mark.parametrize(
        ("parts", "rows", "first"),
        [
            ((OUTLINED, BARE), (), 0),
            ((OUTLINED, BARE), (3, 5), 3),
            ((OUTLINED, OUTLINED, BARE), (1, 2, 5), 3),
            ((OUTLINED, BARE, OUTLINED), (1, 2, 5), 1),
            ((BARE, OUTLINED), (3, 5), 0),
            ((_source([1, 1], [True, False]), BARE), (3, 5), 0),
        ],
    )
    def test_the_first_row_that_may_lack_a_mask_follows_those_of_data_with_all_masks(self, parts, rows, first):
        assert self._of(_joined(*parts), **{"data.rows": rows}).first_row == first

    def test_one_data_set_with_and_without_masks_is_learnt_from_in_every_row(self):
        assert self._of(_source([1, 1], [True, False]), **{"data.rows": (8,)}).first_row == 0

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"optimizer.ema_decay": 0.0}, "averaged weights draw the masks; set config.optimizer.ema_decay above 0"),
            ({"loss.segmentation": "reference"}, "set config.loss.segmentation=per_image"),
            ({"loss.map_weight": 1.0}, "drawn masks don't teach the activation map; set config.loss.map_weight=0"),
            ({"fixed_parts": 4}, "masks are not drawn in fixed parts; set config.fixed_parts=0"),
        ],
    )
    def test_a_run_that_cannot_draw_masks_is_refused_with_the_cure(self, changes, said):
        with pytest.raises(InputError, match=rf"^config\.self_training\.weight: .*{said}$"):
            self._of(_joined(OUTLINED, BARE), **changes)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"validation.split": "validation"}, "leave config.validation.split and config.data.eval_split empty"),
            ({"data.eval_split": "test"}, "leave config.validation.split and config.data.eval_split empty"),
            ({"self_training.weight": 0.5}, "set config.self_training.weight=0 and config.loss.map_weight=0"),
            ({"loss.map_weight": 0.5}, "set config.self_training.weight=0 and config.loss.map_weight=0"),
            ({"fixed_parts": 4}, "slices are not damaged in fixed parts; set config.fixed_parts=0"),
        ],
    )
    def test_a_run_that_gives_slices_back_learns_nothing_else(self, changes, said):
        plain = {"self_training.weight": 0.0, "loss.segmentation": "restoration"}
        with pytest.raises(InputError, match=rf"^config\.loss\.segmentation=restoration: .*{said}$"):
            self._of(BARE, **{**plain, **changes})

    def test_slices_are_given_back_whether_outlined_or_not(self):
        plain = {"self_training.weight": 0.0, "loss.segmentation": "restoration"}
        for source in (BARE, OUTLINED):
            assert self._of(source, **plain) == Restoration(tiny.preset("segmenter").preprocessing)
            setup.check_learnable(_config("segmenter", **plain), tiny.preset("segmenter"), source)

    def test_a_classifier_gives_nothing_back(self):
        with pytest.raises(InputError, match="draws nothing; choose a network that segments"):
            self._of(BARE, "classifier", **{"self_training.weight": 0.0, "loss.segmentation": "restoration"})

    def test_a_network_that_gives_slices_back_says_so(self):
        config = _config("segmenter", **{"loss.segmentation": "restoration"})
        assert setup.preset_of(config).source.startswith("restoring damaged slices of ")

    def test_a_classifier_draws_none(self):
        with pytest.raises(InputError, match=r"classifier_tiny draws no masks; choose a network that segments$"):
            self._of(_joined(OUTLINED, BARE), "classifier")

    def test_stored_features_cannot_be_disturbed(self):
        stored = ArraySource([Example(None, name="s", vgg_features=np.zeros((4, 4, 2), np.uint8))])
        with pytest.raises(InputError, match=r"stored features can't be disturbed; choose data with pictures$"):
            self._of(stored)

    def test_data_of_which_every_slice_has_a_mask_need_none(self):
        with pytest.raises(InputError, match="every slice has a mask; name data without in "):
            self._of(_joined(OUTLINED, OUTLINED))


class TestBatches:
    def test_rows_are_those_of_each_data_set_in_their_order(self):
        config = _config(**{"data.augment": "none", "data.rows": (5, 3), "steps": 4})
        batches = list(setup.training_batches(config, setup.preset_of(config), _joined(OUTLINED, BARE)))
        assert [batch["mask_valid"].tolist() for batch in batches] == [[1] * 5 + [0] * 3] * 4

    @pytest.mark.parametrize("rows", [(8,), (4, 5), (4, 4, 0)])
    def test_rows_that_do_not_fit_the_data_are_refused(self, rows):
        config = _config(**{"data.rows": rows})
        with pytest.raises(InputError, match=r"config.data.rows is .*give 2 numbers .* add up to config.batch_size=8$"):
            setup.training_batches(config, setup.preset_of(config), _joined(OUTLINED, BARE))

    def test_rows_of_one_data_set_are_the_whole_batch(self):
        config = _config(**{"data.rows": (8,)})
        assert "rows" not in setup.training_batches(config, setup.preset_of(config), OUTLINED).state()


class TestNetwork:
    @pytest.mark.parametrize(("dtype", "expected"), [("float32", None), ("auto", None), ("bfloat16", jnp.bfloat16)])
    def test_its_precision_is_the_configs_and_auto_is_float32_on_a_cpu(self, dtype, expected):
        config = _config(dtype=dtype)
        network = setup.network_of(config, setup.preset_of(config))
        assert network.style.dtype == expected
        assert network.style.param_dtype == jnp.float32

    def test_auto_is_bfloat16_on_an_accelerator(self, monkeypatch):
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        config = _config()
        assert setup.network_of(config, setup.preset_of(config)).style.dtype == jnp.bfloat16

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"mesh.data": 1}, "cpu"),
            ({"mesh.data": 2}, "xla"),
            ({"mesh.data": 1, "mesh.fsdp": 2}, "xla"),
            ({"mesh.data": 1, "fixed_parts": 8}, "xla"),
            ({"mesh.data": 1, "convolutions": "xla"}, "xla"),
            ({"mesh.data": 2, "convolutions": "cpu"}, "cpu"),
        ],
    )
    def test_convolutions_are_those_that_are_fast_on_one_cpu_unless_the_config_names_others(self, changes, expected):
        config = _config(**changes)
        assert setup.network_of(config, setup.preset_of(config)).style.convolutions == expected

    @pytest.mark.parametrize(("devices", "expected"), [(1, "cpu"), (4, "xla")])
    def test_a_mesh_of_all_devices_is_of_one_or_more(self, devices, expected, monkeypatch):
        monkeypatch.setattr(jax, "device_count", lambda: devices)
        config = _config(**{"mesh.data": -1})
        assert setup.network_of(config, setup.preset_of(config)).style.convolutions == expected

    def test_accelerators_keep_xlas_convolutions(self, monkeypatch):
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        config = _config(**{"mesh.data": 1})
        assert setup.network_of(config, setup.preset_of(config)).style.convolutions == "xla"

    def test_rematerialisation_is_the_configs_and_no_preset_tells_of_it(self):
        config = _config(remat=True, dtype="bfloat16")
        preset = setup.preset_of(config)
        assert setup.network_of(config, preset).style.remat
        plain = setup.network_of(_config(convolutions="xla"), preset)
        assert build(preset).style == plain.style
        assert not preset.options.keys() & {"remat", "dtype", "convolutions"}


class TestState:
    @pytest.mark.parametrize(
        ("architecture", "recipe", "average"),
        [("classifier", "modern", True), ("joint", "modern", False), ("segmenter", "reference", False)],
    )
    def test_the_shapes_told_are_those_of_the_first_state(self, monkeypatch, architecture, recipe, average):
        def initial_variables(model, *, seed, input_size):  # compiles nothing
            return tiny.random_variables(model, jnp.zeros((1, *input_size, 3)), seed=seed)

        monkeypatch.setattr(setup, "initial_variables", initial_variables)
        config = _config(architecture)
        use_recipe(config, recipe)
        config.optimizer.ema_decay = 0.9 if average else 0.0
        config.optimizer.learning_rate_factors = {"res2net" if architecture == "classifier" else "heads": 0.5}
        preset = setup.preset_of(config)
        parts = setup.network_of(config, preset), setup.create_optimizer(config, setup.create_schedule(config, 5))
        told = setup.state_shapes(config, preset, *parts)
        state, random_parts = setup.initial_state(config, preset, *parts)
        assert jax.tree.structure(told) == jax.tree.structure(state)
        jax.tree.map(_compare, told, state)
        assert (state.ema_params is not None) == average
        assert random_parts == sorted(state.params)

    def test_an_unknown_part_is_refused_and_those_there_are_are_named(self):
        config = _config(**{"optimizer.learning_rate_factors": {"neck": 0.5}})
        preset = setup.preset_of(config)
        parts = setup.network_of(config, preset), setup.create_optimizer(config, setup.create_schedule(config, 5))
        with pytest.raises(InputError, match="classifier_tiny has no part neck; it has class_head, res2net"):
            setup.state_shapes(config, preset, *parts)

    def test_a_part_whose_learning_rate_is_0_is_frozen(self):
        factors = {"vgg": 0.0, "res2net": 0.1, "decoder": 0}
        config = _config("joint", **{"optimizer.learning_rate_factors": factors})
        assert sorted(setup.frozen_parts(config)) == ["decoder", "vgg"]


def _compare(told, array) -> None:
    assert (told.shape, told.dtype) == (array.shape, array.dtype)


LEARNABLE = {
    "classifier": {"labels": True, "masks": False, "both": True, "neither": False},
    "segmenter": {"labels": False, "masks": True, "both": True, "neither": False},
    "joint": {"labels": False, "masks": True, "both": True, "neither": False},
}
SOURCES = {
    "labels": _source([0, -1]),
    "masks": _source([-1, -1], [True, False]),
    "both": _source([1, -1], [False, True]),
    "neither": _source([-1, -1]),
}


@pytest.mark.parametrize("known", SOURCES)
@pytest.mark.parametrize("architecture", LEARNABLE)
def test_data_from_which_nothing_could_be_learnt_are_refused(architecture, known):
    preset = tiny.preset(architecture)
    if LEARNABLE[architecture][known]:
        setup.check_learnable(_config(), preset, SOURCES[known])
        return
    missing = "label" if architecture == "classifier" else "mask"
    with pytest.raises(InputError, match=f"{architecture}_tiny: no slice has a {missing} to learn from"):
        setup.check_learnable(_config(), preset, SOURCES[known])


@pytest.mark.parametrize("architecture", ["segmenter", "joint"])
def test_dice_over_the_whole_batch_needs_a_mask_for_every_slice(architecture):
    config, preset = _config(**{"loss.segmentation": "reference"}), tiny.preset(architecture)
    setup.check_learnable(config, preset, _source([0, 1], [True, True]))
    with pytest.raises(InputError, match=r"segmentation=reference takes Dice over the whole batch.*choose per_image"):
        setup.check_learnable(config, preset, SOURCES["both"])


@pytest.mark.parametrize(("option", "cure"), [("accumulate", "accumulate=1"), ("fixed_parts", "fixed_parts=0")])
def test_dice_over_the_whole_batch_cannot_be_computed_in_parts(option, cure):
    config, source = _config(**{"loss.segmentation": "reference", option: 2}), _source([0, 1], [True, True])
    setup.check_learnable(config, tiny.preset("classifier"), source)
    with pytest.raises(InputError, match=rf"can't be computed in parts; choose per_image or config.{cure}"):
        setup.check_learnable(config, tiny.preset("segmenter"), source)


def test_a_process_reads_its_rows_of_each_batch(monkeypatch):
    config = _config(**{"data.augment": "none", "steps": 2, "batch_size": 4})
    source, preset = _source([0, 1, 0, 1, 1]), setup.preset_of(config)
    whole = [batch["label"] for batch in setup.training_batches(config, preset, source)]
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    halves = []
    for process in (0, 1):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        halves.append([batch["label"] for batch in setup.training_batches(config, preset, source)])
    np.testing.assert_array_equal(np.concatenate(halves, axis=1), whole)


def test_the_schedule_is_that_of_the_optimiser_by_name():
    config = _config(**{"steps": 100, "optimizer.learning_rate": 1.0, "optimizer.warmup_steps": 10})
    modern = setup.create_schedule(config, steps_per_epoch=1)
    assert [float(modern(step)) for step in (0, 10, 100)] == pytest.approx([0.0, 1.0, 0.01])  # of the peak
    config.optimizer.name = "reference"
    reference = setup.create_schedule(config, steps_per_epoch=1)
    # 0.1 + 0.9 / 200 in the first epoch, which is one step here; then (1 - step / 100)^0.9.
    assert [float(reference(step)) for step in (0, 50)] == pytest.approx([0.1045, 0.5**0.9])
