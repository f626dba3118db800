"""One file of arrays: what is read is what was written, and anything else ends in one line."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from jcs_jax.array_file import largest_rounding, read_arrays, to_float16, write_arrays
from jcs_jax.errors import InputError

ARRAYS = {
    "params/a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "params/b": np.array(2.5, np.float32),
    "c": np.zeros((0, 4), np.float32),
}


def _file(header: dict | bytes, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_float32_arrays_come_back_bit_for_bit_whatever_their_layout(tmp_path):
    arrays = {**ARRAYS, "turned": ARRAYS["params/a"].T, "every other": np.arange(8, dtype=np.float32)[::2]}
    write_arrays(tmp_path / "file", arrays)
    found = read_arrays(tmp_path / "file")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (np.float32, array.shape)
        assert found[name].tobytes() == array.tobytes()


def test_float16_arrays_come_back_as_float32(tmp_path):
    write_arrays(tmp_path / "file", {"a": np.array([0.5, 1 / 3], np.float16)})
    found = read_arrays(tmp_path / "file")["a"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([0.5, 0.333251953125], np.float32))


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.int32, np.uint8, np.bool_, ml_dtypes.bfloat16], ids=str)
def test_other_elements_are_refused_by_name(tmp_path, dtype):
    file = tmp_path / "file"
    file.write_bytes(save({"odd": np.ones(2, dtype)}))
    with pytest.raises(InputError, match=rf"{file}: odd has elements of type \w+, expected F32 or F16; pack"):
        read_arrays(file)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_value_that_is_not_finite_is_refused(tmp_path, value, dtype):
    write_arrays(tmp_path / "file", {"good": np.ones(1, dtype), "bad": np.array([1, value], dtype)})
    with pytest.raises(InputError, match="bad holds values that aren't finite; pack the model again"):
        read_arrays(tmp_path / "file")


FOUR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
LIES = {
    "empty file": b"",
    "cut length": b"\x05\x00",
    "length past the end": struct.pack("<Q", 1 << 60),
    "no JSON": _file(b"{"),
    "a list": _file(b"[]"),
    "not text": _file(b"\xff\xfe"),
    "nested": _file(b"[" * 100_000),
    "shape larger than the data": _file({"a": {**FOUR, "shape": [2]}}, bytes(4)),
    "shape beyond all memory": _file({"a": {**FOUR, "shape": [1 << 62, 1 << 62]}}, bytes(4)),
    "negative shape": _file({"a": {**FOUR, "shape": [-1]}}, bytes(4)),
    "data past the end": _file({"a": {**FOUR, "data_offsets": [4, 8]}}, bytes(4)),
    "data backwards": _file({"a": {**FOUR, "data_offsets": [4, 0]}}, bytes(4)),
    "data that overlap": _file({"a": FOUR, "b": FOUR}, bytes(4)),
    "data that nobody names": _file({"a": FOUR}, bytes(8)),
    "truncated": _file({"a": FOUR}, bytes(3)),
    "unknown elements": _file({"a": {**FOUR, "dtype": "X32"}}, bytes(4)),
    "no elements": _file({"a": {"shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
}


@pytest.mark.parametrize("content", LIES.values(), ids=LIES.keys())
def test_a_file_that_lies_is_refused_in_one_line(tmp_path, content):
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(
        InputError, match=f"{file}: its arrays can't be read .*; copy or pack the model again"
    ) as caught:
        read_arrays(file)
    assert "\n" not in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_damage_raises_anything_else(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "damaged"
    content = bytearray(save({name: array for name, array in ARRAYS.items() if array.size}))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    try:
        found = read_arrays(file)
    except InputError as error:
        assert str(file) in str(error)
    else:
        assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in found.values())


def test_rounding_is_that_of_half_precision():
    array = np.array([1.0, 2049.0, -0.1, 1e-9], np.float32)  # 2049 lies between 2048 and 2050
    rounded = to_float16(array, "a")
    np.testing.assert_array_equal(rounded, np.array([1, 2048, -0.0999755859375, 0], np.float16))
    assert largest_rounding(array, rounded) == 1
    assert largest_rounding(array[:1], rounded[:1]) == 0
    assert largest_rounding(array[:0], rounded[:0]) == 0


def test_the_largest_half_still_fits_and_what_would_be_infinite_is_refused():
    assert to_float16(np.array([65504, -65519], np.float32), "a").tolist() == [65504, -65504]
    with pytest.raises(InputError, match=r"^a reaches 65520, and float16 ends at 65504; pack it as float32$"):
        to_float16(np.array([1, -65520], np.float32), "a")
