"""One bad case must not stop the others."""

from pathlib import Path

import pytest

from jcs_jax.diagnosis.failures import Failures
from jcs_jax.errors import InputError


def test_input_error_is_kept_as_it_is():
    failures = Failures()
    with failures.isolate("a", Path("a.png")):
        raise InputError("a.png: too small; export it again")
    assert failures.reasons == {"a": "a.png: too small; export it again"}


def test_any_other_error_becomes_one_line_that_names_the_input():
    failures = Failures()
    with failures.isolate("a", Path("x/a.png")):
        raise RuntimeError("out of\n  memory")
    with failures.isolate("b", Path("b.png")):
        pass
    assert failures.reasons == {"a": "x/a.png: unexpected RuntimeError: out of memory (--debug shows where)"}


def test_debug_lets_errors_through():
    with pytest.raises(RuntimeError), Failures(debug=True).isolate("a", Path("a.png")):
        raise RuntimeError


def test_the_user_can_still_stop_everything():
    with pytest.raises(KeyboardInterrupt), Failures().isolate("a", Path("a.png")):
        raise KeyboardInterrupt
