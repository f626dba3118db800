"""Schedules and optimisers against values by hand and against one another."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jcs_jax.training.optimizers import modern_optimizer, modern_schedule, reference_optimizer, reference_schedule

LR = 2.5e-5


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (0, 0.1 + 0.9 / 200),
        (99, 0.55),
        (199, 1.0),
        (200, 0.9**0.9),
        (1000, 0.5**0.9),
        (1999, 0.0005**0.9),
        (2000, 0.0),
        (2500, 0.0),
    ],
)
def test_reference_schedule_warms_up_for_200_steps_and_then_decays(step, factor):
    schedule = reference_schedule(LR, total_steps=2000, steps_per_epoch=500)
    np.testing.assert_allclose(schedule(step), LR * factor, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.1 + 0.9 / 200), (78, 0.1 + 0.9 * 79 / 200), (79, (1 - 79 / 790) ** 0.9)]
)
def test_the_reference_warm_up_ends_with_an_epoch_that_is_shorter(step, factor):
    schedule = reference_schedule(LR, total_steps=790, steps_per_epoch=79)
    np.testing.assert_allclose(schedule(step), LR * factor, rtol=1e-5)


def test_reference_schedule_is_the_same_inside_a_jitted_step():
    schedule = reference_schedule(LR, 790, 79)
    steps = jnp.array([0, 50, 79, 300, 789])
    expected = [schedule(int(step)) for step in steps]
    np.testing.assert_allclose(jax.jit(jax.vmap(schedule))(steps), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("step", "value"),
    [(0, 0.0), (5, 0.5), (10, 1.0), (55, (1 + 0.01) / 2), (100, 0.01), (200, 0.01)],
)
def test_modern_schedule_warms_up_linearly_and_decays_by_a_cosine(step, value):
    np.testing.assert_allclose(modern_schedule(1.0, 100, 10)(step), value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("steps", [1, 2, 3, 20])
def test_modern_schedule_of_a_very_short_run_still_reaches_its_peak(steps):
    schedule = modern_schedule(1.0, steps, warmup_steps=50)
    rates = [float(schedule(step)) for step in range(steps)]
    assert max(rates) == pytest.approx(1.0)
    assert np.isfinite(rates).all()


RTOL = 1e-4  # float32 holds 1 - 0.999 to 5e-5
PARAMS = {"kernel": jnp.full((2, 2), 4.0), "bias": jnp.full((2,), 4.0)}
GRADS = {"kernel": jnp.full((2, 2), 0.5), "bias": jnp.full((2,), -0.5)}


def _one_step(optimizer: optax.GradientTransformation, grads=GRADS):
    updates, _ = _update(optimizer, grads, optimizer.init(PARAMS))
    return updates


def _update(optimizer: optax.GradientTransformation, grads, state):
    """As a training step does."""
    optimizer = optax.with_extra_args_support(optimizer)
    return optimizer.update(grads, state, PARAMS, gradient_norm=optax.tree.norm(grads))


def test_reference_decay_is_added_to_the_gradient_and_so_disappears_in_the_first_normalised_step():
    lr, decay = 0.1, 0.3
    updates = _one_step(reference_optimizer(lambda _: lr, decay))
    # g = 0.5 + 0.3 * 4 = 1.7; m/(1-b1) = g, v/(1-b2) = g^2: the step is lr * g / (|g| + 1e-8).
    np.testing.assert_allclose(updates["kernel"], -lr * 1.7 / (1.7 + 1e-8), rtol=RTOL)
    # On the bias the decay is stronger than the gradient and turns the step round; biases decay too.
    np.testing.assert_allclose(updates["bias"], -lr * 0.7 / (0.7 + 1e-8), rtol=RTOL)


def test_modern_decay_is_added_to_the_step_and_spares_vectors():
    lr, decay = 0.1, 0.3
    updates = _one_step(modern_optimizer(lambda _: lr, decay, clip_norm=1e9))
    np.testing.assert_allclose(updates["kernel"], -lr * (1 + decay * 4.0), rtol=RTOL)
    np.testing.assert_allclose(updates["bias"], lr, rtol=RTOL)


def test_modern_optimiser_clips_the_global_norm_of_the_gradient():
    huge = jax.tree.map(lambda leaf: 1e6 * leaf, GRADS)
    optimizer = modern_optimizer(lambda _: 1.0, 0.0, clip_norm=1.0)
    _, state = _update(optimizer, huge, optimizer.init(PARAMS))
    moments = optax.tree.get(state, "mu")
    assert float(optax.tree.norm(moments)) == pytest.approx(0.1, rel=RTOL)  # (1 - b1) times a norm of 1


@pytest.mark.parametrize("factors", [{}, {"kernel": 0.5}, {"kernel": 0.0}])
def test_a_gradient_that_is_short_enough_is_left_alone_whatever_parts_there_are(factors):
    free, clipped = (_one_step(modern_optimizer(lambda _: 0.1, 0.3, clip, factors=factors)) for clip in (0.0, 1.5))
    jax.tree.map(np.testing.assert_array_equal, clipped, free)


def test_both_take_the_rate_of_the_step_they_are_at():
    rates = jnp.array([0.0, 0.5])
    for make in (reference_optimizer, modern_optimizer):
        optimizer = make(lambda step: rates[step], 0.0)
        state = optimizer.init(PARAMS)
        first, state = _update(optimizer, GRADS, state)
        second, _ = _update(optimizer, GRADS, state)
        assert float(jnp.abs(first["kernel"]).max()) == 0
        np.testing.assert_allclose(second["kernel"], -0.5, rtol=RTOL)


def _twenty_updates(optimizer: optax.GradientTransformation):
    """Parameters after as many steps, of gradients that differ in size and sign."""
    params, update, state = PARAMS, jax.jit(optax.with_extra_args_support(optimizer).update), optimizer.init(PARAMS)
    rng = np.random.default_rng(0)
    for _ in range(20):
        grads = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), PARAMS)
        updates, state = update(grads, state, params, gradient_norm=optax.tree.norm(grads))
        params = optax.apply_updates(params, updates)
    return params


def test_the_reference_optimiser_is_optax_adam_behind_an_l2_penalty():
    schedule = reference_schedule(0.1, total_steps=20, steps_per_epoch=5)
    expected = optax.chain(optax.add_decayed_weights(0.3), optax.adam(schedule, eps=1e-8))
    found = reference_optimizer(schedule, 0.3)
    jax.tree.map(
        lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5), *map(_twenty_updates, (found, expected))
    )


def test_the_modern_optimiser_is_optax_adamw_behind_a_clip():
    schedule = modern_schedule(0.1, 20, warmup_steps=5)
    kernels = {"kernel": True, "bias": False}
    expected = optax.chain(
        optax.clip_by_global_norm(1.5), optax.adamw(schedule, eps=1e-6, weight_decay=0.3, mask=kernels)
    )
    found = modern_optimizer(schedule, 0.3, clip_norm=1.5)
    jax.tree.map(
        lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5), *map(_twenty_updates, (found, expected))
    )


@pytest.mark.parametrize("make", [reference_optimizer, modern_optimizer])
def test_a_step_that_does_not_count_leaves_the_optimiser_as_it_was(make):
    optimizer = make(optax.constant_schedule(0.1), factors={"kernel": 0.5})
    _, before = _update(optimizer, GRADS, optimizer.init(PARAMS))
    bad = jax.tree.map(lambda leaf: leaf * np.nan, GRADS)
    _, after = optimizer.update(bad, before, PARAMS, gradient_norm=jnp.nan, accepted=jnp.asarray(False))
    jax.tree.map(np.testing.assert_array_equal, after, before)
