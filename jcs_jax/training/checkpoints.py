"""Saved positions of a run: whole state, written in the background, verified when they are read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jax.experimental import multihost_utils

from jcs_jax.errors import InputError
from jcs_jax.training.checksum import checksum
from jcs_jax.training.workdir import explain_storage

_STATE, _RUN = "state", "run"


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

    A step counts only when all of it is written; a process that dies leaves a temporary folder, which the next start
    removes. What was saved carries a checksum of its arrays, so that a damaged one is noticed, whatever was damaged.

    Args:
      folder: holds a folder for each step; created.
      keep: how many of the newest steps are kept, beside the best one.

    Raises:
      InputError: the folder can't be written.
    """

    def __init__(self, folder: Path, *, keep: int):
        self._folder = folder.absolute()
        self._written = self._started = 0  # steps
        self._policy = _NewestAndBest(keep)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._policy, cleanup_tmp_directories=True, enable_async_checkpointing=True
        )
        with explain_storage(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._unusable = _unfinished(self._folder)
            self._manager = ocp.CheckpointManager(
                self._folder,
                options=options,
                item_names=(_STATE, _RUN),
                item_handlers={_STATE: ocp.StandardCheckpointHandler(), _RUN: ocp.JsonCheckpointHandler()},
            )
        self._read_scores()

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
        with explain_storage(self._folder):
            self._manager.wait_until_finished()
            items = ocp.args.Composite(
                **{_STATE: ocp.args.StandardSave(state), _RUN: ocp.args.JsonSave(_seal(content))}
            )
            self._note_score(step, score)
            self._manager.save(step, args=items, force=True)
        self._written, self._started = self._started, step

    def unsaved(self, step: int) -> int:
        """How many steps would be lost by a crash now, after `step` of them."""
        if not self._manager.is_saving_in_progress():
            self._written = self._started
        return step - self._written

    def wait(self) -> None:
        """Returns when everything is written.

        Raises:
          InputError: writing failed.
        """
        with explain_storage(self._folder):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and lets go of the folder."""
        with explain_storage(self._folder):
            self._manager.close()

    def restore_newest(self, like: Any) -> Restored | None:
        """The newest position that can be read; damaged ones are put aside, with a warning.

        Args:
          like: shapes, types and shardings of the state.

        Returns:
          The position, None where nothing has been saved yet.

        Raises:
          InputError: there are checkpoints, but none that can be read.
        """
        damaged = list(self._unusable)
        for name in damaged:
            logging.warning("%s is not whole and was put aside", self._folder / name)
        found = None
        for step in sorted(self._manager.all_steps(), reverse=True):
            found = self.restore(step, like)
            if found is not None:
                break
            damaged.append(str(step))
        for name in damaged:
            self._put_aside(name)
        if damaged:
            self._manager.reload()
            self._read_scores()
            if found is None:
                raise InputError(
                    f"{self._folder}: none of its checkpoints can be read ({', '.join(damaged)}; they are in "
                    f"{_aside(self._folder).name} now); start in another --workdir"
                )
            logging.warning("going on from step %d", found.run["step"])
        if found is not None:
            self._written = self._started = found.run["step"]
        return found

    def restore(self, step: int, like: Any) -> Restored | None:
        """The position at a step; None, and a warning, if it is damaged.

        Args:
          step: that has been saved.
          like: shapes, types and shardings of the state.
        """
        reason, found = "", None
        items = ocp.args.Composite(**{_STATE: ocp.args.StandardRestore(like), _RUN: ocp.args.JsonRestore()})
        try:
            restored = self._manager.restore(step, args=items)
            run = _open(restored[_RUN])
            if run["step"] != step or run["arrays"] != checksum(restored[_STATE]):
                reason = "its arrays are not those that were saved"
            found = Restored(restored[_STATE], run)
        except Exception as error:  # noqa: BLE001  Orbax and TensorStore raise many kinds for a damaged folder
            reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        if _any_process(bool(reason)):
            logging.warning("checkpoint %s is damaged (%s)", self._folder / str(step), reason or "on another host")
            return None
        return found

    def best(self) -> int | None:
        """The step with the highest score, the last of equal ones; None if none was validated."""
        return self._policy.best()

    def _note_score(self, step: int, score: float | None) -> None:
        if score is not None:
            self._policy.scores[step] = score

    def _read_scores(self) -> None:
        """Of the steps that are there; a damaged one has none."""
        self._policy.scores.clear()
        for step in self._manager.all_steps():
            with contextlib.suppress(Exception):  # whatever is wrong with it is said when it is restored
                restored = self._manager.restore(step, args=ocp.args.Composite(**{_RUN: ocp.args.JsonRestore()}))
                self._note_score(step, _open(restored[_RUN])["score"])

    def _put_aside(self, name: str) -> None:
        """Moves a step's folder out of the way, beside the others."""
        if jax.process_index() == 0:
            aside = _aside(self._folder)
            aside.mkdir(exist_ok=True)
            number = 0
            while (target := aside / (f"{name}.{number}" if number else name)).exists():
                number += 1
            (self._folder / name).rename(target)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("put aside")


class _NewestAndBest:
    """Which checkpoints Orbax keeps: the newest ones and the one with the highest score, the last of equal ones.

    Args:
      newest: how many.

    Attributes:
      scores: of the steps that were validated, among those that are there.
    """

    def __init__(self, newest: int):
        self._newest = newest
        self.scores: dict[int, float] = {}

    def best(self) -> int | None:
        """The step with the highest score; None if none has one."""
        return max(self.scores, key=lambda step: (self.scores[step], step), default=None)

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Orbax asks this of all steps that are there, oldest first."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        kept = {*steps[-self._newest :], self.best()}
        self.scores = {step: score for step, score in self.scores.items() if step in kept}
        return [step in kept for step in steps]


def _aside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-damaged")


def _unfinished(folder: Path) -> list[str]:
    """Step folders that have their final name but not all that a finished step has."""
    return [path.name for path in sorted(folder.iterdir()) if re.fullmatch(r"\d+", path.name) and not _is_whole(path)]


def _is_whole(step: Path) -> bool:
    marks = [step / mark for mark in ("_CHECKPOINT_METADATA", "commit_success.txt")]
    marks += [step / item / "commit_success.txt" for item in (_STATE, _RUN)]
    return all(mark.is_file() for mark in marks)


def _seal(content: Mapping[str, Any]) -> dict[str, Any]:
    return {"content": dict(content), "sha256": _digest(content)}


def _open(sealed: Mapping[str, Any]) -> dict[str, Any]:
    if sealed["sha256"] != _digest(sealed["content"]):
        raise ValueError("its description is not what was saved")
    return dict(sealed["content"])


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _any_process(flag: bool) -> bool:
    """Whether it is so on any of the processes."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())
