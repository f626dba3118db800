"""Progress of a run: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import collections
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import jax
import rich.progress
from rich.console import Console, Group
from rich.live import Live
from rich.table import Column
from rich.text import Text

WINDOW = 5  # intervals between reports over which the speed is taken
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class Progress:
    """Reports step, epoch, loss, learning rate, speed, the time left and memory on the standard error stream.

    The speed is that of the last few reports, whatever happened between them (validation, saving) included. It
    starts at the first report of this process, so that neither compilation nor the steps before a resume distort
    it.

    Args:
      steps: of the whole run.
      batch_size: examples per step of all processes together, for speed and epoch.
      first_step: steps that were taken before this process began; above 0 after a resume.
      examples: in the training data, for the epoch; None leaves the epoch out.
      silent: show nothing, as every process but the first should: `jax.process_index() != 0`.
    """

    def __init__(
        self, steps: int, batch_size: int, *, first_step: int = 0, examples: int | None = None, silent: bool = False
    ):
        self._steps, self._batch_size, self._examples = steps, batch_size, examples
        self._reports: collections.deque[tuple[float, int]] = collections.deque(maxlen=WINDOW + 1)
        # A forced terminal (FORCE_COLOR) would write control characters into a log file.
        self._console = Console(
            stderr=True, soft_wrap=True, highlight=False, quiet=silent, force_terminal=sys.stderr.isatty()
        )
        self._on_terminal = self._console.is_terminal and not self._console.is_dumb_terminal and not silent
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("training"),
            rich.progress.BarColumn(bar_width=None, table_column=Column(ratio=1)),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[where]}"),
            console=self._console,
            auto_refresh=False,  # the display below refreshes it
            expand=True,
        )
        self._task = self._bar.add_task("training", total=steps, completed=first_step, where="")
        self._status = Text("compiling the step", no_wrap=True, overflow="ellipsis")
        self._display = Live(Group(self._bar, self._status), console=self._console, refresh_per_second=4)

    def __enter__(self) -> Progress:
        if self._on_terminal:
            self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.stop()

    def report(self, step: int, values: Mapping[str, float]) -> None:
        """Shows where the run stands after `step` steps; `values` has `loss` and `learning_rate`."""
        self._reports.append((time.monotonic(), step))
        where, status = [], [f"loss {values['loss']:.3f}", f"lr {values['learning_rate']:.1e}"]
        if self._examples:
            where.append(f"epoch {step * self._batch_size / self._examples:.1f}")
        if rate := self._steps_per_second():
            status.append(f"{rate * self._batch_size:.1f} images/s")
            where.append(f"{_duration((self._steps - step) / rate)} left")
        if memory := peak_memory():
            status.append(memory)
        if self._on_terminal:
            self._bar.update(self._task, completed=step, where="  ".join(where))
            self._status.plain = "  ".join(status)
        else:
            self.say("  ".join([f"step {step}/{self._steps}", *where, *status]))

    def say(self, text: str) -> None:
        """A line of its own, above the bar or in the log; control characters become spaces."""
        self._console.print(_CONTROL_CHARACTERS.sub(" ", text), markup=False)

    def _steps_per_second(self) -> float:
        """Over the last reports; 0 if there is only one yet."""
        (begin, first), (end, last) = self._reports[0], self._reports[-1]
        return (last - first) / max(end - begin, 1e-9)


def peak_memory() -> str:
    """The most memory in use so far: of the fullest device where it says so, else of this process; "" if unknown."""
    statistics = [device.memory_stats() or {} for device in jax.local_devices()]
    if peak := max(values.get("peak_bytes_in_use", 0) for values in statistics):
        return f"{peak / 1e9:.2f} GB peak on a device"
    status = Path("/proc/self/status")  # Linux only
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(), re.MULTILINE) if status.is_file() else None
    return f"{int(found[1]) * 1024 / 1e9:.2f} GB peak of the process" if found else ""


def _duration(seconds: float) -> str:
    """A time to wait, as exact as one wants to know it: 16 s, 3.2 min, 2 h 05 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"
