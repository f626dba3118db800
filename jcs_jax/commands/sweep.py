"""`jcs sweep`: a grid of training runs, one after the other or as an array of jobs, and one table."""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from jcs_jax.errors import InputError
from jcs_jax.sweep.execution import print_failures, run_all
from jcs_jax.sweep.grid import read_grid
from jcs_jax.sweep.options import as_flag
from jcs_jax.sweep.plan import make_plan
from jcs_jax.sweep.record import is_finished, join_record, read_record, write_record
from jcs_jax.sweep.slurm import next_steps, write_script
from jcs_jax.sweep.table import tabulate

USAGE = """usage: jcs sweep --config=FILE.py --workdir=DIR --grid=GRID.toml [--index=N | --slurm] [--config.KEY=VALUE]
       jcs sweep --workdir=DIR --table

Runs `jcs train` for every combination of a grid, into DIR/runs. What is finished is not run again, what was stopped
goes on. DIR/results.csv has a row per run, DIR/results.md one per combination: mean and standard deviation over seeds
and folds. An example of a grid: experiments/sweeps/ucsd_ablation.toml in the repository."""


def define_flags(values: flags.FlagValues) -> None:
    config_flags.DEFINE_config_file("config", None, "Config file, as for jcs train.", flag_values=values)
    flags.DEFINE_string("workdir", None, "Folder for the runs and the table.", flag_values=values)
    flags.DEFINE_string("grid", None, "TOML file of axes, variants and folds.", flag_values=values)
    flags.DEFINE_integer("index", None, "Run only this one, from 0, and make no table.", flag_values=values)
    flags.DEFINE_bool("slurm", False, "Run nothing; write DIR/sweep.sbatch, an array of jobs.", flag_values=values)
    flags.DEFINE_bool("table", False, "Run nothing; tabulate what is finished in DIR.", flag_values=values)
    flags.DEFINE_list("metrics", [], "Columns, such as classification/auc,segmentation/dice.", flag_values=values)


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    if arguments:
        raise InputError(f"{arguments[0]}: jcs sweep takes no arguments; see jcs sweep --help")
    if (values.index is not None) + values.slurm + values.table > 1:
        raise InputError("--index, --slurm and --table exclude one another; give one")
    needed = ("workdir",) if values.table else ("config", "workdir", "grid")
    if missing := [f"--{name}" for name in needed if getattr(values, name) is None]:
        raise InputError(f"missing {', '.join(missing)}; see jcs sweep --help")
    workdir = Path(values.workdir).expanduser()
    if not values.table:
        return _start(values, workdir)
    plan = read_record(workdir)
    if plan is None:
        raise InputError(f"{workdir}: no sweep has been started there; name its --workdir")
    tabulate(workdir, plan, values.metrics)
    return 0


def _start(values: flags.FlagValues, workdir: Path) -> int:
    """Runs the sweep, or one run of it, or writes the script for SLURM."""
    from jcs_jax.training.config import check
    from jcs_jax.training.workdir import FREE

    grid = read_grid(Path(values.grid).expanduser())
    flag = values["config"]
    file, overrides = flag.config_filename, flag.override_values  # type: ignore[attr-defined]
    plan = make_plan(file, overrides, grid, check)
    count = len(plan.runs)
    if values.index is not None and not 0 <= values.index < count:
        raise InputError(f"--index={values.index}: the grid has {count} runs; give 0 to {count - 1}")
    record = join_record(workdir, plan, free=FREE)
    write_record(workdir, record)
    if values.slurm:
        own = [f"--config={file}", *(as_flag(key, value) for key, value in overrides.items())]
        sys.stdout.write(next_steps(write_script(workdir, grid, count, own, Path.cwd()), count))
        return 0
    chosen = [(number, run) for number, run in enumerate(plan.runs) if values.index in (None, number)]
    failures = run_all(chosen, count, workdir)
    if values.index is None:
        tabulate(workdir, record, values.metrics)
    print_failures(failures)
    return 0 if all(is_finished(workdir, run) for _, run in chosen) else 1
