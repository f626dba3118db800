"""What tracing gives is found again by the next run, and only by one that would trace the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jcs_jax import create_model, remembered
from jcs_jax.checkpoints import load_model
from jcs_jax.diagnosis.programs import JaxPrograms
from jcs_jax.models.presets import get_preset
from jcs_jax.remembered import RememberedProgram

MODEL, OTHER = create_model("classifier_tiny"), create_model("joint_tiny")
ONES = np.ones((2, 3), np.float32)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(remembered, "_folder", lambda: tmp_path / "traced")
    return tmp_path / "traced"


class _Doubling:
    """Counts how often it is traced."""

    def __init__(self):
        self.traced = 0

    def __call__(self, x):
        self.traced += 1
        return {"twice": 2 * x}


def _traced(x=ONES, *, model=MODEL, told="doubling"):
    """How often a new program traces, called twice."""
    function = _Doubling()
    program = RememberedProgram(function, model, told)
    for _ in range(2):
        np.testing.assert_array_equal(program(x)["twice"], 2 * np.asarray(x))
    return function.traced


def test_a_second_run_does_not_trace(folder):
    assert _traced() == 1
    assert _traced() == 0
    assert len(list(folder.iterdir())) == 1


def test_other_shapes_types_networks_and_uses_are_traced(folder):
    _traced()
    assert _traced(ONES[:1]) == 1
    assert _traced(ONES.astype(np.int32)) == 1
    assert _traced(model=OTHER) == 1
    assert _traced(told="doubling, flip") == 1


def test_changed_code_is_traced(folder, monkeypatch):
    _traced()
    monkeypatch.setattr(remembered, "_code", lambda: "changed")
    assert _traced() == 1


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: b"\0" + data[1:]])
def test_a_damaged_file_is_made_again(folder, damage):
    _traced()
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert _traced() == 1
    assert _traced() == 0


def test_a_network_that_is_not_of_this_package_is_not_kept(folder):
    assert _traced(model=nn.Dense(3)) == 1
    assert _traced(model=create_model("classifier_tiny", dtype=_Doubling())) == 1
    assert not folder.exists()


def test_without_a_folder_nothing_is_kept():
    assert _traced() == 1
    assert _traced() == 1


def test_a_folder_that_cannot_be_written_costs_time_only(folder):
    folder.write_text("a file")
    assert _traced() == 1
    assert _traced() == 1


def test_the_oldest_files_go(folder, monkeypatch):
    monkeypatch.setattr(remembered, "MOST_FILES", 3)
    for number in range(5):
        _traced(told=str(number))
    assert len(list(folder.iterdir())) == 3
    assert _traced(told="4") == 0


@pytest.mark.parametrize("reason", [ValueError("not promised"), ImportError("Please install 'flatbuffers'")])
def test_what_cannot_be_exported_runs_as_it_is(folder, monkeypatch, reason):
    def refuse(*_):
        raise reason

    monkeypatch.setattr(remembered.jax_export, "export", refuse)
    assert _traced() == 1
    assert not folder.exists()


def test_the_digest_of_the_code_is_that_of_the_networks_files():
    assert len(remembered._code()) == 64
    homes = [remembered.Path(remembered.__file__).parent / part for part in remembered._CODE]
    assert all(home.exists() for home in homes)


@pytest.mark.parametrize("flip", [False, True])
def test_a_diagnosis_from_memory_is_the_same(folder, flip):
    images = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    variables = OTHER.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))

    def diagnose():
        programs = JaxPrograms(OTHER, variables, get_preset("joint_tiny"), flip=flip)
        screened = programs.screen(images)
        return screened, programs.segment(images, screened.trunk)

    first, second = diagnose(), diagnose()
    assert len(list(folder.iterdir())) == 2
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_a_model_s_shapes_are_checked_from_memory_too(folder):
    _, variables, preset = load_model("jcs_tiny")
    assert len(list(folder.iterdir())) == 1
    again, _ = load_model("jcs_tiny")[1], preset
    jax.tree.map(np.testing.assert_array_equal, variables, again)
