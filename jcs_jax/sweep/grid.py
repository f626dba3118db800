"""A grid file: which values and variants of a config a sweep runs over."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jcs_jax.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_NAME_RULE = "letters, digits and _ . + -, a letter or digit first"
_SPLITS = {"train": "data.train_split", "validation": "validation.split", "eval": "data.eval_split"}


@dataclasses.dataclass(frozen=True)
class Variant:
    """Options that are set together, under one name.

    Attributes:
      config: another config file, as `--config` takes it; None for the sweep's own.
      overrides: values by option, in tables as TOML nests them.
    """

    config: str | None
    overrides: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Grid:
    """The runs of a sweep are the product of its variants, its folds and the values of its axes.

    Attributes:
      path: the file.
      text: what stands there.
      axes: values by option, in tables as TOML nests them; each innermost value is a list.
      variants: by name, in the file's order.
      folds: by name, the options that name its splits.
    """

    path: Path
    text: str
    axes: Mapping[str, Any]
    variants: Mapping[str, Variant]
    folds: Mapping[str, Mapping[str, str]]


def read_grid(path: Path) -> Grid:
    """Reads a grid file.

    It is TOML with up to three sections. `[axes]` has a list of values for each option; `[variants.NAME]` has options
    with one value each, and may name another config file as `config`; `[folds.NAME]` names the splits `train` and
    `eval`, and `validation` if there is one. Options are written as in a config: `optimizer.learning_rate`.

    Args:
      path: the file.

    Returns:
      The grid, of which no option has been compared with a config yet.

    Raises:
      InputError: no file, not TOML, or not a grid.
    """
    try:
        text = path.read_text(encoding="utf-8")
        sections = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"{path}: no grid can be read there ({error.strerror}); name a TOML file") from error
    except ValueError as error:
        raise InputError(f"{path}: not TOML ({error}); correct the file") from error
    for name, content in sections.items():
        if name not in ("axes", "variants", "folds"):
            nearest = difflib.get_close_matches(name, ("axes", "variants", "folds"), n=1)
            cure = f"did you mean [{nearest[0]}]?" if nearest else "a grid has [axes], [variants.NAME] and [folds.NAME]"
            raise InputError(f"{path}: unknown section '{name}'; {cure}")
        if not isinstance(content, dict):
            raise InputError(f"{path}: '{name}' must be a section, written [{name}]")
    grid = Grid(
        path,
        text,
        sections.get("axes", {}),
        {name: _variant(path, name, content) for name, content in sections.get("variants", {}).items()},
        {name: _fold(path, name, content) for name, content in sections.get("folds", {}).items()},
    )
    _check_names(path, "variants", grid.variants)
    _check_names(path, "folds", grid.folds)
    if not (grid.axes or grid.variants or grid.folds):
        raise InputError(f"{path}: names no runs; add lists of values under [axes], or a [variants.NAME]")
    return grid


def _variant(path: Path, name: str, content: Any) -> Variant:
    if not isinstance(content, dict):
        raise InputError(f"{path}: variant '{name}' must be a section, written [variants.{name}]")
    overrides = dict(content)
    config = overrides.pop("config", None)
    if config is not None and not (isinstance(config, str) and config):
        raise InputError(f"{path}: [variants.{name}] config must be a file, or file:argument, in quotes")
    return Variant(config, overrides)


def _fold(path: Path, name: str, content: Any) -> dict[str, str]:
    where = f"{path}: [folds.{name}]"
    if not isinstance(content, dict) or not {"train", "eval"} <= content.keys() <= _SPLITS.keys():
        raise InputError(f"{where} must name the splits train and eval, may name validation, and nothing else")
    for key, split in content.items():
        if not isinstance(split, str):
            raise InputError(f"{where} {key} must be a split in quotes, not {split!r}")
    return {_SPLITS[key]: split for key, split in content.items()}


def _check_names(path: Path, section: str, names: Mapping[str, Any]) -> None:
    """Refuses names that can't stand in a folder's name, or that a file system may take for one another."""
    seen: dict[str, str] = {}
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError(f"{path}: [{section}] '{name}' is no good name; use {_NAME_RULE}")
        if name.casefold() in seen:
            raise InputError(f"{path}: [{section}] '{seen[name.casefold()]}' and '{name}' differ in case only")
        seen[name.casefold()] = name
