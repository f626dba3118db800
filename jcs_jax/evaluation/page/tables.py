"""The page's tables: ours with the baselines beside it, published numbers, another model, and the sources apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from jcs_jax.evaluation.page.facts import Comparison, PublishedNumber
from jcs_jax.evaluation.page.wording import (
    BASELINE,
    UNDEFINED,
    digits_of,
    group_label,
    interval_text,
    lower_is_better,
    measured_text,
    number_label,
    p_text,
    value_text,
)
from jcs_jax.metrics import Measurement
from jcs_jax.report.html.markup import MISSING, Markup, bullets, join, row, section, table, tag

Summary = Mapping[str, Mapping[str, Measurement]]
FEW = 10
_HEADINGS = ("Number", "Value", "95% interval", "n", "Not defined")
_PUBLISHED_HEADINGS = ("Number", "Published", "n", "Ours", "95% interval", "n", "By", "Note")
_OF_SOURCES = (
    "dice",
    "surface_dice_2mm",
    "pixel_sensitivity",
    "false_positive_area",
    "auc",
    "sensitivity",
    "specificity",
    "pointing_game",
    "detected_all",
    "false_lesions_per_slice",
)
_SOME = 4  # of a group whose numbers aren't known


def summary_part(summary: Summary) -> Markup:
    """A table for each of the model's groups; a baseline stands in the table it shares most numbers with."""
    homes = baseline_homes(summary)
    parts: list[Markup | None] = []
    for group, baselines in homes.items():
        parts += [tag("h3", _title(group)), _group_table(summary, group, baselines)]
        parts += [_own_numbers(summary, group, baselines)]
    return section("results", "Results", *parts or [tag("p", "Nothing could be measured.")])


def baseline_homes(summary: Summary) -> dict[str, list[str]]:
    """Group with a table -> the baselines in it; a baseline that shares no number with the model has its own."""
    models = [group for group in summary if not group.startswith(BASELINE)]
    homes: dict[str, list[str]] = {group: [] for group in models}
    for baseline in (group for group in summary if group.startswith(BASELINE)):
        shared = {group: len(summary[group].keys() & summary[baseline].keys()) for group in models}
        best = max(models, key=shared.__getitem__, default=None)
        if best is None or not shared[best]:
            homes[baseline] = []
        else:
            homes[best].append(baseline)
    return homes


def _title(group: str) -> str:
    return f"Baseline: {group_label(group)}" if group.startswith(BASELINE) else group_label(group)


def _group_table(summary: Summary, group: str, baselines: Sequence[str]) -> Markup:
    headings = [*_HEADINGS, *(f"Baseline: {group_label(baseline)}" for baseline in baselines)]
    rows = []
    for name, measured in summary[group].items():
        others = [summary[baseline].get(name) for baseline in baselines]
        rows.append(row(_number(name), [*measured_cells(measured), *map(_in_one_cell, others)]))
    return table(f"{_title(group)}: means and shares with their intervals", headings, rows)


def _number(name: str) -> Markup:
    note = tag("span", " lower is better", class_="quiet") if lower_is_better(name) else None
    return join([number_label(name), note])


def measured_cells(measured: Measurement) -> list[str]:
    """Value, interval, n and how often it is not defined."""
    value = value_text(measured.value) if math.isfinite(measured.value) else UNDEFINED
    return [value, interval_text(measured), str(measured.n), str(measured.n_absent)]


def _in_one_cell(measured: Measurement | None) -> str:
    """Value, and below it interval and n."""
    if measured is None:
        return MISSING
    told = f"n\u00a0=\u00a0{measured.n}"
    if not math.isfinite(measured.value):
        return join([UNDEFINED, tag("br"), tag("span", told, class_="quiet")])
    interval = interval_text(measured)
    told = told if interval == MISSING else f"{interval}, {told}"
    return join([value_text(measured.value), tag("br"), tag("span", told, class_="quiet")])


def _own_numbers(summary: Summary, group: str, baselines: Sequence[str]) -> Markup | None:
    """The baselines' numbers that the model hasn't got, such as a threshold."""
    return bullets(
        f"Baseline: {group_label(baseline)}. {number_label(name)} {measured_text(measured)}"
        for baseline in baselines
        for name, measured in summary[baseline].items()
        if name not in summary[group]
    )


def published_part(summary: Summary, published: Sequence[PublishedNumber]) -> Markup | None:
    """What others have published, beside ours; None without any."""
    if not published:
        return None
    rows = [row(_number(one.name), _published_cells(summary, one), texts=2) for one in published]
    told = "Other cases, other readers, often another definition: a difference here need not be one of the models."
    body = table("Published numbers beside ours", _PUBLISHED_HEADINGS, rows, texts=2)
    return section("published", "Published numbers", tag("p", told), body)


def own_number(summary: Summary, one: PublishedNumber) -> Measurement | None:
    """Ours that a published number is to stand beside; None where there is none."""
    groups = [one.group] if one.group else [group for group in summary if not group.startswith(BASELINE)]
    found = (summary.get(group, {}).get(one.name) for group in groups)
    return next((measured for measured in found if measured is not None), None)


def _published_cells(summary: Summary, one: PublishedNumber) -> list[str]:
    ours = own_number(summary, one)
    theirs = value_text(one.value) if math.isfinite(one.value) else UNDEFINED
    ours_cells = [MISSING] * 3 if ours is None else measured_cells(ours)[:3]
    return [
        theirs,
        MISSING if one.n is None else str(one.n),
        *ours_cells,
        one.who,
        ". ".join(filter(None, (one.note, one.source))) or MISSING,
    ]


def comparison_part(comparison: Comparison | None) -> Markup | None:
    """Two models on the same cases; None without a comparison."""
    if comparison is None or not comparison.numbers:
        return None
    headings = ("Number", comparison.first, comparison.second, "Difference", "95% interval", "p", "n")
    rows = []
    for one in comparison.numbers:
        measured = Measurement(one.difference, one.n, low=one.low, high=one.high)
        digits = digits_of(one.difference)
        cells = [value_text(value, max(3, digits)) for value in (one.first, one.second)]
        cells += [value_text(one.difference, digits), interval_text(measured), p_text(one.p_value), str(one.n)]
        label = join([tag("span", f"{group_label(one.group)}: ", class_="quiet"), _number(one.name)])
        rows.append(row(label, cells))
    told = (
        f"{comparison.second} less {comparison.first}, on the same cases. The p-values are two-sided and not corrected "
        f"for the {len(rows)} comparisons made."
    )
    body = table("Paired comparison, number by number", headings, rows)
    return section("comparison", "Paired comparison", tag("p", told), body)


def sources_part(subgroups: Mapping[str, Summary], summary: Summary) -> Markup | None:
    """The main numbers of each site, paper or collection apart; None where there is but one."""
    if not subgroups:
        return None
    told = (
        f"Numbers that rest on fewer than {FEW} cases are marked \u201cfew\u201d: they say next to nothing. Where "
        "sources differ, part of the difference may lie in who was scanned and who drew the masks."
    )
    parts: list[Markup] = [tag("p", told)]
    for group in (group for group in summary if not group.startswith(BASELINE)):
        names = _of_sources([*(part.get(group, {}) for part in subgroups.values())])
        if names:
            rows = [row(origin, _row_of(part.get(group, {}), names)) for origin, part in subgroups.items()]
            rows.append(row("All together", _row_of(summary[group], names), class_="total"))
            headings = ["Source", *map(number_label, names)]
            parts += [tag("h3", _title(group)), table(f"{_title(group)}, by source", headings, rows)]
    return section("sources", "Sources apart", *parts) if len(parts) > 1 else None


def _of_sources(groups: Iterable[Mapping[str, Measurement]]) -> list[str]:
    """The main numbers among those that occur, or the first few."""
    names = list(dict.fromkeys(name for group in groups for name in group))
    return [name for name in _OF_SOURCES if name in names] or names[:_SOME]


def _row_of(numbers: Mapping[str, Measurement], names: Sequence[str]) -> list[str]:
    cells: list[str] = []
    for name in names:
        measured = numbers.get(name)
        few = measured is not None and measured.n < FEW
        cells.append(join([_in_one_cell(measured), *([" ", tag("strong", "few", class_="few")] if few else [])]))
    return cells
