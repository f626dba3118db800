"""A config file as `jcs train` reads it with the flags behind it, and wrong names told with the nearest right one."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import ml_collections
from absl import flags
from ml_collections import config_flags

from jcs_jax.errors import InputError
from jcs_jax.training.config import leaves


def load_config(file: str, overrides: Sequence[str]) -> ml_collections.ConfigDict:
    """The config that `jcs train --config=FILE OVERRIDES` runs.

    Args:
      file: a Python file with get_config(), with `:ARGUMENT` behind it if it takes one.
      overrides: flags, such as `--config.steps=10`.

    Returns:
      The config, locked.

    Raises:
      InputError: no such file, a file that is no config, or a flag that doesn't fit it.
    """
    path = file.partition(":")[0]
    if not Path(path).is_file():
        raise InputError(f"{path}: no config can be read there; name a Python file with get_config()")
    arguments = ["jcs train", f"--config={file}", *overrides]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", flag_values=values, sys_argv=arguments)
    sys.modules.pop("config_config", None)  # else what the last file defined would be there in this one
    try:
        values(arguments)
    except Exception as error:  # a config file is Python: it raises what it likes
        if overrides:
            check_names(arguments)
        lines = str(error).replace("\\n", "\n").strip("\"' \n").splitlines()
        raise InputError(f"{file}: can't be read ({type(error).__name__}: {lines[-1].strip()})") from error
    if not isinstance(values.config, ml_collections.ConfigDict):
        raise InputError(f"{file}: get_config() must return a ConfigDict, as default_config() does")
    return values.config


def check_names(arguments: Sequence[str]) -> None:
    """Refuses flags for options that the config of the same command line doesn't have.

    Args:
      arguments: of a command line, `--config=FILE` among them; without it nothing is refused.

    Raises:
      InputError: that names the option and the nearest there is; or the file can't be read.
    """
    files = [argument.partition("=")[2] for argument in arguments if re.match("--?config=", argument)]
    keys = [match[1] for argument in arguments if (match := re.match(r"--?config\.([^=]*)", argument))]
    if not files or not keys:
        return
    options = [name for name, _ in leaves(load_config(files[-1], []))]
    for key in keys:
        if not any(name == key or name.startswith(f"{key}.") or key.startswith(f"{name}.") for name in options):
            raise InputError(f"--config.{key}: no such option; the nearest is config.{nearest_option(key, options)}")


def nearest_option(key: str, names: Sequence[str]) -> str:
    """The option whose last part is the key's, else the one that is spelt most alike."""
    last = key.rpartition(".")[2]
    same_end = [name for name in names if name.rpartition(".")[2] == last]
    return difflib.get_close_matches(key, same_end or names, n=1, cutoff=0)[0]
