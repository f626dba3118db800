"""Small file systems that can be filled up or closed, where the machine lets tests mount any."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system in memory, of so many bytes (`2m`), mounted at a folder; the test is skipped where that fails."""
    folder.mkdir()
    if not shutil.which("mount") or _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)):
        pytest.skip("this machine lets the tests mount no file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def close_disk(folder: Path) -> None:
    """Makes a mounted file system read-only; root can't write there either."""
    if _mount("-o", "remount,ro", str(folder)):
        pytest.skip("this machine doesn't let the tests change a mounted file system")


def fill_up(folder: Path, left: int) -> Path:
    """Fills a file system up to so many bytes; returns the file that does it."""
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(folder).free - left))
    return ballast


def _mount(*arguments: str) -> int:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode
