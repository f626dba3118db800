"""The checksum of arrays: any changed bit changes it, and where the arrays lie does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcs_jax.training.checksum import _mixed_sums, checksum

RNG = np.random.default_rng(0)


def _tree(**changes) -> dict:
    arrays = {
        "params": {"kernel": RNG_ARRAY, "bias": np.array([1.0, -0.0], np.float32)},
        "step": np.int32(3),
        "flags": np.array([True, False]),
        "half": jnp.array([1.5, 2.5], jnp.bfloat16),
        "bytes": np.arange(5, dtype=np.uint8),
        "key": np.array([7, 2**32 - 1], np.uint32),
        "nothing": None,
    }
    return jax.tree.map(jnp.asarray, {**arrays, **changes})


RNG_ARRAY = RNG.normal(size=(3, 4, 5)).astype(np.float32)


def _flipped(array: np.ndarray, bit: int) -> np.ndarray:
    raw = np.frombuffer(np.asarray(array).tobytes(), np.uint8).copy()
    raw[bit // 8] ^= 1 << bit % 8
    return np.frombuffer(raw.tobytes(), np.asarray(array).dtype).reshape(np.shape(array))


def test_the_same_arrays_have_the_same_checksum():
    assert checksum(_tree()) == checksum(_tree())
    assert len(checksum(_tree())) == 64


@pytest.mark.parametrize("name", ["step", "half", "bytes", "key"])
def test_every_single_bit_counts(name):
    array = np.asarray(_tree()[name])
    found = {checksum({name: jnp.asarray(_flipped(array, bit))}) for bit in range(8 * array.nbytes)}
    assert len(found | {checksum({name: jnp.asarray(array)})}) == 8 * array.nbytes + 1


def test_bits_of_floats_count_where_their_values_are_equal():
    zero, minus_zero = jnp.zeros(2), -jnp.zeros(2)
    assert checksum(zero) != checksum(minus_zero)
    quiet, other = (jax.lax.bitcast_convert_type(jnp.uint32(bits), jnp.float32) for bits in (0x7FC00000, 0x7FC00001))
    assert checksum(quiet) != checksum(other)


def test_values_that_changed_places_are_noticed():
    swapped = RNG_ARRAY.copy()
    swapped[0, 0, 0], swapped[2, 3, 4] = RNG_ARRAY[2, 3, 4], RNG_ARRAY[0, 0, 0]
    assert checksum(jnp.asarray(swapped)) != checksum(jnp.asarray(RNG_ARRAY))
    assert checksum(jnp.asarray(RNG_ARRAY[::-1].copy())) != checksum(jnp.asarray(RNG_ARRAY))


def test_name_shape_and_type_count_beside_the_bytes():
    ones = np.zeros(4, np.uint32)
    shapes = [{"a": ones}, {"b": ones}, {"a": ones.reshape(2, 2)}, {"a": ones.view(np.int32)}, {"a": ones[:3]}]
    assert len({checksum(jax.tree.map(jnp.asarray, tree)) for tree in shapes}) == 5
    first, second = jnp.zeros(2), jnp.ones(2)
    assert checksum({"a": first, "b": second}) != checksum({"a": second, "b": first})


def test_empty_arrays_and_trees_have_one_too():
    assert checksum({}) != checksum({"a": jnp.zeros((0, 3))})
    assert checksum({"a": jnp.zeros((0, 3))}) != checksum({"a": jnp.zeros((3, 0))})


def test_the_sums_are_those_of_whole_numbers_modulo_2_to_the_32():
    """Recomputed with Python's integers, after the description of lowbias32."""

    def stir(x: int) -> int:
        x = (x ^ (x >> 16)) * 0x7FEB352D % 2**32
        x = (x ^ (x >> 15)) * 0x846CA68B % 2**32
        return x ^ (x >> 16)

    first = second = 0
    for position, bits in enumerate(RNG_ARRAY.ravel().view(np.uint32).tolist()):
        stirred = stir(bits ^ stir((position + 0x9E3779B9) % 2**32))
        first += stirred
        second += stir((stirred + position) % 2**32)
    np.testing.assert_array_equal(_mixed_sums(jnp.asarray(RNG_ARRAY)), [first % 2**32, second % 2**32])
