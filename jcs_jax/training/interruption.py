"""Stopping a run when the machine asks for it, at a step where everything can be saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import jax
from absl import logging
from jax.experimental import multihost_utils

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Notices SIGTERM and Ctrl-C while it is entered; a second Ctrl-C acts as it did before.

    A second SIGTERM changes nothing: schedulers send several. With several processes JAX's own service listens to
    SIGTERM, and all agree on the step to stop at.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if jax.process_count() == 1 and threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                before = signal.getsignal(number)
                if before is not signal.SIG_IGN:  # as of a job that a script has put into the background
                    self._before[number] = before if before is not None else signal.SIG_DFL
                    signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def asked(self, step: int) -> bool:
        """Whether to stop after this step."""
        if jax.process_count() > 1:
            return bool(multihost_utils.reached_preemption_sync_point(step))
        return self._asked

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        logging.warning("%s: stopping after this step", signal.Signals(number).name)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, self._before[signal.SIGINT])
