"""`sweep.json`: which runs a folder holds, so that it never mixes two sweeps."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jcs_jax.errors import InputError
from jcs_jax.files import require_folder, write_atomically
from jcs_jax.notice import RESEARCH_USE
from jcs_jax.sweep.plan import Plan, Run
from jcs_jax.training.config import leaves

_FORMAT = "jcs-sweep/1"
_SHOWN = 3  # options in an error


def run_folder(workdir: Path, run: Run) -> Path:
    """Where a run's files are."""
    return workdir / "runs" / run.name


def is_finished(workdir: Path, run: Run) -> bool:
    """Whether the run is complete: `jcs train` leaves that file at its very end."""
    return (run_folder(workdir, run) / "finished.json").is_file()


def is_begun(workdir: Path, run: Run) -> bool:
    """Whether training has left anything in the run's folder; what only failed to start leaves no more than a log."""
    folder = run_folder(workdir, run)
    return folder.is_dir() and any(path.name != "log.txt" for path in folder.iterdir())


def read_record(workdir: Path) -> Plan | None:
    """The runs that a folder holds.

    Args:
      workdir: a sweep's folder.

    Returns:
      The plan, or None if no sweep has been started there.

    Raises:
      InputError: the folder is a file, or its record can't be read.
    """
    require_folder(workdir, purpose="the sweep")
    path = workdir / "sweep.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != _FORMAT:
            raise InputError(f"{path}: is of format {document['format']!r}, not {_FORMAT}; take another --workdir")
        runs = [_run(name, fields) for name, fields in document["runs"].items()]
        return Plan(tuple(document["axes"]), tuple(runs))
    except FileNotFoundError:
        return None
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: is no record of a sweep; take another --workdir, or delete the file") from error


def _run(name: str, fields: Mapping[str, Any]) -> Run:
    return Run(name=name, **{**fields, "flags": tuple(fields["flags"])})


def join_record(workdir: Path, plan: Plan, *, free: Sequence[str] = ()) -> Plan:
    """The plan and what the folder holds of earlier starts, which must not contradict it.

    Runs may be added, and what hasn't begun may change. What has begun stays, also where the plan lacks it.

    Args:
      workdir: the sweep's folder; nothing is written.
      plan: the runs of this start.
      free: how the options begin that may differ, because nothing depends on them but speed and places.

    Returns:
      What to record: this start's runs first.

    Raises:
      InputError: another sweep's folder, or a run that had another config, with the options that differ.
    """
    earlier = read_record(workdir)
    begun = {} if earlier is None else {run.name: run for run in earlier.runs if is_begun(workdir, run)}
    planned = {run.name for run in plan.runs}
    if begun and not begun.keys() & planned:
        raise InputError(f"{workdir}: holds another sweep (with {next(iter(begun))}); take another --workdir")
    for run in plan.runs:
        before = begun.pop(run.name, run)
        if changes := _changes(before.options, run.options, tuple(free)):
            cure = "undo that, or take another --workdir"
            raise InputError(f"{workdir}: {run.name} was started with another config ({changes}); {cure}")
    return Plan(plan.axes, (*plan.runs, *begun.values()))


def write_record(workdir: Path, plan: Plan) -> None:
    """Writes `sweep.json`.

    Raises:
      InputError: the folder can't be written.
    """
    runs = {}
    for run in plan.runs:
        fields = dataclasses.asdict(run)
        runs[fields.pop("name")] = fields
    document = {"format": _FORMAT, "notice": RESEARCH_USE, "axes": list(plan.axes), "runs": runs}
    try:
        write_atomically(workdir / "sweep.json", json.dumps(document, indent=2) + "\n")
    except OSError as error:
        raise InputError(f"{workdir}: can't be written ({error.strerror}); take another --workdir") from error


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], free: tuple[str, ...]) -> str:
    """The options that differ, in words; empty if none does."""
    first, second = dict(leaves(before)), dict(leaves(now))
    bound = [key for key in {**first, **second} if not key.startswith(free)]
    keys = [key for key in bound if first.get(key, "absent") != second.get(key, "absent")]
    told = [f"{key} was {first.get(key, 'absent')!r}, now {second.get(key, 'absent')!r}" for key in keys[:_SHOWN]]
    more = [f"{len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else []
    return ", ".join(told + more)
