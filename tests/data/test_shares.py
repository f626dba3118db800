"""Every batch has its rows of each part of the source, and each part has epochs of its own."""

import numpy as np
import pytest

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.data.mixing import Mixing
from jcs_jax.data.pipeline import HostShard, TrainingBatches
from jcs_jax.data.shares import Share, shares_of
from jcs_jax.data.stream import ExampleStream
from jcs_jax.errors import InputError
from jcs_jax.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(size=(4, 4))
SIZES, ROWS, BATCH = (3, 7, 5), (1, 3, 2), 6
PARTS = [range(3), range(3, 10), range(10, 15)]
# Slice i has intensity i / 20 everywhere, so that it can be told from its pixels.
SOURCE = ArraySource([Example(np.full((4, 4), i / 20, np.float32), name=f"slice{i}") for i in range(sum(SIZES))])
SHARES = shares_of(SIZES, ROWS, BATCH)


def _stream(shares=SHARES, seed=0, **options) -> ExampleStream:
    return ExampleStream(SOURCE, PREPROCESSING, "none", seed, 10_000, shares=shares, **options)


def _training(shares=SHARES, **changes) -> TrainingBatches:
    given = {"augment": "none", "batch_size": BATCH, "seed": 0, "steps": 8, "shares": shares, **changes}
    return TrainingBatches(SOURCE, PREPROCESSING, **given)


def _shown(images: np.ndarray) -> list[int]:
    """The slices that unaugmented images show."""
    return np.rint((images[:, 0, 0, 0] * 0.229 + 0.485) * 20).astype(int).tolist()


class TestSharesOf:
    def test_a_share_is_where_a_part_starts_its_size_and_its_rows(self):
        assert shares_of(SIZES, ROWS, BATCH) == (Share(0, 3, 1), Share(3, 7, 3), Share(10, 5, 2))

    def test_without_rows_all_parts_are_one(self):
        assert shares_of(SIZES, (), BATCH) == (Share(0, 15, 6),)

    @pytest.mark.parametrize("rows", [(6,), (3, 3), (1, 1, 1), (0, 3, 3), (-1, 4, 3), (1, 2, 2, 1), (2.0, 2, 2), "222"])
    def test_rows_that_do_not_fit_are_refused(self, rows):
        with pytest.raises(InputError, match=r"^config.data.rows is .*; give 3 numbers .*config.batch_size=6$"):
            shares_of(SIZES, rows, BATCH)

    def test_a_part_without_slices_is_refused_by_its_number(self):
        with pytest.raises(InputError, match=r"^config.data.rows: data set 2 of the 3 to train on has no slice"):
            shares_of((3, 0, 5), ROWS, BATCH)


def test_every_batch_has_its_rows_of_each_part_in_their_order():
    for batch in _training():
        shown = _shown(batch["image"])
        assert [sum(index in part for index in shown) for part in PARTS] == list(ROWS)
        assert shown[0] in PARTS[0]
        assert set(shown[1:4]) <= set(PARTS[1])
        assert set(shown[4:]) <= set(PARTS[2])


def test_every_epoch_of_every_part_is_a_permutation_of_its_own():
    stream = _stream()
    seen = [stream.indices(position)[0] for position in range(BATCH * 105)]  # 105 = 3 * 5 * 7
    for part in PARTS:
        drawn = [index for index in seen if index in part]
        epochs = [tuple(drawn[first : first + len(part)]) for first in range(0, len(drawn), len(part))]
        assert all(sorted(epoch) == list(part) for epoch in epochs)
        assert len(set(epochs)) > 1


def test_parts_of_one_size_are_not_in_the_same_order():
    stream = _stream(shares_of((7, 7), (1, 1), 2))
    orders = np.array([stream.indices(position)[0] for position in range(14 * 4)]).reshape(-1, 2).T - [[0], [7]]
    assert not np.array_equal(*orders)


@pytest.mark.parametrize("shares", [(), shares_of(SIZES, (), BATCH)], ids=["none", "one of all"])
def test_without_rows_the_order_is_one_permutation_of_all_for_every_epoch(shares):
    stream = _stream(shares, seed=3)
    expected = np.concatenate([np.random.default_rng([3, 0, epoch]).permutation(15) for epoch in range(4)])
    assert [stream.indices(position) for position in range(60)] == [[index] for index in expected]


@pytest.mark.parametrize("mixing", [Mixing(), Mixing(alpha=0.4)])
def test_one_share_of_all_is_to_the_bit_what_no_shares_are(mixing):
    plain, shared = (_training(shares, augment="modern", mixing=mixing) for shares in ((), shares_of(SIZES, (), BATCH)))
    assert plain.state() == shared.state()
    assert plain.names(2) == shared.names(2)
    for one, two in zip(plain, shared, strict=True):
        assert {key: value.tobytes() for key, value in one.items()} == {k: v.tobytes() for k, v in two.items()}


def test_a_slice_is_mixed_with_one_of_its_own_part():
    stream = _stream(mixing=Mixing(alpha=1.0))
    pairs = [stream.indices(position) for position in range(BATCH * 30)]
    assert all(any(own in part and partner in part for part in PARTS) for own, partner in pairs)
    assert {partner for _, partner in pairs} == set(range(15))


def test_the_names_of_a_batch_are_those_of_its_slices():
    batches = _training()
    for step, batch in enumerate(_training()):
        assert batches.names(step) == [f"slice{index}" for index in _shown(batch["image"])]


def test_a_position_is_gone_on_from():
    whole = [_shown(batch["image"]) for batch in _training()]
    started = _training()
    for _ in range(3):
        next(started)
    resumed = _training()
    resumed.restore(started.state())
    assert [_shown(batch["image"]) for batch in resumed] == whole[3:]


@pytest.mark.parametrize(("saved", "now"), [(ROWS, (2, 2, 2)), (ROWS, ()), ((), ROWS)])
def test_a_position_in_a_stream_of_other_rows_is_refused(saved, now):
    state = _training(shares_of(SIZES, saved, BATCH)).state()
    with pytest.raises(InputError, match="belongs to another stream: rows changed; undo that"):
        _training(shares_of(SIZES, now, BATCH)).restore(state)


@pytest.mark.parametrize("count", [2, 3])
def test_hosts_read_together_what_one_reads(count):
    whole = [_shown(batch["image"]) for batch in _training()]
    hosts = [[_shown(batch["image"]) for batch in _training(host=HostShard(i, count))] for i in range(count)]
    assert [[index for part in parts for index in part] for parts in zip(*hosts, strict=True)] == whole
