"""Where JAX keeps compiled programs, so that the next run of the same shapes need not compile them."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
from collections.abc import Mapping
from pathlib import Path

FOLDER = "JAX_COMPILATION_CACHE_DIR"
SWITCH = "JAX_ENABLE_COMPILATION_CACHE"
LARGEST = 2_000_000_000  # bytes; what was not used for longest goes first


def cache_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that make JAX keep what it compiles; it reads them when it is loaded.

    Programs for a processor run only on its like, so each kind has a folder of its own: a home folder may be
    shared by many machines.

    Args:
      environment: variables of this process. Where they name a folder for JAX already, or switch its cache off, that
        stays.

    Returns:
      Variables to add; none where there is no folder to write to.
    """
    if FOLDER in environment or SWITCH in environment:
        return {}
    home = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".cache")
    folder = Path(home) / "jcs_jax" / _processor()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return {}
    settings = {FOLDER: str(folder)}
    if importlib.util.find_spec("filelock"):  # JAX needs it to throw away
        settings["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(LARGEST)
    return settings


def _processor() -> str:
    """A short name for the kind of processor and what it can do."""
    told = [platform.machine()]
    known = Path("/proc/cpuinfo")
    if known.is_file():
        lines = known.read_text(encoding="utf-8", errors="replace").splitlines()
        told += sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
