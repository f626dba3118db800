"""What chooses the best checkpoint: each number against NumPy, and a metric that isn't defined is refused."""

import dataclasses
import math

import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest
import sklearn.metrics
import stub_network
import tiny

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.errors import InputError
from jcs_jax.training.config import default_config
from jcs_jax.training.objective import Objective
from jcs_jax.training.sharding import make_layout
from jcs_jax.training.state import create_state
from jcs_jax.training.validation import Validation

SIDE = 16
PRESET = dataclasses.replace(stub_network.preset(size=(SIDE, SIDE)), options={"classes": 2})
PLAIN = Objective()
RNG = np.random.default_rng(0)
WEIGHTS = {"segmentation_weight": 0.5, "classification_weight": 2.0, "class_weights": (1.0, 3.0)}


def _example(index: int, mask: str, label: int) -> Example:
    image = RNG.random((SIDE, SIDE), np.float32)
    drawn = (RNG.random((SIDE, SIDE)) < 0.3).astype(np.uint8)
    masks = {"drawn": drawn, "empty": 0 * drawn, "unknown": None}
    return Example(image, mask=masks[mask], label=label, name=str(index))


# Seven slices in batches of four: the last row is padding.
KINDS = [("drawn", 1), ("unknown", 0), ("empty", 0), ("drawn", -1), ("drawn", 1), ("unknown", 1), ("drawn", 0)]
EXAMPLES = [_example(index, *kind) for index, kind in enumerate(KINDS)]


def _config(metric: str = "auto", batch_size: int = 4) -> ml_collections.ConfigDict:
    config = default_config()
    config.batch_size, config.validation.metric = batch_size, metric
    return config


def _validation(
    examples=EXAMPLES, *, metric="auto", batch_size=4, objective=PLAIN, preset=PRESET, model=None
) -> Validation:
    return Validation(
        _config(metric, batch_size),
        preset,
        model or stub_network.StubNetwork(),
        objective=objective,
        layout=make_layout(-1, 1),
        source=ArraySource(examples),
    )


def _state(kernel=stub_network.VARIABLES["params"]["class_head"]["kernel"]):
    return create_state({"params": {"class_head": {"kernel": jnp.asarray(kernel)}}}, optax.sgd(1.0), seed=0)


@pytest.fixture(scope="module")
def measured() -> dict[str, float]:
    return _validation(objective=Objective(**WEIGHTS))(_state())


def test_dice_is_the_mean_over_slices_with_opacities(measured):
    values = []
    for example in EXAMPLES:
        if example.mask is not None and example.mask.any():
            predicted = example.image >= 0.5
            values.append(2 * (predicted & (example.mask > 0)).sum() / (predicted.sum() + example.mask.sum()))
    assert len(values) == 4
    assert measured["dice"] == pytest.approx(np.mean(values), rel=1e-6)


def test_auc_is_that_of_the_slices_with_a_label(measured):
    labelled = [example for example in EXAMPLES if example.label >= 0]
    scores = [stub_network.probability(example.image) for example in labelled]
    expected = sklearn.metrics.roc_auc_score([example.label for example in labelled], scores)
    assert measured["auc"] == pytest.approx(expected, abs=1e-12)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def _segmentation_loss(example: Example) -> float:
    """Of five side maps: the first is 50 (2 v - 1), the others are -50."""
    total, truth = 0.0, example.mask.astype(float)
    for logits in (50 * (2 * example.image.astype(float) - 1), *[np.full((SIDE, SIDE), -50.0)] * 4):
        p = 1 / (1 + np.exp(-logits))
        bce = truth * _softplus(-logits) + (1 - truth) * _softplus(logits)
        total += bce.mean() + 1 - (2 * (p * truth).sum() + 1e-5) / (p.sum() + truth.sum() + 1e-5)
    return total


def _classification_loss(example: Example) -> float:
    p = stub_network.probability(example.image)
    return -3.0 * math.log(p) if example.label else -math.log(1 - p)


def test_loss_is_the_objective_over_all_slices_that_each_part_is_known_of(measured):
    masks = np.mean([_segmentation_loss(example) for example in EXAMPLES if example.mask is not None])
    labels = np.mean([_classification_loss(example) for example in EXAMPLES if example.label >= 0])
    assert measured["loss"] == pytest.approx(0.5 * masks + 2.0 * labels, rel=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 20])
def test_the_batch_size_changes_nothing(measured, batch_size):
    again = _validation(batch_size=batch_size, objective=Objective(**WEIGHTS))(_state())
    assert again == pytest.approx(measured, rel=1e-5)


def test_each_images_own_loss_is_taken_even_where_training_takes_the_whole_batchs(measured):
    reference = Objective(segmentation="reference", **WEIGHTS)
    assert _validation(objective=reference)(_state())["loss"] == pytest.approx(measured["loss"], rel=1e-6)


def test_the_activation_map_counts_with_its_final_weight():
    mapped = Objective(map_weight=1.0, map_warmup_steps=10**6)
    plain, more = (_validation(objective=objective)(_state())["loss"] for objective in (PLAIN, mapped))
    assert more > plain + 0.1


def test_the_averaged_parameters_are_measured():
    state = _state()
    state = state.replace(params={"class_head": {"kernel": -state.params["class_head"]["kernel"]}})
    validation = _validation()
    auc = validation(state)["auc"]
    assert auc == validation(_state())["auc"]
    assert validation(state.replace(ema_params=None))["auc"] == pytest.approx(1 - auc)


MASKS_ONLY = [_example(index, "drawn", -1) for index in range(3)]
LABELS_ONLY = [_example(index, "unknown", index % 2) for index in range(3)]
ONE_CLASS = [_example(index, "empty", 0) for index in range(3)]
CLASSIFIER, SEGMENTER = tiny.preset("classifier", side=SIDE), tiny.preset("segmenter", side=SIDE)
JOINT_WITHOUT_HEAD = tiny.preset("joint", side=SIDE, classes=0)


@pytest.mark.parametrize(
    ("preset", "examples", "metric"),
    [
        (PRESET, MASKS_ONLY, "dice"),
        (tiny.preset("joint", side=SIDE), LABELS_ONLY, "auc"),
        (tiny.preset("joint", side=SIDE), ONE_CLASS, "loss"),
        (CLASSIFIER, EXAMPLES, "auc"),
        (CLASSIFIER, MASKS_ONLY, "loss"),
        (SEGMENTER, EXAMPLES, "dice"),
        (SEGMENTER, LABELS_ONLY, "loss"),
        (JOINT_WITHOUT_HEAD, LABELS_ONLY, "loss"),
    ],
)
def test_auto_is_the_first_that_is_defined_of_dice_auc_and_loss(preset, examples, metric):
    assert _validation(examples, preset=preset).metric == metric


@pytest.mark.parametrize(
    ("preset", "examples", "metric", "defined"),
    [
        (CLASSIFIER, EXAMPLES, "dice", "auc, loss"),
        (SEGMENTER, EXAMPLES, "auc", "dice, loss"),
        (JOINT_WITHOUT_HEAD, EXAMPLES, "auc", "dice, loss"),
        (CLASSIFIER, ONE_CLASS, "auc", "loss"),
        (SEGMENTER, ONE_CLASS, "dice", "loss"),
    ],
)
def test_a_metric_that_is_not_defined_is_refused_and_those_that_are_are_named(preset, examples, metric, defined):
    with pytest.raises(InputError) as refused:
        _validation(examples, preset=preset, metric=metric)
    assert str(refused.value) == (
        f"config.validation.metric={metric}: is not defined for {preset.name} on the validation split; "
        f"defined are {defined}"
    )


def test_opacities_too_small_for_the_networks_frame_define_no_dice():
    mask = np.zeros((8 * SIDE, 8 * SIDE), np.uint8)
    mask[0, 0] = 1
    example = Example(RNG.random(mask.shape, np.float32), mask=mask, label=1, name="speck")
    validation = _validation([example])
    assert validation.metric == "loss"
    assert validation(_state()).keys() == {"loss"}


def test_an_empty_split_is_refused():
    with pytest.raises(InputError, match=r"config.validation.split: holds no slice"):
        _validation([])


def test_only_what_is_defined_is_given():
    model = stub_network.StubNetwork(segments=False)
    assert _validation(preset=CLASSIFIER, model=model)(_state()).keys() == {"auc", "loss"}
    assert _validation(ONE_CLASS)(_state()).keys() == {"loss"}


def test_a_network_that_answers_with_nan_is_never_the_best():
    validation = _validation(metric="auc")
    values = validation(_state(np.full((2, 2), np.nan, np.float32)))
    assert math.isnan(values["auc"])
    assert validation.score(values) == -math.inf


def test_the_score_is_higher_for_the_better():
    values = {"dice": 0.25, "auc": 0.75, "loss": 2.0}
    scores = {metric: _validation(metric=metric).score(values) for metric in values}
    assert scores == {"dice": 0.25, "auc": 0.75, "loss": -2.0}
