"""Joining the processes of a run: found out from the cluster, or told by flags."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import jax

from jcs_jax.errors import InputError

TIMEOUT = 300  # seconds to wait for the others


def detected_cluster(environment: Mapping[str, str]) -> str:
    """The kind of cluster that started this process as one of several, "" if none did.

    SLURM, Open MPI, a TPU pod, and Kubernetes jobs with an index: JAX finds coordinator, number and place there by
    itself.
    """
    if _number(environment, "SLURM_NTASKS") > 1 and "SLURM_PROCID" in environment:
        return "SLURM"
    if _number(environment, "OMPI_COMM_WORLD_SIZE") > 1:
        return "Open MPI"
    if "," in environment.get("TPU_WORKER_HOSTNAMES", ""):
        return "TPU pod"
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return "Kubernetes"
    return ""


def join_processes(coordinator: str, num_processes: int, process_id: int) -> None:
    """Joins the other processes of the run; does nothing in a run of one. To be called before anything computes.

    Args:
      coordinator: `host:port` of process 0; empty to ask the cluster.
      num_processes: of the run; 0 where the cluster knows.
      process_id: 0 to num_processes - 1; -1 where the cluster knows.

    Raises:
      InputError: only some of the three are given, or the others can't be reached.
    """
    given = (bool(coordinator), num_processes > 0, process_id >= 0)
    if any(given) and not all(given):
        raise InputError("--coordinator, --num_processes and --process_id belong together; give all of them or none")
    if all(given):
        if process_id >= num_processes:
            raise InputError(f"--process_id is {process_id}; the last is {num_processes - 1}")
        options: dict[str, Any] = {"num_processes": num_processes, "process_id": process_id}
        options["coordinator_address"] = name = coordinator
    else:
        options, name = {}, detected_cluster(os.environ)
        if not name:
            return
    try:
        jax.distributed.initialize(**options, initialization_timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(
            f"{name}: the processes of the run can't be joined ({reason}); check the address, or give --coordinator, "
            "--num_processes and --process_id"
        ) from error


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    return int(value) if value.isdigit() else 0
