"""`python -m jcs_jax.benchmark`: a worker, see `jcs_jax.benchmark.worker`."""

import os
import sys

from jcs_jax.benchmark.worker import serve
from jcs_jax.errors import InputError

if __name__ == "__main__":
    try:
        serve(os.environ)
    except (InputError, ValueError) as error:  # of a network that can't be of that size, of an engine
        sys.exit(str(error))
