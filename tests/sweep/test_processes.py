"""Processes: what they say is kept, signals are handed on, and no run is at work twice."""

import os
import signal
import sys
import threading
import time

import pytest

from jcs_jax.sweep.processes import AlreadyRunningError, last_line, run_logged

# Says when it is ready; on SIGTERM it says so and ends with 0, as a training run does that saves its state.
SAVES = """
import signal, sys, time
def save(number, frame):
    print("saved", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(30)
"""
STUBBORN = SAVES.replace("sys.exit(0)", "pass").replace("time.sleep(30)", "[time.sleep(0.1) for _ in range(300)]")


def _run(code, log, on_stop=lambda: None):
    program = log.parents[1] / "program.py"
    program.write_text(code)
    return run_logged([sys.executable, str(program)], log, on_stop)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "run/log.txt"


def _when(log, text, act):
    """Acts in another thread as soon as a text stands in the log."""

    def wait():
        while not (log.exists() and text in log.read_text().splitlines()):
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()


def _signal(number):
    return lambda: os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def usual_signals():
    """As at a terminal; what nohup or a background job starts ignores some."""
    usual = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_output_and_errors_go_to_the_log_behind_the_command(log, capfd):
    assert _run("import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)", log) == (3, False)
    command, *said = log.read_text().splitlines()
    assert command.startswith("$ ")
    assert said == ["out", "err"]
    assert capfd.readouterr() == ("", "")


def test_a_second_run_is_logged_behind_the_first(log):
    _run("print('first')", log)
    _run("print('second'); print()", log)
    assert [line for line in log.read_text().splitlines() if not line.startswith("$")] == ["first", "", "second", ""]
    assert last_line(log) == "second"


def test_the_last_line_is_empty_if_the_command_said_nothing(log):
    _run("print('first')", log)
    _run("pass", log)
    assert last_line(log) == ""


def test_the_last_line_is_short_and_printable(log):
    log.parent.mkdir()
    log.write_bytes(b"$ command\n10 %\r\x1b[31mbad\xff" + b"x" * 1000 + b"\n")
    line = last_line(log)
    assert line.startswith("[31mbad")
    assert len(line) == 300
    assert line.isprintable()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_request_to_stop_is_handed_on_and_the_run_may_save(log, number):
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    told = []
    _when(log, "ready", _signal(number))
    assert _run(SAVES, log, lambda: told.append(1)) == (0, True)
    assert log.read_text().splitlines()[1:] == ["ready", "saved"]
    assert told == [1]
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == before


def test_a_second_ctrl_c_ends_a_run_that_does_not_stop(log):
    _when(log, "ready", _signal(signal.SIGINT))
    _when(log, "saved", _signal(signal.SIGINT))
    assert _run(STUBBORN, log) == (-signal.SIGKILL, True)


def test_a_terminal_that_is_gone_does_not_keep_the_run_from_stopping(log):
    def on_stop():
        raise OSError(5, "Input/output error")

    _when(log, "ready", _signal(signal.SIGHUP))
    assert _run(SAVES, log, on_stop) == (0, True)


def test_a_signal_that_is_ignored_stays_ignored(log):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        code = "import os, signal, sys; os.kill(os.getppid(), signal.SIGHUP)"
        assert _run(code, log) == (0, False)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_that_another_process_is_at_is_refused(log):
    refused = []

    def second():
        import fcntl

        with log.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                refused.append(True)
        _signal(signal.SIGTERM)()

    _when(log, "ready", second)
    assert _run(SAVES, log) == (0, True)
    assert refused == [True]
    with log.open("ab") as file:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunningError):
            _run("print('never')", log)
    assert "never" not in log.read_text()
    assert _run("pass", log) == (0, False)
