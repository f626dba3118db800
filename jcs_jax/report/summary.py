"""What the terminal shows of a run: a bar while it lasts, then a row per case and the research-use line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from jcs_jax.diagnosis.result import SLICE_LEVEL, Diagnosis
from jcs_jax.notice import RESEARCH_USE

_T = TypeVar("_T")
_NONE = "-"
_UNATTENDED_WIDTH = 120  # of a table that goes to a file or a pipe


@contextlib.contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[Iterable[_T]], Iterator[_T]]]:
    """A bar on standard error, if that is a terminal.

    Args:
      title: what is being done.
      total: number of items that are expected.

    Yields:
      A function that passes an iterable on and counts its items.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total)

        def track(items: Iterable[_T]) -> Iterator[_T]:
            for item in items:
                yield item
                progress.advance(task)

        yield track


def print_summary(done: Sequence[Diagnosis], failed: Iterable[str]) -> None:
    """Prints the table of `summary_table`, then every note once, to standard output."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_UNATTENDED_WIDTH)
    console.print(summary_table(done, failed))
    for note in dict.fromkeys(note for diagnosis in done for note in diagnosis.notes):
        console.print(Text(f"note: {note}", style="yellow"))
    console.print(Text(f"{SLICE_LEVEL}. {RESEARCH_USE}"))


def summary_table(done: Sequence[Diagnosis], failed: Iterable[str]) -> Table:
    """Numbers of every finished case, then the names of the failed ones."""
    table = Table()
    table.add_column("case", overflow="fold")
    for heading in ("slices", "positive", "highest probability", "largest lesion", "map in its mask"):
        table.add_column(heading, justify="right")
    table.add_column("state")
    for diagnosis in done:
        table.add_row(Text(diagnosis.case), *_numbers(diagnosis), Text("done", style="green"))
    for name in failed:
        table.add_row(Text(name), *[_NONE] * 5, Text("failed", style="bold red"))
    return table


def _numbers(diagnosis: Diagnosis) -> list[str]:
    """Slices, positive slices, highest probability, largest lesion share and that slice's agreement."""
    slices = diagnosis.slices
    largest = max(slices, key=lambda findings: findings.lesion_share or 0)
    return [
        str(len(slices)),
        _NONE if diagnosis.positive_slices is None else str(diagnosis.positive_slices),
        _NONE if diagnosis.highest is None else f"{diagnosis.highest.class_probability:.3f}",
        _NONE if largest.lesion_share is None else f"{largest.lesion_share:.1%} of picture",
        _NONE if largest.agreement is None else f"{largest.agreement.inside_share:.0%}",
    ]
