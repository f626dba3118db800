"""The objective by hand, and the step on a network of three layers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from jcs_jax.models.output import ModelOutput
from jcs_jax.models.presets import build
from jcs_jax.nn.layers import ConvNormAct, Style
from jcs_jax.training.state import TrainState
from jcs_jax.training.steps import Objective, make_train_step

LN2 = np.log(2)
SIDE = 8
RNG = np.random.default_rng(0)


class Toy(nn.Module):
    """One block, five side maps and a class head."""

    norm: str = "group"

    @nn.compact
    def __call__(self, images, *, train: bool = False) -> ModelOutput:
        features = ConvNormAct(4, style=Style(norm=self.norm), name="block")(images, train=train)
        logits = nn.Dense(2, use_bias=False, name="class_head")(features.mean((1, 2)))
        return ModelOutput(logits, nn.Dense(5, name="sides")(features), {"class_features": features})


def _batch(count: int = 2, **changes) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(count)
    ones = np.ones(count, np.float32)
    return {
        "image": rng.normal(size=(count, SIDE, SIDE, 3)).astype(np.float32),
        "mask": (rng.random((count, SIDE, SIDE)) > 0.5).astype(np.float32),
        "label": np.arange(count, dtype=np.int32) % 2,
        **{"valid": ones, "mask_valid": ones, "label_valid": ones},
        **{key: np.asarray(value, np.float32) for key, value in changes.items()},
    }


def _state(model: nn.Module, optimizer: optax.GradientTransformation) -> TrainState:
    variables = tiny.random_variables(model, jnp.zeros((1, SIDE, SIDE, 3)))
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    return TrainState(
        jnp.zeros((), jnp.int32), params, batch_stats, optimizer.init(params), jax.tree.map(jnp.copy, params)
    )


def _host(tree):
    """A copy that outlives the donation of the original."""
    return jax.tree.map(np.array, tree)


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
    with pytest.raises(ValueError, match="per_image or reference, not 'dice'"):
        Objective(segmentation="dice")


def test_a_step_follows_the_gradient_of_the_objective():
    model, optimizer, batch = Toy(), optax.sgd(0.1), _batch()
    state = _state(model, optimizer)
    before = _host(state.params)

    def loss(params):
        return Objective()(model.apply({"params": params}, batch["image"], train=True), batch)[0]

    value, gradient = jax.jit(jax.value_and_grad(loss))(before)
    state, metrics = make_train_step(model, optimizer, Objective(), ema_decay=0.9)(state, batch)
    expected = jax.tree.map(lambda p, g: p - 0.1 * np.asarray(g), before, gradient)
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6), state.params, expected)
    assert metrics.keys() == {"loss", "segmentation_loss", "classification_loss", "gradient_norm"}
    assert all(metric.shape == () for metric in metrics.values())
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
    norm = np.sqrt(sum((np.asarray(leaf) ** 2).sum() for leaf in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-4)


def test_the_average_follows_the_parameters_faster_at_first():
    optimizer = optax.sgd(0.5)
    step = make_train_step(Toy(), optimizer, Objective(), ema_decay=0.25)
    state = _state(Toy(), optimizer)
    average = _host(state.params)
    for taken, decay in enumerate([1 / 10, 2 / 11, 3 / 12, 0.25, 0.25]):  # min(0.25, (1 + t) / (10 + t))
        assert state.step == taken
        state, _ = step(state, _batch())
        average = jax.tree.map(lambda old, new, d=decay: d * old + (1 - d) * np.asarray(new), average, state.params)
        compare = lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)  # noqa: E731
        jax.tree.map(compare, state.ema_params, average)


def test_a_padding_example_changes_neither_loss_nor_gradient():
    optimizer = optax.sgd(0.1)
    step = make_train_step(Toy(), optimizer, Objective(), ema_decay=0.9)
    batch = _batch(2)
    padded = {key: np.concatenate([value, _batch(3)[key][:1] * 50]) for key, value in batch.items()}
    padded["valid"] = np.float32([1, 1, 0])
    plain_state, plain = step(_state(Toy(), optimizer), batch)
    padded_state, metrics = step(_state(Toy(), optimizer), padded)
    for key, value in plain.items():
        np.testing.assert_allclose(metrics[key], value, rtol=1e-5)
    compare = lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7)  # noqa: E731
    jax.tree.map(compare, padded_state.params, plain_state.params)


@pytest.mark.parametrize(("norm", "moves"), [("batch", True), ("fixed_statistics", False), ("frozen", False)])
def test_only_a_live_batch_norm_moves_its_statistics(norm, moves):
    model, optimizer = Toy(norm), optax.sgd(0.1)
    state = _state(model, optimizer)
    before = _host(state.batch_stats)
    state, _ = make_train_step(model, optimizer, Objective(), ema_decay=0.9)(state, _batch())
    assert jax.tree.structure(state.batch_stats) == jax.tree.structure(before)
    same = [
        np.array_equal(*pair) for pair in zip(jax.tree.leaves(state.batch_stats), jax.tree.leaves(before), strict=True)
    ]
    assert not any(same) if moves else all(same)


def test_the_joint_network_learns_one_batch_by_heart():
    y, x = np.mgrid[:32, :32]
    masks = np.stack([(y - 10) ** 2 + (x - 10) ** 2 < 36, (y - 20) ** 2 + (x - 18) ** 2 < 64]).astype(np.float32)
    images = (RNG.normal(0, 0.1, (2, 32, 32, 3)) + masks[..., np.newaxis]).astype(np.float32)
    batch = {**_batch(), "image": images, "mask": masks}
    model, optimizer = build(tiny.preset("joint")), optax.adam(1e-2)
    variables = tiny.random_variables(model, images)
    state = TrainState(
        jnp.zeros((), jnp.int32),
        variables["params"],
        {},
        optimizer.init(variables["params"]),
        _host(variables["params"]),
    )
    step = make_train_step(model, optimizer, Objective(), ema_decay=0.9)
    step = step.lower(state, batch).compile({"xla_backend_optimization_level": 0})  # in two thirds of the time
    history = []
    for _ in range(80):
        state, metrics = step(state, batch)
        history.append({key: float(value) for key, value in metrics.items()})
    assert history[-1]["segmentation_loss"] < 0.5 * history[0]["segmentation_loss"]
    assert history[-1]["classification_loss"] < 0.2
    assert np.isfinite([value for one in history for value in one.values()]).all()
