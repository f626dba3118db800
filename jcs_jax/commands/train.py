"""`jcs train`: one run from a config file."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import ml_collections
from absl import flags, logging
from ml_collections import config_flags

from jcs_jax.errors import InputError
from jcs_jax.notice import RESEARCH_USE

USAGE = """usage: jcs train --config=FILE.py[:ARGUMENT] --workdir=DIR [--config.KEY=VALUE ...] [--allow_leakage]

Trains a network on a data set that `jcs prepare` built; leaves DIR/model for `jcs evaluate` and `jcs diagnose`.
The same command again goes on where the run was stopped: by Ctrl-C, SIGTERM, a crash or a power cut.
Configs: experiments/configs in the repository; every option is explained in jcs_jax/training/config.py.
Processes that SLURM, Kubernetes, Open MPI or a TPU pod started together share a run; elsewhere --coordinator,
--num_processes and --process_id tell them."""


def define_flags(values: flags.FlagValues) -> None:
    config_flags.DEFINE_config_file(
        "config", None, "Python file whose get_config() gives the options.", flag_values=values
    )
    flags.DEFINE_string("workdir", None, "Folder for this run's files.", flag_values=values)
    flags.DEFINE_bool("allow_leakage", False, "Train although two of the splits share something.", flag_values=values)
    flags.DEFINE_string("coordinator", "", "host:port of process 0, where no cluster tells it.", flag_values=values)
    flags.DEFINE_integer("num_processes", 0, "Processes of the run; 1: this alone.", lower_bound=0, flag_values=values)
    flags.DEFINE_integer("process_id", -1, "This process's number, from 0.", lower_bound=-1, flag_values=values)


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    from jcs_jax.training.distributed import join_processes

    if arguments:
        raise InputError(f"{arguments[0]}: jcs train takes no arguments; use --config and --workdir")
    if values.config is None or values.workdir is None:
        raise InputError("--config and --workdir are both needed; see jcs train --help")
    if not isinstance(values.config, ml_collections.ConfigDict):
        file = values["config"].config_filename  # type: ignore[attr-defined]
        raise InputError(f"{file}: no config can be read there; name a Python file with get_config()")
    if values.allow_leakage:
        values.config.data.allow_leakage = True
    join_processes(values.coordinator, values.num_processes, values.process_id)
    launch(values.config, Path(values.workdir).expanduser())
    return 0


def launch(config: ml_collections.ConfigDict, folder: Path) -> None:
    """Trains as the config says, or goes on with it, and measures the result if there is an evaluation split."""
    import jax
    from rich.console import Console

    from jcs_jax.commands.evaluate import measure
    from jcs_jax.training.data import open_data
    from jcs_jax.training.distributed import leave_processes
    from jcs_jax.training.loop import MODEL, train
    from jcs_jax.training.workdir import FINISHED, Workdir

    data = open_data(config)
    first = jax.process_index() == 0
    workdir = Workdir(folder, writes=first)
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, quiet=not first)
    workdir.check(config)
    if workdir.finished() is not None:
        console.print(f"{folder}: this run is finished; its result is {folder / MODEL}. {RESEARCH_USE}")
        return
    for warning in data.warnings:
        logging.warning("%s", warning)
    outcome = train(config, folder, data.train, validation_source=data.validation, leakage=data.leakage)
    if not outcome.finished:
        step = int(outcome.state.step)
        console.print(f"stopped after step {step}, all is saved; resume with: {shlex.join(sys.argv)}")
        return
    leave_processes()  # the first goes on by itself
    console.print(f"wrote {folder / MODEL}. {RESEARCH_USE}")
    if config.data.eval_split and first:
        from jcs_jax.evaluation.run import Task  # draws plots: not before there is something to draw

        data_set = (config.data.data_dir, config.data.dataset, config.data.eval_split, config.data.train_split)
        measure(Task(str(folder / MODEL), *data_set, batch_size=config.batch_size), folder / "evaluation")
    workdir.write(FINISHED, {"steps": config.steps, "validation": outcome.validation})
