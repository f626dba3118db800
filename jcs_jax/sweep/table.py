"""The table of a sweep: a row per combination, averaged over seeds and folds."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jcs_jax.errors import InputError
from jcs_jax.files import write_atomically
from jcs_jax.notice import RESEARCH_USE
from jcs_jax.sweep.plan import Plan, Run
from jcs_jax.sweep.results import Numbers, finished_numbers, headline, option_text, write_csv

SEED = "seed"  # the axis that is averaged over
_NONE = "-"
_UNATTENDED_WIDTH = 140  # of a table that goes to a file or a pipe


@dataclasses.dataclass(frozen=True)
class Summary:
    """The table's text.

    Attributes:
      headings: of the columns.
      rows: cells, as many as headings.
      labels: how many of the columns, from the left, name the combination.
      note: what the numbers are, and how much of the sweep they stand for.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int
    note: str


def tabulate(workdir: Path, plan: Plan, metrics: Sequence[str] = ()) -> None:
    """Writes `results.csv` and `results.md` and prints the table.

    Args:
      workdir: the sweep's folder.
      plan: its runs.
      metrics: "group/name" of the numbers to show; none for AUC and Dice with their baselines.

    Raises:
      InputError: no run has one of the numbers, or a run's file can't be read.
    """
    numbers = finished_numbers(workdir, plan.runs)
    write_csv(workdir, plan, numbers)
    summary = summarise(plan, numbers, metrics)
    write_atomically(workdir / "results.md", _markdown(summary))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_UNATTENDED_WIDTH)
    console.print(_table(summary))
    console.print(Text(f"{summary.note} {RESEARCH_USE}\nWritten: {workdir}/results.csv and results.md"), soft_wrap=True)


def summarise(plan: Plan, numbers: Mapping[str, Numbers], metrics: Sequence[str] = ()) -> Summary:
    """The table of what is finished.

    Args:
      plan: all runs.
      numbers: what each finished run measured, by the run's name.
      metrics: names of the numbers to show; none for AUC and Dice with their baselines.

    Returns:
      A row for each variant and combination of axes other than the seed: how many of its runs are finished, then
      mean and standard deviation (n - 1) over these. Where a number is missing in some of them, its n is given.

    Raises:
      InputError: none of the finished runs has one of the numbers.
    """
    known = list(dict.fromkeys(name for measured in numbers.values() for name in measured))
    columns = list(metrics) or _default_columns(numbers)
    for name in columns:
        if known and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            raise InputError(f"--metrics: no run has '{name}', did you mean '{nearest}'? results.csv has all names")
    axes = [key for key in plan.axes if key != SEED]
    variants = any(run.variant for run in plan.runs)
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in plan.runs:
        label = (*([run.variant] if variants else []), *(option_text(run, key) for key in axes))
        groups.setdefault(label, []).append(run)
    rows = []
    for label, runs in groups.items():
        finished = [numbers[run.name] for run in runs if run.name in numbers]
        cells = [_cell([one[name] for one in finished if name in one], len(finished)) for name in columns]
        rows.append((*label, f"{len(finished)} of {len(runs)}", *cells))
    labels = [*(["variant"] if variants else []), *axes]
    note = f"Mean ± standard deviation over {_averaged(plan)}; {len(numbers)} of {len(plan.runs)} runs are finished."
    return Summary((*labels, "runs", *columns), tuple(rows), len(labels), note)


def _default_columns(numbers: Mapping[str, Numbers]) -> list[str]:
    every = {name: value for measured in numbers.values() for name, value in measured.items()}
    return [name for name, _ in headline(every)]


def _averaged(plan: Plan) -> str:
    folds = {run.fold for run in plan.runs} - {""}
    parts = [*(["seeds"] if SEED in plan.axes else []), *([f"{len(folds)} folds"] if folds else [])]
    return " and ".join(parts) or "single runs"


def _cell(values: Sequence[float], expected: int) -> str:
    """Mean and spread; how many values they are of, where one is missing."""
    if not values:
        return _NONE
    mean = statistics.fmean(values)
    small = 0 < abs(mean) < 0.01
    decimals = 1 - math.floor(math.log10(abs(mean))) if small else 3
    text = f"{mean:.{decimals}f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.{decimals}f}"
    return text if len(values) == expected else f"{text} (n = {len(values)})"


def _markdown(summary: Summary) -> str:
    rules = [":--"] * summary.labels + ["--:"] * (len(summary.headings) - summary.labels)
    lines = [summary.headings, rules, *summary.rows]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"# Results of the sweep\n\n{table}\n\n{summary.note} {RESEARCH_USE}\n"


def _table(summary: Summary) -> Table:
    table = Table(box=box.SIMPLE)
    for index, heading in enumerate(summary.headings):
        if index < summary.labels:
            table.add_column(Text(heading), overflow="fold")
        else:  # in words, so that a narrow terminal breaks it between them
            table.add_column(Text(re.sub("[/_]", " ", heading)), justify="right", overflow="fold")
    for row in summary.rows:
        table.add_row(*map(Text, row))
    return table
