"""Saved positions of a run: whole state, written in the background, verified when they are read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jax.experimental import multihost_utils

from jcs_jax.errors import InputError
from jcs_jax.training.checksum import checksum
from jcs_jax.training.quiet import end_orbax, quiet_orbax
from jcs_jax.training.retention import NewestAndBest
from jcs_jax.training.workdir import explain_storage

_STATE, _RUN = "state", "run"
_DELETED = "deleted"  # a step goes there in one move, so that no half of it is ever taken for a step
_MARKS = ("_CHECKPOINT_METADATA", *(f"{item}commit_success.txt" for item in ("", f"{_STATE}/", f"{_RUN}/")))


class Restored(NamedTuple):
    """A saved position.

    Attributes:
      state: the training state, laid out as was asked.
      run: plain values that were saved beside it.
    """

    state: Any
    run: dict[str, Any]


class RunCheckpoints:
    """The checkpoints of a run: the newest ones and the best one.

    A step counts only when all of it is written: it gets its name in one move, and loses it in one move before it is
    deleted, so that a process that dies leaves whole steps and leftovers, which the next start removes. What was saved
    carries a checksum of its arrays, so that a damaged step is noticed, whatever was damaged.

    Args:
      folder: holds a folder for each step; created.
      keep: how many of the newest steps are kept, beside the best one.

    Raises:
      InputError: the folder can't be written.
    """

    def __init__(self, folder: Path, *, keep: int):
        self._folder = folder.absolute()
        self._written = self._started = 0  # steps
        self._error: Exception | None = None  # of a save
        self._policy = NewestAndBest(keep)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._policy,
            todelete_subdir=_DELETED,
            # Made in the background, a folder that can't be made keeps Orbax's threads waiting for it for minutes.
            async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
        )
        with contextlib.ExitStack() as stack:
            stack.enter_context(quiet_orbax())
            stack.enter_context(explain_storage(self._folder))
            self._folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            self._manager = ocp.CheckpointManager(
                self._folder,
                options=options,
                item_names=(_STATE, _RUN),
                item_handlers={_STATE: ocp.StandardCheckpointHandler(), _RUN: ocp.JsonCheckpointHandler()},
            )
            self._faults = self._survey()
            self._until_closed = stack.pop_all()

    def save(self, step: int, state: Any, run: Mapping[str, Any], *, score: float | None = None) -> None:
        """Starts to save a position, after the one before has been written.

        Args:
          step: steps taken.
          state: of arrays; it may be changed as soon as this returns.
          run: plain values.
          score: of the validation, higher is better; None if this step wasn't validated.

        Raises:
          InputError: the disk is full, or this save or the one before failed.
        """
        content = {**run, "step": step, "score": score, "arrays": checksum(state)}
        with self._writing():
            self._manager.wait_until_finished()
            self._sweep()
            items = ocp.args.Composite(
                **{_STATE: ocp.args.StandardSave(state), _RUN: ocp.args.JsonSave(_seal(content))}
            )
            self._policy.note(step, score)
            self._manager.save(step, args=items, force=True)
        self._written, self._started = self._started, step

    def unsaved(self, step: int) -> int:
        """How many steps would be lost by a crash now, after `step` of them.

        Raises:
          InputError: the save that was under way failed.
        """
        if self._written != self._started and not self._manager.is_saving_in_progress():
            self.wait()
        return step - self._written

    def wait(self) -> None:
        """Returns when everything is written.

        Raises:
          InputError: writing failed.
        """
        with self._writing():
            self._manager.wait_until_finished()
        self._written = self._started

    def close(self) -> None:
        """Waits, and lets go of the folder.

        Raises:
          InputError: writing failed, and that was not told before.
        """
        with self._until_closed:
            try:
                self.wait()
            finally:
                self._manager.close()  # Orbax raises the error of a save only once
                del self._manager
                if self._error is not None:
                    end_orbax(self._error)
                self._sweep()

    def restore_newest(self, like: Any) -> Restored | None:
        """The newest position that can be read; damaged ones are put aside, with a warning.

        Where none can be read all stay where they are: the fault may then be elsewhere.

        Args:
          like: shapes, types and shardings of the state.

        Returns:
          The position, None where nothing has been saved yet.

        Raises:
          InputError: there are checkpoints, but none that can be read.
        """
        faults, found = dict(self._faults), None
        for step in sorted(self._manager.all_steps(), reverse=True):
            if str(step) not in faults:
                found, reason = self._read(step, like)
                if found is not None:
                    break
                faults[str(step)] = reason
        if not faults and found is None:
            return None
        if found is None:
            told = "; ".join(f"{name}: {faults[name]}" for name in sorted(faults, key=int, reverse=True))
            raise InputError(
                f"{self._folder}: none of its checkpoints can be read ({told[:400]}); start in another --workdir, or "
                "delete that folder and run the same command again to begin anew"
            )
        self._written = self._started = found.run["step"]
        if faults:
            for name, reason in faults.items():
                target = self._put_aside(name)
                logging.warning("%s is damaged (%s); it was moved to %s", self._folder / name, reason, target)
            logging.warning("going on from step %d", self._started)
            self._manager.reload()
            self._faults = self._survey()
        return found

    def restore(self, step: int, like: Any) -> Restored | None:
        """The position at a step; None, and a warning, if it is damaged.

        Args:
          step: that has been saved.
          like: shapes, types and shardings of the state.
        """
        found, reason = self._read(step, like)
        if found is None:
            logging.warning("%s is damaged (%s)", self._folder / str(step), reason)
        return found

    def best(self) -> int | None:
        """The step with the highest score, the last of equal ones; None if none was validated."""
        return self._policy.best()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with explain_storage(self._folder):
                yield
        except Exception as error:
            self._error = error
            raise

    def _read(self, step: int, like: Any) -> tuple[Restored | None, str]:
        """The position at a step, or None and what is wrong with it."""
        reason, found = "", None
        items = ocp.args.Composite(**{_STATE: ocp.args.StandardRestore(like), _RUN: ocp.args.JsonRestore()})
        try:
            restored = self._manager.restore(step, args=items)
            run = _open(restored[_RUN], step)
            if run["arrays"] != checksum(restored[_STATE]):
                reason = "its arrays are not those that were saved"
            found = Restored(restored[_STATE], run)
        except Exception as error:  # noqa: BLE001  Orbax and TensorStore raise many kinds for a damaged folder
            reason = _first_line(error)
            end_orbax(error)
        if _any_process(bool(reason)):
            return None, reason or "on another host"
        return found, ""

    def _survey(self) -> dict[str, str]:
        """Notes the scores of the steps that are there; returns those that can't be used, and what each one lacks."""
        self._policy.scores.clear()
        faults = {}
        for folder in sorted(path for path in self._folder.iterdir() if path.name.isdecimal()):
            missing = [mark for mark in _MARKS if not (folder / mark).is_file()]
            try:
                if missing:
                    raise FileNotFoundError(f"{missing[0]} is missing")
                step = int(folder.name)
                items = ocp.args.Composite(**{_RUN: ocp.args.JsonRestore()})
                self._policy.note(step, _open(self._manager.restore(step, args=items)[_RUN], step)["score"])
            except Exception as error:  # noqa: BLE001  Orbax raises many kinds for a damaged folder
                faults[folder.name] = _first_line(error)
        return faults

    def _sweep(self) -> None:
        """Removes what a process that died was writing or deleting, and the steps that are not kept."""
        if jax.process_index() == 0:
            for path in self._folder.iterdir():
                if path.name == _DELETED or ocp.utils.TMP_DIR_SUFFIX in path.name:
                    shutil.rmtree(path)

    def _put_aside(self, name: str) -> Path:
        """Moves a step's folder out of the way, to a folder beside that of the checkpoints; returns where it is."""
        aside = self._folder.with_name(f"{self._folder.name}-damaged")
        number = 0
        while (target := aside / (f"{name}.{number}" if number else name)).exists():
            number += 1
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("where to put it")
        if jax.process_index() == 0:
            with explain_storage(aside):
                aside.mkdir(exist_ok=True)
                (self._folder / name).rename(target)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("put aside")
        return target


def _seal(content: Mapping[str, Any]) -> dict[str, Any]:
    return {"content": dict(content), "sha256": _digest(content)}


def _open(sealed: Mapping[str, Any], step: int) -> dict[str, Any]:
    if sealed["sha256"] != _digest(sealed["content"]) or sealed["content"]["step"] != step:
        raise ValueError("its description is not what was saved")
    return dict(sealed["content"])


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _any_process(flag: bool) -> bool:
    """Whether it is so on any of the processes."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


def _first_line(error: BaseException) -> str:
    """Of what is at the bottom of it: Orbax wraps what TensorStore says into a dump of its settings."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__
