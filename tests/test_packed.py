"""Packed model folders: the same network as before, and as strict as the other form."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import tiny

from jcs_jax.checkpoints import describe_model, load_model, save_model, weights_digest
from jcs_jax.errors import InputError
from jcs_jax.models.presets import build
from jcs_jax.packed import pack_model

PRESET = tiny.preset("classifier", norm="batch")  # parameters and statistics
PROVENANCE = {"data": "noise", "scores": {"dice": 0.5}}
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 32, 32, 3)), jnp.float32)
KERNEL = "params/class_head/kernel"


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    variables = tiny.random_variables(build(PRESET), IMAGES)
    return save_model(tmp_path_factory.mktemp("models") / "model", variables, PRESET, provenance=PROVENANCE)


@pytest.fixture(scope="module")
def packed(saved) -> Path:
    return pack_model(saved, saved.with_name("packed")).folder


@pytest.fixture
def copy(packed, tmp_path) -> Path:
    """A copy of the packed folder that the test may damage."""
    return Path(shutil.copytree(packed, tmp_path / "copy"))


def _leaves(folder: Path) -> dict[tuple, np.ndarray]:
    return {path: np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(load_model(folder)[1])}


def _refused(folder: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def _rewrite(folder: Path, **changes: np.ndarray | None) -> None:
    """Replaces, adds or (None) removes arrays, with a digest that fits."""
    file = folder / "variables.safetensors"
    arrays = {**safetensors.numpy.load_file(file), **changes}
    file.write_bytes(safetensors.numpy.save({name: array for name, array in arrays.items() if array is not None}))
    _sign(folder, file.read_bytes())


def _sign(folder: Path, content: bytes) -> None:
    description = json.loads((folder / "model.json").read_text())
    description["files"] = {"variables.safetensors": hashlib.sha256(content).hexdigest()}
    (folder / "model.json").write_text(json.dumps(description))


def test_float32_comes_back_bit_for_bit_with_preset_and_provenance(saved, packed):
    before, after = _leaves(saved), _leaves(packed)
    assert before.keys() == after.keys()
    for path, leaf in before.items():
        assert after[path].dtype == leaf.dtype == np.float32
        assert after[path].tobytes() == leaf.tobytes()
    assert describe_model(packed) == (PRESET, PROVENANCE)
    assert load_model(packed)[0] == load_model(saved)[0]


def test_the_folder_holds_two_files_and_names_are_joined_by_slashes(packed):
    assert sorted(path.name for path in packed.iterdir()) == ["model.json", "variables.safetensors"]
    names = safetensors.numpy.load_file(packed / "variables.safetensors").keys()
    assert {KERNEL, "batch_stats/res2net/stem3_norm/mean"} <= names
    content = (packed / "variables.safetensors").read_bytes()
    description = json.loads((packed / "model.json").read_text())
    assert description["format"] == "jcs-model/1"
    assert description["files"] == {"variables.safetensors": hashlib.sha256(content).hexdigest()}
    assert not re.search(rb"\x80[\x02-\x05]", content[:2])


def test_packing_leaves_only_the_folders(saved, packed):
    assert {path.name for path in saved.parent.iterdir()} <= {"model", "packed", "half"}


def test_the_description_tells_what_was_packed(saved, packed):
    told = json.loads((packed / "model.json").read_text())["packed"]
    assert told == {"dtype": "float32", "largest_rounding": 0.0, "weights_sha256": weights_digest(saved)}


def test_float16_is_half_the_size_and_within_half_precision(saved, packed):
    result = pack_model(saved, saved.with_name("half"), dtype="float16")
    before, after = _leaves(saved), _leaves(result.folder)
    furthest = 0.0
    for path, leaf in before.items():
        assert after[path].dtype == np.float32
        np.testing.assert_allclose(after[path], leaf, rtol=2.0**-11, atol=2.0**-25)
        furthest = max(furthest, float(np.abs(after[path].astype(float) - leaf).max()))
    assert result.rounding == furthest > 0
    rounded = safetensors.numpy.load_file(result.folder / "variables.safetensors")
    exact = safetensors.numpy.load_file(packed / "variables.safetensors")
    assert {array.dtype for array in rounded.values()} == {np.dtype(np.float16)}
    assert np.abs(rounded[result.rounded].astype(float) - exact[result.rounded]).max() == furthest
    assert sum(array.nbytes for array in exact.values()) == 2 * sum(array.nbytes for array in rounded.values())
    assert result.size == (result.folder / "variables.safetensors").stat().st_size
    model, one, _ = load_model(saved)
    apply = tiny.quick_jit(model.apply)
    logits = np.asarray(apply(one, IMAGES).class_logits)
    np.testing.assert_allclose(apply(load_model(result.folder)[1], IMAGES).class_logits, logits, atol=0.02)


def test_a_packed_folder_is_packed_again_in_its_own_place(copy):
    before = _leaves(copy)
    result = pack_model(copy, copy, dtype="float16")
    assert result.folder == copy
    again = pack_model(copy, copy.with_name("again"), dtype="float32")
    assert (again.rounding, again.rounded) == (0, "")
    for path, leaf in _leaves(again.folder).items():
        np.testing.assert_array_equal(leaf, before[path].astype(np.float16).astype(np.float32))


def test_values_that_float16_holds_exactly_are_not_rounded(copy):
    arrays = safetensors.numpy.load_file(copy / "variables.safetensors")
    _rewrite(copy, **{name: np.ones_like(array) for name, array in arrays.items()})
    result = pack_model(copy, copy.with_name("ones"), dtype="float16")
    assert (result.rounding, result.rounded) == (0, "")


def test_a_value_too_large_for_float16_is_refused_and_nothing_written(copy):
    arrays = safetensors.numpy.load_file(copy / "variables.safetensors")
    _rewrite(copy, **{KERNEL: np.full_like(arrays[KERNEL], 1e5)})
    message = f"{copy}: {KERNEL} reaches 100000, and float16 ends at 65504; pack it as float32"
    with pytest.raises(InputError, match=re.escape(message)):
        pack_model(copy, copy.with_name("half"), dtype="float16")
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_another_dtype_is_refused(copy):
    with pytest.raises(ValueError, match="dtype is 'int8'; choose one of float32, float16"):
        pack_model(copy, copy.with_name("small"), dtype="int8")


def test_a_network_in_bfloat16_comes_back_as_it_was(tmp_path):
    preset = tiny.preset("classifier", param_dtype="bfloat16")
    variables = tiny.random_variables(build(preset), IMAGES)
    saved = save_model(tmp_path / "model", variables, preset, provenance={})
    before, after = _leaves(saved), _leaves(pack_model(saved, tmp_path / "packed").folder)
    assert {leaf.dtype.name for leaf in before.values()} == {"bfloat16"}
    assert {path: leaf.tobytes() for path, leaf in before.items()} == {p: leaf.tobytes() for p, leaf in after.items()}


def test_other_weights_are_told_apart(packed, copy):
    assert weights_digest(packed) == weights_digest(copy)
    arrays = safetensors.numpy.load_file(copy / "variables.safetensors")
    _rewrite(copy, **{KERNEL: arrays[KERNEL] + 1})
    assert weights_digest(packed) != weights_digest(copy)


@pytest.mark.parametrize("place", [0, 8, 100, -1])
def test_one_flipped_bit_is_refused(copy, place):
    file = copy / "variables.safetensors"
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    _refused(copy, "variables.safetensors: is damaged; copy the whole model folder again")


@pytest.mark.parametrize("size", [0, 4, 1000, -1])
def test_a_truncated_file_is_refused_with_and_without_its_digest(copy, size):
    file = copy / "variables.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    _refused(copy, "variables.safetensors: is damaged; copy the whole model folder again")
    _sign(copy, file.read_bytes())
    _refused(copy, "variables.safetensors: its arrays can't be read .*; copy or pack the model again")


def test_a_missing_file_is_refused(copy):
    (copy / "variables.safetensors").unlink()
    _refused(copy, "variables.safetensors: is missing; copy the whole model folder again")


def test_both_forms_in_one_folder_are_refused(copy, saved):
    shutil.copytree(saved / "variables", copy / "variables")
    _refused(copy, "holds both variables and variables.safetensors")


def test_the_description_of_the_other_form_is_refused(copy, saved):
    shutil.copy(saved / "model.json", copy)
    _refused(copy, "is missing; copy the whole model folder again")


def test_a_description_that_knows_other_files_only_is_refused(copy):
    description = json.loads((copy / "model.json").read_text())
    digest = hashlib.sha256(b"").hexdigest()
    (copy / "other").touch()
    (copy / "model.json").write_text(json.dumps({**description, "files": {"other": digest}}))
    _refused(copy, "variables.safetensors: model.json tells nothing of it")


@pytest.mark.parametrize("files", [["abc"], None, 3, "text"], ids=str)
def test_digests_that_are_none_are_refused(copy, files):
    description = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps({**description, "files": files}))
    _refused(copy, "not a model description")


def _faults(folder: Path) -> list[str]:
    with pytest.raises(
        InputError, match=r"variables\.safetensors: these arrays are not those of the network:"
    ) as caught:
        load_model(folder)
    return str(caught.value).splitlines()[1:]


def test_a_renamed_array_is_one_missing_and_one_left_over(copy):
    arrays = safetensors.numpy.load_file(copy / "variables.safetensors")
    _rewrite(copy, **{KERNEL: None, "params/class_head/weight": arrays[KERNEL]})
    assert _faults(copy) == [f"- {KERNEL}", "+ params/class_head/weight"]


@pytest.mark.parametrize("name", ["params/more", "params", "params/class_head", "", "/", "__metadata"])
def test_an_extra_array_is_refused_even_where_its_name_is_a_part_of_others(copy, name):
    _rewrite(copy, **{name: np.zeros(1, np.float32)})
    assert _faults(copy) == [f"+ {name}"]


def test_an_array_of_another_shape_is_refused_with_both_shapes(copy):
    arrays = safetensors.numpy.load_file(copy / "variables.safetensors")
    _rewrite(copy, **{KERNEL: arrays[KERNEL].T})
    rows, columns = arrays[KERNEL].shape
    assert _faults(copy) == [f"- {KERNEL}: ({columns}, {rows}), expected ({rows}, {columns})"]


def test_the_description_of_another_network_is_refused(copy):
    description = json.loads((copy / "model.json").read_text())
    description["preset"] = tiny.preset("segmenter").to_json()
    (copy / "model.json").write_text(json.dumps(description))
    assert len(_faults(copy)) == 21


def test_a_value_that_is_not_finite_is_refused(copy):
    arrays = safetensors.numpy.load_file(copy / "variables.safetensors")
    arrays[KERNEL][0, 0] = np.nan
    _rewrite(copy, **arrays)
    _refused(copy, f"variables.safetensors: {KERNEL} holds values that aren't finite")


def test_double_precision_is_refused(copy):
    arrays = safetensors.numpy.load_file(copy / "variables.safetensors")
    _rewrite(copy, **{KERNEL: arrays[KERNEL].astype(np.float64)})
    _refused(copy, f"variables.safetensors: {KERNEL} has elements of type F64")


def _saved_with(change, folder: Path) -> Path:
    variables = tiny.random_variables(build(PRESET), IMAGES)
    head = variables["params"]["class_head"]
    head["kernel"] = change(np.asarray(head["kernel"]))
    return save_model(folder, variables, PRESET, provenance={})


def test_the_other_form_refuses_values_that_are_not_finite_too(tmp_path):
    folder = _saved_with(lambda kernel: np.where(kernel > 0, np.inf, kernel), tmp_path / "model")
    _refused(folder, f"variables: {KERNEL} holds values that aren't finite; convert or train again")
    with pytest.raises(InputError, match="aren't finite"):
        pack_model(folder, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


@pytest.mark.parametrize("dtype", [np.int32, np.float64])
def test_the_other_form_refuses_other_elements_too(tmp_path, dtype):
    folder = _saved_with(lambda kernel: kernel.astype(dtype), tmp_path / "model")
    _refused(folder, f"variables: {KERNEL} has elements of type {np.dtype(dtype)}, expected float32 or")


def test_folded_norms_leave_the_answer_and_no_norm(saved, tmp_path):
    model, variables, preset = load_model(pack_model(saved, tmp_path / "folded", fold=True).folder)
    assert preset.options["norm"] == "none"
    assert set(variables) == {"params"}
    network, before, _ = load_model(saved)
    expected = tiny.quick_jit(network.apply)(before, IMAGES).class_logits
    got = tiny.quick_jit(model.apply)(variables, IMAGES).class_logits
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_group_norm_cannot_be_folded(tmp_path):
    preset = tiny.preset("classifier")
    variables = tiny.random_variables(build(preset), IMAGES)
    saved = save_model(tmp_path / "model", variables, preset, provenance=PROVENANCE)
    with pytest.raises(InputError, match=r"model: its norm is group; only frozen, .*: leave --fold_norms out"):
        pack_model(saved, tmp_path / "folded", fold=True)
    assert not (tmp_path / "folded").exists()
