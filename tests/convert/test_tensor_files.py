"""read_weights tells PyTorch's formats, safetensors and everything else apart by content."""

import gzip
import json
import os
import shutil
import struct
import tarfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from jcs_jax.convert.pth import read_pth
from jcs_jax.convert.tensor_files import read_weights
from jcs_jax.errors import InputError

GOLDENS = Path(__file__).parents[1] / "goldens" / "pth"
HTML = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
POINTER = b"version https://git-lfs.example/spec/v1\noid sha256:00\nsize 5\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.any"


def _refusal(read, path):
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def _safetensors(header, data=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("stem", ["plain_zip", "plain_legacy"])
@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth", "weights"])
def test_a_pytorch_file_reads_under_any_name(tmp_path, stem, name):
    shutil.copy(GOLDENS / f"{stem}.pth", tmp_path / name)
    arrays = read_weights(tmp_path / name)
    expected = read_pth(GOLDENS / f"{stem}.pth")
    assert list(arrays) == list(expected)
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, expected[key], strict=True)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "int8", "uint8", "bool"])
def test_safetensors_reads_bit_for_bit_under_any_name(tmp_path, dtype):
    array = np.random.default_rng(0).uniform(0, 3, (2, 3)).astype(dtype)
    path = tmp_path / "weights.pth"
    safetensors.numpy.save_file({"a": array, "scalar": np.array(array[0, 0])}, path)
    arrays = read_weights(path)
    np.testing.assert_array_equal(arrays["a"], array, strict=True)
    assert arrays["scalar"].shape == ()


def test_bfloat16_of_safetensors_is_widened_exactly(path):
    safetensors.numpy.save_file({"a": np.array([1, -2.5, 3e38], ml_dtypes.bfloat16)}, path)
    array = read_weights(path)["a"]
    assert array.dtype == np.float32
    assert array.tolist() == np.array([1, -2.5, 3e38], ml_dtypes.bfloat16).astype(np.float32).tolist()


def test_the_data_parallel_prefix_is_taken_off_safetensors_too(path):
    safetensors.numpy.save_file({"module.a": np.zeros(2), "module.b": np.zeros(2)}, path)
    assert sorted(read_weights(path)) == ["a", "b"]


def test_arrays_outlive_the_file_and_are_writable(path):
    safetensors.numpy.save_file({"a": np.arange(4.0)}, path)
    array = read_weights(path)["a"]
    path.unlink()
    array += 1
    assert array.tolist() == [1, 2, 3, 4]


def test_read_pth_names_safetensors(path):
    safetensors.numpy.save_file({"a": np.zeros(2)}, path)
    assert "safetensors" in _refusal(read_pth, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_safetensors({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, bytes(8)), "damaged"),
        (_safetensors({"a": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 8]}}, bytes(8)), "damaged"),
        (_safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}, bytes(8)), "damaged"),
        (_safetensors({"a": {"dtype": "X9", "shape": [2], "data_offsets": [0, 8]}}, bytes(8)), "damaged"),
        (_safetensors({"a": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}, bytes(2)), "lacks"),
        (_safetensors({"a": 3}), "damaged"),
        (_safetensors({}), "holds no tensors"),
        (_safetensors({"__metadata__": {"format": "pt"}}), "holds no tensors"),
        (struct.pack("<Q", 50) + b"{", "damaged"),
        (struct.pack("<Q", 2) + b"{]", "damaged"),
        (struct.pack("<Q", 0x80) + b'{"a":', "damaged"),
    ],
)
def test_a_damaged_safetensors_file_is_refused(path, content, message):
    path.write_bytes(content)
    assert message in _refusal(read_weights, path)


def test_every_safetensors_file_cut_short_is_refused(path):
    safetensors.numpy.save_file({"a": np.arange(3.0), "b": np.zeros(2, np.float16)}, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        _refusal(read_weights, path)


@pytest.mark.parametrize("read", [read_pth, read_weights])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty (0 bytes)"),
        (HTML, "is a web page"),
        (b"\n\n <?xml version='1.0'?><Error/>", "is a web page"),
        (b"\xef\xbb\xbf" + HTML, "is a web page"),
        (POINTER, "Git LFS pointer"),
        (b"weights go here\n", "is a text file"),
        ("poids entraînés".encode(), "is a text file"),
        (b'{"a": 1}', "is a text file"),
        (b"\0" * 4096, "neither a PyTorch file nor safetensors"),
        (b"\x89PNG\r\n\x1a\n", "neither a PyTorch file nor safetensors"),
        (b"\x80", "its pickle can't be read"),
        (b"PK\x03\x04", "cut short or damaged"),
        (b"PK\x05\x06" + bytes(18), "not one of PyTorch's"),
        (gzip.compress(b"x", mtime=0), "compressed with gzip"),
        (b"7z\xbc\xaf\x27\x1c", "compressed with 7z"),
    ],
)
def test_a_file_that_holds_no_weights_is_named(path, read, content, message):
    path.write_bytes(content)
    assert message in _refusal(read, path)


@pytest.mark.parametrize("read", [read_pth, read_weights])
def test_missing_files_folders_and_devices_are_named(tmp_path, read):
    assert "no such file" in _refusal(read, tmp_path / "missing.pth")
    assert "is a folder" in _refusal(read, tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in _refusal(read, tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"x")
    assert "can't be opened" in _refusal(read, tmp_path / "file" / "weights.pth")


def test_a_tar_archive_is_named(path):
    with tarfile.open(path, "w") as archive:
        archive.add(GOLDENS / "plain_zip.pth", "plain.pth")
    assert "is a tar archive" in _refusal(read_weights, path)


def test_an_archive_of_numpy_is_no_pytorch_file(path):
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(2))
    assert "not one of PyTorch's" in _refusal(read_weights, path)


def test_a_file_that_may_not_be_read_is_named(path, monkeypatch):
    path.write_bytes(b"x")

    def denied(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "Permission denied" in _refusal(read_weights, path)
