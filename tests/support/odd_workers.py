"""What the processes of `--workers` run in tests of them: cases that are done at once, or that end their process."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection
from typing import Any

from jcs_jax.batch import workers
from jcs_jax.batch.options import Options
from jcs_jax.batch.runner import Runner
from jcs_jax.errors import InputError
from jcs_jax.study.cases import Case

LOADING = {"": None, "no model": InputError("no model: name a model folder"), "odd": KeyError("weights")}


class OddRunner(Runner):
    """Knows no network; `options.checkpoint` is a key of `LOADING`, what loading raises."""

    def load(self) -> None:
        error = LOADING[self._options.checkpoint]
        if error is not None:
            raise error

    def _volume(self, case: Case, kind: str, seconds: dict[str, float]) -> dict[str, Any]:
        with self._folder(case) as folder:
            (folder / "part").touch()
            if case.name.startswith("killed"):
                os.kill(os.getpid(), signal.SIGKILL)
            if case.name.startswith("bad"):
                raise InputError(f"{case.source}: is bad; mend it")
        return {"process": os.getpid()}


def work(pipe: Connection, options: Options) -> None:
    """In place of `workers._work`."""
    vars(workers)["Runner"] = OddRunner
    workers._work(pipe, options)
