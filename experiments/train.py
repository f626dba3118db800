"""Trains one network: `python experiments/train.py --config=experiments/configs/NAME.py --workdir=DIR`.

Options of the config are set with --config.KEY=VALUE. `jcs train` is the same.
"""

from collections.abc import Sequence

from absl import app, flags, logging

from jcs_jax.commands import train
from jcs_jax.errors import InputError


def main(argv: Sequence[str]) -> int:
    try:
        return train.run(flags.FLAGS, list(argv[1:]))
    except InputError as error:
        logging.error("%s", error)
        return 2


if __name__ == "__main__":
    train.define_flags(flags.FLAGS)
    flags.adopt_module_key_flags(train)
    app.run(main)
