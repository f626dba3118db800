"""Trains one network: `python experiments/train.py --config=experiments/configs/NAME.py --workdir=DIR`.

Options of the config are set with --config.KEY=VALUE. `jcs train` is the same.
"""

from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from jcs_jax.commands.train import launch

_CONFIG = config_flags.DEFINE_config_file("config", None, "Python file whose get_config() gives the options.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for this run's files.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]}")
    launch(_CONFIG.value, Path(_WORKDIR.value))


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main)
