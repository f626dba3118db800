"""Batches: what stands where, in which shape, and that a run can go on from any step."""

import numpy as np
import pytest

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.data.pipeline import ExampleStream, framed, network_example, stack, training_batches
from jcs_jax.data.transforms import keep
from jcs_jax.errors import InputError
from jcs_jax.preprocessing import Preprocessing

COUNT = 7
PREPROCESSING = Preprocessing(size=(12, 16))
KEYS = {"image", "mask", "label", "valid", "mask_valid", "label_valid"}


def _example(index: int) -> Example:
    """Slice i has intensity i / 10 everywhere, so that it can be told from its pixels."""
    image = np.full((24, 32), index / 10, np.float32)
    mask = np.zeros((24, 32), np.uint8)
    mask[: 2 * index] = 1
    return Example(image, mask=mask if index % 2 else None, label=index % 3 - 1, name=str(index))


SOURCE = ArraySource([_example(index) for index in range(COUNT)])


def _stream(augment="none", seed=0, length=1000) -> ExampleStream:
    return ExampleStream(SOURCE, PREPROCESSING, augment, seed, length)


def _batches(**changes):
    options = {"augment": "modern", "batch_size": 3, "seed": 0, "steps": 8, **changes}
    return list(training_batches(SOURCE, PREPROCESSING, **options))


def _which(image: np.ndarray) -> int:
    """The example that an unaugmented image shows."""
    return round(float(image[0, 0, 0] * 0.229 + 0.485) * 10)


def _assert_same(one, two) -> None:
    assert one.keys() == two.keys()
    for key in one:
        assert one[key].tobytes() == two[key].tobytes()


@pytest.mark.parametrize("index", range(COUNT))
def test_an_example_becomes_the_networks_arrays(index):
    arrays = network_example(SOURCE[index], PREPROCESSING, keep, np.random.default_rng(0))
    assert arrays.keys() == KEYS
    shapes = {"image": (12, 16, 3), "mask": (12, 16)}
    assert {key: value.shape for key, value in arrays.items()} == {key: shapes.get(key, ()) for key in KEYS}
    dtypes = {key: value.dtype for key, value in arrays.items()}
    assert dtypes == {key: np.int32 if key == "label" else np.float32 for key in KEYS}
    assert _which(arrays["image"]) == index
    np.testing.assert_allclose(arrays["image"][0, 0, 2], (index / 10 - 0.406) / 0.225, rtol=1e-4, atol=1e-6)
    assert arrays["valid"] == 1


def test_an_absent_mask_is_zeros_and_not_valid():
    arrays = network_example(SOURCE[2], PREPROCESSING, keep, np.random.default_rng(0))
    assert arrays["mask_valid"] == 0
    assert not arrays["mask"].any()


def test_a_mask_is_brought_into_the_networks_frame_and_stays_binary():
    arrays = network_example(SOURCE[5], PREPROCESSING, keep, np.random.default_rng(0))
    assert arrays["mask_valid"] == 1
    expected = np.zeros((12, 16))
    expected[:5] = 1
    np.testing.assert_array_equal(arrays["mask"], expected)


@pytest.mark.parametrize(("index", "label", "valid"), [(0, 0, 0), (1, 0, 1), (2, 1, 1)])
def test_an_unknown_label_is_zero_and_not_valid(index, label, valid):
    arrays = network_example(SOURCE[index], PREPROCESSING, keep, np.random.default_rng(0))
    assert (arrays["label"], arrays["label_valid"]) == (label, valid)


def test_hounsfield_units_are_windowed_before_they_are_resized():
    image = np.full((24, 32), -600.0, np.float32)
    image[:, ::2] = 3000.0  # saturates at 1, beside 0.5
    framed_image, mask = framed(Example(image, encoding="hounsfield"), PREPROCESSING)
    np.testing.assert_allclose(framed_image, 0.75, atol=1e-6)
    assert mask is None


def test_a_position_gives_the_same_whoever_reads_it_and_when():
    one, two = _stream("modern"), _stream("modern")
    for position in (0, 13, 500):
        two[position + 1]
        _assert_same(one[position], two[position])


def test_every_epoch_is_a_permutation_of_its_own():
    stream = _stream()
    epochs = [[_which(stream[epoch * COUNT + i]["image"]) for i in range(COUNT)] for epoch in range(4)]
    assert all(sorted(order) == list(range(COUNT)) for order in epochs)
    assert len({tuple(order) for order in epochs}) > 1


def test_order_and_augmentation_follow_the_seed():
    positions = range(COUNT)
    orders = {tuple(_which(_stream(seed=seed)[i]["image"]) for i in positions) for seed in range(5)}
    assert len(orders) > 1
    assert not np.array_equal(_stream("modern", seed=1)[0]["image"], _stream("modern", seed=2)[0]["image"])


def test_an_example_is_augmented_anew_each_time_it_comes():
    source = ArraySource([SOURCE[5]])
    stream = ExampleStream(source, PREPROCESSING, "modern", 0, 10)
    assert len({stream[i]["image"].tobytes() for i in range(10)}) == 10


def test_an_empty_source_is_refused():
    with pytest.raises(InputError, match="empty"):
        ExampleStream(ArraySource([]), PREPROCESSING, "none", 0, 10)


def test_an_unknown_augmentation_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="'strong'; choose one of none, reference, modern"):
        training_batches(SOURCE, PREPROCESSING, augment="strong", batch_size=1, seed=0, steps=1)


def test_batches_have_the_networks_keys_shapes_and_types():
    batches = _batches()
    assert len(batches) == 8
    for batch in batches:
        assert batch.keys() == KEYS
        assert batch["image"].shape == (3, 12, 16, 3)
        assert batch["mask"].shape == (3, 12, 16)
        assert all(batch[key].shape == (3,) for key in KEYS - {"image", "mask"})
        assert all(batch[key].dtype == (np.int32 if key == "label" else np.float32) for key in KEYS)


def test_batches_are_the_streams_positions_in_order():
    stream = _stream("modern")
    for step, batch in enumerate(_batches()):
        _assert_same(batch, stack([stream[3 * step + i] for i in range(3)]))


def test_no_example_is_dropped_between_epochs():
    seen = [_which(image) for batch in _batches(augment="none", steps=COUNT) for image in batch["image"]]
    assert sorted(seen) == sorted(3 * list(range(COUNT)))
    assert all(sorted(seen[start : start + COUNT]) == list(range(COUNT)) for start in (0, COUNT, 2 * COUNT))


def test_a_batch_may_be_larger_than_the_source():
    (batch,) = _batches(augment="none", batch_size=2 * COUNT, steps=1)
    assert sorted(map(_which, batch["image"])) == sorted(2 * list(range(COUNT)))


@pytest.mark.parametrize("first_step", [1, 5, 7, 8])
def test_a_run_goes_on_from_any_step_as_if_it_had_not_stopped(first_step):
    whole, rest = _batches(), _batches(first_step=first_step)
    assert len(rest) == 8 - first_step
    for one, two in zip(whole[first_step:], rest, strict=True):
        _assert_same(one, two)


def test_the_number_of_threads_changes_nothing():
    for one, two in zip(_batches(threads=1), _batches(threads=5), strict=True):
        _assert_same(one, two)
