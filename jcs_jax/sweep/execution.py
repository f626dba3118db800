"""Running what isn't finished, one run after the other, with a line on the terminal for each."""

from __future__ import annotations

import dataclasses
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from jcs_jax.sweep import processes
from jcs_jax.sweep.plan import Run
from jcs_jax.sweep.record import is_finished, run_folder
from jcs_jax.sweep.results import headline, read_numbers


@dataclasses.dataclass(frozen=True)
class Failure:
    """A run that isn't finished.

    Attributes:
      run: which.
      reason: in words, such as "exit code 2".
      last_line: the last thing it said, empty if nothing.
      log: where all that it said is.
    """

    run: Run
    reason: str
    last_line: str
    log: Path


def run_all(runs: Sequence[tuple[int, Run]], total: int, workdir: Path) -> list[Failure]:
    """Runs those that aren't finished, in order; one that fails doesn't keep the others from running.

    Args:
      runs: with their numbers, from 0.
      total: number of runs of the sweep.
      workdir: the sweep's folder.

    Returns:
      The runs that failed or were stopped. After a request to stop no other is started.
    """
    console = _console()
    width = len(str(total))
    failures = []
    for number, run in runs:
        title = f"{number + 1:>{width}} of {total}  {run.name}"
        if is_finished(workdir, run):
            console.print(f"{title}: finished before")
            continue
        started = time.monotonic()
        with console.status(title):
            failure, stop = _run(run, workdir, console)
        minutes = (time.monotonic() - started) / 60
        result = failure.reason if failure else f"finished{_result(workdir, run)}"
        console.print(f"{title}: {minutes:.1f} min, {result}")
        if failure:
            failures.append(failure)
        if stop:
            break
    return failures


def print_failures(failures: Sequence[Failure]) -> None:
    """Lists the runs that failed or were stopped on standard error."""
    console = _console()
    if failures:
        console.print("Failed or stopped:")
    for failure in failures:
        said = f": {failure.last_line}" if failure.last_line else ""
        console.print(f"  {failure.run.name} ({failure.reason}){said}\n    {failure.log}")


def _run(run: Run, workdir: Path, console: Console) -> tuple[Failure | None, bool]:
    """What kept the run from being finished, if anything, and whether it was asked to stop."""
    folder = run_folder(workdir, run)
    log = folder / "log.txt"
    command = [*processes.JCS, "train", f"--config={run.config}", f"--workdir={folder}", *run.flags]

    def on_stop() -> None:
        console.print(f"stopping {run.name}, which saves its state (Ctrl-C again: at once)")

    try:
        code, stopped = processes.run_logged(command, log, on_stop)
    except processes.AlreadyRunningError:
        return Failure(run, "another process is at it", "", log), False
    if code == 0 and is_finished(workdir, run):
        return None, stopped
    if stopped or code == 0:  # `jcs train` ends with 0 when it was asked to stop, by whomever
        reason = "stopped; the same command goes on with it"
    else:
        reason = f"exit code {code}" if code > 0 else f"ended by {signal.Signals(-code).name}"
    return Failure(run, reason, processes.last_line(log), log), stopped


def _result(workdir: Path, run: Run) -> str:
    """The run's first number that a table shows by default."""
    return "".join(f", {name} {value:.3f}" for name, value in headline(read_numbers(workdir, run))[:1])


def _console() -> Console:
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
