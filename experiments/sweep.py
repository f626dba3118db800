"""Runs a grid of configs and tabulates the results: the same as `jcs sweep`, run from a clone.

python experiments/sweep.py --config=experiments/configs/NAME.py --workdir=DIR --grid=experiments/sweeps/NAME.toml
"""

import sys

from jcs_jax import cli

if __name__ == "__main__":
    sys.exit(cli.main(["sweep", *sys.argv[1:]]))
