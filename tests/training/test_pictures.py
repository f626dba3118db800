"""The slices that TensorBoard shows: which they are, and what of the network's answer is drawn."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import stub_network

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.training import pictures
from jcs_jax.training.pictures import ExampleSlices
from jcs_jax.training.sharding import make_layout
from jcs_jax.training.state import create_state

SIDE = 64
PRESET = stub_network.preset()
KERNEL = stub_network.VARIABLES["params"]["class_head"]["kernel"]


def _source(count: int) -> ArraySource:
    """Slice i has intensity i / count, opacities in its left half, and the labels 0, 1, unknown in turn."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:, : SIDE // 2] = 1
    images = [np.full((SIDE, SIDE), index / count, np.float32) for index in range(count)]
    return ArraySource(
        [Example(image, mask=mask, label=(0, 1, -1)[i % 3], name=f"person {i}") for i, image in enumerate(images)]
    )


def _state(kernel=KERNEL):
    return create_state({"params": {"class_head": {"kernel": jnp.asarray(kernel)}}}, optax.sgd(1.0), seed=0)


def _slices(count: int, **network) -> ExampleSlices:
    return ExampleSlices(PRESET, stub_network.StubNetwork(**network), make_layout(-1, 1), _source(count))


@pytest.fixture
def drawn(monkeypatch):
    """What is handed over to be drawn."""
    given = {}
    monkeypatch.setattr(
        pictures, "example_pictures", lambda intensities, **rest: given.update(rest, slices=intensities)
    )
    return given


def test_four_slices_are_spread_over_the_split(drawn):
    _slices(10).draw(_state())
    np.testing.assert_allclose([image.mean() for image in drawn["slices"]], [0.0, 0.2, 0.5, 0.7], atol=1e-6)
    assert drawn["names"] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("count", [1, 3])
def test_a_split_of_fewer_is_shown_whole(drawn, count):
    _slices(count).draw(_state())
    assert [len(drawn[name]) for name in ("slices", "captions", "masks", "probabilities", "activations")] == [count] * 5
    np.testing.assert_allclose([image.mean() for image in drawn["slices"]], np.arange(count) / count, atol=1e-6)


def test_masks_and_activation_maps_are_the_networks_answers(drawn):
    _slices(4).draw(_state())
    for row, intensity in enumerate(drawn["slices"]):
        value = float(intensity[0, 0])
        np.testing.assert_allclose(drawn["probabilities"][row], 1 / (1 + np.exp(-50 * (2 * value - 1))), rtol=1e-4)
        # Of infection against no infection: 4 (2 v - 1) - 1 at each of 8 x 8 cells.
        np.testing.assert_allclose(drawn["activations"][row], np.full((8, 8), 4 * (2 * value - 1) - 1), atol=1e-5)
        assert drawn["masks"][row][:, :32].all()
        assert not drawn["masks"][row][:, 32:].any()
    assert drawn["mask_threshold"] == PRESET.mask_threshold


def test_captions_tell_label_and_probability_and_nobodys_name(drawn):
    _slices(4).draw(_state())
    probabilities = [stub_network.probability(image) for image in drawn["slices"]]
    kinds = [", labelled uninfected", ", labelled infected", "", ", labelled uninfected"]
    assert drawn["captions"] == [
        f"slice {row}{kinds[row]}, probability of infection {probability:.2f}"
        for row, probability in enumerate(probabilities)
    ]


def test_the_averaged_parameters_answer(drawn):
    slices, state = _slices(4), _state()
    slices.draw(state.replace(params={"class_head": {"kernel": -state.params["class_head"]["kernel"]}}))
    assert drawn["activations"][0].max() < 0
    slices.draw(_state(-KERNEL))
    assert drawn["activations"][0].min() > 0


@pytest.mark.parametrize(
    ("network", "kinds"),
    [({}, {"lesion", "activation"}), ({"segments": False}, {"activation"}), ({"classifies": False}, {"lesion"})],
)
def test_what_a_network_does_not_answer_is_not_drawn(network, kinds):
    state = _state() if network.get("classifies", True) else create_state({"params": {}}, optax.sgd(1.0), seed=0)
    shown = _slices(4, **network).draw(state)
    assert {name.partition("/")[0] for name in shown} == kinds
    assert all(picture.width >= SIDE for picture in shown.values())
