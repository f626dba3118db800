"""Measures a checkpoint on prepared data: `jcs evaluate` as an absl app, for launchers that expect one.

python experiments/evaluate.py --checkpoint DIR --data covid19_ct100/clean --split fold0 --data_dir DIR --output DIR
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import app, flags, logging

from jcs_jax.commands import evaluate
from jcs_jax.errors import InputError


def main(argv: Sequence[str]) -> int:
    try:
        return evaluate.run(flags.FLAGS, list(argv[1:]))
    except InputError as error:
        logging.error("%s", error)
        return 2


if __name__ == "__main__":
    evaluate.define_flags(flags.FLAGS)
    flags.adopt_module_key_flags(evaluate)
    app.run(main)
