"""Opacities of other slices in the training stream: how often, whose, and what becomes of label and position."""

import numpy as np
import pytest

from jcs_jax.data.examples import UNKNOWN_LABEL, ArraySource, Example
from jcs_jax.data.inputs import network_example
from jcs_jax.data.pipeline import TrainingBatches
from jcs_jax.data.shares import shares_of
from jcs_jax.data.stream import ExampleStream
from jcs_jax.data.transforms import AUGMENTATIONS
from jcs_jax.errors import InputError
from jcs_jax.preprocessing import Preprocessing

SIDE = 16
PLAIN = Preprocessing(size=(SIDE, SIDE), mean=(0, 0, 0), std=(1, 1, 1))
OPACITY = np.zeros((SIDE, SIDE), np.uint8)
OPACITY[7:9, 7:9] = 1  # in the middle, so that mirroring changes nothing


def _example(name: str = "", *, opacity: float = 0.0, label: int = 0, outlined: bool = True) -> Example:
    """A lung in soft tissue, and in its middle an opacity of that grey."""
    image = np.full((SIDE, SIDE), 0.8, np.float32)
    image[3:13, 3:13] = 0.1
    if opacity:
        image[OPACITY > 0] = opacity
    mask = OPACITY if opacity else np.zeros_like(OPACITY)
    return Example(image, mask=mask if outlined else None, label=label, name=name)


def _arrays(own: Example, other: Example) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return network_example(own, PLAIN, AUGMENTATIONS["none"], rng, opacities_of=other)


@pytest.mark.parametrize(("label", "known"), [(1, 1), (UNKNOWN_LABEL, 0)])
def test_a_slice_that_shows_laid_opacities_has_the_label_of_their_slice(label, known):
    arrays = _arrays(_example(), _example(opacity=0.5, label=label))
    np.testing.assert_array_equal(arrays["mask"], OPACITY)
    np.testing.assert_allclose(arrays["image"][8, 8], 0.5, rtol=1e-6)
    assert (arrays["label"], arrays["label_valid"]) == (max(label, 0), known)


@pytest.mark.parametrize(
    "other", [_example(label=1), _example(opacity=0.5, label=1, outlined=False), _example(opacity=0.05, label=1)]
)
def test_a_slice_that_shows_none_keeps_its_label_and_its_pixels(other):
    arrays = _arrays(_example(), other)
    np.testing.assert_array_equal(arrays["image"][..., 0], _example().image)
    assert not arrays["mask"].any()
    assert (arrays["label"], arrays["label_valid"]) == (0, 1)


SOURCE = ArraySource([_example(f"clear{i}") for i in range(3)] + [_example(f"ill{i}", opacity=0.5) for i in range(3)])


def _stream(paste: float, **options) -> ExampleStream:
    return ExampleStream(SOURCE, PLAIN, "none", 5, 3000, paste=paste, **options)


def test_opacities_are_laid_as_often_as_asked_and_of_every_slice():
    stream = _stream(0.25)
    made_of = [stream.indices(position) for position in range(3000)]
    assert abs(np.mean([len(indices) == 2 for indices in made_of]) - 0.25) < 0.03
    assert {indices[1] for indices in made_of if len(indices) == 2} == set(range(6))
    position = next(p for p in range(3000) if made_of[p][0] < 3 and len(made_of[p]) == 2 and made_of[p][1] >= 3)
    assert stream[position]["mask"].any()
    assert not _stream(0.0)[position]["mask"].any()


def test_without_pasting_the_stream_is_what_it_was():
    stream, plain = _stream(0.0), ExampleStream(SOURCE, PLAIN, "none", 5, 3000)
    for position in range(20):
        assert stream.indices(position) == plain.indices(position)
        assert all((stream[position][key] == value).all() for key, value in plain[position].items())


def test_opacities_come_from_slices_of_the_same_part():
    stream = _stream(1.0, shares=shares_of((3, 3), (1, 2), 3))
    assert all(own // 3 == other // 3 for own, other in (stream.indices(position) for position in range(300)))


def test_a_batch_names_all_that_it_is_made_of_and_a_position_belongs_to_how_often():
    options = {"augment": "none", "batch_size": 2, "seed": 5, "steps": 10}
    pasting, plain = (TrainingBatches(SOURCE, PLAIN, **options, paste=paste) for paste in (1.0, 0.0))
    assert all(name.count(" + ") == 1 for name in pasting.names(3))
    with pytest.raises(InputError, match="another stream: paste changed"):
        pasting.restore(plain.state())
    pasting.restore({**pasting.state(), "step": 4})
    assert pasting.step == 4


def test_stored_features_have_no_opacities_to_lay():
    features = ArraySource([Example(None, vgg_features=np.zeros((SIDE, SIDE, 2), np.uint8))])
    with pytest.raises(InputError, match=r"^config.data.paste_opacities: stored features .* set it to 0$"):
        ExampleStream(features, PLAIN, "none", 0, 10, paste=0.5)
