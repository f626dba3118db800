"""The objective by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcs_jax.explain import INFECTED, UNINFECTED, class_activation_map
from jcs_jax.losses import activation_map_loss
from jcs_jax.models.output import ModelOutput
from jcs_jax.training.objective import Objective

LN2 = np.log(2)
SIDE = 8


def _batch(count: int = 2, **changes) -> dict[str, np.ndarray]:
    ones = np.ones(count, np.float32)
    return {
        "mask": (np.random.default_rng(count).random((count, SIDE, SIDE)) > 0.5).astype(np.float32),
        "label": np.arange(count, dtype=np.float32) % 2,
        **{"valid": ones, "mask_valid": ones, "label_valid": ones},
        **{key: np.asarray(value, np.float32) for key, value in changes.items()},
    }


def _flat_output(count: int, *, classifies: bool = False, segments: bool = True) -> ModelOutput:
    """All logits zero: every probability is one half."""
    return ModelOutput(
        jnp.zeros((count, 2)) if classifies else None, jnp.zeros((count, SIDE, SIDE, 5)) if segments else None, {}
    )


FULL_AND_EMPTY = np.stack([np.ones((SIDE, SIDE)), np.zeros((SIDE, SIDE))])
# Probability 1/2 everywhere. Full mask: BCE ln 2, Dice (2 P/2) / (P/2 + P) = 2/3. Empty mask: BCE ln 2, Dice 0.
FULL, EMPTY = LN2 + 1 / 3, LN2 + 1.0


def test_per_image_segmentation_loss_by_hand():
    loss, parts = Objective()(_flat_output(2), _batch(mask=FULL_AND_EMPTY))
    np.testing.assert_allclose(loss, 5 * (FULL + EMPTY) / 2, rtol=1e-5)
    assert parts.keys() == {"segmentation_loss"}
    np.testing.assert_array_equal(parts["segmentation_loss"], loss)


def test_reference_segmentation_loss_by_hand():
    # Dice over the batch: (2 P/2) / (2 P/2 + P) = 1/2.
    loss, _ = Objective(segmentation="reference")(_flat_output(2), _batch(mask=FULL_AND_EMPTY))
    np.testing.assert_allclose(loss, 5 * (LN2 + 0.5), rtol=1e-5)


@pytest.mark.parametrize("absent", ["valid", "mask_valid"])
def test_an_image_without_a_mask_or_of_padding_is_left_out_of_the_mean(absent):
    batch = _batch(mask=FULL_AND_EMPTY, **{absent: [1, 0]})
    np.testing.assert_allclose(Objective()(_flat_output(2), batch)[0], 5 * FULL, rtol=1e-5)


def test_pixels_of_which_nobody_is_certain_are_left_out_and_a_mask_may_count_in_part():
    # The first mask is full on the left half, and the right half is left out; the second counts a quarter.
    left = np.zeros((SIDE, SIDE))
    left[:, : SIDE // 2] = 1
    certainty = np.stack([left, np.ones((SIDE, SIDE))]).astype(np.float32)
    batch = _batch(mask=np.stack([left, np.zeros((SIDE, SIDE))]), mask_valid=[1, 0.25], mask_certainty=certainty)
    np.testing.assert_allclose(Objective()(_flat_output(2), batch)[0], 5 * (FULL + EMPTY / 4) / 1.25, rtol=1e-5)


def test_an_unknown_label_is_left_out_of_the_mean():
    output = ModelOutput(jnp.float32([[0.0, 3.0], [0.0, 0.0]]), None, {})
    batch = _batch(label_valid=[0, 1])
    loss, parts = Objective()(output, batch)
    np.testing.assert_allclose(loss, LN2, rtol=1e-6)
    assert parts.keys() == {"classification_loss"}


def test_label_smoothing_by_hand():
    output = ModelOutput(jnp.float32([[0.0, 2.0]]), None, {})
    batch = {**_batch(1), "label": np.int32([1])}
    loss, _ = Objective(label_smoothing=0.2)(output, batch)
    log_p = np.array([0.0, 2.0]) - np.log(1 + np.exp(2.0))
    np.testing.assert_allclose(loss, -(0.1 * log_p[0] + 0.9 * log_p[1]), rtol=1e-5)


def test_both_losses_are_weighed_and_reported_unweighed():
    objective = Objective(segmentation_weight=0.5, classification_weight=3.0)
    loss, parts = objective(_flat_output(2, classifies=True), _batch(mask=FULL_AND_EMPTY))
    np.testing.assert_allclose(parts["classification_loss"], LN2, rtol=1e-6)
    np.testing.assert_allclose(parts["segmentation_loss"], 5 * (FULL + EMPTY) / 2, rtol=1e-5)
    np.testing.assert_allclose(loss, 0.5 * 5 * (FULL + EMPTY) / 2 + 3 * LN2, rtol=1e-5)


def test_a_batch_in_which_nothing_counts_has_loss_and_gradient_zero():
    batch = _batch(valid=[0, 0])

    def loss(logits):
        return Objective()(ModelOutput(logits[:, 0, 0, :2], logits, {}), batch)[0]

    value, gradient = jax.value_and_grad(loss)(jnp.ones((2, SIDE, SIDE, 5)))
    assert value == 0
    assert not gradient.any()


def test_an_unknown_segmentation_loss_is_refused_at_once():
    with pytest.raises(ValueError, match="per_image, reference or restoration, not 'dice'"):
        Objective(segmentation="dice")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lesion_weight": 0.0}, "must be above 0"),
        ({"lesion_weight": float("nan")}, "must be above 0"),
        ({"lesion_weight": 2.0, "segmentation": "reference"}, "lesion_weight changes .* set config.loss.segmentation"),
        ({"cross_entropy_weight": -0.1}, "must be at least 0"),
        ({"cross_entropy_weight": float("inf")}, "must be at least 0"),
        (
            {"cross_entropy_weight": 0.5, "segmentation": "reference"},
            "cross_entropy_weight changes single slices' loss",
        ),
    ],
)
def test_a_weight_that_means_nothing_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Objective(**options)


def test_the_lesion_weight_reaches_the_loss():
    logits = jnp.zeros((2, SIDE, SIDE, 5))
    values = [Objective(lesion_weight=weight)(ModelOutput(None, logits, {}), _batch())[0] for weight in (1.0, 3.0)]
    assert values[1] > values[0]


def test_the_cross_entropy_weight_reaches_the_loss():
    logits = jnp.zeros((2, SIDE, SIDE, 5))
    values = [
        Objective(cross_entropy_weight=weight)(ModelOutput(None, logits, {}), _batch())[0] for weight in (1.0, 0.0)
    ]
    masked = _batch()["mask_valid"].mean()
    np.testing.assert_allclose(values[0] - values[1], 5 * LN2 * (masked > 0), rtol=1e-5)


def test_class_weights_by_hand():
    output = ModelOutput(jnp.zeros((2, 2)), None, {})
    loss, _ = Objective(class_weights=(0.5, 3.0))(output, _batch())
    np.testing.assert_allclose(loss, (0.5 * LN2 + 3.0 * LN2) / 2, rtol=1e-6)


def _with_map(features) -> ModelOutput:
    return ModelOutput(jnp.zeros((features.shape[0], 2)), None, {"class_features": features})


def test_the_map_is_the_contrast_of_infected_and_uninfected_over_images_with_a_mask():
    features = jax.random.normal(jax.random.key(0), (2, 2, 2, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 2))
    batch = _batch(mask_valid=[0, 1])
    objective = Objective(map_weight=0.5, map_lesion_weight=2.0, map_offset=1.0)
    loss, parts = objective(_with_map(features), batch, head_kernel=kernel)
    activation = class_activation_map(features, kernel, INFECTED, against=UNINFECTED)
    expected = activation_map_loss(activation, batch["mask"], offset=1.0, lesion_weight=2.0)[1]
    np.testing.assert_allclose(parts["map_loss"], expected, rtol=1e-6)
    np.testing.assert_allclose(loss, LN2 + 0.5 * expected, rtol=1e-6)


def test_the_maps_weight_rises_over_its_warm_up():
    objective = Objective(map_weight=4.0, map_warmup_steps=10)
    assert [float(objective.weights(step)["map_loss"]) for step in (0, 5, 10, 100)] == [0.0, 2.0, 4.0, 4.0]
    assert float(objective.weights()["map_loss"]) == 4.0
    assert float(Objective(map_weight=4.0).weights(0)["map_loss"]) == 4.0


@pytest.mark.parametrize(("objective", "kernel"), [(Objective(), jnp.ones((3, 2))), (Objective(map_weight=1.0), None)])
def test_without_weight_or_head_the_map_is_left_alone(objective, kernel):
    _, parts = objective(_with_map(jnp.ones((2, 2, 2, 3))), _batch(), head_kernel=kernel)
    assert parts.keys() == {"classification_loss"}


def test_losses_of_parts_of_a_batch_add_up_to_the_wholes():
    logits = jax.random.normal(jax.random.key(0), (4, SIDE, SIDE, 5))
    classes = jax.random.normal(jax.random.key(1), (4, 2))
    batch = _batch(4, mask_valid=[1, 0, 0, 1], label_valid=[1, 1, 0, 1])
    objective = Objective()
    whole, _ = objective(ModelOutput(classes, logits, {}), batch)
    halves = []
    for rows in (slice(0, 2), slice(2, 4)):
        part = {key: value[rows] for key, value in batch.items()}
        output = ModelOutput(classes[rows], logits[rows], {})
        halves.append(objective(output, part, counts=objective.counts(batch))[0])
    np.testing.assert_allclose(sum(halves), whole, rtol=1e-6)
