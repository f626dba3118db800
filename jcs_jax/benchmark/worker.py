"""The side of a benchmark that does the work: a program that runs it once whenever it is told to.

The protocol, for programs of any kind: the work stands as JSON in the environment variable JCS_BENCHMARK, with the
keys of `Workload`. When everything is compiled and warm the program writes one line of JSON to stdout, with whatever
it wants to tell of itself, such as `flops`. Then, for every line it reads from stdin, it does the work once and writes
a line {"seconds": ...}. At the end of stdin, when its memory has been looked at, it may tell more of itself, and ends.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax

from jcs_jax.benchmark.engine_workload import compile_for_engine
from jcs_jax.benchmark.limits import measure_limits
from jcs_jax.benchmark.workload import Workload, compile_workload
from jcs_jax.memory import release_freed_memory

VARIABLE = "JCS_BENCHMARK"
WARM_UP = 2  # runs


def serve(environment: Mapping[str, str]) -> None:
    """Speaks the protocol on stdin and stdout until stdin ends.

    Raises:
      ValueError: the environment names no such work.
    """
    work = Workload(**json.loads(environment[VARIABLE]))
    begun = time.perf_counter()
    compiled = compile_workload(work) if work.engine == "jax" else compile_for_engine(work)
    compile_seconds = time.perf_counter() - begun
    release_freed_memory()
    for _ in range(WARM_UP):
        compiled.run()
    _tell(
        {
            "program": f"jcs_jax with {work.engine}",
            "device": jax.devices()[0].device_kind,
            "compile_seconds": compile_seconds,
            "flops": compiled.flops,
            "least_bytes": compiled.least_bytes,
        }
    )
    for _ in sys.stdin:
        begun = time.perf_counter()
        compiled.run()
        _tell({"seconds": time.perf_counter() - begun})
    _tell(measure_limits())


def _tell(values: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()
