"""What a run shows while it goes on."""

import pytest

from jcs_jax.training import progress as module
from jcs_jax.training.progress import Progress

VALUES = {"loss": 1.23456, "learning_rate": 2e-4}


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when the test says so."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_log_file_gets_a_line_a_report_with_speed_and_time_left(clock, capsys):
    with Progress(100, batch_size=8) as progress:
        clock[0] += 60  # compilation isn't counted
        progress.report(10, VALUES)
        clock[0] += 2
        progress.report(20, VALUES)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "step 10/100  loss 1.235  lr 2.0e-04"
    # 10 steps of 8 images in 2 s; 80 steps to go at 5 steps a second: 16 s.
    assert second == "step 20/100  loss 1.235  lr 2.0e-04  40.0 images/s  0.3 min left"


def test_a_single_report_is_enough(clock, capsys):
    with Progress(1, batch_size=1) as progress:
        progress.report(1, VALUES)
    assert capsys.readouterr().err == "step 1/1  loss 1.235  lr 2.0e-04\n"


def test_a_clock_that_stands_still_divides_by_nothing(clock, capsys):
    with Progress(10, batch_size=1) as progress:
        progress.report(1, VALUES)
        progress.report(2, VALUES)
    assert "images/s" in capsys.readouterr().err


def test_text_in_brackets_is_shown_as_it_is(capsys):
    with Progress(1, 1) as progress:
        progress.say("[red]data[/]")
    assert capsys.readouterr().err == "[red]data[/]\n"


def test_a_terminal_gets_a_bar_that_ends_even_when_the_run_fails(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(RuntimeError, match="lost"), Progress(10, 2) as progress:
        progress.report(5, VALUES)
        raise RuntimeError("lost")
    shown = capsys.readouterr().err
    assert "training" in shown
    assert "5/10" in shown
