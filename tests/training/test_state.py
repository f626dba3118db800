"""The state that a run starts from."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from jcs_jax.models.presets import build
from jcs_jax.training.state import NEVER, TrainState, create_state, initial_variables


def _create(seed: int = 0, **options) -> TrainState:
    model = build(tiny.preset("classifier", **options))
    return create_state(initial_variables(model, seed=seed, input_size=(32, 32)), optax.adam(1e-3), seed=seed)


@pytest.fixture(scope="module")
def with_group_norm() -> TrainState:
    return _create()


@pytest.fixture(scope="module")
def with_batch_norm() -> TrainState:
    return _create(norm="batch")


def test_a_run_starts_at_step_0_with_its_average_at_its_parameters(with_group_norm):
    state = with_group_norm
    assert state.step.dtype == state.failed_step.dtype == jnp.int32
    assert state.step == 0
    assert state.failed_step == NEVER
    jax.tree.map(np.testing.assert_array_equal, state.ema_params, state.params)
    assert all(float(jnp.abs(leaf).max()) == 0 for leaf in jax.tree.leaves(optax.tree.get(state.opt_state, "mu")))


def test_average_and_parameters_do_not_share_memory_that_a_step_would_donate_twice(with_group_norm):
    pairs = zip(jax.tree.leaves(with_group_norm.params), jax.tree.leaves(with_group_norm.ema_params), strict=True)
    assert all(one.unsafe_buffer_pointer() != two.unsafe_buffer_pointer() for one, two in pairs)


def test_the_seed_decides_the_parameters_and_the_key_of_dropout(with_group_norm):
    again, other = _create(), _create(seed=1)
    jax.tree.map(np.testing.assert_array_equal, again.params, with_group_norm.params)
    kernel = with_group_norm.params["res2net"]["stem1_conv"]["kernel"]
    assert not np.array_equal(other.params["res2net"]["stem1_conv"]["kernel"], kernel)
    np.testing.assert_array_equal(again.rng, with_group_norm.rng)
    assert not np.array_equal(other.rng, with_group_norm.rng)


def test_convolutions_start_with_hes_variance(with_group_norm):
    kernel = np.asarray(with_group_norm.params["res2net"]["stage4_block0"]["shortcut_conv"]["kernel"])
    assert kernel.shape == (1, 1, 16, 16)
    assert kernel.std() == pytest.approx(np.sqrt(2 / 16), rel=0.2)


def test_group_norm_has_no_statistics_to_carry_or_to_save(with_group_norm):
    assert with_group_norm.batch_stats == {}
    assert with_group_norm.inference_variables().keys() == {"params"}


def test_inference_takes_the_averaged_parameters_and_the_current_statistics(with_batch_norm):
    state = with_batch_norm.replace(ema_params=jax.tree.map(lambda leaf: leaf + 1, with_batch_norm.params))
    variables = state.inference_variables()
    jax.tree.map(np.testing.assert_array_equal, variables["params"], state.ema_params)
    jax.tree.map(np.testing.assert_array_equal, variables["batch_stats"], state.batch_stats)


def test_a_state_has_the_variables_it_is_given_and_a_fresh_optimiser(with_batch_norm):
    given = {
        "params": jax.tree.map(lambda leaf: np.asarray(leaf) + 1, with_batch_norm.params),
        "batch_stats": jax.tree.map(lambda leaf: np.asarray(leaf) + 2, with_batch_norm.batch_stats),
    }
    state = create_state(given, optax.adam(1e-3), seed=0)
    assert state.step == 0
    jax.tree.map(np.testing.assert_array_equal, state.params, given["params"])
    jax.tree.map(np.testing.assert_array_equal, state.inference_variables(), given)
    jax.tree.map(np.testing.assert_array_equal, state.opt_state, with_batch_norm.opt_state)
