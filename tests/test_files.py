"""Files and folders appear whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from jcs_jax.files import atomic_directory, write_atomically


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_and_bytes_are_written_into_folders_that_are_made(tmp_path):
    path = write_atomically(tmp_path / "a/b/text.txt", "zwölf µm\n")
    assert path.read_bytes() == "zwölf µm\n".encode()
    assert write_atomically(str(tmp_path / "raw"), b"\0\1").read_bytes() == b"\0\1"
    assert _names(path.parent) == ["text.txt"]


def test_a_file_is_replaced(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert _names(tmp_path) == ["file"]


@pytest.mark.parametrize(("umask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_files_and_folders_are_as_private_as_the_user_wants_them(tmp_path, umask, file_mode, folder_mode):
    given = os.umask(umask)
    try:
        write_atomically(tmp_path / "file", "x")
        with atomic_directory(tmp_path / "run"):
            pass
    finally:
        os.umask(given)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == file_mode
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == folder_mode


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["file"]


def test_a_folder_takes_its_name_only_when_the_block_has_ended(tmp_path):
    with atomic_directory(tmp_path / "run") as folder:
        (folder / "result").write_text("1")
        assert not (tmp_path / "run").exists()
        assert folder.parent == tmp_path  # the same file system, so that the rename is one step
    assert (tmp_path / "run/result").read_text() == "1"
    assert _names(tmp_path) == ["run"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/stale").write_text("old")
    with atomic_directory(tmp_path / "run") as folder:
        (folder / "fresh").write_text("new")
    assert _names(tmp_path / "run") == ["fresh"]
    assert _names(tmp_path) == ["run"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_raises_leaves_the_old_folder_and_nothing_else(tmp_path, error):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/result").write_text("old")
    with pytest.raises(error), atomic_directory(tmp_path / "run") as folder:
        (folder / "result").write_text("half")
        raise error
    assert (tmp_path / "run/result").read_text() == "old"
    assert _names(tmp_path) == ["run"]


def test_a_block_that_raises_leaves_no_folder_where_there_was_none(tmp_path):
    with pytest.raises(ValueError, match="no"), atomic_directory(tmp_path / "run"):
        raise ValueError("no")
    assert _names(tmp_path) == []


def test_the_old_folder_comes_back_if_the_new_one_cannot_take_its_name(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/result").write_text("old")
    rename = Path.replace

    def refuse(self, target):
        if self.suffix == ".tmp":
            raise OSError("no rename today")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="no rename today"), atomic_directory(tmp_path / "run"):
        pass
    assert (tmp_path / "run/result").read_text() == "old"
    assert _names(tmp_path) == ["run"]


def test_a_link_to_a_folder_is_replaced_and_what_it_points_to_is_kept(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/result").write_text("old")
    (tmp_path / "run").symlink_to("elsewhere")
    with atomic_directory(tmp_path / "run") as folder:
        (folder / "result").write_text("new")
    assert not (tmp_path / "run").is_symlink()
    assert (tmp_path / "run/result").read_text() == "new"
    assert (tmp_path / "elsewhere/result").read_text() == "old"
    assert _names(tmp_path) == ["elsewhere", "run"]


def test_a_file_is_never_replaced_by_a_folder(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(NotADirectoryError), atomic_directory(tmp_path / "run"):
        pass
    assert (tmp_path / "run").read_text() == "mine"
    assert _names(tmp_path) == ["run"]
