"""What finished runs measured, and `results.csv` with a row for each run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jcs_jax.errors import InputError
from jcs_jax.files import write_atomically
from jcs_jax.sweep.plan import Plan, Run
from jcs_jax.sweep.record import is_finished, run_folder
from jcs_jax.training.config import leaves

_HEADLINES = ("classification/auc", "segmentation/dice")
Numbers = Mapping[str, float]


def read_numbers(workdir: Path, run: Run) -> dict[str, float]:
    """What a run measured, by name; empty unless it is finished.

    Args:
      workdir: the sweep's folder.
      run: one of its runs.

    Returns:
      "group/name" of the summary in `evaluation/metrics.json`, then "validation/name" of `finished.json`. A number
      that isn't defined is left out.

    Raises:
      InputError: one of the files can't be read.
    """
    if not is_finished(workdir, run):
        return {}
    folder = run_folder(workdir, run)
    metrics = folder / "evaluation/metrics.json"
    summary = _read(metrics).get("summary", {}) if metrics.is_file() else {}
    validation = _read(folder / "finished.json").get("validation") or {}
    named = {
        **{f"{group}/{name}": one["value"] for group, numbers in summary.items() for name, one in numbers.items()},
        **{f"validation/{name}": value for name, value in validation.items()},
    }
    return {name: float(value) for name, value in named.items() if isinstance(value, int | float)}


def headline(numbers: Numbers) -> list[tuple[str, float]]:
    """What a table shows if nothing is asked for: AUC and Dice, each with its baselines behind it."""
    shown = []
    for name in _HEADLINES:
        if name in numbers:
            measure = name.partition("/")[2]
            baselines = [one for one in numbers if one.startswith("baseline_") and one.endswith(f"/{measure}")]
            shown += [(one, numbers[one]) for one in (name, *baselines)]
    return shown


def write_csv(workdir: Path, plan: Plan, numbers: Mapping[str, Numbers]) -> Path:
    """Writes `results.csv`: a row for each run, with an empty field where there is no number.

    Args:
      workdir: the sweep's folder.
      plan: its runs.
      numbers: what each finished run measured, by the run's name.

    Returns:
      The file.
    """
    names = list(dict.fromkeys(name for measured in numbers.values() for name in measured))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "finished", "variant", "fold", *plan.axes, *names])
    for run in plan.runs:
        measured = numbers.get(run.name, {})
        values = [option_text(run, key) for key in plan.axes]
        fields = [f"{measured[name]:.9g}" if name in measured else "" for name in names]
        writer.writerow([run.name, "yes" if run.name in numbers else "no", run.variant, run.fold, *values, *fields])
    return write_atomically(workdir / "results.csv", text.getvalue())


def option_text(run: Run, key: str) -> str:
    """A run's value of an option, as text; "-" if its config has no such option."""
    value: Any = dict(leaves(run.options)).get(key, "-")
    return value if isinstance(value, str) else json.dumps(value)


def finished_numbers(workdir: Path, runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """What each finished run measured, by the run's name."""
    return {run.name: read_numbers(workdir, run) for run in runs if is_finished(workdir, run)}


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: can't be read; delete it and run the sweep again") from error
