"""`jcs doctor`: why a training run would fail, before it is started."""

from __future__ import annotations

from pathlib import Path

import ml_collections
from absl import flags
from ml_collections import config_flags

from jcs_jax.cli import DONE, SOME_FAILED
from jcs_jax.errors import InputError
from jcs_jax.files import require_folder, write_atomically

USAGE = """usage: jcs doctor --config=FILE.py[:ARGUMENT] --output=DIR [--config.KEY=VALUE ...] [--steps=N]

Checks what `jcs train` with the same config would do: labels, masks, intensities and their positions, what needs no
training, the first batch as a picture, the untrained network and its gradients, and whether it learns a few slices by
heart. Every finding has a cure. Exit code 1: something would make the run fail."""
_JSON, _PICTURE = "doctor.json", "first_batch.png"


def define_flags(values: flags.FlagValues) -> None:
    config_flags.DEFINE_config_file(
        "config", None, "Python file whose get_config() gives the options.", flag_values=values
    )
    flags.DEFINE_string("output", None, f"Folder for {_JSON} and {_PICTURE}.", flag_values=values)
    flags.DEFINE_integer(
        "steps",
        60,
        "Training steps on one batch, at most; 0 for networks that are too big here.",
        lower_bound=0,
        flag_values=values,
    )


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    if arguments:
        raise InputError(f"{arguments[0]}: jcs doctor takes no arguments; use --config and --output")
    if values.config is None or values.output is None:
        raise InputError("--config and --output are both needed; see jcs doctor --help")
    if not isinstance(values.config, ml_collections.ConfigDict):
        file = values["config"].config_filename  # type: ignore[attr-defined]
        raise InputError(f"{file}: no config can be read there; name a Python file with get_config()")
    output = Path(values.output).expanduser()
    require_folder(output, purpose="the reports")
    return diagnose_run(values.config, output, values.steps)


def diagnose_run(config: ml_collections.ConfigDict, output: Path, steps: int) -> int:
    """Examines a run, shows and writes what was found, and returns the exit code."""
    from rich.console import Console

    from jcs_jax.doctor.checkup import examine
    from jcs_jax.doctor.opening import open_sources
    from jcs_jax.doctor.reports import checkup_report, print_checkup, to_text
    from jcs_jax.report.overlay import png_bytes

    with Console(stderr=True).status("opening the data") as status:
        checkup = examine(config, open_sources(config), steps=steps, say=status.update)
    print_checkup(checkup)
    written = str(write_atomically(output / _JSON, to_text(checkup_report(checkup))))
    if checkup.first_batch is None:
        (output / _PICTURE).unlink(missing_ok=True)  # an earlier checkup's
    else:
        write_atomically(output / _PICTURE, png_bytes(checkup.first_batch))
        written += f" and {_PICTURE}"
    Console(soft_wrap=True, highlight=False).print(f"wrote {written}", markup=False)
    return SOME_FAILED if checkup.count("error") else DONE
