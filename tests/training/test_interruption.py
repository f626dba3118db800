"""A request to stop: noticed, never lost, and the handlers of before are back afterwards."""

import os
import signal
import threading

import pytest

from jcs_jax.training.interruption import StopRequest


@pytest.fixture
def handlers():
    """Handlers of the surroundings, which the tests must find again; those of the test runner come back."""
    ours = {number: lambda *_: None for number in (signal.SIGTERM, signal.SIGINT)}
    before = {number: signal.signal(number, handler) for number, handler in ours.items()}
    yield ours
    for number, handler in before.items():
        signal.signal(number, handler)


def _send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop_and_raises_nothing(number, handlers):
    with StopRequest() as stop:
        assert not stop.asked(1)
        _send(number)
        assert stop.asked(2)
        assert stop.asked(3)


def test_a_second_sigterm_changes_nothing(handlers):
    with StopRequest() as stop:
        _send(signal.SIGTERM)
        _send(signal.SIGTERM)
        assert stop.asked(1)


def test_a_second_ctrl_c_acts_as_it_did_before(handlers):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with StopRequest() as stop:
        _send(signal.SIGINT)
        assert stop.asked(1)
        with pytest.raises(KeyboardInterrupt):
            _send(signal.SIGINT)


@pytest.mark.parametrize("sent", [(), (signal.SIGTERM,), (signal.SIGINT,), (signal.SIGINT, signal.SIGTERM)])
def test_the_handlers_of_before_are_back_afterwards(sent, handlers):
    with StopRequest():
        for number in sent:
            _send(number)
    assert {number: signal.getsignal(number) for number in handlers} == handlers


def test_the_handlers_are_back_after_an_error(handlers):
    with pytest.raises(ValueError, match="wrong"), StopRequest():
        raise ValueError("wrong")
    assert {number: signal.getsignal(number) for number in handlers} == handlers


def test_a_signal_that_is_ignored_stays_ignored(handlers):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a script's background job
    with StopRequest() as stop:
        _send(signal.SIGINT)
        assert not stop.asked(1)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_one_request_does_not_reach_into_the_next(handlers):
    with StopRequest():
        _send(signal.SIGTERM)
    with StopRequest() as stop:
        assert not stop.asked(1)


def test_in_a_thread_it_can_be_entered_and_leaves_the_handlers_alone(handlers):
    found = []

    def use() -> None:
        with StopRequest() as stop:
            found.append((stop.asked(1), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert found == [(False, handlers[signal.SIGTERM])]
