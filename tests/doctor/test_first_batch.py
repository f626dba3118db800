"""The first batch in numbers, and as a picture that shows what the network is given."""

import dataclasses

import numpy as np
import pytest

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.data.inputs import network_example, stack
from jcs_jax.data.transforms import AUGMENTATIONS
from jcs_jax.doctor.first_batch import check_first_batch, draw_batch
from jcs_jax.preprocessing import Preprocessing
from jcs_jax.report.overlay import REFERENCE_COLOR
from jcs_jax.training.setup import preset_of, training_batches

PREPROCESSING = Preprocessing((32, 32))
TILE = 320


def batch_of(*examples, names=()):
    rng = np.random.default_rng(0)
    return stack([network_example(one, PREPROCESSING, AUGMENTATIONS["none"], rng, names) for one in examples])


@pytest.fixture
def grey_and_masked():
    """A slice of even grey 0.4 with a square mask, and one without mask and label."""
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 1
    first = Example(np.full((32, 32), 0.4, np.float32), mask=mask, label=1, name="secret-name")
    return first, dataclasses.replace(first, mask=None, label=-1)


def test_a_batch_is_counted(grey_and_masked):
    finding = check_first_batch(batch_of(*grey_and_masked))
    assert finding.severity == "ok"
    assert "image 2 x 32 x 32 x 3" in finding.found
    assert "1 with a mask, 1 with a label" in finding.found


def test_a_batch_with_nothing_to_learn_from_is_a_warning(grey_and_masked):
    assert check_first_batch(batch_of(grey_and_masked[1])).severity == "warning"


def test_values_that_are_no_numbers_are_an_error(grey_and_masked):
    batch = batch_of(*grey_and_masked)
    batch["image"][0, 0, 0, 0] = np.nan
    assert check_first_batch(batch).severity == "error"


def test_the_normalisation_is_undone_and_the_mask_outlined_in_blue(grey_and_masked):
    pixels = np.asarray(draw_batch(batch_of(*grey_and_masked), PREPROCESSING, caption=""))
    assert pixels.shape == (320 + 24 + 4 + 3 * 24, 2 * 320 + 4, 3)
    assert pixels[160, 160].tolist() == [102, 102, 102]  # 0.4 of 255
    assert pixels[81, 160].tolist() == list(REFERENCE_COLOR)  # the square's upper edge lies at 8 / 32 of the tile
    assert pixels[84, 160].tolist() == [102, 102, 102]
    right = pixels[:TILE, TILE + 4 :].reshape(-1, 3)
    assert np.unique(right, axis=0).tolist() == [[102, 102, 102]]


def test_at_most_eight_slices_are_drawn_in_two_rows(grey_and_masked):
    drawn = draw_batch(batch_of(*[grey_and_masked[0]] * 9), PREPROCESSING, caption="")
    assert drawn.size == (4 * 324 - 4, 2 * 348 + 72)


def test_stored_features_are_drawn_as_their_mean(grey_and_masked):
    features = np.zeros((32, 32, 4), np.uint8)
    features[:, 16:] = 40
    stored = dataclasses.replace(grey_and_masked[1], image=None, vgg_features=features)
    batch = batch_of(stored, names=("vgg_features",))
    assert "vgg_features 1 x 32 x 32 x 4" in check_first_batch(batch).found
    pixels = np.asarray(draw_batch(batch, PREPROCESSING, caption=""))
    assert pixels[160, 40].tolist() == [0, 0, 0]
    assert pixels[160, 280].tolist() == [255, 255, 255]


def test_the_picture_is_of_the_very_batch_that_is_trained_on_first(config, grey):
    config.data.mixing.alpha = 1.0
    config.model.input_size = 48
    preset, source = preset_of(config), ArraySource(grey)
    first, again = (next(training_batches(config, preset, source)) for _ in range(2))
    np.testing.assert_array_equal(first["image"], again["image"])
    assert 0 < first["label"][first["label_valid"] > 0].max() <= 1
    pictures = [draw_batch(batch, preset.preprocessing, caption="") for batch in (first, again)]
    assert pictures[0].tobytes() == pictures[1].tobytes()
