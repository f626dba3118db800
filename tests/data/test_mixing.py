"""Image mixing: convex combinations by hand, label rules, and what is no longer known."""

import numpy as np
import pytest

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.data.mixing import Mixing
from jcs_jax.data.stream import ExampleStream
from jcs_jax.errors import InputError
from jcs_jax.preprocessing import Preprocessing

PLAIN = Preprocessing(size=(4, 4), mean=(0, 0, 0), std=(1, 1, 1))


def _arrays(value: float, label: float, **changes):
    return {
        "image": np.full((4, 4, 3), value, np.float32),
        "mask": np.full((4, 4), label, np.float32),
        "label": np.float32(label),
        **{key: np.float32(1) for key in ("valid", "mask_valid", "label_valid")},
        **changes,
    }


def test_the_soft_rule_mixes_picture_label_and_mask_alike():
    mixed = Mixing(1.0).combine(_arrays(0.2, 1), _arrays(0.6, 0), 0.75)
    np.testing.assert_allclose(mixed["image"], 0.3, rtol=1e-6)
    np.testing.assert_allclose(mixed["mask"], 0.75)
    assert mixed["label"] == 0.75
    assert {key: array.dtype for key, array in mixed.items()} == dict.fromkeys(mixed, np.float32)


@pytest.mark.parametrize(("weight", "label"), [(0.75, 1), (0.5, 1), (0.25, 0)])
def test_the_dominant_rule_keeps_the_label_and_mask_of_the_larger_part(weight, label):
    mixed = Mixing(1.0, "dominant").combine(_arrays(0.2, 1), _arrays(0.6, 0), weight)
    np.testing.assert_allclose(mixed["image"], 0.2 * weight + 0.6 * (1 - weight), rtol=1e-6)
    assert (mixed["label"] == label) and (mixed["mask"] == label).all()


def test_what_one_part_does_not_know_the_soft_mixture_does_not_know():
    blind = _arrays(0.6, 0, mask_valid=np.float32(0))
    assert Mixing(1.0).combine(_arrays(0.2, 1), blind, 0.9)["mask_valid"] == 0
    assert Mixing(1.0).combine(_arrays(0.2, 1), blind, 0.9)["label_valid"] == 1
    assert Mixing(1.0, "dominant").combine(_arrays(0.2, 1), blind, 0.9)["mask_valid"] == 1
    assert Mixing(1.0, "dominant").combine(_arrays(0.2, 1), blind, 0.1)["mask_valid"] == 0


def test_stored_features_stay_quantised():
    one, two = ({"vgg_features": np.full((2, 2, 1), value, np.uint8), **_arrays(0, 0)} for value in (255, 4))
    mixed = Mixing(1.0).combine(one, two, 0.3)["vgg_features"]
    assert mixed.dtype == np.uint8
    assert (mixed == round(0.3 * 255 + 0.7 * 4)).all()


def test_weights_follow_the_beta_distribution():
    rng = np.random.default_rng(0)
    for alpha in (0.2, 1.0, 4.0):
        drawn = np.array([Mixing(alpha).draw(rng) for _ in range(4000)])
        assert abs(drawn.mean() - 0.5) < 0.02
        np.testing.assert_allclose(drawn.var(), 1 / (4 * (2 * alpha + 1)), rtol=0.1)


def test_the_stream_mixes_every_example_with_another_one_of_the_source():
    values = [0.0, 0.25, 1.0]
    source = ArraySource([Example(np.full((4, 4), value, np.float32), label=int(value > 0.5)) for value in values])
    stream = ExampleStream(source, PLAIN, "none", 3, 300, mixing=Mixing(1.0))
    plain = ExampleStream(source, PLAIN, "none", 3, 300)
    labels = np.array([stream[position]["label"] for position in range(300)])
    assert ((labels > 0) & (labels < 1)).mean() > 0.3
    pictures = np.array([stream[position]["image"][0, 0, 0] for position in range(300)])
    unmixed = np.array([plain[position]["image"][0, 0, 0] for position in range(300)])
    assert abs(pictures.mean() - unmixed.mean()) < 0.05
    assert pictures.min() >= 0 and pictures.max() <= 1
    assert stream[7]["image"].tobytes() == stream[7]["image"].tobytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [((-0.1,), "alpha is -0.1"), ((float("nan"),), "alpha is nan"), ((1.0, "hard"), "'hard'; it is soft or dominant")],
)
def test_what_cannot_be_mixed_by_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        Mixing(*options)
