"""How busy this machine is, and what a process has used of it (Linux)."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float:
    """Processor time that all programs of this machine have used since it started (Linux)."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, _first_line("/proc/stat").split()[1:])
    return (user + nice + system + irq + softirq) / _TICKS


def process_seconds(pid: int) -> float:
    """Processor time that a process's threads have used (Linux)."""
    fields = _first_line(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peak_rss_mb(pid: int) -> float:
    """Largest resident memory of a process until now, in 10^6 bytes (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def wait_until_quiet(limit: float, patience: float, *, look: float = 0.5) -> float:
    """Waits until other programs use few processors.

    Args:
      limit: processors that others may use.
      patience: seconds after which the wait ends all the same.
      look: seconds over which the load is measured.

    Returns:
      The load that was seen last, in processors.
    """
    end = time.monotonic() + patience
    while True:
        busy, begun = busy_seconds(), time.monotonic()
        time.sleep(look)
        load = (busy_seconds() - busy) / (time.monotonic() - begun)
        if load <= limit or time.monotonic() >= end:
            return load


def _first_line(path: str) -> str:
    return Path(path).read_text(encoding="ascii", errors="replace").partition("\n")[0]
