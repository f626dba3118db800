"""Processes find each other or say why not; two that share a run leave what one would have left."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import shared_run

from jcs_jax.checkpoints import load_model
from jcs_jax.errors import InputError
from jcs_jax.training import distributed, loop
from jcs_jax.training.distributed import detected_cluster, join_processes

SUPPORT = Path(__file__).parents[1] / "support"
SRUN = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_NTASKS": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}
BATCH_SCRIPT = {name: value for name, value in SRUN.items() if "STEP" not in name}
MPIRUN = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "0", "OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:5"}
CLUSTERS = {
    "nothing": ({}, ""),
    "srun": (SRUN, "SLURM"),
    "srun of an older SLURM": ({k: v for k, v in SRUN.items() if k != "SLURM_STEP_NUM_TASKS"}, "SLURM"),
    "srun -n 1": ({**SRUN, "SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"}, ""),
    "sbatch without srun": (BATCH_SCRIPT, ""),
    "salloc": ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2"}, ""),
    "salloc with an interactive step": ({**SRUN, "SLURM_STEP_NUM_TASKS": "1"}, ""),
    "mpirun": (MPIRUN, "Open MPI"),
    "mpirun in an allocation of SLURM": (SRUN | MPIRUN, "Open MPI"),
    "mpirun -n 1": ({**MPIRUN, "OMPI_COMM_WORLD_SIZE": "1"}, ""),
    "TPU pod of Kubernetes": ({"TPU_WORKER_HOSTNAMES": "a,b", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "TPU pod"),
    "TPU pod by addresses": ({"TPU_PROCESS_ADDRESSES": "a:1,b:1"}, "TPU pod"),
    "TPU slices": ({"TPU_WORKER_HOSTNAMES": "a", "MEGASCALE_NUM_SLICES": "2"}, "TPU pod"),
    "one TPU host": ({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_ML_PLATFORM": "JAX"}, ""),
    "TPU machine of Google Cloud": ({"TPU_ML_PLATFORM": "JAX"}, "TPU pod"),
    "machine without TPUs": ({"TPU_SKIP_MDS_QUERY": "1"}, ""),
    "indexed job of Kubernetes": ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, "Kubernetes"),
    "pod of Kubernetes": ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, ""),
    "nonsense": ({**SRUN, "SLURM_NTASKS": "two"}, ""),
}


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_is_detected_where_it_started_several_tasks(name):
    environment, expected = CLUSTERS[name]
    assert detected_cluster(environment) == expected


@pytest.mark.parametrize(
    "environment", [environment for environment, name in CLUSTERS.values() if name in ("SLURM", "Open MPI")]
)
def test_jax_finds_what_it_needs_in_the_clusters_that_are_detected(environment, monkeypatch):
    clusters = pytest.importorskip("jax._src.clusters")
    _only(environment, monkeypatch)
    kind = {"SLURM": clusters.SlurmCluster, "Open MPI": clusters.OmpiCluster}[detected_cluster(environment)]
    assert kind.is_env_present()
    assert ":" in kind.get_coordinator_address(1, None)
    assert kind.get_process_id() < kind.get_process_count()


def _only(environment: dict[str, str], monkeypatch) -> None:
    for prefix in ("SLURM_", "OMPI_", "TPU_", "KUBERNETES_", "JOB_", "MEGASCALE_"):
        for name in [name for name in os.environ if name.startswith(prefix)]:
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def asked(monkeypatch):
    """What JAX is asked to join, outside any cluster."""
    calls = []
    _only({}, monkeypatch)
    monkeypatch.setattr(jax.distributed, "initialize", lambda **options: calls.append(options))
    return calls


def test_without_flags_and_cluster_nothing_is_joined(asked):
    join_processes("", 0, -1)
    assert asked == []


def test_one_process_joins_nobody_even_in_a_cluster(asked, monkeypatch):
    _only(SRUN, monkeypatch)
    join_processes("", 1, -1)
    join_processes("localhost:1234", 1, 0)
    assert asked == []


def test_flags_are_passed_on_and_no_cluster_is_asked(asked):
    join_processes("node1:1234", 3, 2, timeout=5)
    (call,) = asked
    assert (call["coordinator_address"], call["num_processes"], call["process_id"]) == ("node1:1234", 3, 2)
    assert call["cluster_detection_method"] == "deactivate"
    assert call["initialization_timeout"] > 5  # ours ends first: JAX's would end the process with a stack trace


def test_in_a_cluster_jax_is_asked_for_everything(asked, monkeypatch):
    _only(SRUN, monkeypatch)
    join_processes("", 0, -1)
    (call,) = asked
    assert call.keys() == {"initialization_timeout", "shutdown_timeout_seconds"}


def test_flags_in_a_step_of_slurm_leave_the_choice_of_gpus_to_it(asked, monkeypatch):
    _only(SRUN, monkeypatch)
    join_processes("node1:1234", 2, 0)
    assert "cluster_detection_method" not in asked[0]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("localhost:1", 0, -1), "--coordinator, --num_processes and --process_id belong together"),
        (("", 2, -1), "belong together"),
        (("localhost:1", 2, -1), "belong together"),
        (("", 0, 0), "belong together"),
        (("localhost:1", 2, 2), "--process_id is 2; the last of 2 is 1"),
        (("localhost:1", 1, 1), "--process_id is 1; the last of 1 is 0"),
        (("localhost", 2, 1), "--coordinator is 'localhost'; write HOST:PORT"),
        (("localhost:http", 2, 1), "write HOST:PORT"),
        (("localhost:70000", 2, 1), "write HOST:PORT"),
        ((":1234", 2, 1), "write HOST:PORT"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(asked, flags, said):
    with pytest.raises(InputError, match=said) as refused:
        join_processes(*flags)
    assert "\n" not in str(refused.value)
    assert asked == []


def test_open_mpi_that_keeps_its_address_to_itself_is_refused_with_the_cure(asked, monkeypatch):
    _only({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "0"}, monkeypatch)
    with pytest.raises(InputError, match=r"Open MPI: does not tell its address.*--num_processes=1"):
        join_processes("", 0, -1)
    assert asked == []


def test_a_kubernetes_job_needs_its_client(asked, monkeypatch):
    _only(CLUSTERS["indexed job of Kubernetes"][0], monkeypatch)
    monkeypatch.setattr(distributed.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"Kubernetes: an indexed job needs `pip install kubernetes`"):
        join_processes("", 0, -1)
    assert asked == []


def test_what_jax_refuses_is_one_line(monkeypatch):
    def initialize(**options):
        raise RuntimeError("no such host\nbecause of that")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(InputError, match=r"node1:1: the processes of the run can't be joined \(no such host\)") as said:
        join_processes("node1:1", 2, 1)
    assert "\n" not in str(said.value)


UNREACHABLE = """
import sys
from jcs_jax import cli
from jcs_jax.training import distributed
distributed.join_processes.__kwdefaults__["timeout"] = 2
sys.exit(cli.main(["train", *sys.argv[1:]]))
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def test_a_coordinator_that_is_not_there_is_one_line_and_exit_code_2(tmp_path):
    (tmp_path / "config.py").write_text("from jcs_jax.training.config import default_config as get_config\n")
    flags = [f"--coordinator=localhost:{_free_port()}", "--num_processes=2", "--process_id=1"]
    done = subprocess.run(
        [sys.executable, "-c", UNREACHABLE, f"--config={tmp_path / 'config.py'}", f"--workdir={tmp_path}/run", *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("jcs train: ")]
    assert "the processes of the run have not met in 2 s; start all of them" in line
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One device: the whole run, and one stopped after step 3. Two processes: the other half of it, and vice versa."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patched:
        shared_run.quicken(patched.setattr)
        shared_run.take_steps(shared_run.config(), folder / "whole")
        with pytest.MonkeyPatch.context() as stopping:
            stopping.setattr(loop, "StopRequest", shared_run.StopAtHalf)
            shared_run.take_steps(shared_run.config(), folder / shared_run.BEGUN_BY_ONE)
        told = _two_processes(folder)
        shared_run.take_steps(shared_run.config(), folder / shared_run.STOPPED_BY_TWO)
    return folder, told


def _two_processes(folder: Path) -> list[dict]:
    flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    port, environment = str(_free_port()), {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    started = [
        subprocess.Popen(
            [sys.executable, str(SUPPORT / "shared_run.py"), port, str(process), str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in (0, 1)
    ]
    said = [process.communicate(timeout=240) for process in started]
    for process, (_, errors) in zip(started, said, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [json.loads(output.splitlines()[-1]) for output, _ in said]


def test_two_processes_share_devices_batches_and_state(runs):
    for told in runs[1]:
        assert told["devices"] == [2, 4]
        assert told["shared_out"] > 10
        assert told["stopped"] == [False, 3]


def _logged(folder: Path, key: str) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line[key]) for line in lines if key in line]


@pytest.mark.parametrize("name", [shared_run.BEGUN_BY_ONE, shared_run.STOPPED_BY_TWO])
@pytest.mark.parametrize("key", ["loss", "validation_loss", "validation_auc"])
def test_a_run_goes_on_on_other_processes_and_devices_as_if_on_the_same(runs, name, key):
    found, expected = _logged(runs[0] / name, key), _logged(runs[0] / "whole", key)
    assert [step for step, _ in found] == [step for step, _ in expected]  # each once, whoever writes
    np.testing.assert_allclose([v for _, v in found], [v for _, v in expected], rtol=1e-5)


@pytest.mark.parametrize("name", [shared_run.BEGUN_BY_ONE, shared_run.STOPPED_BY_TWO])
def test_the_model_of_a_shared_run_is_that_of_one_device(runs, name):
    _, found, preset = load_model(runs[0] / name / "model")
    _, expected, preset_of_one = load_model(runs[0] / "whole/model")
    assert preset == preset_of_one
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), found, expected)


def test_the_first_process_alone_measures_the_model_and_says_that_the_run_is_finished(runs):
    folder, (first, second) = runs
    _, variables, _ = load_model(folder / shared_run.BEGUN_BY_ONE / "model")
    total = sum(float(np.abs(leaf).sum()) for leaf in jax.tree.leaves(variables))
    assert first["measured"] == [pytest.approx(total, rel=1e-4)]
    assert second["measured"] == []
    finished = json.loads((folder / shared_run.BEGUN_BY_ONE / "finished.json").read_text())
    assert finished["steps"] == 6
