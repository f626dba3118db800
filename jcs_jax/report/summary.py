"""What the terminal shows of a run: bars while it lasts, then a row per case and the research-use line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from jcs_jax.notice import RESEARCH_USE

_T = TypeVar("_T")
_NONE = "-"
_UNATTENDED_WIDTH = 130  # of a table that goes to a file or a pipe
_ANSWER_STYLES = {"infected": "bold red", "not infected": "green", "can't tell": "bold yellow"}


class Bars:
    """Progress bars on standard error, if that is a terminal.

    Args:
      progress: rich's.
    """

    def __init__(self, progress: Progress):
        self._progress = progress

    def track(self, items: Iterable[_T], name: str, total: int) -> Iterator[_T]:
        """Passes items on and counts them on a bar of their own, which goes away at the end."""
        with self.counting(name, total) as advance:
            for item in items:
                yield item
                advance()

    @contextlib.contextmanager
    def counting(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        """A bar; yields what moves it on."""
        task = self._progress.add_task(Text(name).markup, total=total)
        try:
            yield lambda: self._progress.advance(task)
        finally:
            self._progress.remove_task(task)


@contextlib.contextmanager
def progress_bar() -> Iterator[Bars]:
    """Bars for as long as the block lasts."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bars(progress)


def print_summary(done: Sequence[Mapping[str, Any]], failed: Iterable[str]) -> None:
    """Prints the table of `summary_table`, then every note once, to standard output.

    Args:
      done: contents of `diagnosis.json`.
      failed: names of other cases.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=_UNATTENDED_WIDTH)
    console.print(summary_table(done, failed))
    for note in dict.fromkeys(note for report in done for note in report["notes"]):
        console.print(Text(f"note: {note}", style="yellow"))
    statements = dict.fromkeys(report["case"]["statement"] for report in done)
    console.print(Text(f"{'; '.join(statements)}. {RESEARCH_USE}"))


def print_timings(seconds: Mapping[str, Mapping[str, float]]) -> None:
    """Prints how long every stage of every case took."""
    for case, stages in seconds.items():
        told = ", ".join(f"{stage} {duration:.1f} s" for stage, duration in stages.items())
        Console(soft_wrap=True).print(Text(f"{case}: {told}; together {sum(stages.values()):.1f} s"))


def summary_table(done: Sequence[Mapping[str, Any]], failed: Iterable[str]) -> Table:
    """Numbers of every finished case, then the names of the failed ones; arguments as for `print_summary`."""
    table = Table()
    table.add_column("case", overflow="fold")
    for heading in ("slices", "positive", "highest", "decision", "lesions", "map in its mask"):
        table.add_column(heading, justify="right")
    table.add_column("state")
    for report in done:
        table.add_row(Text(report["case"]["name"]), *_cells(report), Text("done", style="green"))
    for name in failed:
        table.add_row(Text(name), *[_NONE] * 6, Text("failed", style="bold red"))
    return table


def _cells(report: Mapping[str, Any]) -> list[str | Text]:
    """Slices, positive slices, highest probability, decision, lesions, agreement on the slice with most of them."""
    case, slices = report["case"], report["slices"]
    largest = max(slices, key=lambda one: one["lesion_share_of_picture"] or 0)
    agreement, highest = largest["map_mask_agreement"], case["highest_class_probability"]
    return [
        str(case["slices"]),
        _NONE if case["positive_slices"] is None else str(case["positive_slices"]),
        _NONE if highest is None else f"{highest:.3f}",
        _decision(report["decision"]),
        _lesions(report["lesions"], largest["lesion_share_of_picture"]),
        _NONE if agreement is None else f"{agreement['activation_inside_mask']:.0%}",
    ]


def _decision(decision: Mapping[str, Any] | None) -> Text:
    if decision is None:
        return Text(_NONE)
    told = "" if decision["probability"] is None else f" ({decision['probability']:.2f})"
    return Text(f"{decision['answer']}{told}", style=_ANSWER_STYLES[decision["answer"]])


def _lesions(lesions: Mapping[str, Any] | None, share: float | None) -> str:
    if lesions is not None:
        return f"{lesions['count']}: {lesions['volume_ml']:.1f} ml, {lesions['involved_share']:.1%} of lungs"
    return _NONE if share is None else f"{share:.1%} of picture"
