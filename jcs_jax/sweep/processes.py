"""One run as a process of its own: what it says goes to a file, and a request to stop is handed on to it."""

from __future__ import annotations

import contextlib
import fcntl
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

# The installed `jcs`, whatever PATH finds, under its name; -P keeps the modules of the current folder out of its way.
_MAIN = "import sys; from jcs_jax.cli import console_main; sys.argv[0] = 'jcs'; console_main()"
JCS = (sys.executable, "-P", "-c", _MAIN)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_LONGEST_LINE = 300  # characters shown of a log's last line


class AlreadyRunningError(Exception):
    """Another process is at this run."""


def run_logged(command: Sequence[str], log: Path, on_stop: Callable[[], None]) -> tuple[int, bool]:
    """Runs a command to its end.

    While it runs, SIGTERM, SIGHUP and Ctrl-C don't end this process: the first is handed on as SIGTERM, a further
    Ctrl-C ends the command at once. The log file is locked for as long as the command runs, also if it should outlive
    this process.

    Args:
      command: program and arguments.
      log: file that gets the command line and then all that the command says, behind what is there already.
      on_stop: called when the request to stop is handed on.

    Returns:
      Its exit code, and whether it was asked to stop.

    Raises:
      AlreadyRunningError: the log is locked.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file, _handing_on(on_stop) as child:
        _lock(file)
        before = b"\n" if file.tell() else b""
        file.write(before + f"$ {shlex.join(command)}\n".encode())
        file.flush()
        return child.run(command, file), child.stopped


def last_line(log: Path) -> str:
    """The last thing that the latest command in a log said; empty if it said nothing."""
    text = log.read_text(encoding="utf-8", errors="replace")
    said = text[max(text.rfind("\n$ "), 0) :].lstrip("\n").partition("\n")[2]
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return "".join(filter(str.isprintable, lines[-1]))[:_LONGEST_LINE] if lines else ""


class _Child:
    """The process, and what it was told."""

    def __init__(self, on_stop: Callable[[], None]):
        self.stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        self._on_stop = on_stop

    def run(self, command: Sequence[str], output: IO[bytes]) -> int:
        """Runs the command in a process group of its own: Ctrl-C at the terminal reaches it once, through `note`."""
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, process_group=0
        )
        if self.stopped:
            self._process.terminate()
        return self._process.wait()

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal."""
        again, self.stopped = self.stopped, True
        if self._process is not None and not again:
            self._process.terminate()
        elif self._process is not None and number == signal.SIGINT:
            self._process.kill()
        if not again:
            with contextlib.suppress(OSError):  # the terminal may be what has gone
                self._on_stop()


@contextlib.contextmanager
def _handing_on(on_stop: Callable[[], None]) -> Iterator[_Child]:
    child = _Child(on_stop)
    before: dict[signal.Signals, Any] = {}
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            before[number] = signal.signal(number, child.note)
    try:
        yield child
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _lock(file: IO[bytes]) -> None:
    """Locks the file for this process and the command, which inherits it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise AlreadyRunningError(file.name) from error
    except OSError:
        return  # a file system without locks
