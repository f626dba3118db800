"""Keeping Orbax from telling at length what it raises as well."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

from jcs_jax.errors import causes

_PATIENCE = 60.0  # seconds a thread
_OF_LOOPS = ("Event loop is closed", "was never awaited")


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
    """Drops what Orbax reports of an error beside raising it.

    When a disk is full or a file damaged, each of Orbax's threads logs a traceback, together some 300 lines, and its
    event loops, closed with work left in them, add some by themselves. The line that says what to do would drown.
    """
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    hooks = sys.excepthook, sys.unraisablehook

    def on_exception(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not _is_noise(error):
            hooks[0](kind, error, trace)

    def on_unraisable(unraisable: Any) -> None:
        if not _is_noise(unraisable.exc_value):
            hooks[1](unraisable)

    for logger in loggers:
        logger.addFilter(_worth_telling)
    sys.excepthook, sys.unraisablehook = on_exception, on_unraisable
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook = hooks
        for logger in loggers:
            logger.removeFilter(_worth_telling)


def end_orbax(error: BaseException) -> None:
    """Waits for the threads that an error of Orbax leaves behind, and lets go of what they and the error hold."""
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("orbax."):
            threading.Thread.join(thread, _PATIENCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of coroutines that were never begun
        for one in causes(error):
            traceback.clear_frames(one.__traceback__)
        gc.collect()


def _worth_telling(record: logging.LogRecord) -> bool:
    if record.levelno < logging.ERROR:
        return True
    return not (_in_orbax(record.pathname) or (record.exc_info and _is_noise(record.exc_info[1])))


def _is_noise(error: BaseException | None) -> bool:
    """Whether an error that nobody caught comes from Orbax or from a loop that it has closed."""
    if error is None:
        return False
    if isinstance(error, RuntimeError | RuntimeWarning) and str(error).endswith(_OF_LOOPS):
        return True
    return any(_in_orbax(frame.filename) for frame in traceback.extract_tb(error.__traceback__))


def _in_orbax(path: str) -> bool:
    return f"{os.sep}orbax{os.sep}" in path
