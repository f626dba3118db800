"""Diagnoses PNG or JPEG slices with a checkpoint: the same as `jcs diagnose`, run from a clone.

python experiments/diagnose.py INPUT... --checkpoint=DIR --output=DIR
"""

import sys

from jcs_jax import cli

if __name__ == "__main__":
    sys.exit(cli.main(["diagnose", *sys.argv[1:]]))
