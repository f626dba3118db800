"""Freed memory goes back to the system where the C library can be told."""

import ctypes
import types

import pytest

from jcs_jax.memory import release_freed_memory


def test_the_c_library_is_told_to_hand_everything_back(monkeypatch):
    kept = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: types.SimpleNamespace(malloc_trim=kept.append))
    release_freed_memory()
    assert kept == [0]


@pytest.mark.parametrize("library", [types.SimpleNamespace(), None])
def test_a_c_library_that_cannot_is_left_alone_and_the_own_one_does_it_without_harm(monkeypatch, library):
    if library is not None:
        monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    release_freed_memory()
