"""What Orbax says beside raising an error is dropped, and nothing else is."""

import asyncio
import gc
import logging
import sys
import threading
import types

import pytest

from jcs_jax.training.quiet import end_orbax, quiet_orbax


@pytest.fixture
def heard(monkeypatch):
    """What reaches the handlers and hooks of the surroundings."""
    found: list[object] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    listener = Listener()
    for name in ("absl", "asyncio"):
        logging.getLogger(name).addHandler(listener)
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: found.append(error))
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: found.append(unraisable.exc_value))
    yield found
    for name in ("absl", "asyncio"):
        logging.getLogger(name).removeHandler(listener)


def _raised(file: str) -> ValueError:
    """An error that was raised in a file of that name."""
    try:
        exec(compile("raise ValueError('wrong')", file, "exec"), {})  # noqa: S102
    except ValueError as error:
        return error
    raise AssertionError


def _log(logger: str, level: int, file: str, error: Exception | None = None) -> None:
    trouble = (type(error), error, error.__traceback__) if error else None
    logging.getLogger(logger).handle(logging.LogRecord(logger, level, file, 1, f"{file} {level}", None, trouble))


ORBAX, OWN = "/lib/orbax/checkpoint/future.py", "/lib/jcs_jax/training/loop.py"


def test_only_the_errors_that_orbax_logs_are_dropped(heard):
    with quiet_orbax():
        _log("absl", logging.ERROR, ORBAX, _raised(ORBAX))
        _log("asyncio", logging.ERROR, "/lib/asyncio/base_events.py", _raised(ORBAX))
        assert heard == []
        _log("absl", logging.WARNING, ORBAX)
        _log("absl", logging.ERROR, OWN, _raised(OWN))
        _log("asyncio", logging.ERROR, "/lib/asyncio/base_events.py", _raised(OWN))
    _log("absl", logging.ERROR, ORBAX)
    assert heard == [f"{ORBAX} 30", f"{OWN} 40", "/lib/asyncio/base_events.py 40", f"{ORBAX} 40"]


def test_only_uncaught_errors_of_orbax_and_of_its_closed_loops_are_dropped(heard):
    noise = [_raised(ORBAX), RuntimeError("Event loop is closed"), RuntimeWarning("coroutine 'f' was never awaited")]
    others = [_raised(OWN), RuntimeError("wrong"), None]
    with quiet_orbax():
        for error in [*noise, *others]:
            sys.unraisablehook(types.SimpleNamespace(exc_value=error))
        assert heard == others
        heard.clear()
        for error in [*noise, *others[:2]]:
            sys.excepthook(type(error), error, error.__traceback__)
        assert heard == others[:2]


def test_the_hooks_of_before_are_back_afterwards_also_after_an_error(heard):
    hooks = sys.excepthook, sys.unraisablehook
    filters = [list(logging.getLogger(name).filters) for name in ("absl", "asyncio")]
    with pytest.raises(ValueError, match="wrong"), quiet_orbax():
        raise ValueError("wrong")
    assert (sys.excepthook, sys.unraisablehook) == hooks
    assert [logging.getLogger(name).filters for name in ("absl", "asyncio")] == filters


def test_what_an_error_holds_is_let_go_of_in_silence():
    async def work() -> None:
        await asyncio.sleep(0)

    def fail() -> None:
        waiting = work()
        raise ValueError(str(waiting))

    error: BaseException
    try:
        fail()
    except ValueError as caught:
        error = RuntimeError("a save failed")
        error.__cause__ = caught
    end_orbax(error)
    gc.collect()  # a coroutine that was still held would warn here


def test_threads_of_orbax_are_waited_for_and_others_are_not():
    released, ended = threading.Event(), []

    def work(patience: float) -> None:
        released.wait(patience)
        ended.append(patience)

    own = type("Own", (threading.Thread,), {"__module__": "orbax.checkpoint.future"})(target=work, args=(0.2,))
    other = threading.Thread(target=work, args=(60.0,))
    for thread in (own, other):
        thread.start()
    end_orbax(ValueError())
    assert ended == [0.2]
    released.set()
    other.join()
