"""`jcs ensemble`: several models of one kind become one whose answer is the mean of theirs."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from jcs_jax.errors import InputError
from jcs_jax.files import require_folder

USAGE = """usage: jcs ensemble --checkpoint DIR,DIR[,DIR...] --output DIR [--overwrite]

Writes a model whose answer is the mean over several networks of one kind, trained with other seeds or on other folds:
steadier than each of them, at as many times the cost. Every verb reads it as it reads others. Patients' thresholds are
chosen anew with `jcs calibrate`."""


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_list("checkpoint", [], "Model folders or shipped names, joined by commas.", flag_values=values)
    flags.DEFINE_string("output", None, "Model folder to write.", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "Replace the output folder if it exists.", flag_values=values)


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    missing = [f"--{name}" for name in ("checkpoint", "output") if not getattr(values, name)]
    if missing or arguments:
        problem = f"missing {', '.join(missing)}" if missing else f"'{arguments[0]}' belongs to no flag"
        raise InputError(f"{problem}; see jcs ensemble --help")
    from rich.console import Console

    from jcs_jax.checkpoints import require_free
    from jcs_jax.ensembles import join_models

    output = Path(values.output).expanduser()
    require_folder(output, purpose="the model")
    require_free(output, overwrite=values.overwrite)
    join_models(values.checkpoint, output)
    Console(soft_wrap=True, highlight=False, markup=False).print(
        f"wrote {output}: the mean of {len(values.checkpoint)} networks; choose its thresholds with `jcs calibrate`"
    )
    return 0
