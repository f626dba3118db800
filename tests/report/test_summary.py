"""The terminal's table and progress bar."""

import io

from rich.console import Console

from jcs_jax.diagnosis.result import (
    SLICE_LEVEL,
    Decision,
    Diagnosis,
    Lesion,
    LesionReport,
    LungInvolvement,
    MapAgreement,
    ModelCard,
    SliceFindings,
)
from jcs_jax.report.json_report import case_report
from jcs_jax.report.summary import print_summary, print_timings, progress_bar, summary_table

CARD = ModelCard(None, {"name": "stub", "source": "test"}, 0.5, 0.5)


def _report(name: str, *slices: SliceFindings, **parts) -> dict:
    diagnosis = Diagnosis(name, CARD, slices or (SliceFindings("a", (8, 8)),), **parts)
    return case_report(diagnosis, pictures=[{}] * len(diagnosis.slices), activation_scale=None)


def _text(done, failed) -> str:
    console = Console(file=io.StringIO(), width=150)
    console.print(summary_table(done, failed))
    return console.file.getvalue()


def _cells(text: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    return {row[0]: row[1:] for row in rows}


def test_row_shows_the_numbers_of_a_case_of_pictures():
    agreement = MapAgreement(0.75, True)
    report = _report(
        "study",
        SliceFindings("a", (8, 8), class_probability=0.25, positive=False, lesion_share=0.0),
        SliceFindings("b", (8, 8), class_probability=0.875, positive=True, lesion_share=0.05, agreement=agreement),
    )
    assert _cells(_text([report], []))["study"] == ["2", "1", "0.875", "-", "5.0% of picture", "75%", "done"]


def test_row_shows_the_decision_and_the_lesions_of_a_volume():
    lesion = Lesion(1, 12.5, 30.0, -400.0, 0.1, "ground glass", "left", "lower", "peripheral", 0, (100.0,))
    lungs = (LungInvolvement("left", 1000.0, 12.5, (0.0, 0.0, 0.04)),)
    decision = Decision("can't tell", 0.52, 0.5, "rule", "", ("too near",), 1, "not infected")
    slices = SliceFindings("", (8, 8), class_probability=0.875, positive=True, lesion_share=0.05)
    report = _report("ct", slices, decision=decision, lesions=LesionReport((lesion,), lungs, 1))
    cells = _cells(_text([report], []))["ct"]
    assert cells == ["1", "1", "0.875", "can't tell (0.52)", "1: 12.5 ml, 1.2% of lungs", "-", "done"]


def test_absent_numbers_are_dashes():
    cells = _cells(_text([_report("study")], ["other"]))
    assert cells["study"] == ["1", "-", "-", "-", "-", "-", "done"]
    assert cells["other"] == ["-", "-", "-", "-", "-", "-", "failed"]


def test_names_are_not_read_as_markup():
    assert "[red]x[/red]" in _text([], ["[red]x[/red]"])


def test_summary_ends_with_the_research_use_line(capsys):
    print_summary([_report("study")], [])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"{SLICE_LEVEL}. Research use only: not a medical device."


def test_summary_shows_every_note_once(capsys):
    slices = tuple(SliceFindings(name, (8, 8), notes=("windowed picture",)) for name in "ab")
    print_summary([_report("one", *slices), _report("two", *slices)], [])
    assert capsys.readouterr().out.count("note: windowed picture") == 1


def test_progress_bar_passes_items_on_and_stays_silent_outside_a_terminal(capsys):
    with progress_bar() as bars:
        assert list(bars.track(iter("abc"), "reading", 3)) == ["a", "b", "c"]
        with bars.counting("[red]cases", 2) as advance:
            advance()
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_timings_name_every_stage_and_their_sum(capsys):
    print_timings({"study": {"reading": 1.25, "lungs": 2.0}})
    assert capsys.readouterr().out == "study: reading 1.2 s, lungs 2.0 s; together 3.2 s\n"
