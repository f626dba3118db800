"""What the terminal shows of an audit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jcs_jax.audit import wording
from jcs_jax.audit.confounding import CROSS_FITTED, RULE
from jcs_jax.audit.findings import Audit
from jcs_jax.notice import RESEARCH_USE

_SHOWN = 25  # lines of a kind of leak
_UNATTENDED_WIDTH = 140  # of a table that goes to a file or a pipe


def print_report(audit: Audit) -> None:
    """Prints the parts, every kind of leak, confounded classes, notes and the verdict to standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_UNATTENDED_WIDTH)
    console.print(_table(wording.PART_HEADINGS, map(wording.part_cells, audit.parts)))
    _print_lines(console, "patients", [wording.patient_line(item) for item in audit.patients])
    _print_lines(console, "pictures", [wording.same_line(item) for item in audit.pictures])
    _print_lines(console, "names", [wording.same_line(item) for item in audit.names])
    copies = [
        f"{item.first.part} {item.first.name} ~ {item.second.part} {item.second.name} "
        f"(similarity {item.similarity:.3f}: {item.change})"
        for item in audit.copies
    ]
    _print_lines(console, "copies", copies)
    rows = wording.measured(audit)
    if rows:
        console.print(Text("Trivial features as classifiers", style="bold"))
        console.print(_table(wording.CONFOUNDER_HEADINGS, map(wording.confounder_cells, rows)))
        console.print(Text(f"{RULE}; file type, source and data set: {CROSS_FITTED}", style="dim"))
    for note in audit.notes:
        console.print(Text(f"note: {note}", style="yellow"))
    if warning := wording.warning(audit):
        console.print(Text(warning, style="bold yellow"))
    console.print(Text(wording.verdict(audit), style="bold red" if any(audit.leaks.values()) else "bold green"))
    console.print(Text(RESEARCH_USE))


def _print_lines(console: Console, kind: str, lines: Sequence[str]) -> None:
    """A heading and the first lines of one kind of leak; nothing if there is none."""
    if not lines:
        return
    console.print(Text(wording.counted(kind, len(lines)), style="bold red"))
    for line in lines[:_SHOWN]:
        console.print(Text(f"  {line}"), soft_wrap=True)
    if len(lines) > _SHOWN:
        console.print(Text(f"  ... and {len(lines) - _SHOWN} more in audit.json (--output)", style="dim"))


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Texts to the left, numbers to the right."""
    table = Table(box=box.SIMPLE)
    for number, heading in enumerate(headings):
        text = number == 0 or heading in ("part", "empty masks", "full masks", "")
        table.add_column(heading, justify="left" if text else "right", overflow="fold")
    for row in rows:
        style = "yellow" if row[-1] == wording.FLAG else ""
        table.add_row(*map(Text, row), style=style)
    return table
