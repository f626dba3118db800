"""Starting from trained networks: every part in its place, what stays random is told, and what can't be is refused."""

import shutil
from pathlib import Path

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jcs_jax.checkpoints import save_model
from jcs_jax.errors import InputError
from jcs_jax.models.presets import build
from jcs_jax.training.initial_weights import model_folders, start_from

IMAGES = jnp.zeros((1, tiny.SIDE, tiny.SIDE, 3))
OPTIONS = {"norm": "frozen"}  # constants in `batch_stats` come along


def _variables(architecture: str, seed: int, **options):
    return tiny.random_variables(build(tiny.preset(architecture, **OPTIONS, **options)), IMAGES, seed=seed)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A trained classifier, one of other widths, and a segmenter that lies in the folder of its run."""
    folder = tmp_path_factory.mktemp("trained")
    wide = {"planes": (4, 4, 4, 8)}
    models = {"classifier": {}, "wide": wide, "segmenter": {}}
    for seed, (name, options) in enumerate(models.items(), start=1):
        architecture = "segmenter" if name == "segmenter" else "classifier"
        path = folder / name / ("model" if name == "segmenter" else "")
        preset = tiny.preset(architecture, **OPTIONS, **options)
        save_model(path, _variables(architecture, seed, **options), preset, provenance={})
    return {name: folder / name for name in models}


def _start(architecture: str, *folders: Path, **options):
    named = ", ".join(map(str, folders))
    return start_from(_variables(architecture, 0, **options), model_folders(named))


def _equal(found, expected) -> bool:
    return all(
        np.array_equal(one, two) for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    )


def test_a_classifier_starts_as_the_classifier_it_is_given(folders):
    variables, random_parts = _start("classifier", folders["classifier"])
    assert _equal(variables, _variables("classifier", 1))
    assert random_parts == []


@pytest.mark.parametrize("order", [("classifier", "segmenter"), ("segmenter", "classifier")])
def test_the_joint_network_takes_each_part_from_the_one_that_has_it(folders, order):
    variables, random_parts = _start("joint", *(folders[name] for name in order))
    classifier, segmenter, fresh = _variables("classifier", 1), _variables("segmenter", 3), _variables("joint", 0)
    origins = {
        **dict.fromkeys(("res2net", "class_head"), classifier),
        **dict.fromkeys(("vgg", "enhanced", "decoder", "heads"), segmenter),
        "fusion": fresh,
    }
    assert variables["params"].keys() == origins.keys()
    for part, origin in origins.items():
        assert _equal(variables["params"][part], origin["params"][part]), part
    for part, statistics in variables["batch_stats"].items():
        assert _equal(statistics, origins[part]["batch_stats"][part]), part
    assert variables["batch_stats"].keys() == {"res2net", "vgg", "fusion"}
    assert random_parts == ["fusion"]


def test_a_joint_network_without_a_class_head_leaves_the_classifiers_out(folders):
    variables, random_parts = _start("joint", folders["classifier"], classes=0)
    assert "class_head" not in variables["params"]
    assert _equal(variables["params"]["res2net"], _variables("classifier", 1)["params"]["res2net"])
    assert random_parts == ["decoder", "enhanced", "fusion", "heads", "vgg"]


def test_the_names_shapes_and_dtypes_stay_those_of_the_network(folders):
    variables, _ = _start("joint", folders["segmenter"])
    found, expected = (flax.traverse_util.flatten_dict(tree) for tree in (variables, _variables("joint", 0)))
    assert {path: (leaf.shape, leaf.dtype) for path, leaf in found.items()} == {
        path: (leaf.shape, leaf.dtype) for path, leaf in expected.items()
    }


def test_no_folder_is_named_by_an_empty_option():
    assert model_folders("") == []


def test_a_run_stands_for_its_model_and_spaces_do_not_count(folders):
    named = f" {folders['segmenter']} ,{folders['classifier']}"
    assert model_folders(named) == [folders["segmenter"] / "model", folders["classifier"]]


def test_a_folder_that_is_not_there_or_no_model_is_refused_by_name(tmp_path):
    for folder in (tmp_path / "absent", tmp_path):
        with pytest.raises(InputError, match=f"init_from: {folder} is neither a model folder nor a finished run"):
            model_folders(str(folder))


def _refused(architecture: str, *folders: Path) -> str:
    with pytest.raises(InputError) as refused:
        _start(architecture, *folders)
    return str(refused.value)


def test_a_network_of_another_kind_is_refused_and_the_parts_are_named(folders):
    said = _refused("segmenter", folders["classifier"])
    assert said == (
        f"config.init_from: {folders['classifier']} is a classifier, and its res2net have no place in this network, "
        "which has decoder, enhanced, heads, vgg; name another model"
    )
    assert "its decoder, enhanced, heads, vgg have no place" in _refused("classifier", folders["segmenter"])


@pytest.mark.parametrize("architecture", ["classifier", "joint"])
def test_other_widths_are_refused_with_the_arrays(folders, architecture):
    said = _refused(architecture, folders["wide"])
    assert said.startswith(f"{folders['wide']}: these arrays are not those of the network:")
    assert "- batch_stats/res2net/stage4_block0/scale2_norm/var: (3,), expected (1,)" in said


def test_two_networks_with_one_part_are_refused(folders):
    said = _refused("joint", folders["classifier"], folders["classifier"])
    assert said.startswith("config.init_from: ")
    assert "both have class_head, res2net; name one of them" in said


def test_a_damaged_model_is_refused(folders, tmp_path):
    copy = Path(shutil.copytree(folders["classifier"], tmp_path / "copy"))
    largest = max((copy / "variables").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    said = _refused("classifier", copy)
    assert said.endswith("is damaged; copy the whole model folder again")
    assert "\n" not in said
