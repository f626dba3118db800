"""read_pth against files that PyTorch wrote, and against files written by hand for what those lack."""

import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pth_writer as pth
import pytest

from jcs_jax.convert import tensor_views
from jcs_jax.convert.pth import read_pth
from jcs_jax.errors import InputError

GOLDENS = Path(__file__).parents[1] / "goldens" / "pth"
FILES = sorted(GOLDENS.glob("*.pth"))
READABLE = [path for path in FILES if not path.stem.startswith("whole_module")]
CHOICES = [
    ("float64", "DoubleStorage"),
    ("float32", "FloatStorage"),
    ("float16", "HalfStorage"),
    ("int64", "LongStorage"),
    ("int32", "IntStorage"),
    ("int16", "ShortStorage"),
    ("int8", "CharStorage"),
    ("uint8", "ByteStorage"),
    ("bool", "BoolStorage"),
    ("complex64", "ComplexFloatStorage"),
    ("complex128", "ComplexDoubleStorage"),
]


def _expected(stem):
    with np.load(GOLDENS / "expected.npz") as file:
        return {key.removeprefix(f"{stem}/"): file[key] for key in file if key.startswith(f"{stem}/")}


def _assert_same_bits(arrays, expected):
    assert set(arrays) == set(expected)
    for name, array in arrays.items():
        assert (array.dtype, array.shape) == (expected[name].dtype, expected[name].shape), name
        assert array.tobytes() == expected[name].tobytes(), name


def _held(layout, kind, numel, key="0", view=None):
    return pth.storage(key, kind, numel, view=view, legacy=layout == "legacy")


def test_the_golden_files_are_here():
    assert len(READABLE) == 14
    assert len(FILES) == 16


@pytest.mark.parametrize("file", READABLE, ids=lambda file: file.stem)
def test_a_file_of_pytorch_reads_bit_for_bit(file):
    _assert_same_bits(read_pth(file), _expected(file.stem))


@pytest.mark.parametrize("file", READABLE, ids=lambda file: file.stem)
def test_arrays_are_contiguous_writable_and_own_their_memory(file):
    for array in read_pth(str(file)).values():
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert array.flags.owndata


@pytest.mark.parametrize("stem", ["whole_module_zip", "whole_module_legacy"])
def test_a_whole_module_is_refused_and_the_cure_is_named(stem):
    with pytest.raises(InputError, match=r"refused to load torch\.nn\.modules.*model\.state_dict\(\)"):
        read_pth(GOLDENS / f"{stem}.pth")


@pytest.mark.parametrize(("dtype", "kind"), CHOICES)
def test_every_storage_type_reads(path, layout, dtype, kind):
    array = np.array([0, 1, 1, 0, 1, 1]).astype(dtype)
    value = {"a": pth.tensor(_held(layout, kind, 6), (2, 3), (3, 1))}
    arrays = read_pth(pth.write(path, layout, value, {"0": array}))
    _assert_same_bits(arrays, {"a": array.reshape(2, 3)})


def test_bfloat16_is_widened_exactly_also_infinities_and_nan_payloads(path, layout):
    bits = np.array([0x3F80, 0xC000, 0x7F80, 0xFFC1, 0x0001], np.uint16)
    value = {
        "a": pth.tensor(_held(layout, "BFloat16Storage", 5), (5,), (1,)),
        "scalar": pth.tensor(_held(layout, "BFloat16Storage", 5), (), (), offset=1),
    }
    arrays = read_pth(pth.write(path, layout, value, {"0": bits}))
    assert arrays["a"].dtype == np.float32
    assert arrays["a"].view(np.uint32).tolist() == [0x3F800000, 0xC0000000, 0x7F800000, 0xFFC10000, 0x00010000]
    assert arrays["scalar"].shape == ()
    assert arrays["scalar"] == -2


def test_signalling_nans_keep_their_bits(path, layout):
    bits = np.array([0x7F800001, 0xFF812345, 0x80000000, 1], np.uint32)
    arrays = read_pth(pth.write(path, layout, {"a": pth.vector(layout)}, {"0": bits}))
    assert arrays["a"].view(np.uint32).tolist() == bits.tolist()


def test_views_follow_offset_and_stride(path, layout):
    base = np.arange(24, dtype=np.float32)
    held = _held(layout, "FloatStorage", 24)
    value = {
        "transposed": pth.tensor(held, (6, 4), (1, 6)),
        "stepped": pth.tensor(held, (3, 2), (8, 2), offset=1),
        "overlapping": pth.tensor(held, (3, 4), (1, 1), offset=5),
        "expanded": pth.tensor(held, (3, 2), (0, 1), offset=7),
        "scalar": pth.tensor(held, (), (), offset=23),
        "one_long_axis_of_any_stride": pth.tensor(held, (1, 2), (1 << 62, 1), offset=22),
        "empty": pth.tensor(held, (0, 5), (5, 1), offset=24),
    }
    expected = {
        "transposed": base.reshape(4, 6).T,
        "stepped": np.array([[1, 3], [9, 11], [17, 19]], np.float32),
        "overlapping": np.array([[5, 6, 7, 8], [6, 7, 8, 9], [7, 8, 9, 10]], np.float32),
        "expanded": np.array([[7, 8]] * 3, np.float32),
        "scalar": np.array(23, np.float32),
        "one_long_axis_of_any_stride": np.array([[22, 23]], np.float32),
        "empty": np.zeros((0, 5), np.float32),
    }
    _assert_same_bits(read_pth(pth.write(path, layout, value, {"0": base})), expected)


def test_names_keep_the_order_of_the_file(path, layout):
    value = {"z": pth.vector(layout), "a": pth.vector(layout, key="1"), "m": pth.vector(layout)}
    storages = {"0": np.zeros(4, np.float32), "1": np.ones(4, np.float32)}
    assert list(read_pth(pth.write(path, layout, value, storages))) == ["z", "a", "m"]


def test_version_notes_on_a_state_dict_are_ignored(path, layout):
    value = pth.State({"a": pth.vector(layout)}, {"_metadata": {"": {"version": 1}}})
    assert read_pth(pth.write(path, layout, value))["a"].tolist() == [0, 1, 2, 3]


def test_the_oldest_tensors_without_gradient_flags_read(path, layout):
    value = {"a": pth.tensor(_held(layout, "FloatStorage", 4), (4,), (1,), function="_rebuild_tensor")}
    assert read_pth(pth.write(path, layout, value))["a"].tolist() == [0, 1, 2, 3]


def test_old_view_metadata_shifts_the_storage(path):
    held = _held("legacy", "FloatStorage", 4, view=("9", 1, 3))
    value = {"a": pth.tensor(held, (2,), (1,), offset=1)}
    assert read_pth(pth.write(path, "legacy", value))["a"].tolist() == [2, 3]


def test_old_view_metadata_bounds_the_storage(path):
    held = _held("legacy", "FloatStorage", 4, view=("9", 1, 2))
    with pytest.raises(InputError, match="reaches past the end"):
        read_pth(pth.write(path, "legacy", {"a": pth.tensor(held, (3,), (1,))}))
    held = _held("legacy", "FloatStorage", 4, view=("9", 2, 3))
    with pytest.raises(InputError, match="past the end of storage"):
        read_pth(pth.write(path, "legacy", {"a": pth.tensor(held, (1,), (1,))}))


def test_python_2_strings_and_ordered_dicts_of_pairs_read(path, layout):
    name = pth.Opcodes(b"U\x01w")  # SHORT_BINSTRING
    value = pth.Call(pth.Name("collections", "OrderedDict"), ([[name, pth.vector(layout)]],))
    assert list(read_pth(pth.write(path, layout, value))) == ["w"]


def test_a_typed_tensor_of_an_untyped_storage_reads(path):
    held = pth.Persistent(("storage", pth.Name("torch.storage", "UntypedStorage"), "0", "cpu", 8))
    arguments = (held, 1, (3,), (1,), False, pth.ORDERED_DICT, pth.Name("torch", "uint16"))
    value = {"a": pth.Call(pth.Name("torch._utils", "_rebuild_tensor_v3"), arguments)}
    arrays = read_pth(pth.write(path, "zip", value, {"0": np.arange(4, dtype=np.uint16)}))
    _assert_same_bits(arrays, {"a": np.array([1, 2, 3], np.uint16)})


def test_gpu_storages_and_harmless_values_of_a_checkpoint_read(path, layout):
    held = pth.Persistent(
        ("storage", pth.Name("torch", "FloatStorage"), "0", "cuda:0", 4) + (None,) * (layout == "legacy")
    )
    value = {
        "model": {"a": pth.tensor(held, (4,), (1,))},
        "size": pth.Call(pth.Name("torch", "Size"), ((3, 4),)),
        "device": pth.Call(pth.Name("torch", "device"), ("cuda", 0)),
        "dtype": pth.Name("torch", "float32"),
        "losses": [0.5, None, True],
        "metric": pth.vector(layout),
    }
    assert read_pth(pth.write(path, layout, value))["a"].tolist() == [0, 1, 2, 3]


def test_a_big_endian_zip_is_swapped(path):
    value = {"a": pth.vector("zip"), "b": pth.tensor(pth.storage("1", "BFloat16Storage", 2), (2,), (1,))}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", pth.dumps(value))
        archive.writestr("w/byteorder", "big")
        archive.writestr("w/data/0", struct.pack(">4f", 1, 2, 3, 4))
        archive.writestr("w/data/1", struct.pack(">2H", 0x3F80, 0x4000))
    arrays = read_pth(path)
    assert arrays["a"].tolist() == [1, 2, 3, 4]
    assert arrays["b"].tolist() == [1, 2]
    assert arrays["a"].dtype.isnative


def test_an_unknown_byte_order_is_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", pth.dumps({"a": pth.vector("zip")}))
        archive.writestr("w/byteorder", "middle")
        archive.writestr("w/data/0", bytes(16))
    with pytest.raises(InputError, match="byte order"):
        read_pth(path)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", "net"])
def test_a_training_checkpoint_reads_as_its_weights(path, layout, wrapper):
    value = {"epoch": 3, wrapper: {"module.a": pth.vector(layout)}, "optimizer": {"state": {1: None}}}
    assert list(read_pth(pth.write(path, layout, value))) == ["a"]


def test_an_optimizers_storages_are_not_read(path):
    value = {"model": {"a": pth.vector("zip")}, "optimizer": {0: pth.vector("zip", key="gone")}}
    assert list(read_pth(pth.write(path, "zip", value))) == ["a"]


def test_the_prefix_stays_when_one_name_lacks_it(path, layout):
    value = {"module.a": pth.vector(layout), "b": pth.vector(layout)}
    assert list(read_pth(pth.write(path, layout, value))) == ["module.a", "b"]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "holds no tensors"),
        ([1, 2], "the saved object is of type list, not a state dict"),
        (3, "the saved object is of type int, not a state dict"),
        ({"a": 3}, "entry a is of type int, not a tensor"),
        ({"model": {"deep": {"a": 1}}}, "entry deep of model is of type OrderedDict"),
        ({"model": {5: 1}}, "an entry of model has a name of type int"),
        ({"net": {"a": 1}, "model": {"a": 1}}, "could mean model or net"),
        ({"epoch": 1, "generator": {"a": 1}}, "entry epoch is of type int"),
    ],
)
def test_an_object_without_one_clear_state_dict_is_refused(path, layout, entries, message):
    with pytest.raises(InputError, match=message):
        read_pth(pth.write(path, layout, entries, {}))


def test_a_single_tensor_is_refused(path, layout):
    with pytest.raises(InputError, match="is a tensor, not a state dict"):
        read_pth(pth.write(path, layout, pth.vector(layout)))


def test_a_tensor_among_other_entries_is_no_excuse_for_them(path, layout):
    with pytest.raises(InputError, match="entry note is of type str"):
        read_pth(pth.write(path, layout, {"a": pth.vector(layout), "note": "x"}))


def test_tensors_that_outgrow_the_bound_are_refused_before_memory_is_taken(path, layout, monkeypatch):
    value = {"a": pth.tensor(_held(layout, "FloatStorage", 4), (1 << 20,), (0,))}
    pth.write(path, layout, value)
    assert read_pth(path)["a"].size == 1 << 20
    monkeypatch.setattr(tensor_views, "FREE_BYTES", 1 << 20)
    with pytest.raises(InputError, match="would take 4194304 bytes"):
        read_pth(path)


def test_a_name_of_any_kind_reads(tmp_path):
    target = tmp_path / "my weights (copy).bin"
    shutil.copy(GOLDENS / "plain_zip.pth", target)
    assert len(read_pth(target)) == 4
