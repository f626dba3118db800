"""Measures a checkpoint on prepared data: the same as `jcs evaluate`, run from a clone.

python experiments/evaluate.py --checkpoint DIR --data covid19_ct100/clean --split fold2 --data_dir DIR --output DIR
"""

import sys

from jcs_jax import cli

if __name__ == "__main__":
    sys.exit(cli.main(["evaluate", *sys.argv[1:]]))
