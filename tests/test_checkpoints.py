"""Model folders: what is saved comes back bit for bit, and damage ends in one clear line."""

import json
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

import jcs_jax
from jcs_jax import cli
from jcs_jax.checkpoints import describe_model, load_model, save_model, weights_digest
from jcs_jax.errors import InputError
from jcs_jax.models.presets import build
from jcs_jax.notice import RESEARCH_USE

PRESET = tiny.preset("classifier", norm="batch")  # parameters and statistics
PROVENANCE = {"data": "noise", "scores": {"dice": 0.5}}
IMAGES = jnp.zeros((1, 32, 32, 3))


@pytest.fixture(scope="module")
def variables():
    return tiny.random_variables(build(PRESET), IMAGES)


@pytest.fixture(scope="module")
def saved(variables, tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "model", variables, PRESET, provenance=PROVENANCE)


@pytest.fixture
def copy(saved, tmp_path) -> Path:
    """A copy of the model folder that the test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def _edit(folder: Path, **changes) -> None:
    file = folder / "model.json"
    description = json.loads(file.read_text())
    description["preset"].update(changes)
    file.write_text(json.dumps(description))


def _assert_same(tree, other) -> None:
    assert jax.tree.structure(tree) == jax.tree.structure(other)
    for one, two in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        assert one.dtype == two.dtype
        assert np.asarray(one).tobytes() == np.asarray(two).tobytes()


def test_arrays_and_preset_come_back_bit_for_bit(saved, variables):
    model, loaded, preset = load_model(saved)
    _assert_same(loaded, variables)
    assert preset == PRESET
    assert model == build(PRESET)


def test_the_public_name_and_a_text_path_load_it_too(saved, variables):
    _assert_same(jcs_jax.load_model(str(saved))[1], variables)


def test_a_relative_path_is_loaded(saved, variables, monkeypatch):
    monkeypatch.chdir(saved.parent)
    _assert_same(load_model("model")[1], variables)


def test_the_description_is_json_with_preset_provenance_and_notice(saved):
    description = json.loads((saved / "model.json").read_text())
    assert description["format"] == "jcs-model/1"
    assert description["notice"] == RESEARCH_USE
    assert describe_model(saved) == (PRESET, PROVENANCE)


def test_nothing_in_the_folder_is_a_pickle(saved):
    files = [path for path in saved.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert path.suffix not in {".pkl", ".pickle", ".pth", ".pt", ".npy", ".npz"}
        assert not re.match(rb"\x80[\x02-\x05]", path.read_bytes()[:2])


def test_saving_leaves_only_the_folder(saved):
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_an_empty_collection_is_left_out(variables, tmp_path):
    preset = tiny.preset("classifier")
    parameters = tiny.random_variables(build(preset), IMAGES)
    save_model(tmp_path / "model", {**parameters, "batch_stats": {}}, preset, provenance={})
    _assert_same(load_model(tmp_path / "model")[1], parameters)


def test_saving_over_a_model_replaces_it(copy, variables):
    changed = jax.tree.map(lambda leaf: leaf + 1, variables)
    save_model(copy, changed, PRESET, provenance={})
    _assert_same(load_model(copy)[1], changed)
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_other_weights_of_the_same_preset_are_told_apart(saved, copy, variables, tmp_path):
    changed = jax.tree.map(lambda leaf: leaf + 1, variables)
    other = save_model(tmp_path / "other", changed, PRESET, provenance=PROVENANCE)
    assert weights_digest(saved) == weights_digest(copy) != weights_digest(other)
    assert re.fullmatch("[0-9a-f]{64}", weights_digest(saved))
    assert weights_digest(tmp_path) is None


@pytest.mark.parametrize(
    ("provenance", "arrays", "error"),
    [({"when": object()}, None, TypeError), ({}, {"params": {"kernel": "text"}}, Exception)],
    ids=["description", "arrays"],
)
def test_a_save_that_fails_leaves_the_old_model_and_nothing_half_written(copy, variables, provenance, arrays, error):
    with pytest.raises(error):
        save_model(copy, arrays or variables, PRESET, provenance=provenance)
    _assert_same(load_model(copy)[1], variables)
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def _refused(folder: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    _refused(tmp_path, r"no model here \(model.json is missing\); name a folder")
    _refused(tmp_path / "absent", "no model here")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe\x00", b'{"format": "jcs-model/1"}', b"[" * 100_000],
    ids=["empty", "cut", "list", "null", "text", "binary", "no preset", "nested"],
)
def test_a_damaged_description_is_refused(copy, content):
    (copy / "model.json").write_bytes(content)
    _refused(copy, "not a model description .*copy it again")


def test_another_format_is_refused_by_name(copy):
    (copy / "model.json").write_text('{"format": "jcs-model/99"}')
    _refused(copy, "'jcs-model/99', expected 'jcs-model/1'")


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "transformer"},
        {"options": {"colour": 1}},
        {"options": {"depths": 3}},
        {"options": {"norm": "layer"}},
    ],
    ids=str,
)
def test_a_description_of_no_network_is_refused(copy, changes):
    _edit(copy, **changes)
    _refused(copy, "describes no network of this version")


@pytest.mark.parametrize("changes", [{"options": [1]}, {"preprocessing": 3}, {"colour": 1}], ids=str)
def test_a_description_with_wrong_parts_is_refused(copy, changes):
    _edit(copy, **changes)
    _refused(copy, "not a model description")


def test_missing_arrays_are_refused(copy):
    shutil.rmtree(copy / "variables")
    _refused(copy, "variables: is missing; copy the whole model folder again")


def test_every_file_of_the_arrays_is_accounted_for(copy):
    files = [path for path in (copy / "variables").rglob("*") if path.is_file()]
    assert len(files) > 3
    for path in files:
        content = path.read_bytes()
        path.unlink()
        _refused(copy, f"{path.name}: is missing; copy the whole model folder again")
        path.write_bytes(content[:-1])
        _refused(copy, f"{path.name}: is damaged; copy the whole model folder again")
        path.write_bytes(content)
    load_model(copy)


def test_one_flipped_bit_in_the_weights_is_refused(copy):
    data = [path for path in (copy / "variables").rglob("*") if path.parent.name == "d"]
    largest = max(data, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    _refused(copy, f"{largest.name}: is damaged")


def test_a_model_without_digests_still_loads(copy, variables):
    file = copy / "model.json"
    description = json.loads(file.read_text())
    del description["files"]
    file.write_text(json.dumps(description))
    _assert_same(load_model(copy)[1], variables)


def test_arrays_of_another_shape_are_refused_with_both_shapes(copy):
    _edit(copy, options={**PRESET.options, "stem": [4, 4, 6]})
    with pytest.raises(InputError, match="these arrays are not those of") as caught:
        load_model(copy)
    kernel = "params/res2net/stem3_conv/kernel"
    assert f"- {kernel}: (3, 3, 4, 4), expected (3, 3, 4, 6)" in str(caught.value).splitlines()


def test_missing_and_left_over_arrays_are_listed_with_minus_and_plus(copy):
    _edit(copy, options={**PRESET.options, "stem": [4, 4], "depths": [1, 1, 1, 2]})
    with pytest.raises(InputError, match="these arrays are not those of") as caught:
        load_model(copy)
    lines = str(caught.value).splitlines()
    assert "- params/res2net/stage4_block1/expand_conv/kernel" in lines
    assert lines[-1] == "... and 10 more"
    assert len(lines) == 22


def test_left_over_arrays_are_listed_with_a_plus(copy):
    _edit(copy, options={**PRESET.options, "stem": [4, 4]})
    with pytest.raises(InputError) as caught:
        load_model(copy)
    assert str(caught.value).splitlines()[1:] == [
        "+ batch_stats/res2net/stem3_norm/mean",
        "+ batch_stats/res2net/stem3_norm/var",
        "+ params/res2net/stem3_conv/kernel",
        "+ params/res2net/stem3_norm/bias",
        "+ params/res2net/stem3_norm/scale",
    ]


def test_on_the_command_line_the_list_is_one_line_and_exit_code_2(copy, capsys, tmp_path):
    _edit(copy, options={**PRESET.options, "stem": [4, 4]})
    picture = tmp_path / "slice.png"
    picture.write_bytes(b"not read")
    assert cli.main(["diagnose", str(picture), "--checkpoint", str(copy), "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()
