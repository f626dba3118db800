"""The folder of a run: whose it is, what has been logged, whether it is finished."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_collections

from jcs_jax.errors import InputError, causes
from jcs_jax.files import remove_leftovers, require_folder, write_atomically
from jcs_jax.training.config import leaves

CONFIG, LOG, FINISHED, CHECKPOINTS = "config.json", "metrics.jsonl", "finished.json", "checkpoints"
# Options that change where, how fast and how visibly a run goes, but not what comes out of it.
FREE = ("mesh.", "checkpoint.", "log_every", "tensorboard", "pictures_every", "remat", "data.data_dir", "data.threads")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextlib.contextmanager
def explain_storage(path: Path) -> Iterator[None]:
    """Turns a full or closed disk, however it is reported, into one line with a cure.

    Raises:
      InputError: that names the path; other errors pass.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        said = " ".join(str(one).lower() for one in causes(error))
        for number in (*_FULL, *_CLOSED):
            if os.strerror(number).lower() in said:
                cure = (
                    "make room and run the same command again: it goes on from the last saved step"
                    if number in _FULL
                    else "name another --workdir or change its permissions"
                )
                raise InputError(f"{path}: can't be written ({os.strerror(number)}); {cure}") from error
        raise


class Workdir:
    """A run's folder.

    Args:
      folder: of the run; it need not exist.
      writes: False for the processes of a run that leave the writing to the first.
    """

    def __init__(self, folder: Path, *, writes: bool = True):
        self.folder, self._writes = folder, writes

    def write(self, name: str, content: Mapping[str, Any]) -> Path:
        """Writes a JSON file into the folder, in one step.

        Raises:
          InputError: the folder can't be written.
        """
        file = self.folder / name
        if self._writes:
            with explain_storage(self.folder):
                write_atomically(file, json.dumps(content, indent=2) + "\n")
        return file

    @property
    def checkpoints(self) -> Path:
        """Where the saved positions are."""
        return self.folder / CHECKPOINTS

    def has_checkpoints(self) -> bool:
        """Whether a position has been saved, readable or not."""
        return any(path.name.isdigit() for path in self.checkpoints.glob("*"))

    def check(self, config: ml_collections.ConfigDict) -> None:
        """Refuses a folder that can't be used for a run with this config; writes nothing.

        Raises:
          InputError: a file is in the way, or a run with another config lives there.
        """
        require_folder(self.folder, purpose="the run")
        file = self.folder / CONFIG
        if not file.exists():
            if self.has_checkpoints():
                raise InputError(f"{file}: is missing beside checkpoints; put it back or name another --workdir")
            return
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
            was = dict(leaves(ml_collections.ConfigDict(before)))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{file}: can't be read as a run's config; name another --workdir") from error
        now = dict(leaves(ml_collections.ConfigDict(_plain(config))))
        changed = sorted(
            key for key in was.keys() | now.keys() if was.get(key) != now.get(key) and not key.startswith(FREE)
        )
        if changed:
            shown = ", ".join(f"{key} was {was.get(key)!r} and is {now.get(key)!r}" for key in changed[:3])
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise InputError(
                f"{self.folder}: holds a run of another config: {shown}{more}; name another --workdir or undo that"
            )

    @contextlib.contextmanager
    def claim(self, config: ml_collections.ConfigDict) -> Iterator[None]:
        """Makes the folder, writes down the config, and keeps other runs out until the block or the process ends.

        What a process that died was about to write there is removed.

        Raises:
          InputError: it can't be written, or another process is at this run.
        """
        if not self._writes:
            yield
            return
        try:
            with explain_storage(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: can't be made ({error.strerror}); name another --workdir") from error
        with _locked(self.folder):
            with explain_storage(self.folder):
                remove_leftovers(self.folder)
            self.write(CONFIG, _plain(config))
            yield

    def rewind_log(self, step: int) -> None:
        """Drops what was logged after a step: the run goes on from there and will log it again."""
        file = self.folder / LOG
        if not self._writes or not file.exists():
            return
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        kept = "".join(line for line in lines if _logged_step(line) <= step)
        with explain_storage(file):
            write_atomically(file, kept)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Appends a line to metrics.jsonl."""
        if not self._writes:
            return
        file = self.folder / LOG
        with explain_storage(file), file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **values}) + "\n")

    def finished(self) -> dict[str, Any] | None:
        """What stands in finished.json; None if the run isn't finished."""
        file = self.folder / FINISHED
        if not file.is_file():
            return None
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except ValueError as error:
            raise InputError(f"{file}: can't be read; delete it to run the end again") from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the only lock on a folder; it goes with the process, however that ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"{folder}: another process is at this run; wait or name another --workdir") from error
        yield
    finally:
        os.close(handle)


def _plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The config as JSON knows it: tuples are lists."""
    return json.loads(config.to_json_best_effort())


def _logged_step(line: str) -> float:
    """The step of a line of the log; infinite for a line that was cut off."""
    try:
        return float(json.loads(line)["step"]) if line.endswith("\n") else float("inf")
    except (ValueError, KeyError, TypeError):
        return float("inf")
