"""Which runs a grid asks for, each compared with its config before any of them starts."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ml_collections

from jcs_jax.errors import InputError
from jcs_jax.sweep.grid import Grid, Variant
from jcs_jax.sweep.names import run_name
from jcs_jax.sweep.options import as_flag, typed
from jcs_jax.training.config import leaves
from jcs_jax.training.config_files import load_config


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run of a sweep.

    Attributes:
      name: of its folder.
      variant: name of its variant, empty without variants.
      fold: name of its fold, empty without folds.
      config: config file, as `--config` takes it.
      flags: overrides, as `jcs train` takes them.
      options: the whole config that these give, as JSON keeps it.
    """

    name: str
    variant: str
    fold: str
    config: str
    flags: tuple[str, ...]
    options: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Plan:
    """The runs of a sweep.

    Attributes:
      axes: dotted names of the options that are varied as axes.
      runs: in the order they are run in: variants, then folds, then axes, of which the last changes fastest.
    """

    axes: tuple[str, ...]
    runs: tuple[Run, ...]


def make_plan(
    config: str,
    overrides: Mapping[str, Any],
    grid: Grid,
    check: Callable[[ml_collections.ConfigDict], None] = lambda config: None,
) -> Plan:
    """Works out and checks every run of a grid.

    Args:
      config: config file of the variants that name none, as `--config` takes it.
      overrides: values by option for all runs, from the command line.
      grid: what is varied.
      check: raises InputError for a config that no run can have.

    Returns:
      The plan.

    Raises:
      InputError: an option that the config doesn't have or that is set twice, a value of the wrong type, a value
        twice in a list, or a config that is refused.
    """
    everywhere = [as_flag(key, value) for key, value in overrides.items()]
    axes: dict[str, list[Any]] = {}
    runs = []
    for name, variant in (grid.variants or {"": Variant(None, {})}).items():
        file = variant.config or config
        base = load_config(file, everywhere)
        fixed = _variant_values(grid, name, variant, base, file)
        axes = _axis_values(grid, base, file)
        for fold, splits in (grid.folds or {"": {}}).items():
            _check_set_once(grid, [overrides, fixed, splits, axes])
            for values in itertools.product(*axes.values()):
                point = dict(zip(axes, values, strict=True))
                changed = [as_flag(key, value) for key, value in {**fixed, **splits, **point}.items()]
                flags = (*everywhere, *changed)
                run = run_name(name, fold, point)
                runs.append(Run(run, name, fold, file, flags, _checked(grid, run, file, flags, check)))
    return Plan(tuple(axes), tuple(runs))


def _variant_values(
    grid: Grid, name: str, variant: Variant, config: ml_collections.ConfigDict, file: str
) -> dict[str, Any]:
    """The variant's values by dotted option, as the config takes them."""
    where = f"{grid.path}: [variants.{name}]"
    free = {key for key, value in leaves(config) if isinstance(value, ml_collections.ConfigDict)}
    return {key: _typed(where, key, value, config, file) for key, value in _flat(variant.overrides, free)}


def _axis_values(grid: Grid, config: ml_collections.ConfigDict, file: str) -> dict[str, list[Any]]:
    """The axes' values by dotted option, as the config takes them."""
    where = f"{grid.path}: [axes]"
    axes = {}
    for key, values in _flat(grid.axes, set()):
        if not isinstance(values, list) or not values:
            raise InputError(f"{where} {key} must be a list of values, such as [1, 2], not {values!r}")
        axes[key] = [_typed(where, key, value, config, file) for value in values]
        for index, value in enumerate(axes[key]):
            if value in axes[key][:index]:
                raise InputError(f"{where} {key} has {value!r} twice; leave one out")
    return axes


def _flat(table: Mapping[str, Any], free: set[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the values by dotted option; a table for one of `free` is a value itself."""
    for key, value in table.items():
        name = prefix + key
        if isinstance(value, dict) and name not in free:
            yield from _flat(value, free, f"{name}.")
        else:
            yield name, value


def _typed(where: str, key: str, value: Any, config: ml_collections.ConfigDict, file: str) -> Any:
    try:
        return typed(key, value, config)
    except InputError as error:
        raise InputError(f"{where} {error} in {file}") from error


def _check_set_once(grid: Grid, places: Sequence[Mapping[str, Any]]) -> None:
    words = ("the command line", "a variant", "[folds]", "[axes]")
    seen: dict[str, str] = {}
    for place, options in zip(words, places, strict=True):
        for key in options:
            if key in seen:
                raise InputError(f"{grid.path}: {key} is set by {seen[key]} and by {place}; keep one of them")
            seen[key] = place


def _checked(
    grid: Grid, run: str, file: str, flags: Sequence[str], check: Callable[[ml_collections.ConfigDict], None]
) -> dict[str, Any]:
    """The whole config of a run, as JSON keeps it."""
    config = load_config(file, flags)
    try:
        check(config)
    except InputError as error:
        raise InputError(f"{grid.path}: run {run}: {error}") from error
    options: dict[str, Any] = json.loads(config.to_json_best_effort())
    return options
