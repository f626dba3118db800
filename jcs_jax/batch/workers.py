"""Cases side by side: processes that take the next case when they are free, and whose death costs one case."""

from __future__ import annotations

import collections
import concurrent.futures
import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from jcs_jax.batch.options import Options
from jcs_jax.batch.runner import Outcome, Runner
from jcs_jax.errors import InputError
from jcs_jax.files import remove_leftovers
from jcs_jax.study.cases import Case, CaseKind

Planned = tuple[Case, CaseKind]


def run_side_by_side(
    planned: Sequence[Planned], options: Options, outcome: Outcome, *, workers: int, advance: Callable[[], None]
) -> None:
    """Diagnoses cases in several processes.

    A case whose process dies is listed as failed, and a new process takes the next one.

    Args:
      planned: by `Runner.plan`.
      options: of the run.
      outcome: to be filled.
      workers: number of processes.
      advance: called after every case, from several threads.

    Raises:
      InputError: the networks can't be loaded.
    """
    waiting = collections.deque(planned)
    processes: list[Any] = []

    def serve() -> Outcome:
        """Feeds one process after the other until no case is left."""
        served, pipe = Outcome(), None
        while waiting:
            try:
                item = waiting.popleft()
            except IndexError:
                break  # another thread was faster
            if pipe is None:
                process, pipe = _start(options)
                processes.append(process)
            try:
                pipe.send(item)
                told = pipe.recv()
            except (EOFError, ConnectionError):
                process.join()
                served.failures[item[0].name] = (
                    f"{item[0].source}: its process ended by itself (exit code {process.exitcode}); memory may have "
                    "run out: use fewer --workers"
                )
                if options.output.is_dir():
                    remove_leftovers(options.output, of=item[0].name)
                pipe, told = None, None
            if isinstance(told, Exception):
                waiting.clear()
                raise told
            if told is not None:
                served.add(told)
            advance()
        return served

    with concurrent.futures.ThreadPoolExecutor(workers) as threads:
        futures = [threads.submit(serve) for _ in range(min(workers, len(planned)))]
        try:
            for future in concurrent.futures.as_completed(futures):
                outcome.add(future.result())
        finally:
            waiting.clear()
            for process in processes:
                process.terminate()
                process.join()


def _start(options: Options) -> tuple[Any, Connection]:
    context = multiprocessing.get_context("spawn")  # JAX doesn't survive a fork
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, options), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _work(pipe: Connection, options: Options) -> None:
    """What a process does: one case after the other, until nobody is there to ask for more."""
    runner = Runner(options)
    try:
        while True:
            item: Planned = pipe.recv()
            done = Outcome()
            try:
                runner.load()
            except Exception as error:  # whatever it was, the next process would meet it too
                if options.debug:
                    raise
                known = isinstance(error, InputError)
                pipe.send(error if known else RuntimeError(f"{type(error).__name__}: {error}"))
                return
            runner.run([item], done)
            pipe.send(done)
    except (EOFError, ConnectionError, KeyboardInterrupt):
        return
