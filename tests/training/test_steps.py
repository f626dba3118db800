"""The training step on a network of three layers."""

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
from jcs_jax.training.objective import Objective
from jcs_jax.training.optimizers import by_part, modern_optimizer
from jcs_jax.training.sharding import make_layout
from jcs_jax.training.state import TrainState, create_state
from jcs_jax.training.steps import make_train_step

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
    return create_state(tiny.random_variables(model, jnp.zeros((1, SIDE, SIDE, 3))), optimizer, seed=0)


def _host(tree):
    """A copy that outlives the donation of the original."""
    return jax.tree.map(np.array, tree)


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
    assert metrics.keys() == {"loss", "segmentation_loss", "classification_loss", "gradient_norm", "failed_step"}
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
    state = create_state(variables, optimizer, seed=0)
    step = make_train_step(model, optimizer, Objective(), ema_decay=0.9)
    step = step.lower(state, batch).compile({"xla_backend_optimization_level": 0})  # in two thirds of the time
    history = []
    for _ in range(80):
        state, metrics = step(state, batch)
        history.append({key: float(value) for key, value in metrics.items()})
    assert history[-1]["segmentation_loss"] < 0.5 * history[0]["segmentation_loss"]
    assert history[-1]["classification_loss"] < 0.2
    assert np.isfinite([value for one in history for value in one.values()]).all()


def _steps(model: nn.Module, batches: list, *, state: TrainState | None = None, **options) -> tuple[TrainState, list]:
    optimizer = options.pop("optimizer", optax.sgd(0.1))
    step = make_train_step(model, optimizer, options.pop("objective", Objective()), ema_decay=0.9, **options)
    state, history = state or _state(model, optimizer), []
    for batch in batches:
        state, metrics = step(state, batch)
        history.append({name: float(value) for name, value in metrics.items()})
    return state, history


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_gives_the_gradient_of_the_whole_also_where_parts_know_different_things(parts):
    batch = _batch(4, mask_valid=[1, 0, 1, 1], label_valid=[0, 1, 1, 0])
    whole, expected = _steps(Toy(), [batch])
    split, metrics = _steps(Toy(), [batch], accumulate=parts)
    for name, value in expected[0].items():
        assert metrics[0][name] == pytest.approx(value, rel=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), split.params, whole.params)


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_fixed_parts_give_the_gradient_of_the_whole(parts):
    batch = _batch(4, mask_valid=[1, 0, 1, 1], label_valid=[0, 1, 1, 0])
    _, (expected,) = _steps(Toy(), [batch])
    _, (found,) = _steps(Toy(), [batch], fixed_parts=parts, layout=make_layout(1, 1))
    assert found == pytest.approx(expected, rel=1e-5)


def test_fixed_parts_need_to_know_who_shares_them():
    with pytest.raises(ValueError, match="fixed_parts needs a layout"):
        make_train_step(Toy(), optax.sgd(0.1), Objective(), ema_decay=0.9, fixed_parts=2)


def test_statistics_of_fixed_parts_are_averaged():
    halves = [{key: value[half] for key, value in _batch(4).items()} for half in (slice(2), slice(2, 4))]
    moved = [_steps(Toy("batch"), [half])[0].batch_stats for half in halves]
    state, _ = _steps(Toy("batch"), [_batch(4)], fixed_parts=2, layout=make_layout(1, 1))
    expected = jax.tree.map(lambda one, two: (one + two) / 2, *moved)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), state.batch_stats, expected)


def test_a_part_in_which_nothing_is_known_adds_nothing():
    batch = _batch(4, mask_valid=[1, 0, 1, 0], label_valid=[1, 0, 1, 0])  # rows 1 and 3 are the second part
    _, expected = _steps(Toy(), [batch])
    _, metrics = _steps(Toy(), [batch], accumulate=2)
    assert metrics[0]["loss"] == pytest.approx(expected[0]["loss"], rel=1e-6)
    assert metrics[0]["gradient_norm"] == pytest.approx(expected[0]["gradient_norm"], rel=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_that_is_not_finite_changes_nothing_nor_do_those_after_it(bad):
    good, spoilt = _batch(), _batch(image=np.full((2, SIDE, SIDE, 3), bad))
    optimizer = modern_optimizer(optax.constant_schedule(1e-2))
    before, _ = _steps(Toy(), [good, good], optimizer=optimizer)
    after, history = _steps(Toy(), [good, good, spoilt, good], optimizer=optimizer)
    assert [entry["failed_step"] for entry in history] == [-1, -1, 2, 2]
    assert after.failed_step == 2
    jax.tree.map(np.testing.assert_array_equal, after.replace(failed_step=before.failed_step), before)


def test_frozen_parts_neither_move_nor_count_in_the_gradient():
    model, optimizer = Toy("batch"), by_part(optax.adamw(0.1), {"block": 0.0})
    state = _state(model, optimizer)
    before = _host((state.params, state.batch_stats))
    after, history = _steps(model, [_batch()] * 2, state=state, optimizer=optimizer, frozen=["block"])
    jax.tree.map(np.testing.assert_array_equal, after.params["block"], before[0]["block"])
    jax.tree.map(np.testing.assert_array_equal, after.batch_stats["block"], before[1]["block"])
    assert not np.array_equal(after.params["sides"]["kernel"], before[0]["sides"]["kernel"])
    _, free = _steps(model, [_batch()])
    assert 0 < history[0]["gradient_norm"] < free[0]["gradient_norm"]


def test_a_part_with_half_the_learning_rate_moves_half_as_far():
    start = _host(_state(Toy(), optax.sgd(0.1)).params)
    plain, _ = _steps(Toy(), [_batch()])
    optimizer = by_part(optax.sgd(0.1), {"block": 0.5})
    halved, _ = _steps(Toy(), [_batch()], state=_state(Toy(), optimizer), optimizer=optimizer)
    factors = {"block": 0.5, "sides": 1.0, "class_head": 1.0}
    for part, factor in factors.items():
        expected = jax.tree.map(lambda s, p, f=factor: s + f * (p - s), start[part], plain.params[part])
        compare = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)  # noqa: E731
        jax.tree.map(compare, halved.params[part], expected)


def test_without_an_average_the_parameters_are_what_is_kept():
    variables = tiny.random_variables(Toy(), jnp.zeros((1, SIDE, SIDE, 3)))
    state = create_state(variables, optax.sgd(0.1), seed=0, average=False)
    state, _ = _steps(Toy(), [_batch()], state=state)
    assert state.ema_params is None
    assert state.inference_variables()["params"] is state.params
