"""Batches that are computed by halves."""

import threading

import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jcs_jax.diagnosis import programs
from jcs_jax.diagnosis.programs import JaxPrograms
from jcs_jax.models.compilation import halves_pay, run_together
from jcs_jax.models.presets import build

SIDE = 64


@pytest.mark.parametrize(
    ("shape", "platform", "pays"),
    [
        ((8, 224, 224, 3), "cpu", True),
        ((2, 256, 256, 3), "cpu", True),
        ((1, 224, 224, 3), "cpu", False),
        ((3, 224, 224, 3), "cpu", False),
        ((8, 512, 512, 3), "cpu", False),
        ((8, 224, 224, 3), "gpu", False),
    ],
)
def test_batches_of_small_images_are_halved_on_cpus(shape, platform, pays):
    assert halves_pay(shape, platform) is pays


def test_both_halves_run_at_the_same_time_and_keep_their_order():
    both = threading.Barrier(2, timeout=60)

    def run(half: int):
        both.wait()
        return jnp.full(3, half)

    first, second = run_together(run)
    np.testing.assert_array_equal(np.stack([first, second]), [[0] * 3, [1] * 3])


@pytest.mark.parametrize("flip", [False, True])
def test_halves_say_what_the_whole_batch_says(flip, monkeypatch):
    preset = tiny.preset("joint", side=SIDE, classes=2)
    model = build(preset)
    variables = tiny.random_variables(model, jnp.zeros((1, SIDE, SIDE, 3)))
    images = np.random.default_rng(1).normal(size=(4, SIDE, SIDE, 3)).astype(np.float32)
    network = JaxPrograms(model, variables, preset, flip=flip)
    halves = network.screen(images)
    masks = network.segment(images, halves.trunk)
    monkeypatch.setattr(programs, "halves_pay", lambda *_: False)
    whole = network.screen(images)
    assert halves.trunk.keys() == whole.trunk.keys()
    for one, other in zip(halves[:3], whole[:3], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    for name, maps in halves.trunk.items():
        np.testing.assert_allclose(maps, whole.trunk[name], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(masks, network.segment(images, whole.trunk), atol=1e-3)
