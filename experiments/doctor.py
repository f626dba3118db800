"""Finds out why a training run would fail, before it is started: the same as `jcs doctor`, run from a clone.

python experiments/doctor.py --config=experiments/configs/NAME.py --output=DIR [--config.KEY=VALUE ...]
"""

import sys

from jcs_jax import cli

if __name__ == "__main__":
    sys.exit(cli.main(["doctor", *sys.argv[1:]]))
