"""Eight simulated devices compute what one does; parameters and optimiser state are shared out as was asked."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from jcs_jax.errors import InputError
from jcs_jax.training.sharding import DATA, FSDP, Layout, check_divisible, make_layout

ROOT = Path(__file__).parents[2]
MESHES = ["8", "4x2"]


@pytest.fixture(scope="module")
def on_eight():
    """What `tests/support/mesh_program.py` has measured."""
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    done = subprocess.run(
        [sys.executable, ROOT / "tests/support/mesh_program.py"],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    measured = json.loads(done.stdout)
    assert measured["devices"] == 8
    return measured


@pytest.mark.parametrize("name", [*MESHES, "accumulate 2 on 4x2", "self-training on 4x2", "whole-batch Dice on 4x2"])
def test_losses_and_parameters_are_those_of_one_device(on_eight, name):
    # With masks and labels missing on some devices, statistics of the whole batch, and dropout.
    run = on_eight["runs"][name]
    assert run["losses"] < 1e-5
    assert run["params"] < 1e-6
    assert run["statistics"] < 1e-6


@pytest.mark.parametrize("parts", ["8", "16"])
def test_in_fixed_parts_every_mesh_ends_with_the_bits_of_one_device(on_eight, parts):
    assert on_eight["same_bits"][parts] == {"1": True, "8": True, "4x2": True, "2x4": True}


@pytest.mark.parametrize("name", MESHES)
def test_every_device_has_its_own_rows_of_the_batch(on_eight, name):
    assert on_eight["runs"][name]["rows"] == [[2 * device, 2] for device in range(8)]
    assert on_eight["runs"]["1"]["rows"] == [[0, 16]]


def test_parameters_and_optimiser_state_take_half_the_memory_with_fsdp_2(on_eight):
    ratios = {name: run["ratio"] for name, run in on_eight["runs"].items()}
    assert ratios["4x2"] >= 1.8
    assert ratios["8"] == ratios["1"] == 1


@pytest.mark.parametrize("name", MESHES)
def test_a_step_leaves_the_state_laid_out_as_it_was_and_takes_the_old_ones_memory(on_eight, name):
    assert on_eight["runs"][name]["as_laid_out"]
    assert on_eight["runs"][name]["donated"]


def test_validation_counts_every_slice_once_on_any_number_of_devices(on_eight):
    assert on_eight["validation"]["4x2"] == pytest.approx(on_eight["validation"]["1"], rel=1e-5)
    assert on_eight["validation"]["1"].keys() == {"dice", "auc", "loss"}


def test_the_same_pictures_are_drawn_on_any_number_of_devices(on_eight):
    assert on_eight["drawn"] == [f"{kind}/{row}" for kind in ("activation", "lesion") for row in range(4)]
    assert on_eight["pictures"]["4x2"] <= 1  # of 255


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        ("data 3", "config.mesh.data=3 x config.mesh.fsdp=1 does not fit the 8 devices"),
        ("fsdp 3", "config.mesh.fsdp=3 does not fit the 8 devices"),
        ("data 8 x fsdp 2", "config.mesh.data=8 x config.mesh.fsdp=2 does not fit the 8 devices"),
        ("batch 12", "config.batch_size=12 can't be shared by 8 devices; choose a multiple of 8, such as 16"),
        ("batch 24 in 2", "by 8 devices in 2 parts; choose a multiple of 16, such as 32"),
        ("6 fixed parts", "config.fixed_parts=6 has no balanced sum; choose a power of two, or 0 for none"),
        ("4 fixed parts", "config.fixed_parts=4 can't be shared by 8 devices; their number must be a power of two"),
        ("8 fixed parts in 2", "config.fixed_parts computes a batch in parts already; set config.accumulate=1"),
    ],
)
def test_a_mesh_or_batch_that_does_not_divide_is_refused_with_the_cure(on_eight, attempt, said):
    assert said in on_eight["refused"][attempt]
    assert "\n" not in on_eight["refused"][attempt]


def _spec(shape: tuple[int, ...], fsdp: int = 2) -> PartitionSpec:
    layout = Layout(AbstractMesh((4, fsdp), (DATA, FSDP)))
    return layout.state_shardings(jax.ShapeDtypeStruct(shape, "float32")).spec


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((3, 3, 64, 128), (None, None, None, FSDP)),
        ((3, 3, 128, 64), (None, None, FSDP, None)),
        ((64, 64), (None, FSDP)),
        ((3, 3, 8, 5), (None, None, FSDP, None)),  # 5 can't be halved
        ((3, 3, 7, 5), ()),
        ((64,), (FSDP,)),
        ((63,), ()),
        ((32,), ()),  # too small to be worth it
        ((), ()),
    ],
)
def test_an_array_is_cut_along_its_longest_axis_that_divides(shape, spec):
    assert _spec(shape) == PartitionSpec(*spec)


def test_without_fsdp_every_device_has_all_of_the_state():
    assert _spec((64, 64), fsdp=1) == PartitionSpec()


def test_one_device_is_a_mesh_of_one():
    layout = make_layout(-1, 1)
    assert dict(layout.mesh.shape) == {DATA: 1, FSDP: 1}
    assert not layout.shards_state
    check_divisible(3, 3, layout)
    with pytest.raises(InputError, match=r"config.mesh.fsdp=2 does not fit the 1 devices"):
        make_layout(-1, 2)


def test_processes_with_unequal_numbers_of_devices_are_refused(monkeypatch):
    devices = [SimpleNamespace(process_index=process, id=number) for number, process in enumerate([0, 0, 0, 1])]
    monkeypatch.setattr(jax, "devices", lambda: devices)
    with pytest.raises(InputError, match="one process has 1 devices and another 3; give every process as many"):
        make_layout(-1, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "loss", "parameters"),
    [
        (["--name=classifier_tiny"], 1e-5, 1e-4),  # the release's learning rate
        (["--name=joint_tiny", "--learning_rate=1e-3", "--fixed_parts=8"], 1e-15, 1e-15),  # the same bits
    ],
)
def test_twenty_steps_are_those_of_one_device_on_eight_and_on_two_processes(flags, loss, parameters):
    # What a larger learning rate makes of float32's rounding is told in benchmarks/topology.py.
    command = [sys.executable, ROOT / "benchmarks/topology.py", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    measured = [line for line in lines if "perturbed" not in line["topology"]]
    assert len(measured) == 3
    for line in measured:
        assert line["loss"] < loss
        assert line["parameters"] < parameters
