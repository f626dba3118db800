"""Progress of a run: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import time
from types import TracebackType

import rich.progress
from rich.console import Console


class Progress:
    """Reports steps, loss, learning rate, speed and the time left.

    Args:
      steps: of the whole run.
      batch_size: examples per step, for the speed.
    """

    def __init__(self, steps: int, batch_size: int):
        self._steps, self._batch_size = steps, batch_size
        self._started = time.monotonic()
        self._first_step = 0
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("training"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[status]}"),
            rich.progress.TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=steps, status="compiling the step")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def report(self, step: int, values: dict[str, float]) -> None:
        """Shows where the run stands after `step` steps; `values` has `loss` and `learning_rate`."""
        now = time.monotonic()
        if not self._first_step:  # the first report pays for compilation
            self._first_step, self._started = step, now
        done = step - self._first_step
        speed = done * self._batch_size / max(now - self._started, 1e-9)
        status = f"loss {values['loss']:.3f}  lr {values['learning_rate']:.1e}"
        if done:
            status += f"  {speed:.1f} images/s"
        self._bar.update(self._task, completed=step, status=status)
        if not self._console.is_terminal:
            minutes = (self._steps - step) * self._batch_size / speed / 60 if done else 0.0
            remaining = f"  {minutes:.1f} min left" if done else ""
            self.say(f"step {step}/{self._steps}  {status}{remaining}")

    def say(self, text: str) -> None:
        """A line of its own, above the bar or in the log."""
        self._console.print(text, markup=False)
