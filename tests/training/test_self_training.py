"""Masks for slices without one, by hand: the toy's probability of a pixel x is sigmoid(slope * x)."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from jcs_jax.models.output import ModelOutput
from jcs_jax.preprocessing import Preprocessing
from jcs_jax.training.objective import Objective
from jcs_jax.training.self_training import BOX, SelfTraining
from jcs_jax.training.state import TrainState, create_state
from jcs_jax.training.steps import make_train_step

SIDE, ROWS = 16, 6
HALF = (0.5, 0.5, 0.5)
PREPROCESSING = Preprocessing(size=(SIDE, SIDE), mean=HALF, std=HALF)
PLAIN = SelfTraining(weight=1.0, warmup_steps=0, cut_mix=0.0, first_row=2, preprocessing=PREPROCESSING)
BOXES = dataclasses.replace(PLAIN, cut_mix=1.0)
LACKING = slice(3, 6)  # rows of `_batch` without a mask


class Slope(nn.Module):
    """One number for the lesion's logit of a pixel."""

    @nn.compact
    def __call__(self, images, *, train: bool = False) -> ModelOutput:
        slope = self.param("slope", nn.initializers.ones, ())
        return ModelOutput(None, slope * images[..., :1], {})


class Convolution(nn.Module):
    """Something to learn, without a norm."""

    @nn.compact
    def __call__(self, images, *, train: bool = False) -> ModelOutput:
        return ModelOutput(None, nn.Conv(2, (3, 3), name="sides")(images), {})


def _batch(count: int = ROWS, **changes) -> dict[str, jax.Array]:
    """Grey slices; rows 0 to 2 have a mask, also row 2, which `PLAIN` looks at."""
    rng = np.random.default_rng(1)
    grey = rng.uniform(-0.5, 0.5, (count, SIDE, SIDE, 1))
    return {
        "image": jnp.asarray(np.repeat(grey, 3, axis=-1), jnp.float32),
        "mask": jnp.asarray(rng.random((count, SIDE, SIDE)) > 0.5, jnp.float32),
        "label": jnp.asarray(np.arange(count) % 2, jnp.float32),
        "mask_valid": jnp.asarray(np.arange(count) < 3, jnp.float32),
        **{key: jnp.ones(count) for key in ("valid", "label_valid")},
        **{key: jnp.asarray(value, jnp.float32) for key, value in changes.items()},
    }


def _state(slope: float = 2.0, *, now: float = -1.0, step: int = 0, seed: int = 0) -> TrainState:
    state = create_state({"params": {"slope": jnp.asarray(now)}}, optax.sgd(0.1), seed=seed)
    return state.replace(ema_params={"slope": jnp.asarray(slope)}, step=jnp.asarray(step))


@functools.cache
def _program(first_row: int, warmup_steps: int):
    """`teach`, compiled once for all weights and probabilities, so that rows can be compared to the bit."""

    def teach(weight, cut_mix, state, batch):
        how = SelfTraining(weight, warmup_steps, cut_mix, first_row, PREPROCESSING)
        return how.teach(Slope(), state, batch)

    return tiny.quick_jit(teach)


def _taught(how: SelfTraining = PLAIN, state: TrainState | None = None, batch=None) -> dict[str, np.ndarray]:
    given = (_state() if state is None else state, _batch() if batch is None else batch)
    return jax.tree.map(np.asarray, _program(how.first_row, how.warmup_steps)(how.weight, how.cut_mix, *given))


def _same(one, two) -> bool:
    return np.array_equal(one, two)


def test_the_averaged_weights_draw_the_mask_of_the_slice_as_it_was():
    pixels = np.asarray(_batch()["image"][..., 0], np.float64)
    taught = _taught()
    np.testing.assert_array_equal(taught["mask"][LACKING], pixels[LACKING] >= 0)
    # |2 sigmoid(2 x) - 1| = |tanh(x)|
    np.testing.assert_allclose(taught["mask_certainty"][LACKING], np.abs(np.tanh(pixels[LACKING])), atol=1e-6)
    np.testing.assert_array_equal(_taught(state=_state(-2.0))["mask"][LACKING], pixels[LACKING] <= 0)


def test_the_trained_weights_decide_nothing_where_there_is_an_average():
    one, two = _taught(), _taught(state=_state(now=5.0))
    assert all(_same(one[key], two[key]) for key in one)


@pytest.mark.parametrize("how", [PLAIN, BOXES, dataclasses.replace(BOXES, first_row=0)])
def test_rows_with_a_mask_stay_to_the_bit_and_are_certain(how):
    batch, taught = _batch(), _taught(how)
    assert all(taught[key][:3].tobytes() == np.asarray(value[:3]).tobytes() for key, value in batch.items())
    assert {key: taught[key].dtype for key in batch} == {key: value.dtype for key, value in batch.items()}
    np.testing.assert_array_equal(taught["mask_certainty"][:3], 1.0)
    assert not any(_same(taught["image"][row], batch["image"][row]) for row in (3, 4, 5))


@pytest.mark.parametrize(
    ("how", "changes"),
    [
        (BOXES, {"mask_valid": np.ones(ROWS)}),
        (BOXES, {"valid": np.arange(ROWS) < 3}),
        (dataclasses.replace(BOXES, first_row=ROWS), {}),
    ],
    ids=["every row has one", "those without are padding", "none is looked at"],
)
def test_a_batch_in_which_nothing_is_to_be_drawn_stays_to_the_bit(how, changes):
    batch = _batch(**changes)
    taught = _taught(how, batch=batch)
    assert all(taught[key].tobytes() == np.asarray(value).tobytes() for key, value in batch.items())
    np.testing.assert_array_equal(taught["mask_certainty"], 1.0)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_disturbed_slice_is_grey_within_its_range_and_of_its_type(dtype):
    batch = _batch()
    image = np.asarray(_taught(batch={**batch, "image": batch["image"].astype(dtype)})["image"])
    assert image.dtype == dtype
    image = image[LACKING].astype(np.float32)
    assert -1 <= image.min() < image.max() <= 1
    assert _same(image[..., 0], image[..., 1])
    assert _same(image[..., 0], image[..., 2])
    assert np.abs(image - np.asarray(batch["image"][LACKING])).mean() > 0.02


def test_a_disturbance_keeps_what_is_brighter_brighter_but_for_noise():
    image = np.asarray(_taught()["image"])
    for row in (3, 4, 5):
        before = np.asarray(_batch()["image"][row, ..., 0]).ravel()
        assert np.corrcoef(before, image[row, ..., 0].ravel())[0, 1] > 0.9


class TestBoxes:
    def _pasted(self, batch, step: int = 0) -> tuple[dict, dict, np.ndarray]:
        """The same rows without and with boxes, and where their pictures differ."""
        plain, boxed = (_taught(how, _state(step=step), batch) for how in (PLAIN, BOXES))
        return plain, boxed, (plain["image"] != boxed["image"]).any(axis=-1)

    @pytest.mark.parametrize("step", range(5))
    def test_image_mask_and_certainty_of_the_row_before_move_together(self, step):
        plain, boxed, inside = self._pasted(_batch(mask_valid=[1, 1, 0, 0, 0, 0]), step)
        assert inside[2:].any(axis=(1, 2)).all()
        for key in ("image", "mask", "mask_certainty"):
            before = np.roll(plain[key][2:], 1, axis=0)
            where = inside[2:] if plain[key].ndim == 3 else inside[2:, ..., np.newaxis]
            np.testing.assert_array_equal(boxed[key][2:], np.where(where, before, plain[key][2:]))

    @pytest.mark.parametrize("step", range(5))
    def test_a_box_is_a_rectangle_of_a_quarter_to_six_tenths_of_each_side(self, step):
        _, _, inside = self._pasted(_batch(mask_valid=[1, 1, 0, 0, 0, 0]), step)
        for box in inside[2:]:
            rows, columns = box.any(axis=1), box.any(axis=0)
            assert _same(box, np.outer(rows, columns))
            for side in (rows, columns):
                assert np.ptp(np.flatnonzero(side)) + 1 == side.sum()
                assert BOX[0] * SIDE - 1 <= side.sum() <= BOX[1] * SIDE + 1

    def test_nothing_of_a_row_with_a_mask_is_pasted(self):
        _, _, inside = self._pasted(_batch())
        assert inside.any(axis=(1, 2)).tolist() == [False, False, False, False, True, True]  # row 2 is before row 3

    def test_half_of_the_slices_get_one_where_the_probability_is_a_half(self):
        batch = _batch(64, mask_valid=np.zeros(64))
        with_boxes = _taught(dataclasses.replace(PLAIN, cut_mix=0.5, first_row=0), batch=batch)["image"]
        without = _taught(dataclasses.replace(PLAIN, first_row=0), batch=batch)["image"]
        assert 20 <= (with_boxes != without).any(axis=(1, 2, 3)).sum() <= 44  # 32 +- 3 standard deviations of 4

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"label": [0, 0, 0, 1, 1, 1]}, [1, 1, 1, 1, 1, 1]),  # of slices with the same label
            ({"label": [0, 0, 0, 1, 0, 0]}, [1, 1, 1, 1, 0, 1]),
            ({"label": [0, 0, 0, 0, 0, 0], "label_valid": [1, 1, 1, 1, 0, 1]}, [1, 1, 1, 1, 0, 0]),
        ],
    )
    def test_a_box_of_another_or_an_unknown_label_takes_the_label(self, changes, expected):
        taught = _taught(BOXES, batch=_batch(**changes))
        assert taught["label_valid"].tolist() == expected
        assert taught["label"].tolist() == _batch(**changes)["label"].tolist()

    def test_without_a_box_labels_stay(self):
        assert _taught(batch=_batch(label_valid=[1, 0, 1, 0, 1, 1]))["label_valid"].tolist() == [1, 0, 1, 0, 1, 1]


@pytest.mark.parametrize(("step", "expected"), [(0, 0.0), (5, 0.4), (10, 0.8), (1000, 0.8)])
def test_the_weight_rises_over_its_warm_up(step, expected):
    how = dataclasses.replace(PLAIN, weight=0.8, warmup_steps=10)
    np.testing.assert_allclose(_taught(how, _state(step=step))["mask_valid"], [1, 1, 1, *[expected] * 3], rtol=1e-6)


def test_without_a_warm_up_the_weight_is_there_from_the_first_step():
    assert _taught()["mask_valid"].tolist() == [1] * ROWS


def test_the_disturbance_follows_step_and_key_and_nothing_else():
    first = _taught(BOXES)
    again, later, other = (_taught(BOXES, _state(step=step, seed=seed)) for step, seed in ((0, 0), (1, 0), (0, 1)))
    assert all(_same(first[key], again[key]) for key in first)
    assert not _same(first["image"], later["image"])
    assert not _same(first["image"], other["image"])


def test_no_gradient_goes_through_the_weights_that_draw():
    def drawn(state_params):
        taught = BOXES.teach(Slope(), _state().replace(ema_params=state_params), _batch())
        return sum(jnp.sum(taught[key]) for key in ("mask", "mask_certainty", "image"))

    assert tiny.quick_jit(jax.grad(drawn))({"slope": jnp.asarray(2.0)})["slope"] == 0


def _trained(batch, steps: int = 1, **options) -> tuple[TrainState, dict[str, float]]:
    model, optimizer = Convolution(), optax.sgd(0.1)
    state = create_state(tiny.random_variables(model, jnp.zeros((1, SIDE, SIDE, 3))), optimizer, seed=0)
    step = make_train_step(model, optimizer, Objective(), ema_decay=0.9, **options)
    step = step.lower(state, batch).compile({"xla_backend_optimization_level": 0})  # sooner
    metrics = {}
    for _ in range(steps):
        state, metrics = step(state, batch)
    return state, {name: float(value) for name, value in metrics.items()}


def _assert_close(one: TrainState, two: TrainState) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), one.params, two.params)


class TestStep:
    def test_where_drawn_masks_weigh_nothing_it_is_the_step_without_self_training(self):
        plain, expected = _trained(_batch())
        taught, found = _trained(_batch(), teacher=dataclasses.replace(BOXES, warmup_steps=10))  # step 0 of 10
        assert found == pytest.approx(expected, rel=1e-6)
        _assert_close(taught, plain)

    def test_it_is_the_step_on_the_taught_batch(self):
        how = dataclasses.replace(BOXES, weight=0.5)
        model = Convolution()
        state = create_state(tiny.random_variables(model, jnp.zeros((1, SIDE, SIDE, 3))), optax.sgd(0.1), seed=0)
        plain, expected = _trained(tiny.quick_jit(functools.partial(how.teach, model))(state, _batch()))
        taught, found = _trained(_batch(), teacher=how)
        assert found == pytest.approx(expected, rel=1e-6)
        _assert_close(taught, plain)

    def test_the_loss_is_the_mean_of_the_rows_by_weight_and_certainty(self):
        how = dataclasses.replace(PLAIN, weight=0.5)
        model, taught = Slope(), {key: np.asarray(x, np.float64) for key, x in _taught(how).items()}
        logits = -1.0 * taught["image"][..., 0]  # by the trained slope
        p, y, w = 1 / (1 + np.exp(-logits)), taught["mask"], taught["mask_certainty"]
        bce = (w * -(y * np.log(p) + (1 - y) * np.log(1 - p))).sum((1, 2)) / w.sum((1, 2))
        dice = (2 * (w * p * y).sum((1, 2)) + 1e-5) / ((w * p).sum((1, 2)) + (w * y).sum((1, 2)) + 1e-5)
        share = np.float64([1, 1, 1, 0.5, 0.5, 0.5])
        step = make_train_step(model, optax.sgd(0.1), Objective(), ema_decay=0.9, teacher=how)
        step = step.lower(_state(), _batch()).compile({"xla_backend_optimization_level": 0})
        _, metrics = step(_state(), _batch())
        expected = (share * (bce + 1 - dice)).sum() / share.sum()
        assert float(metrics["loss"]) == pytest.approx(expected, rel=1e-5)

    def test_a_batch_in_parts_gives_the_gradient_of_the_whole(self):
        whole, expected = _trained(_batch(), steps=2, teacher=BOXES)
        split, found = _trained(_batch(), steps=2, teacher=BOXES, accumulate=2)
        assert found == pytest.approx(expected, rel=1e-5)
        _assert_close(split, whole)
