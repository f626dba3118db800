"""What a run shows while it goes on."""

import io
import re
import sys

import pytest

from jcs_jax.training import progress as module
from jcs_jax.training.progress import Progress, peak_memory

VALUES = {"loss": 1.23456, "learning_rate": 2e-4}


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """Seconds that pass only when the test says so."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)

    def report(self, progress, step, *, after):
        self.now += after
        progress.report(step, VALUES)


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(module, "peak_memory", lambda: "2.50 GB peak of the process")
    return Clock(monkeypatch)


@pytest.fixture
def terminal(monkeypatch):
    """An 80-column terminal; `sys.stderr` once `attach` is called, because pytest replaces it after the fixtures."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    stream.attach = lambda: monkeypatch.setattr(sys, "stderr", stream)
    return stream


def _last_frame(stream):
    """The two lines that a terminal shows at the end."""
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue()).replace("\r", "\n")
    return [line for line in text.split("\n") if line.strip()][-2:]


class TestLogFile:
    def test_gets_a_line_a_report(self, clock, capsys):
        with Progress(100, batch_size=8, examples=32) as progress:
            clock.report(progress, 10, after=60)  # compilation isn't counted
            clock.report(progress, 20, after=2)
        first, second = capsys.readouterr().err.splitlines()
        assert first == "step 10/100  epoch 2.5  loss 1.235  lr 2.0e-04  2.50 GB peak of the process"
        # 10 steps of 8 images in 2 s; 80 steps to go at 5 steps a second: 16 s.
        assert second == (
            "step 20/100  epoch 5.0  16 s left  loss 1.235  lr 2.0e-04  40.0 images/s  2.50 GB peak of the process"
        )

    def test_has_no_control_character_even_where_colour_is_forced(self, clock, capsys, monkeypatch):
        monkeypatch.setenv("FORCE_COLOR", "1")
        with Progress(10, 2) as progress:
            clock.report(progress, 5, after=1)
            progress.say("slice\x1b[31m one\x07\n two")
        text = capsys.readouterr().err
        assert text.endswith("\nslice [31m one  two\n")
        assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text) is None

    def test_keeps_brackets_and_long_lines_as_they_are(self, capsys):
        text = "[red]data[/] " + 40 * "long "
        with Progress(1, 1) as progress:
            progress.say(text)
        assert capsys.readouterr().err == text + "\n"

    def test_a_single_report_is_enough(self, clock, capsys):
        with Progress(1, batch_size=1) as progress:
            clock.report(progress, 1, after=1)
        assert capsys.readouterr().err == "step 1/1  loss 1.235  lr 2.0e-04  2.50 GB peak of the process\n"


class TestSpeed:
    def _speeds(self, capsys):
        return [float(value) for value in re.findall(r"([\d.]+) images/s", capsys.readouterr().err)]

    def test_is_that_of_the_last_reports(self, clock, capsys):
        with Progress(1000, batch_size=1) as progress:
            clock.report(progress, 10, after=300)
            clock.report(progress, 20, after=100)  # a second compilation: 0.1 a second
            for step in range(30, 110, 10):
                clock.report(progress, step, after=1)
        speeds = self._speeds(capsys)
        assert speeds[0] == 0.1
        assert speeds[-1] == 10.0  # the slow interval is no longer among the last

    def test_and_time_left_are_right_after_a_resume(self, clock, capsys):
        with Progress(1000, batch_size=4, first_step=900, examples=400) as progress:
            clock.report(progress, 910, after=60)
            clock.report(progress, 920, after=5)  # 2 steps a second; 80 to go
        last = capsys.readouterr().err.splitlines()[-1]
        assert "step 920/1000  epoch 9.2  40 s left" in last
        assert " 8.0 images/s " in last

    def test_a_clock_that_stands_still_divides_by_nothing(self, clock, capsys):
        with Progress(10, batch_size=1) as progress:
            clock.report(progress, 1, after=0)
            clock.report(progress, 2, after=0)
        assert "images/s" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("seconds_a_step", "left"), [(0.5, "45 s left"), (2, "3.0 min left"), (80, "2 h 00 min left")]
    )
    def test_time_left_is_as_exact_as_one_wants_to_know_it(self, clock, capsys, seconds_a_step, left):
        with Progress(100, batch_size=1) as progress:
            clock.report(progress, 5, after=1)
            clock.report(progress, 10, after=5 * seconds_a_step)
        assert f"  {left}  " in capsys.readouterr().err


class TestTerminal:
    def test_gets_a_bar_of_two_lines_that_fit(self, clock, terminal):
        terminal.attach()
        with Progress(200_000, batch_size=8, first_step=100_000, examples=3079) as progress:
            clock.report(progress, 100_020, after=60)
            clock.report(progress, 100_040, after=8)
        bar, status = _last_frame(terminal)
        assert re.fullmatch(r"training [━╸╺ ]+ 100040/200000 epoch 259\.9  11 h 06 min left", bar.rstrip())
        assert status == "loss 1.235  lr 2.0e-04  20.0 images/s  2.50 GB peak of the process"
        assert max(len(bar), len(status)) <= 80

    def test_begins_at_the_step_of_the_resume(self, terminal):
        terminal.attach()
        with Progress(1000, 4, first_step=900):
            pass
        bar, status = _last_frame(terminal)
        assert "900/1000" in bar
        assert status == "compiling the step"

    def test_lines_stand_above_the_bar(self, terminal):
        terminal.attach()
        with Progress(10, 4) as progress:
            progress.say("saved step 5")
        assert "saved step 5\n" in terminal.getvalue()
        assert "saved" not in "".join(_last_frame(terminal))

    def test_is_given_back_when_the_run_fails(self, clock, terminal):
        terminal.attach()
        with pytest.raises(RuntimeError, match="lost"), Progress(10, 2) as progress:
            clock.report(progress, 5, after=1)
            raise RuntimeError("lost")
        assert "5/10" in _last_frame(terminal)[0]
        assert terminal.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is shown again

    def test_that_cannot_move_its_cursor_gets_lines(self, clock, terminal, monkeypatch):
        terminal.attach()
        monkeypatch.setenv("TERM", "dumb")
        with Progress(10, 2) as progress:
            clock.report(progress, 5, after=1)
        assert terminal.getvalue() == "step 5/10  loss 1.235  lr 2.0e-04  2.50 GB peak of the process\n"


@pytest.mark.parametrize("on_terminal", [True, False])
def test_another_process_shows_nothing(clock, terminal, capsys, on_terminal):
    if on_terminal:
        terminal.attach()
    with Progress(10, 2, silent=True) as progress:
        progress.say("text")
        clock.report(progress, 5, after=1)
    assert terminal.getvalue() == capsys.readouterr().err == ""


class TestMemory:
    def test_is_the_fullest_devices_where_they_tell(self, monkeypatch):
        class Device:
            def __init__(self, peak):
                self.memory_stats = lambda: {"peak_bytes_in_use": peak}

        monkeypatch.setattr(module.jax, "local_devices", lambda: [Device(3_000_000_000), Device(12_340_000_000)])
        assert peak_memory() == "12.34 GB peak on a device"

    @pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
    def test_is_the_processs_own_elsewhere(self, monkeypatch):
        import resource

        class Device:
            def memory_stats(self):
                return None

        monkeypatch.setattr(module.jax, "local_devices", lambda: [Device()])
        gigabytes = float(re.fullmatch(r"([\d.]+) GB peak of the process", peak_memory())[1])
        # The kernel's other figure may hold a larger parent's as well.
        assert 0.03 < gigabytes < resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9 + 0.01
