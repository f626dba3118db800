"""Damaged slices: what is done to them, what is to be given back, and that a network learns it."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from jcs_jax.losses import restoration_loss
from jcs_jax.models.output import ModelOutput
from jcs_jax.preprocessing import Preprocessing
from jcs_jax.training.disturbance import disturbed_greys, from_grey, random_boxes, to_grey
from jcs_jax.training.objective import Objective
from jcs_jax.training.restoration import COVERED, REMAINING, Restoration
from jcs_jax.training.state import create_state
from jcs_jax.training.steps import make_train_step

SIDE, COUNT = 32, 200
PREPROCESSING = Preprocessing(size=(SIDE, SIDE))
HOW = Restoration(PREPROCESSING)


def _batch(count=COUNT, side=SIDE, **changes):
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0.2, 0.8, (count, side // 8, side // 8))
    grey = jnp.asarray(np.kron(coarse, np.ones((8, 8))), jnp.float32)
    ones = {key: jnp.ones(count) for key in ("valid", "label_valid", "label")}
    empty = {"mask": jnp.zeros((count, side, side)), "mask_valid": jnp.zeros(count)}
    return {"image": from_grey(grey, PREPROCESSING), **empty, **ones, **changes}


def _state(step=0, seed=0):
    state = create_state({"params": {"weight": jnp.ones(())}}, optax.sgd(0.1), seed=seed)
    return state.replace(step=jnp.asarray(step))


_teach = tiny.quick_jit(lambda state, batch: HOW.teach(None, state, batch))


def test_what_is_to_be_given_back_is_the_slice_as_it_was():
    batch = _batch()
    taught = _teach(_state(), batch)
    np.testing.assert_allclose(taught["mask"], to_grey(batch["image"], PREPROCESSING), atol=1e-6)
    assert taught["mask"].min() >= 0 and taught["mask"].max() <= 1
    np.testing.assert_array_equal(taught["mask_valid"], 1)
    np.testing.assert_array_equal(taught["label_valid"], 0)
    assert taught["image"].shape == batch["image"].shape and taught["image"].dtype == batch["image"].dtype


def test_a_row_that_fills_the_batch_teaches_nothing():
    valid = (jnp.arange(COUNT) < 7).astype(jnp.float32)
    np.testing.assert_array_equal(_teach(_state(), _batch(valid=valid))["mask_valid"], valid)


def test_every_channel_holds_the_same_damaged_grey_from_black_to_white():
    grey = _teach(_state(), _batch())["image"] * np.asarray(PREPROCESSING.std) + np.asarray(PREPROCESSING.mean)
    np.testing.assert_allclose(grey[..., 1], grey[..., 0], atol=1e-5)
    np.testing.assert_allclose(grey[..., 2], grey[..., 0], atol=1e-5)
    assert grey.min() > -1e-5 and grey.max() < 1 + 1e-5


def test_step_and_seed_decide_about_the_damage():
    first, again, later, other = (_teach(state, _batch(9)) for state in (_state(), _state(), _state(1), _state(seed=1)))
    np.testing.assert_array_equal(first["image"], again["image"])
    for changed in (later, other):
        assert not any(np.array_equal(one, two) for one, two in zip(first["image"], changed["image"], strict=True))


def test_some_slices_are_covered_by_boxes_of_one_grey_and_of_some_only_boxes_remain():
    flat = from_grey(jnp.full((COUNT, SIDE, SIDE), 0.5), PREPROCESSING)
    grey = np.asarray(to_grey(_teach(_state(), _batch(image=flat))["image"], PREPROCESSING))
    # A damaged flat slice is its new grey with a little noise, unless something covers it.
    away = np.abs(grey - np.median(grey, axis=(1, 2), keepdims=True)) > 0.15
    noisy = np.quantile(np.abs(np.diff(grey, axis=2)), 0.75, axis=(1, 2)) > 0.075  # noise wherever no box remained
    assert noisy.mean() == pytest.approx(REMAINING, abs=0.08)
    covered = away.mean(axis=(1, 2)) > 0.02
    assert (covered & ~noisy).mean() == pytest.approx(COVERED * 0.8, abs=0.2)
    assert (~covered & ~noisy).any()


def test_shuffled_pixels_come_from_nearby():
    rows = jnp.broadcast_to(jnp.linspace(0, 1, 64)[:, jnp.newaxis], (COUNT, 64, 64))
    batch = _batch(side=64, image=from_grey(rows, PREPROCESSING))
    damaged = to_grey(_teach(_state(), batch)["image"], PREPROCESSING)
    # Contrast and gamma keep the order of a ramp's rows; places that break it by much were shuffled or covered.
    turned = np.asarray((jnp.diff(damaged, axis=1) < -0.1).mean(axis=(1, 2)))
    assert 0.3 < (turned > 0.005).mean() < 0.95


def test_boxes_have_sides_between_the_shares_and_lie_inside():
    boxes = np.asarray(random_boxes(jax.random.key(0), (50, 40, 80), 3, (0.25, 0.5)))
    assert boxes.shape == (50, 3, 40, 80)
    for axis, size in ((3, 40), (2, 80)):
        sides = boxes.any(axis=axis).sum(axis=-1)
        assert sides.min() >= 0.25 * size - 1 and sides.max() <= 0.5 * size + 1
    assert boxes.any(axis=(0, 1)).mean() > 0.9


def test_disturbed_greys_stay_grey_and_between_black_and_white():
    images = _batch(5)["image"]
    grey = to_grey(disturbed_greys(images, jax.random.key(1), PREPROCESSING), PREPROCESSING)
    assert grey.shape == (5, SIDE, SIDE) and grey.min() > -1e-6 and grey.max() < 1 + 1e-6
    assert not np.allclose(grey, to_grey(images, PREPROCESSING), atol=0.02)


def test_the_loss_is_least_where_the_greys_are_given_back():
    greys = jnp.asarray(np.random.default_rng(3).uniform(0.1, 0.9, (2, 6, 5)), jnp.float32)
    right = jnp.log(greys / (1 - greys))[..., jnp.newaxis].repeat(3, axis=-1)
    entropy = -(greys * jnp.log(greys) + (1 - greys) * jnp.log(1 - greys)).mean(axis=(1, 2))
    np.testing.assert_allclose(restoration_loss(right, greys), 3 * entropy, rtol=1e-5)
    np.testing.assert_allclose(jax.grad(lambda logits: restoration_loss(logits, greys).sum())(right), 0, atol=1e-7)
    assert (restoration_loss(right + 0.3, greys) > restoration_loss(right, greys)).all()


def test_a_batchs_loss_is_the_mean_over_its_slices():
    objective = Objective(segmentation="restoration")
    rng = np.random.default_rng(4)
    logits, greys = rng.standard_normal((3, 4, 4, 2), np.float32), rng.random((3, 4, 4), np.float32)
    valid = jnp.asarray([1.0, 1.0, 0.0])
    batch = {"mask": jnp.asarray(greys), "mask_valid": valid, "valid": valid, "label_valid": 0 * valid, "label": valid}
    output = dataclasses.make_dataclass("Output", ["side_logits", "class_logits"])(jnp.asarray(logits), None)
    loss, _ = objective(output, batch)
    np.testing.assert_allclose(loss, restoration_loss(logits[:2], jnp.asarray(greys[:2])).mean(), rtol=1e-6)


@pytest.mark.parametrize("name", ["lesion_weight", "cross_entropy_weight"])
def test_weights_of_lesions_have_no_meaning_here(name):
    with pytest.raises(ValueError, match=f"^{name} changes single slices' loss only"):
        Objective(segmentation="restoration", **{name: 2.0})


class TwoConvolutions(nn.Module):
    """Something that can smooth and fill in."""

    @nn.compact
    def __call__(self, images, *, train: bool = False) -> ModelOutput:
        return ModelOutput(None, nn.Conv(5, (5, 5))(nn.relu(nn.Conv(16, (5, 5))(images))), {})


def test_a_network_learns_to_give_slices_back():
    model, batch, optimizer = TwoConvolutions(), _batch(4), optax.adam(1e-2)
    state = create_state(model.init(jax.random.key(0), batch["image"]), optimizer, seed=0)
    step = make_train_step(model, optimizer, Objective(segmentation="restoration"), ema_decay=0.0, teacher=HOW)
    losses = []
    for _ in range(60):
        state, metrics = step(state, batch)
        losses.append(float(metrics["segmentation_loss"]))
    greys = np.asarray(to_grey(batch["image"], PREPROCESSING))
    least = 5 * -(greys * np.log(greys) + (1 - greys) * np.log(1 - greys)).mean()
    assert np.mean(losses[-5:]) - least < 0.7 * (np.mean(losses[:3]) - least)
