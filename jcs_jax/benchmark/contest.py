"""Programs that do the same work in turn, so that what the machine does meanwhile hits all of them alike."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import IO, Any

from jcs_jax.benchmark.machine import busy_seconds, peak_rss_mb, process_seconds, wait_until_quiet
from jcs_jax.errors import InputError

PAUSE = 0.3  # seconds after a run, in which its threads stop spinning
LAST_WORDS = 300  # characters of stderr that an error repeats


class Contestant:
    """One program that speaks the protocol of `jcs_jax.benchmark.worker`.

    Args:
      command: the program and its arguments.
      environment: variables that name the work.

    Attributes:
      told: what it said of itself.
      seconds: of every run.
      foreign: processors that other programs used during every run.
      peak_rss_mb: its largest resident memory in 10^6 bytes, once it has finished.

    Raises:
      InputError: it can't be started, or ends before it is ready.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]):
        self._command = command
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  closed on exit
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env={**os.environ, **environment},
            )
        except OSError as error:
            self._errors.close()
            raise InputError(f"{command[0]}: can't be started ({error.strerror}); correct --against") from error
        self.seconds: list[float] = []
        self.foreign: list[float] = []
        self.peak_rss_mb = 0.0
        try:
            self.told = self._listen()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> Contestant:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the program."""
        with contextlib.suppress(OSError):
            self._pipe(self._process.stdin).close()
        try:
            self._process.wait(timeout=0 if error else 10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._pipe(self._process.stdout).close()
        self._errors.close()

    def finish(self) -> None:
        """Lets it end, and listens to what it tells at last.

        Raises:
          InputError: that is no JSON.
        """
        self.peak_rss_mb = peak_rss_mb(self._process.pid)
        with contextlib.suppress(OSError):
            self._pipe(self._process.stdin).close()
        for line in self._pipe(self._process.stdout):
            self.told |= self._read(line)

    def ratio_to(self, other: Contestant) -> float:
        """Median over the rounds of its seconds divided by the other's in the same round."""
        return statistics.median(own / its for own, its in zip(self.seconds, other.seconds, strict=True))

    def run(self) -> None:
        """Lets it work once.

        Raises:
          InputError: it ended, or answered something else.
        """
        pid = self._process.pid
        busy, own, begun = busy_seconds(), process_seconds(pid), time.perf_counter()
        with contextlib.suppress(OSError):  # of a program that has ended; listening tells why
            self._pipe(self._process.stdin).write("run\n")
            self._pipe(self._process.stdin).flush()
        answer = self._listen()
        passed = time.perf_counter() - begun
        others = busy_seconds() - busy - (process_seconds(pid) - own)
        if not isinstance(answer.get("seconds"), float | int):
            raise InputError(f"{self._command[0]}: answered a run without its seconds; see jcs benchmark --help")
        self.seconds.append(float(answer["seconds"]))
        self.foreign.append(max(0.0, others / passed))

    def _listen(self) -> dict[str, Any]:
        line = self._pipe(self._process.stdout).readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            said = " ".join(self._errors.read().split())[-LAST_WORDS:]
            raise InputError(f"{' '.join(self._command)}: ended with exit code {self._process.returncode}: {said}")
        return self._read(line)

    def _read(self, line: str) -> dict[str, Any]:
        try:
            answer = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{self._command[0]}: wrote no JSON: {line.strip()[:80]!r}; see its help") from error
        if not isinstance(answer, dict):
            raise InputError(f"{self._command[0]}: wrote no JSON object: {line.strip()[:80]!r}")
        return answer

    @staticmethod
    def _pipe(stream: IO[str] | None) -> IO[str]:
        if stream is None:
            raise RuntimeError("the program was started without pipes")
        return stream


def compete(
    contestants: Sequence[Contestant], rounds: int, *, load_limit: float, patience: float
) -> Iterator[tuple[int, float]]:
    """Lets every program work once a round, in turn forwards and backwards, and then finish.

    Args:
      contestants: who work.
      rounds: how often.
      load_limit: processors that other programs may use for a round to begin.
      patience: seconds that a round waits for that.

    Yields:
      Number of the round, and the load when it began.
    """
    for number in range(rounds):
        load = wait_until_quiet(load_limit, patience)
        for contestant in contestants if number % 2 == 0 else reversed(contestants):
            contestant.run()
            time.sleep(PAUSE)
        yield number + 1, load
    for contestant in contestants:
        contestant.finish()


def summarise(contestant: Contestant) -> dict[str, Any]:
    """Median and range of a program's seconds, its memory, the load beside it, and its share of the limits.

    Where it told `flops`, `least_bytes` and the rates `matmul_gflops` and `copy_gb_s`, the floor is the longer of the
    times that these allow, and `share_of_limit` is floor by median.
    """
    told, median = contestant.told, statistics.median(contestant.seconds)
    summary: dict[str, Any] = {
        "seconds": median,
        "fastest": min(contestant.seconds),
        "slowest": max(contestant.seconds),
        "rounds": contestant.seconds,
        "peak_rss_mb": contestant.peak_rss_mb,
        "foreign_load": statistics.median(contestant.foreign),
        **told,
    }
    if {"flops", "least_bytes", "matmul_gflops", "copy_gb_s"} <= told.keys():
        floor = max(told["flops"] / told["matmul_gflops"], told["least_bytes"] / told["copy_gb_s"]) / 1e9
        summary |= {"gflops": told["flops"] / median / 1e9, "share_of_limit": floor / median}
    return summary
