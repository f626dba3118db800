"""`evaluation.html`: an evaluation as one page that asks for nothing beyond itself."""

from __future__ import annotations

import importlib.resources
import math
import string
from collections.abc import Iterator, Sequence

from jcs_jax import __version__
from jcs_jax.evaluation.page.checks import checks_part
from jcs_jax.evaluation.page.facts import Comparison, PageFacts, PublishedNumber
from jcs_jax.evaluation.page.figures import pictures_part, plots_part
from jcs_jax.evaluation.page.tables import comparison_part, published_part, sources_part, summary_part
from jcs_jax.evaluation.page.wording import number_label, value_text
from jcs_jax.evaluation.results import POLICY, Evaluation
from jcs_jax.evaluation.sanity import Sanity
from jcs_jax.notice import RESEARCH_USE, TOOL
from jcs_jax.report.html.markup import MISSING, Markup, bullets, facts, join, section, source_hash, tag

_LEAKAGE = "LEAKAGE"
_INTERVALS = (
    "The intervals hold 95%: were the evaluation repeated on other patients of the same kind, about 95 of 100 such "
    "intervals would hold the number that all patients of this kind have. They come from drawing patients again at "
    "random (bootstrap), not slices: slices of one patient resemble each other, and counting them as independent would "
    "make the intervals too narrow. A slice without a patient's identifier counts as a patient of its own.",
    "An interval says nothing about another scanner, hospital or time, about wrong labels, or about cases that were "
    "left out. With few patients it is itself rough. The expected calibration error is too high in small data sets, "
    "and so its interval holds the true number less often.",
    "Whether two models differ can't be read off two intervals that overlap. It needs a paired comparison on the same "
    "cases.",
    "n counts the cases that a number rests on, and \u201cnot defined\u201d those left out because the number has no "
    "value for them. A dash stands for what has no value; it never means zero.",
)


def evaluation_page(
    evaluation: Evaluation,
    facts_told: PageFacts,
    *,
    comparison: Comparison | None = None,
    published: Sequence[PublishedNumber] | None = None,
    sanity: Sanity | None = None,
) -> str:
    """The whole page as HTML; everything that comes from data is escaped, and equal input gives equal text.

    Args:
      evaluation: what was measured.
      facts_told: what was evaluated, in words.
      comparison: another model on the same cases.
      published: what others have published.
      sanity: what checks for shortcuts found; None where they were not made.

    Returns:
      Text that UTF-8 can hold; letters that it can't are question marks.
    """
    parts = [
        _warnings_part(evaluation, facts_told),
        _evaluated_part(evaluation, facts_told),
        summary_part(evaluation.summary),
        published_part(evaluation.summary, published or ()),
        comparison_part(comparison),
        checks_part(sanity),
        plots_part(evaluation),
        sources_part(evaluation.subgroups, evaluation.summary),
        pictures_part(evaluation.pictures),
        section("policy", "What the numbers are", tag("p", POLICY)),
        section("intervals", "How to read the intervals", *(tag("p", text) for text in _INTERVALS)),
    ]
    style = (importlib.resources.files("jcs_jax.report.html") / "style.css").read_text("utf-8") + _resource("style.css")
    text = string.Template(_resource("template.html")).substitute(
        title=join([f"{evaluation.preset} on {facts_told.dataset}, {facts_told.split} - JCS-JAX evaluation"]),
        heading=join([f"Evaluation of {evaluation.preset} on {facts_told.dataset}"]),
        style=style,
        style_hash=source_hash(style),
        body=join(parts, "\n"),
        footer=join([f"{RESEARCH_USE} Written by {TOOL} {__version__}."]),
    )
    return text.encode("utf-8", "replace").decode("utf-8")


def _warnings_part(evaluation: Evaluation, facts_told: PageFacts) -> Markup:
    """The research-use notice, leaks, and what else a reader must know."""
    shared = {kind: count for kind, count in (evaluation.leakage or {}).items() if count}
    notes = [note for note in evaluation.notes if not (shared and note.startswith(_LEAKAGE))]
    parts: list[Markup | None] = [tag("p", RESEARCH_USE, class_="notice warning")]
    if shared:
        counted = ", ".join(f"{count} {kind}" for kind, count in shared.items())
        told = f"{_LEAKAGE}: the training split shares {counted} with this one. These are training scores."
        parts.append(tag("p", told, class_="notice positive"))
    elif evaluation.leakage is None:
        told = "Leaks were not looked for: no training split was given. Cases may have been trained on."
        parts.append(tag("p", told, class_="notice warning"))
    else:
        split = facts_told.train_split or "the training split"
        told = f"No leak found: {split} shares no {', '.join(evaluation.leakage) or 'case'} with this split."
        parts.append(tag("p", told, class_="notice negative"))
    if notes:
        parts.append(tag("div", tag("p", "Notes"), bullets(notes), class_="notice warning notes"))
    return section("warnings", "Read this first", *parts)


def _evaluated_part(evaluation: Evaluation, told: PageFacts) -> Markup:
    pairs = [
        ("Checkpoint", told.checkpoint),
        ("Preset", evaluation.preset),
        ("Data set", told.dataset),
        ("Split", told.split),
        ("Training split", told.train_split or MISSING),
        *told.more.items(),
        *((number_label(name), f"{count:,}") for name, count in evaluation.counts.items()),
        *_patient_counts(evaluation),
        *((number_label(name), _threshold(value)) for name, value in evaluation.thresholds.items()),
        ("Thresholds were chosen on", told.thresholds_chosen_on or f"{MISSING} not recorded"),
    ]
    return section("evaluated", "What was evaluated", facts(pairs))


def _patient_counts(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    if evaluation.patients:
        labels = [patient.label for patient in evaluation.patients]
        yield "Patients labelled infected", f"{labels.count(1):,}"
        yield "Patients labelled uninfected", f"{labels.count(0):,}"


def _threshold(value: float) -> str:
    return value_text(value) if math.isfinite(value) else f"{MISSING} none"


def _resource(name: str) -> str:
    return (importlib.resources.files(__package__) / name).read_text("utf-8")
