"""Models found by name: where they are looked for, what goes first, and what is said where there are none."""

from pathlib import Path

import pytest
from ship import write_packed

import jcs_jax
from jcs_jax import shipped
from jcs_jax.checkpoints import describe_model, load_model, weights_digest
from jcs_jax.errors import InputError
from jcs_jax.shipped import default_model, resolve_model, shipped_models
from jcs_jax.training.initial_weights import model_folders


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "weights"
    write_packed(folder / "jcs_tiny")
    write_packed(folder / "another")
    for name in ("jcs_tiny", "another"):
        (folder / f"{name}_as_orbax" / "model.json").unlink()
    (folder / "README.md").touch()
    return folder


@pytest.fixture
def elsewhere(weights, tmp_path, monkeypatch) -> Path:
    """The current folder, where nothing is called as a shipped model is."""
    monkeypatch.setattr(shipped, "WEIGHTS", weights)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def _none(monkeypatch, tmp_path):
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path / "absent")


def test_they_are_looked_for_in_the_folder_of_the_package():
    assert Path(jcs_jax.__file__).with_name("weights") == shipped.WEIGHTS


@pytest.mark.usefixtures("elsewhere")
def test_model_folders_are_listed_and_nothing_else():
    assert shipped_models() == ["another", "jcs_tiny"]


@pytest.mark.usefixtures("_none")
def test_without_the_folder_there_are_none():
    assert shipped_models() == []


@pytest.mark.usefixtures("elsewhere")
def test_a_name_is_the_shipped_model_for_all_that_read_models(weights):
    folder = weights / "jcs_tiny"
    assert resolve_model("jcs_tiny") == folder
    assert describe_model("jcs_tiny") == describe_model(folder)
    assert weights_digest("jcs_tiny") == weights_digest(folder) is not None
    assert load_model("jcs_tiny")[2] == jcs_jax.load_model(folder)[2]
    assert model_folders("another, jcs_tiny") == [weights / "another", folder]


def test_a_folder_of_that_name_goes_before_the_shipped_model(elsewhere):
    write_packed(elsewhere / "jcs_tiny")
    assert resolve_model("jcs_tiny") == Path("jcs_tiny")


def test_a_file_of_that_name_does_not(elsewhere, weights):
    (elsewhere / "jcs_tiny").touch()
    assert resolve_model("jcs_tiny") == weights / "jcs_tiny"


def test_a_folder_that_hides_a_shipped_model_is_told(elsewhere):
    (elsewhere / "jcs_tiny").mkdir()
    with pytest.raises(InputError, match=r"no model here .* hides the model of that name that comes with the package"):
        load_model("jcs_tiny")
    assert default_model() == shipped.WEIGHTS / "jcs_tiny"


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("name", ["jcs_tiny_as_orbax", "README.md", "", ".", "..", "../weights/jcs_tiny", "JCS_TINY"])
def test_what_is_no_name_of_a_model_stays_a_path(name):
    assert resolve_model(name) == Path(name)


@pytest.mark.usefixtures("elsewhere")
def test_an_unknown_name_is_one_line_that_lists_the_shipped_ones():
    with pytest.raises(InputError, match=r"^jcs_huge: no model here .*comes with the package: another, jcs_tiny$"):
        load_model("jcs_huge")
    assert weights_digest("jcs_huge") is None


@pytest.mark.usefixtures("_none")
def test_without_shipped_models_an_unknown_name_lists_none():
    with pytest.raises(InputError, match=r"name a folder written by `jcs train` or `jcs convert`$"):
        load_model("jcs_tiny")


@pytest.mark.usefixtures("_none")
def test_without_the_default_model_the_line_says_what_to_do():
    with pytest.raises(InputError, match="jcs_tiny: this installation holds no weights; name a model folder with"):
        default_model()
