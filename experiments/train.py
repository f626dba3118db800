"""Trains one network from a config: the same as `jcs train`, run from a clone.

python experiments/train.py --config=experiments/configs/NAME.py --workdir=DIR [--config.KEY=VALUE ...]
"""

import sys

from jcs_jax import cli

if __name__ == "__main__":
    sys.exit(cli.main(["train", *sys.argv[1:]]))
