"""What tracing a network gives is kept beside JAX's compiled programs, so that the next run need not trace again.

Where JAX keeps nothing (`jax_compilation_cache_dir`), nothing is kept here. Only networks of this package are looked
up: what they compute is known by their description and by the digest of this package's code.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax
import flax.linen as nn
import jax
from jax import export as jax_export

from jcs_jax.files import write_atomically

MOST_FILES = 200  # those that were made last
_DIGEST = 32  # bytes of SHA-256 at a file's end
_CODE = ("nn", "models", "checkpoints.py", "diagnosis/programs.py", "explain.py", "remembered.py")


def remembered(model: nn.Module, told: str, make: Callable[[], bytes]) -> bytes:
    """What `make` returns, or returned in an earlier run.

    Args:
      model: network that it depends on.
      told: on what else it depends.
      make: makes it, the same each time.
    """
    file = _file(model, told)
    if file is None:
        return make()
    with contextlib.suppress(OSError):
        data = file.read_bytes()
        if hashlib.sha256(data[:-_DIGEST]).digest() == data[-_DIGEST:]:
            return data[:-_DIGEST]
    made = make()
    with contextlib.suppress(OSError):  # a full disk costs the next run some time
        write_atomically(file, made + hashlib.sha256(made).digest())
        _throw_away(file.parent)
    return made


class RememberedProgram:
    """A function of arrays, jitted, which isn't traced again for shapes that an earlier run had.

    Args:
      function: of trees of arrays.
      model: network that it depends on.
      told: on what else it depends.
    """

    def __init__(self, function: Callable[..., Any], model: nn.Module, told: str):
        self._traced, self._model, self._told = jax.jit(function), model, told
        self._programs: dict[Any, Callable[..., Any]] = {}
        self._lock = threading.Lock()

    def __call__(self, *arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(arguments)
        key = (tree, tuple((leaf.shape, leaf.dtype) for leaf in leaves))
        with self._lock:
            if key not in self._programs:
                self._programs[key] = self._program(arguments)
        return self._programs[key](*arguments)

    def _program(self, arguments: Any) -> Callable[..., Any]:
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), arguments)
        told = f"{self._told} of {shapes} on {jax.default_backend()}"
        if _file(self._model, told) is None:
            return self._traced
        try:
            data = remembered(self._model, told, lambda: bytes(jax_export.export(self._traced)(*shapes).serialize()))
        except (ImportError, ValueError):  # without flatbuffers, or of a form that JAX doesn't promise to keep
            return self._traced
        return jax.jit(jax_export.deserialize(bytearray(data)).call)


def _file(model: nn.Module, told: str) -> Path | None:
    """Where it is kept; None where it can't be, or the model's description doesn't tell all of it."""
    folder, description = _folder(), repr(model)
    if folder is None or not type(model).__module__.startswith("jcs_jax.") or " at 0x" in description:
        return None
    options = [str(_setting(name)) for name in ("jax_enable_x64", "jax_default_matmul_precision")]
    parts = (_code(), jax.__version__, flax.__version__, *options, description, told)
    return folder / hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _folder() -> Path | None:
    """Beside JAX's compiled programs, if it keeps them on this machine."""
    folder = _setting("jax_compilation_cache_dir")
    used = _setting("jax_enable_compilation_cache") and folder and Path(folder).is_dir()
    return Path(folder) / "traced" if used else None


def _setting(name: str) -> Any:
    return getattr(jax.config, name)


@functools.cache
def _code() -> str:
    """Digest of the code that says what networks compute."""
    home, digest = Path(__file__).parent, hashlib.sha256()
    for part in _CODE:
        for file in sorted((home / part).glob("*.py")) or [home / part]:
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _throw_away(folder: Path) -> None:
    files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files[MOST_FILES:]:
        file.unlink(missing_ok=True)
