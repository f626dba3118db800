"""`python -m jcs_jax.benchmark`: a worker, see `jcs_jax.benchmark.worker`."""

import os
import sys

from jcs_jax.benchmark.worker import serve

if __name__ == "__main__":
    try:
        serve(os.environ)
    except ValueError as error:  # of a network that can't be of that size
        sys.exit(str(error))
