"""Joining the processes of a run: found out from the cluster, or told by flags."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
from collections.abc import Mapping
from typing import Any

import jax
from jax.experimental import multihost_utils

from jcs_jax.errors import InputError

TIMEOUT = 300  # seconds to wait for the others
SHUTDOWN_TIMEOUT = 60  # seconds that one that ends, well or with an error, waits for the others to end too
_FLAGS = "--coordinator, --num_processes and --process_id"
_ALONE = "or --num_processes=1 to train in this process alone"
_OPEN_MPI, _SLURM, _TPU, _KUBERNETES = "Open MPI", "SLURM", "TPU pod", "Kubernetes"
# What JAX reads there. A shell of `salloc` and a script of `sbatch` lack some of it: only `srun` starts several tasks.
_SLURM_TASK = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
_OPEN_MPI_ADDRESS = "OMPI_MCA_orte_hnp_uri"


def detected_cluster(environment: Mapping[str, str]) -> str:
    """The kind of cluster that started this process as one of several, "" if none did.

    Open MPI, SLURM, a TPU pod, and indexed jobs of Kubernetes, in the order in which JAX looks for them. Of a machine
    with TPUs on Google Cloud, and of a job of Kubernetes, the environment doesn't tell whether it is one of several;
    there JAX asks.
    """
    if _number(environment, "OMPI_COMM_WORLD_SIZE") > 1:
        return _OPEN_MPI
    tasks = _number(environment, "SLURM_NTASKS")
    tasks = min(tasks, _number(environment, "SLURM_STEP_NUM_TASKS") or tasks)  # an interactive step has 1 of them
    if tasks > 1 and all(name in environment for name in _SLURM_TASK):
        return _SLURM
    if _has_tpu_hosts(environment):
        return _TPU
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return _KUBERNETES
    return ""


def join_processes(coordinator: str, num_processes: int, process_id: int, *, timeout: int = TIMEOUT) -> None:
    """Joins the other processes of the run; does nothing in a run of one. To be called before anything computes.

    Args:
      coordinator: `host:port` of process 0; empty to ask the cluster.
      num_processes: of the run; 0 where the cluster knows; 1 joins nobody, whatever the cluster says.
      process_id: 0 to num_processes - 1; -1 where the cluster knows.
      timeout: seconds to wait for the others.

    Raises:
      InputError: only some of the three are given, or the others can't be reached.
    """
    if num_processes == 1 and process_id <= 0:
        return
    given = (bool(coordinator), num_processes > 0, process_id >= 0)
    if any(given) and not all(given):
        raise InputError(f"{_FLAGS} belong together; give all of them or none")
    cluster = detected_cluster(os.environ)
    if all(given):
        _check_flags(coordinator, num_processes, process_id)
        options: dict[str, Any] = {"num_processes": num_processes, "process_id": process_id}
        options["coordinator_address"] = coordinator
        if cluster not in (_OPEN_MPI, _SLURM):  # those two also know which of a machine's GPUs are this process's
            options["cluster_detection_method"] = "deactivate"
        _initialize(f"--coordinator={coordinator}", options, timeout)
    elif cluster:
        _check_cluster(cluster, os.environ)
        _initialize(cluster, {}, timeout)


def leave_processes() -> None:
    """Parts from the other processes of the run, when all of them call it; from then on each does as it likes.

    Processes that merely exit wait for each other a minute, and those that wait longer are stopped. SIGTERM, which
    JAX's service had kept to itself, ends a process again.
    """
    if not jax.distributed.is_initialized():
        return
    multihost_utils.sync_global_devices("end of the run")
    jax.distributed.shutdown()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _check_flags(coordinator: str, num_processes: int, process_id: int) -> None:
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise InputError(f"--coordinator is {coordinator!r}; write HOST:PORT of process 0, such as node1:1234")
    if process_id >= num_processes:
        raise InputError(f"--process_id is {process_id}; the last of {num_processes} is {num_processes - 1}")


def _check_cluster(cluster: str, environment: Mapping[str, str]) -> None:
    """Refuses a cluster that JAX can't ask: every process would train by itself, in one folder."""
    if cluster == _OPEN_MPI and _OPEN_MPI_ADDRESS not in environment:
        raise InputError(f"{cluster}: does not tell its address ({_OPEN_MPI_ADDRESS}); give {_FLAGS}, {_ALONE}")
    if cluster == _KUBERNETES and importlib.util.find_spec("kubernetes") is None:
        raise InputError(f"{cluster}: an indexed job needs `pip install kubernetes`; or give {_FLAGS}, {_ALONE}")


def _initialize(name: str, options: Mapping[str, Any], timeout: int) -> None:
    """Joins in a thread of its own: where the others don't come, JAX would end the process with a stack trace."""
    failed: list[Exception] = []

    def join() -> None:
        try:
            jax.distributed.initialize(
                **options, initialization_timeout=timeout + 60, shutdown_timeout_seconds=SHUTDOWN_TIMEOUT
            )
        except Exception as error:  # noqa: BLE001  asking a cluster raises what its client libraries raise
            failed.append(error)

    thread = threading.Thread(target=join, daemon=True)
    thread.start()
    thread.join(timeout)
    cure = f"start all of them, check that they reach that address, or give other {_FLAGS}, {_ALONE}"
    if thread.is_alive():
        raise InputError(f"{name}: the processes of the run have not met in {timeout} s; {cure}")
    if failed:
        reason = (str(failed[0]).splitlines() or [type(failed[0]).__name__])[0][:200]
        raise InputError(f"{name}: the processes of the run can't be joined ({reason}); {cure}") from failed[0]


def _has_tpu_hosts(environment: Mapping[str, str]) -> bool:
    hosts = environment.get("TPU_PROCESS_ADDRESSES", environment.get("TPU_WORKER_HOSTNAMES"))
    if hosts is None:  # JAX sets the first of these where it finds TPUs, and the second where it finds none
        return environment.get("TPU_ML_PLATFORM") == "JAX" and "TPU_SKIP_MDS_QUERY" not in environment
    return "," in hosts or _number(environment, "MEGASCALE_NUM_SLICES") > 1


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    return int(value) if value.isdigit() else 0
