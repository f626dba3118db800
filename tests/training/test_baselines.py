"""The baselines through a whole run: training, validation, pictures, evaluation, diagnosis, doctor, other weights."""

import json

import baselines
import jax
import ml_collections
import numpy as np
import pytest
import tiny

from jcs_jax.checkpoints import load_model, save_model
from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.diagnosis.predictor import Predictor
from jcs_jax.doctor.checkup import examine
from jcs_jax.errors import InputError
from jcs_jax.evaluation.evaluate import evaluate
from jcs_jax.models.presets import build
from jcs_jax.study.images import SliceImage
from jcs_jax.training import setup
from jcs_jax.training.config import PARTS, default_config
from jcs_jax.training.initial_weights import start_from
from jcs_jax.training.loop import train

RNG = np.random.default_rng(0)
ARCHITECTURES = ["unet", pytest.param("res2net_segmenter", marks=pytest.mark.slow)]  # a minute of compiling


def _source(count: int = 4) -> ArraySource:
    examples = []
    for index in range(count):
        image = RNG.random((40, 36), np.float32)
        mask = (image > 0.5).astype(np.uint8)
        examples.append(Example(image, mask=mask, label=index % 2, name=str(index)))
    return ArraySource(examples, {"licence": "none"})


def _config(architecture: str, **changes) -> ml_collections.ConfigDict:
    config = default_config()
    config.model.name = f"{architecture}_tiny"
    config.model.options = {**baselines.OPTIONS[architecture], "norm": "none"}  # compiles in half the time
    config.model.input_size = tiny.SIDE
    config.steps, config.batch_size, config.log_every = 2, 2, 1
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module", params=ARCHITECTURES)
def run(request, tmp_path_factory):
    """Architecture, folder and outcome of two steps that are validated and drawn."""
    folder = tmp_path_factory.mktemp(request.param) / "run"
    config = _config(request.param, **{"validation.every": 1, "pictures_every": 1})
    return request.param, folder, train(config, folder, _source(), validation_source=_source())


def test_a_run_learns_from_masks_alone_and_is_validated_by_dice(run):
    _, folder, outcome = run
    assert outcome.finished
    assert np.isfinite(outcome.validation["dice"])
    assert "auc" not in outcome.validation
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses = [line for line in lines if "loss" in line]
    assert [line["step"] for line in losses] == [1, 2]
    assert all(line["segmentation_loss"] == line["loss"] > 0 for line in losses)
    assert not any("classification_loss" in line for line in losses)


def test_the_loss_of_one_map_is_about_a_fifth_of_that_of_five(run):
    # An untrained map has a binary cross-entropy of about 0.7 and a Dice loss of about 0.5.
    architecture, folder, _ = run
    first = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    assert 0.5 < first["segmentation_loss"] / baselines.SIDE_MAPS[architecture] < 3


def test_its_pictures_are_drawn(run):
    assert list((run[1] / "tensorboard").iterdir())


def test_the_model_is_evaluated_and_diagnoses_without_a_class(run):
    architecture, folder, _ = run
    model, variables, preset = load_model(folder / "model")
    assert preset.architecture == architecture
    evaluation = evaluate(model, variables, preset, _source(), train_source=_source())
    assert evaluation.summary["segmentation"]["dice"].n == 4
    assert "classification" not in evaluation.summary
    image = SliceImage(RNG.random((50, 44), np.float32), "slice.png")
    (result,) = Predictor.from_checkpoint(folder / "model", flip=True).predict([image])
    assert result.probability.shape == result.mask.shape == (50, 44)
    assert result.findings.class_probability is None
    assert result.activation is None
    np.testing.assert_array_equal(result.mask, result.probability >= preset.mask_threshold)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_doctor_finds_every_part_and_its_gradient(architecture):
    checkup = examine(_config(architecture), {"training": _source()}, steps=0)
    found = {finding.check: finding for finding in checkup.findings}
    parts = {"unet": {"unet", "decoder", "heads"}, "res2net_segmenter": {"res2net", "enhanced", "decoder", "heads"}}
    assert set(found["gradients"].numbers["by_part"]) == parts[architecture] <= set(PARTS)
    assert found["gradients"].severity == "ok"
    assert found["losses"].found.startswith("segmentation_loss")


class TestStoredFeatures:
    def _source(self, channels: int = 4) -> ArraySource:
        features = RNG.integers(0, 255, (tiny.SIDE // 2, tiny.SIDE // 2, channels), np.uint8)
        mask = RNG.integers(0, 2, (64, 64), np.uint8)
        return ArraySource([Example(None, mask=mask, label=1, name="one", res2net_features=features)])

    def _check(self, architecture: str, source: ArraySource) -> None:
        """Everything about the data that a run checks before it compiles."""
        config = _config(architecture)
        preset = setup.preset_of(config)
        model, optimizer = build(preset), setup.create_optimizer(config, setup.create_schedule(config, 5))
        setup.check_learnable(config, preset, source)
        setup.check_accepted(preset, model, setup.state_shapes(config, preset, model, optimizer), source)

    def test_the_res2net_segmenter_takes_those_of_its_stem_and_no_others(self):
        self._check("res2net_segmenter", self._source())
        with pytest.raises(InputError, match="was not made for res2net_features of 6 channels"):
            self._check("res2net_segmenter", self._source(channels=6))

    def test_the_u_net_asks_for_pictures(self):
        with pytest.raises(InputError, match="has stored features but no picture, and this network takes pictures"):
            self._check("unet", self._source())


class TestWeightsOfOthers:
    def _save(self, preset, folder):
        model = build(preset)
        variables = tiny.random_variables(model, np.zeros((1, tiny.SIDE, tiny.SIDE, 3), np.float32), seed=1)
        return save_model(folder, variables, preset, provenance={}), variables

    def _start(self, architecture, folder):
        images = np.zeros((1, tiny.SIDE, tiny.SIDE, 3), np.float32)
        return start_from(tiny.random_variables(build(baselines.preset(architecture)), images), [folder])

    def test_a_classifier_gives_the_res2net_segmenter_its_encoder(self, tmp_path):
        folder, given = self._save(tiny.preset("classifier"), tmp_path / "model")
        variables, random_parts = self._start("res2net_segmenter", folder)
        assert random_parts == ["decoder", "enhanced", "heads"]
        jax.tree.map(np.testing.assert_array_equal, variables["params"]["res2net"], given["params"]["res2net"])

    def test_a_u_net_goes_on_from_one_and_takes_nothing_of_a_segmenter(self, tmp_path):
        folder, given = self._save(baselines.preset("unet"), tmp_path / "model")
        variables, random_parts = self._start("unet", folder)
        assert random_parts == []
        jax.tree.map(np.testing.assert_array_equal, variables, given)
        segmenter, _ = self._save(tiny.preset("segmenter"), tmp_path / "segmenter")
        with pytest.raises(InputError, match="is a segmenter, and its enhanced, vgg have no place in this network"):
            self._start("unet", segmenter)
