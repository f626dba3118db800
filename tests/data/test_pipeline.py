"""Batches: what stands where, in which shape, and that a run can go on from any step."""

import json

import numpy as np
import pytest

from jcs_datasets.chest_phantom import Builder as Phantom
from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.data.inputs import framed, network_example, stack
from jcs_jax.data.mixing import Mixing
from jcs_jax.data.pipeline import HostShard, TrainingBatches, evaluation_batches
from jcs_jax.data.preparation import prepare
from jcs_jax.data.sources import open_source
from jcs_jax.data.stream import ExampleStream
from jcs_jax.data.transforms import AUGMENTATIONS
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


def _training(source=SOURCE, **changes) -> TrainingBatches:
    return TrainingBatches(
        source, PREPROCESSING, **{"augment": "modern", "batch_size": 3, "seed": 0, "steps": 8, **changes}
    )


def _batches(**changes):
    return list(_training(**changes))


def _which(image: np.ndarray) -> int:
    """The example that an unaugmented image shows."""
    return round(float(image[0, 0, 0] * 0.229 + 0.485) * 10)


def _assert_same(one, two) -> None:
    assert one.keys() == two.keys()
    for key in one:
        assert one[key].tobytes() == two[key].tobytes()


@pytest.mark.parametrize("index", range(COUNT))
def test_an_example_becomes_the_networks_arrays(index):
    arrays = network_example(SOURCE[index], PREPROCESSING, AUGMENTATIONS["none"], np.random.default_rng(0))
    assert arrays.keys() == KEYS
    shapes = {"image": (12, 16, 3), "mask": (12, 16)}
    assert {key: value.shape for key, value in arrays.items()} == {key: shapes.get(key, ()) for key in KEYS}
    assert all(value.dtype == np.float32 for value in arrays.values())
    assert _which(arrays["image"]) == index
    np.testing.assert_allclose(arrays["image"][0, 0, 2], (index / 10 - 0.406) / 0.225, rtol=1e-4, atol=1e-6)
    assert arrays["valid"] == 1


def test_an_absent_mask_is_zeros_and_not_valid():
    arrays = network_example(SOURCE[2], PREPROCESSING, AUGMENTATIONS["none"], np.random.default_rng(0))
    assert arrays["mask_valid"] == 0
    assert not arrays["mask"].any()


def test_a_mask_is_brought_into_the_networks_frame_and_stays_binary():
    arrays = network_example(SOURCE[5], PREPROCESSING, AUGMENTATIONS["none"], np.random.default_rng(0))
    assert arrays["mask_valid"] == 1
    expected = np.zeros((12, 16))
    expected[:5] = 1
    np.testing.assert_array_equal(arrays["mask"], expected)


@pytest.mark.parametrize(("index", "label", "valid"), [(0, 0, 0), (1, 0, 1), (2, 1, 1)])
def test_an_unknown_label_is_zero_and_not_valid(index, label, valid):
    arrays = network_example(SOURCE[index], PREPROCESSING, AUGMENTATIONS["none"], np.random.default_rng(0))
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
        _training(augment="strong")


def test_batches_have_the_networks_keys_shapes_and_types():
    batches = _batches()
    assert len(batches) == 8
    for batch in batches:
        assert batch.keys() == KEYS
        assert batch["image"].shape == (3, 12, 16, 3)
        assert batch["mask"].shape == (3, 12, 16)
        assert all(batch[key].shape == (3,) for key in KEYS - {"image", "mask"})
        assert all(batch[key].dtype == np.float32 for key in KEYS)


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


@pytest.mark.parametrize("read", [0, 1, 5, 7, 8])
@pytest.mark.parametrize("mixing", [Mixing(), Mixing(0.4)])
def test_a_run_goes_on_from_any_step_as_if_it_had_not_stopped(read, mixing):
    whole, first, second = _batches(mixing=mixing), _training(mixing=mixing), _training(mixing=mixing)
    for _ in range(read):
        next(first)
    state = json.loads(json.dumps(first.state()))
    assert state["step"] == read
    second.restore(state)
    rest = list(second)
    assert len(rest) == 8 - read
    for one, two in zip(whole[read:], rest, strict=True):
        _assert_same(one, two)


def test_a_position_can_be_gone_back_to():
    batches = _training()
    state = batches.state()
    first = [next(batches) for _ in range(3)]
    batches.restore(state)
    for one in first:
        _assert_same(one, next(batches))


def test_hosts_read_their_rows_of_the_same_global_batch_and_one_host_goes_on_where_two_stopped():
    whole = _batches(batch_size=4)
    hosts = [_training(batch_size=4, host=HostShard(index, 2)) for index in range(2)]
    for step in range(5):
        parts = [next(host) for host in hosts]
        _assert_same({key: np.concatenate([part[key] for part in parts]) for key in KEYS}, whole[step])
    alone = _training(batch_size=4)
    alone.restore(hosts[1].state())
    for one, two in zip(whole[5:], alone, strict=True):
        _assert_same(one, two)


def test_the_next_hundred_batches_of_prepared_data_are_the_same_to_the_bit_on_fewer_hosts(tmp_path):
    prepare(Phantom, data_dir=tmp_path, config="tiny")
    source = open_source(tmp_path, "chest_phantom", "train+test")  # 12 slices: step 37 is in the middle of an epoch
    options = {"batch_size": 4, "steps": 137, "mixing": Mixing(0.4)}
    hosts = [_training(source, host=HostShard(index, 2), **options) for index in range(2)]
    for _ in range(37):
        for host in hosts:
            next(host)
    state = json.loads(json.dumps(hosts[0].state()))
    alone = _training(open_source(tmp_path, "chest_phantom", "train+test"), threads=3, **options)
    alone.restore(state)
    for _ in range(100):
        parts = [next(host) for host in hosts]
        _assert_same({key: np.concatenate([part[key] for part in parts]) for key in KEYS}, next(alone))
    assert list(alone) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"batch_size": 4}, "batch_size"),
        ({"augment": "none"}, "augment"),
        ({"mixing": Mixing(1.0)}, "mixing"),
        ({"source": ArraySource([_example(index) for index in range(COUNT - 1)])}, "source"),
    ],
)
def test_a_position_in_another_stream_is_refused(changes, named):
    with pytest.raises(InputError, match=f"belongs to another stream: {named} changed"):
        _training(**changes).restore(_training().state())


def test_a_batch_that_hosts_cannot_share_is_refused():
    with pytest.raises(InputError, match="a batch of 3 can't be shared by 2 hosts"):
        _training(host=HostShard(0, 2))


def test_the_number_of_threads_changes_nothing():
    for one, two in zip(_batches(threads=1), _batches(threads=5), strict=True):
        _assert_same(one, two)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 16])
def test_evaluation_shows_every_example_once_in_batches_of_one_size(batch_size):
    batches = list(evaluation_batches(SOURCE, PREPROCESSING, batch_size=batch_size))
    assert [example.name for batch in batches for example in batch.examples] == [str(index) for index in range(COUNT)]
    for batch in batches:
        shown = len(batch.examples)
        assert batch.arrays["image"].shape == (batch_size, 12, 16, 3)
        assert batch.arrays["valid"].tolist() == [1] * shown + [0] * (batch_size - shown)
        assert not batch.arrays["image"][shown:].any()
        assert [_which(image) for image in batch.arrays["image"][:shown]] == [int(e.name) for e in batch.examples]


def test_evaluation_on_two_hosts_shows_every_example_once_in_as_many_batches():
    hosts = [
        list(evaluation_batches(SOURCE, PREPROCESSING, batch_size=4, host=HostShard(index, 2))) for index in range(2)
    ]
    assert [len(batches) for batches in hosts] == [2, 2]
    shown = [[example.name for batch in batches for example in batch.examples] for batches in hosts]
    assert shown == [["0", "1", "4", "5"], ["2", "3", "6"]]
    assert hosts[1][1].arrays["valid"].tolist() == [1, 0]


def test_a_host_without_an_example_in_the_last_batch_is_given_a_blank_one():
    (_, last) = evaluation_batches(SOURCE, PREPROCESSING, batch_size=6, host=HostShard(1, 3))
    assert last.examples == ()
    assert last.arrays["image"].shape == (2, 12, 16, 3)
    assert not any(array.any() for array in last.arrays.values())


def test_an_empty_source_has_no_evaluation_batch():
    assert list(evaluation_batches(ArraySource([]), PREPROCESSING, batch_size=2)) == []


def _stored(name: str = "a", side: int = 12, **changes) -> Example:
    rng = np.random.default_rng(0)
    mask = np.zeros((24, 32), np.uint8)
    mask[:12, :16] = 1
    features = {
        "vgg_features": rng.integers(0, 255, (side, 16, 4), np.uint8),
        "res2net_features": rng.integers(0, 255, (side // 2, 8, 5), np.uint8),
    }
    return Example(None, mask=mask, label=1, name=name, **{**features, **changes})


BOTH = ("vgg_features", "res2net_features")


def test_stored_features_go_through_the_same_pipeline_as_they_are():
    example = _stored()
    (batch,) = _training(ArraySource([example]), augment="none", batch_size=1, steps=1, stage_features=BOTH)
    assert batch.keys() == (KEYS - {"image"}) | set(BOTH)
    for name in BOTH:
        assert batch[name].dtype == np.uint8
        np.testing.assert_array_equal(batch[name][0], getattr(example, name))
    expected = np.zeros((12, 16))
    expected[:6, :8] = 1
    np.testing.assert_array_equal(batch["mask"][0], expected)


def test_only_the_features_that_the_network_takes_are_batched():
    (batch,) = evaluation_batches(ArraySource([_stored()]), PREPROCESSING, batch_size=2, stage_features=BOTH[1:])
    assert set(batch.arrays) == (KEYS - {"image"}) | {"res2net_features"}


def test_features_and_mask_are_mirrored_together():
    example = _stored()
    stream = ExampleStream(ArraySource([example]), PREPROCESSING, "modern", 0, 40, stage_features=BOTH)
    seen = set()
    for position in range(40):
        arrays = stream[position]
        corner = tuple(int(axis[0]) for axis in np.nonzero(arrays["mask"]))
        flips = [axis for axis, start in enumerate(corner) if start]
        seen.add(tuple(flips))
        for name in BOTH:
            np.testing.assert_array_equal(arrays[name], np.flip(getattr(example, name), flips))
    assert seen == {(), (0,), (1,), (0, 1)}


def test_features_of_another_input_size_name_the_option_to_set():
    with pytest.raises(InputError, match=r"come from pictures of 24 pixels.*set config.model.input_size=24"):
        next(_training(ArraySource([_stored(side=24)]), stage_features=BOTH))


def test_features_that_are_not_stored_are_named():
    source = ArraySource([_stored(vgg_features=None)])
    with pytest.raises(InputError, match="a: has no stored vgg_features"):
        next(_training(source, stage_features=BOTH))


def test_a_network_that_takes_pictures_only_is_not_given_features():
    with pytest.raises(InputError, match="takes pictures only"):
        next(_training(ArraySource([_stored()])))
