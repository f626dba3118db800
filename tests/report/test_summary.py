"""The terminal's table and progress bar."""

import io

from rich.console import Console

from jcs_jax.diagnosis.result import Diagnosis, MapAgreement, ModelCard, SliceFindings
from jcs_jax.report.summary import print_summary, progress_bar, summary_table

CARD = ModelCard(None, {"name": "stub"}, 0.5, 0.5)


def _text(done, failed) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(summary_table(done, failed))
    return console.file.getvalue()


def test_row_shows_the_cases_numbers():
    agreement = MapAgreement(0.75, True)
    slices = (
        SliceFindings("a", (8, 8), class_probability=0.25, positive=False, lesion_share=0.0),
        SliceFindings("b", (8, 8), class_probability=0.875, positive=True, lesion_share=0.05, agreement=agreement),
    )
    (row,) = [line for line in _text([Diagnosis("study", CARD, slices)], []).splitlines() if "study" in line]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "study", "2", "1", "0.875", "5.0% of picture", "75%", "done",
    ]  # fmt: skip


def test_absent_numbers_are_dashes():
    lines = _text([Diagnosis("study", CARD, (SliceFindings("a", (8, 8)),))], ["other"]).splitlines()
    cells = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in lines if "│" in line}
    assert [cell.strip() for cell in cells["study"]] == ["1", "-", "-", "-", "-", "done"]
    assert [cell.strip() for cell in cells["other"]] == ["-", "-", "-", "-", "-", "failed"]


def test_names_are_not_read_as_markup():
    assert "[red]x[/red]" in _text([], ["[red]x[/red]"])


def test_summary_ends_with_the_research_use_line(capsys):
    print_summary([Diagnosis("study", CARD, (SliceFindings("a", (8, 8)),))], [])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "slice-level result; no patient-level decision yet. Research use only: not a medical device."


def test_summary_shows_every_note_once(capsys):
    slices = tuple(SliceFindings(name, (8, 8), notes=("windowed picture",)) for name in "ab")
    print_summary([Diagnosis("one", CARD, slices), Diagnosis("two", CARD, slices)], [])
    assert capsys.readouterr().out.count("note: windowed picture") == 1


def test_progress_bar_passes_items_on_and_stays_silent_outside_a_terminal(capsys):
    with progress_bar("reading", 3) as track:
        assert list(track(iter("abc"))) == ["a", "b", "c"]
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
