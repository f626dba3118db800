import functools
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat, whosmat
from scipy.sparse import csc_array

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.mat_files import list_variables, read_uint8, require_uint8

SHAPE = (1, 4, 5, 6)
VALUES = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
def compressed(request):
    return request.param


def save(path, compressed=False, **arrays):
    savemat(path, arrays, do_compression=compressed)
    return path


def read(path, name="a", shape=SHAPE):
    where = f"{path} (train.txt, line 3)"
    return read_uint8(path, require_uint8(list_variables(path, where), name, shape, where), where)


def refused(path, name="a", shape=SHAPE):
    with pytest.raises(SourceError) as caught:
        read(path, name, shape)
    message = str(caught.value)
    assert message.startswith(f"{path} (train.txt, line 3): ")
    assert "\n" not in message
    assert ";" in message  # what is wrong; the cure
    return message.partition("line 3): ")[2]


def test_values_are_those_that_scipy_reads(tmp_path, compressed):
    path = save(tmp_path / "a.mat", compressed, first=np.eye(3), a=VALUES, z=VALUES[0])
    assert (read(path) == loadmat(path)["a"]).all()
    assert (read(path) == VALUES).all()
    assert (read(path, "z", SHAPE[1:]) == VALUES[0]).all()
    assert read(path).dtype == np.uint8


@pytest.mark.parametrize("count", range(1, 10))
def test_arrays_of_a_few_bytes_are_read(tmp_path, compressed, count):
    values = np.arange(1, count + 1, dtype=np.uint8)[None]
    assert (read(save(tmp_path / "a.mat", compressed, a=values), shape=(1, count)) == values).all()


def test_names_shapes_and_classes_are_those_that_scipy_lists(tmp_path, compressed):
    arrays = {
        "a": VALUES,
        "a_name_of_thirty_one_characters": np.zeros((2, 3), np.int16),
        "text": "words",
        "flag": np.array([[True, False]]),
        "table": {"x": 1, "y": "two"},
        "cells": np.array([[1, "b"]], object),
        "sparse": csc_array(np.eye(3)),
        **{kind: np.ones((1, 2), kind) for kind in ("float32", "int8", "uint16", "int32", "uint32", "int64")},
    }
    path = save(tmp_path / "a.mat", compressed, **arrays)
    found = [(variable.name, variable.shape, variable.kind) for variable in list_variables(path, "a.mat")]
    assert found == whosmat(path, chars_as_strings=False)


def test_a_complex_array_is_not_taken_for_bytes(tmp_path):
    assert "'a' is complex, not uint8" in refused(save(tmp_path / "a.mat", a=VALUES * 1j))


def big_endian():
    def element(kind, data):
        return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)

    body = element(6, struct.pack(">II", 9, 0)) + element(5, struct.pack(">4i", *SHAPE))
    body += struct.pack(">HH4s", 1, 1, b"a") + element(2, VALUES.tobytes(order="F"))
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x0100) + b"MI" + element(14, body)


def test_big_endian_files_are_read(tmp_path):
    (tmp_path / "a.mat").write_bytes(big_endian())
    assert (loadmat(tmp_path / "a.mat")["a"] == VALUES).all()
    assert (read(tmp_path / "a.mat") == VALUES).all()


def test_a_missing_file_a_folder_and_an_empty_file_are_refused(tmp_path):
    assert "is not a file" in refused(tmp_path / "a.mat")
    assert "is not a file" in refused(tmp_path)
    (tmp_path / "a.mat").touch()
    assert "is empty (0 bytes)" in refused(tmp_path / "a.mat")


@pytest.mark.parametrize(
    "data", [b"hello", b"\x89PNG\r\n\x1a\n" * 40, b"\x80\x04cos\nsystem\n" + bytes(200), bytes(300)]
)
def test_what_is_no_mat_file_is_refused(tmp_path, data):
    (tmp_path / "a.mat").write_bytes(data)
    assert "is not a MATLAB v5 file; save it with scipy.io.savemat" in refused(tmp_path / "a.mat")


def test_files_of_matlab_4_are_refused(tmp_path):
    savemat(tmp_path / "a.mat", {"a": np.eye(9)}, format="4")
    assert "is not a MATLAB v5 file" in refused(tmp_path / "a.mat")


@pytest.mark.parametrize(
    "data",
    [
        b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + bytes(384) + b"\x89HDF\r\n\x1a\n",
        b"\x89HDF\r\n\x1a\n" + bytes(500),
    ],
)
def test_files_of_matlab_7_3_are_refused_with_the_cure(tmp_path, data):
    (tmp_path / "a.mat").write_bytes(data)
    assert refused(tmp_path / "a.mat") == (
        "is a MATLAB 7.3 file (HDF5); save it with scipy.io.savemat, or in MATLAB with -v7"
    )


def test_a_wrong_key_is_refused_and_the_others_are_listed(tmp_path, compressed):
    path = save(tmp_path / "a.mat", compressed, b=np.eye(3), c=VALUES)
    assert "has no variable 'a': it holds 'b' (3x3 double), 'c' (1x4x5x6 uint8);" in refused(path)


def test_a_file_without_variables_is_refused(tmp_path):
    assert "has no variable 'a': it holds none;" in refused(save(tmp_path / "a.mat"))


def test_a_hostile_name_stays_on_one_line(tmp_path):
    data = save(tmp_path / "a.mat", abcdef=VALUES).read_bytes()
    (tmp_path / "a.mat").write_bytes(data.replace(b"abcdef", b"a\nb\x1b[c"))
    assert r"'a\nb\x1b[c'" in refused(tmp_path / "a.mat")


def test_two_variables_of_one_name_are_refused(tmp_path):
    data = save(tmp_path / "a.mat", a=VALUES).read_bytes()
    (tmp_path / "a.mat").write_bytes(data + data[128:])
    assert "more than one variable 'a'" in refused(tmp_path / "a.mat")


def test_thousands_of_variables_are_refused(tmp_path):
    data = save(tmp_path / "a.mat", a=VALUES[0, 0]).read_bytes()
    (tmp_path / "a.mat").write_bytes(data + data[128:] * 5000)
    assert "holds more than 64 variables" in refused(tmp_path / "a.mat")


@pytest.mark.parametrize(("kind", "matlab"), [("float64", "double"), ("int8", "int8"), ("bool", "logical")])
def test_another_class_is_refused(tmp_path, compressed, kind, matlab):
    path = save(tmp_path / "a.mat", compressed, a=np.ones(SHAPE, kind))
    assert f"'a' is {matlab}, not uint8" in refused(path)


def test_another_shape_is_refused(tmp_path, compressed):
    path = save(tmp_path / "a.mat", compressed, a=VALUES[:, :2])
    assert "'a' is 1x2x5x6, not 1x4x5x6" in refused(path)


def test_numbers_that_are_stored_wider_than_their_class_are_refused(tmp_path):
    path = save(tmp_path / "a.mat", a=np.ones(SHAPE))
    data = bytearray(path.read_bytes())
    data[144] = 9  # the class byte: uint8 by name, doubles by content
    path.write_bytes(data)
    assert loadmat(path)["a"].dtype == np.float64
    assert "is damaged" in refused(path)


def test_every_prefix_is_refused(tmp_path, compressed):
    whole = save(tmp_path / "whole.mat", compressed, b=np.eye(2), a=VALUES).read_bytes()
    path = tmp_path / "a.mat"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refused(path)
    path.write_bytes(whole)
    assert (read(path) == VALUES).all()


def test_a_file_cut_short_is_found_by_its_header(tmp_path, compressed):
    path = save(tmp_path / "a.mat", compressed, a=VALUES)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"a\.mat: is cut short: \d+ bytes of at least \d+; copy it again"):
        list_variables(path, "a.mat")


def test_damage_in_a_compressed_stream_is_found_by_its_checksum(tmp_path):
    values = np.tile(VALUES, (1, 1, 10, 10))
    path = save(tmp_path / "a.mat", True, a=values)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    list_variables(path, "a.mat")
    assert "the values of 'a' are damaged; copy it again" in refused(path, shape=values.shape)


@pytest.fixture(scope="module")
def small_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    arrays = {"first": np.eye(2), "a": VALUES[:, :1]}
    return [save(folder / f"{flag}.mat", flag, **arrays).read_bytes() for flag in (False, True)], folder / "a.mat"


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_changed_bytes_are_read_or_refused_and_nothing_else(small_files, data):
    wholes, path = small_files
    whole = bytearray(data.draw(st.sampled_from(wholes)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    shape = (1, 1, *SHAPE[2:])
    try:
        values = read(path, shape=shape)
    except SourceError as error:
        assert "\n" not in str(error)
    else:
        assert (values.shape, values.dtype) == (shape, np.uint8)


@settings(max_examples=100, deadline=None)
@given(tail=st.binary(max_size=300))
def test_any_bytes_behind_a_header_are_read_or_refused(small_files, tail):
    small_files[1].write_bytes(HEADER + tail)
    refused(small_files[1])


def element(kind, data, length=None):
    return struct.pack("<II", kind, len(data) if length is None else length) + data


def variable_header(shape=SHAPE, name=b"a", name_length=None):
    dimensions = struct.pack(f"<{len(shape)}i", *shape)
    padded = name + bytes(-len(name) % 8)
    return element(6, struct.pack("<II", 9, 0)) + element(5, dimensions) + element(1, padded, name_length or len(name))


@functools.cache
def bombs():
    mib = zlib.compress(bytes(1 << 20), 9)
    deflate = zlib.compressobj(9)
    names = deflate.compress(element(14, variable_header(name_length=1 << 30), 1 << 31))
    names += b"".join(deflate.compress(bytes(1 << 20)) for _ in range(30)) + deflate.flush()
    body = variable_header() + element(2, bytes(VALUES.size))
    deflate = zlib.compressobj(9)
    longer = deflate.compress(element(14, body)) + b"".join(deflate.compress(bytes(1 << 20)) for _ in range(30))
    deflated = HEADER + element(15, longer + deflate.flush())
    huge = variable_header((1, 2**30, 2, 1)) + element(2, b"", 2**31)
    return {
        "a name of 1 GiB": HEADER + element(15, names),
        "30 MiB behind the values": deflated,
        "values of 2 GiB": HEADER + element(14, huge, 2**31),
        "compressed values of 2 GiB": HEADER + element(15, zlib.compress(element(14, huge, 2**31 + 500))),
        "a negative dimension": HEADER + element(14, variable_header((-1, 4)) + element(2, bytes(8))),
        "a thousand dimensions": HEADER + element(14, variable_header((1,) * 1000) + element(2, bytes(8))),
        "a stream of nothing but a MiB": HEADER + element(15, mib),
    }


@pytest.mark.parametrize("name", bombs())
def test_a_hostile_file_takes_little_memory(tmp_path, name):
    (tmp_path / "a.mat").write_bytes(bombs()[name])
    tracemalloc.start()
    try:
        refused(tmp_path / "a.mat")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20
