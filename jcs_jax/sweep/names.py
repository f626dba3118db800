"""Folder names of runs: readable, safe on every file system, and never the same for two."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_SAFE = re.compile(r"[a-z0-9._+-]+")  # no capitals: some file systems take a and A for one
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]")
_LONGEST_VALUE, _LONGEST_NAME = 40, 200  # characters; file systems take 255 bytes


def run_name(variant: str, fold: str, values: Mapping[str, Any]) -> str:
    """The folder of a run, such as `modern-fold=fold0-learning_rate=0.003-seed=1`.

    A value is written out where it is a number, or short text of safe characters. Any other is made readable and
    ends with ~ and a part of its SHA-256, so that values which look alike stay apart.

    Args:
      variant: name of the run's variant, empty without variants.
      fold: name of the run's fold, empty without folds.
      values: the run's value by axis, such as {"optimizer.learning_rate": 0.003, "seed": 1}.

    Returns:
      The name.
    """
    short = _short_keys(list(values))
    parts = [variant] if variant else []
    parts += [f"fold={fold}"] if fold else []
    parts += [f"{short[key]}={_text(value)}" for key, value in values.items()]
    name = "-".join(parts)
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}~{_digest(name)}"


def _short_keys(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each dotted key, or all of it where two end alike."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: end if last.count(end) == 1 else key for key, end in zip(keys, last, strict=True)}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple) and value and all(type(item) in (int, float) for item in value):
        text = ",".join(map(repr, value))
        return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}~{_digest(value)}"
    text = value if isinstance(value, str) else json.dumps(value)
    if _SAFE.fullmatch(text) and len(text) <= _LONGEST_VALUE:
        return text
    return f"{_UNSAFE.sub('_', text)[:_LONGEST_VALUE] or 'empty'}~{_digest(value)}"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
