"""`jcs train`: one run from a config file."""

from __future__ import annotations

from pathlib import Path

import ml_collections
from absl import flags, logging
from ml_collections import config_flags

from jcs_jax.errors import InputError
from jcs_jax.notice import RESEARCH_USE

USAGE = """usage: jcs train --config=FILE.py --workdir=DIR [--config.KEY=VALUE ...] [--allow_leakage]

Trains a network on a data set that `jcs prepare` built; leaves DIR/model for `jcs evaluate` and `jcs diagnose`.
Configs: experiments/configs in the repository; every option is explained in jcs_jax/training/config.py."""


def define_flags(values: flags.FlagValues) -> None:
    config_flags.DEFINE_config_file(
        "config", None, "Python file whose get_config() gives the options.", flag_values=values
    )
    flags.DEFINE_string("workdir", None, "Folder for this run's files.", flag_values=values)
    flags.DEFINE_bool(
        "allow_leakage", False, "Train although training and evaluation split share something.", flag_values=values
    )


def run(values: flags.FlagValues, arguments: list[str]) -> int:
    if arguments:
        raise InputError(f"{arguments[0]}: jcs train takes no arguments; use --config and --workdir")
    if values.config is None or values.workdir is None:
        raise InputError("--config and --workdir are both needed; see jcs train --help")
    if not isinstance(values.config, ml_collections.ConfigDict):
        file = values["config"].config_filename  # type: ignore[attr-defined]
        raise InputError(f"{file}: no config can be read there; name a Python file with get_config()")
    if values.allow_leakage:
        values.config.data.allow_leakage = True
    launch(values.config, Path(values.workdir).expanduser())
    return 0


def launch(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """Trains as the config says and, if it names an evaluation split, measures the result there."""
    from rich.console import Console

    from jcs_jax.data.sources import open_source
    from jcs_jax.data.splits import check_disjoint
    from jcs_jax.training.loop import train

    source = open_source(config.data.data_dir, config.data.dataset, config.data.train_split)
    leakage = None
    if config.data.eval_split:  # a slip there must not wait for the end of the training
        held_out = open_source(config.data.data_dir, config.data.dataset, config.data.eval_split)
        overlap = check_disjoint(source.records(), held_out.records(), allow_leakage=config.data.allow_leakage)
        leakage = overlap.counts() if any(overlap.counts().values()) else None
    if source.info.get("warning"):
        logging.warning("%s: %s", config.data.dataset, source.info["warning"])
    train(config, workdir, source, leakage=leakage)
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"wrote {workdir / 'model'}. {RESEARCH_USE}")
    if config.data.eval_split:
        from jcs_jax.commands.evaluate import measure

        measure(
            checkpoint=workdir / "model",
            data_dir=config.data.data_dir,
            dataset=config.data.dataset,
            split=config.data.eval_split,
            train_split=config.data.train_split,
            output=workdir / "evaluation",
            batch_size=config.batch_size,
        )
