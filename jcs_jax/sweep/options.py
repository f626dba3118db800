"""Options of a config: values as TOML gives them made into its own types, and written as flags."""

from __future__ import annotations

from typing import Any

import ml_collections

from jcs_jax.errors import InputError
from jcs_jax.training.config import leaves
from jcs_jax.training.config_files import nearest_option

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes", tuple: "a list"}


def as_flag(key: str, value: Any) -> str:
    """The flag that gives an option its value on the command line of `jcs train`."""
    if isinstance(value, ml_collections.ConfigDict):
        value = value.to_dict()
    return f"--config.{key}={value if isinstance(value, str) else repr(value)}"


def typed(key: str, value: Any, config: ml_collections.ConfigDict) -> Any:
    """A value as the config's option takes it: its own type, floats for floats, tuples for lists.

    Args:
      key: dotted name of the option.
      value: as TOML gives it.
      config: that has the option.

    Returns:
      The value.

    Raises:
      InputError: no such option, or a value of another type; it names neither grid nor config.
    """
    options = dict(leaves(config))
    if key not in options:
        sections = {name.rpartition(".")[0] for name in options}
        if any(section == key or section.startswith(f"{key}.") for section in sections):
            raise InputError(f"{key}: is a section; name the options in it")
        raise InputError(f"{key}: no such option; the nearest is {nearest_option(key, list(options))}")
    kind = type(options[key])
    if kind is float and type(value) is int:
        return float(value)
    if kind is tuple and isinstance(value, list):
        return _tuples(value)
    if kind is ml_collections.ConfigDict:
        kind = dict
    if type(value) is not kind:
        wanted = _KINDS.get(kind, "a table")
        raise InputError(f"{key}: takes {wanted} (the config has {options[key]!r}), not {value!r}".replace("\n", " "))
    return value


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
