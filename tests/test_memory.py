"""Freed memory goes back to the system where the C library can be told, and large arrays can leave it for a while."""

import ctypes
import mmap
import os
import shutil
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest

from jcs_jax import memory
from jcs_jax.memory import let_go, paged_copy, paged_zeros, planes, release_freed_memory

SHAPE = (40, 64, 512)
paged = pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="arrays are paged on Linux only")


@pytest.fixture
def _all_paged(monkeypatch):
    monkeypatch.setattr(memory, "IN_MEMORY", 0)


def _file_pages() -> int:
    """Resident pages of files, of this process."""
    return int(Path("/proc/self/statm").read_text().split()[2])


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


@paged
def test_pages_leave_memory_and_come_back_as_they_were(_all_paged):
    array = paged_zeros(SHAPE, np.int16)
    assert not array.any()
    wanted = np.arange(array.size, dtype=np.int16).reshape(SHAPE)
    array[...] = wanted
    resident = _file_pages()
    let_go(array[3:, ::2])
    assert resident - _file_pages() >= array.nbytes // mmap.PAGESIZE - 16
    np.testing.assert_array_equal(array, wanted)


@paged
def test_planes_passed_are_let_go_and_what_was_written_stays(_all_paged, monkeypatch):
    monkeypatch.setattr(memory, "_PASSED", 2 * 64 * 512 * 2)
    array, before = paged_zeros(SHAPE, np.int16), _file_pages()
    for number, plane in enumerate(planes(array)):
        plane[...] = number
        assert _file_pages() - before <= 3 * plane.nbytes // mmap.PAGESIZE + 16
    assert [int(plane.min()) for plane in planes(array)] == list(range(len(array)))


def test_the_file_has_no_name(_all_paged, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    array = paged_zeros(SHAPE, np.uint8)
    array[...] = 1
    assert not list(tmp_path.iterdir())


def test_without_room_for_a_file_the_array_is_in_memory(_all_paged, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    array = paged_zeros((3, 4), np.float32)
    assert array.base is None
    let_go(array, None)
    np.testing.assert_array_equal(array, np.zeros((3, 4), np.float32))


def test_the_last_room_of_a_disk_is_left_to_others(_all_paged, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=4 * 48))
    assert paged_zeros((3, 4), np.float32).base is None
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=4 * 48 + 1))
    assert hasattr(os, "posix_fallocate") is (paged_zeros((3, 4), np.float32).base is not None)


def test_small_arrays_are_in_memory():
    assert paged_zeros((3, 4, 5), bool).base is None


def test_changes_to_somebody_else_s_private_pages_are_not_lost(tmp_path):
    np.zeros(4096, np.uint8).tofile(tmp_path / "array")
    array = np.memmap(tmp_path / "array", np.uint8, "c")
    array[:] = 7
    let_go(array)
    assert set(array) == {7}


def test_a_copy_is_made_only_of_what_lies_in_another_order(_all_paged):
    array = np.arange(24).reshape(2, 3, 4)
    assert paged_copy(array) is array
    turned = paged_copy(array[::-1, :, ::-1])
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned, array[::-1, :, ::-1])
    wide = paged_copy(array, np.dtype(np.float32))
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(wide, array)
