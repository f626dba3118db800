"""The page's parts in words: warnings, the decision, the lungs, how the result was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jcs_jax.report.html.chart import area_of, probability_bar, slice_chart
from jcs_jax.report.html.markup import Markup, bullets, facts, join, number, percent, row, section, table, tag

_KINDS = {
    "infected": "positive",
    "not infected": "negative",
    "can't tell": "unknown",
}
_SOURCES = {"dicom": "DICOM", "nifti": "NIfTI", "pictures": "pictures"}
_CARD = "What the networks were trained on and where they fail is told in "
_SCORE = "CT severity score: each of five lobes counts 0 to 5 by the share of it that is opacified."


def warnings_part(report: Mapping[str, Any]) -> Markup:
    """The research-use line and every note."""
    return section(
        "warnings",
        "Read this first",
        tag("p", report["research_use"], class_="notice warning"),
        bullets(report["notes"]),
    )


def decision_part(report: Mapping[str, Any]) -> Markup:
    """What is said of the patient, or that nothing is."""
    case, decision = report["case"], report["decision"]
    about = facts(_about_case(case))
    if decision is None:
        answer = tag("p", "No patient-level decision was made.", class_="notice unknown")
        return section("decision", "Decision", answer, tag("p", case["statement"]), about)
    parts = [tag("p", decision["answer"], class_=f"notice answer {_KINDS.get(decision['answer'], 'unknown')}")]
    if decision["reasons"]:
        parts += [tag("p", "Why it can't be told:"), bullets(decision["reasons"]) or Markup()]
    if decision["probability"] is None:
        parts.append(tag("p", "No probability could be computed."))
    else:
        kind = "calibrated" if decision["chosen_on"] else "not calibrated"
        told = f"Probability of infection {percent(decision['probability'])} ({kind}); "
        counted = f"a patient counts as infected from {percent(decision['threshold'])}."
        parts.append(tag("p", told + counted))
        parts.append(probability_bar(decision["probability"], decision["threshold"]))
    parts.append(tag("p", case["statement"]))
    return section("decision", "Decision", *parts, facts([*_rules(decision), *_about_case(case)]))


def _rules(decision: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    release = decision["release_rule"]
    yield "Rule", decision["rule"]
    yield "Threshold chosen on", decision["chosen_on"] or "nothing: it is a default"
    counted = f"{release['positive_slices']} slices reach the class threshold, more than {release['more_than']} are"
    yield "By the release's rule", f"{release['answer']} ({counted} needed for infected)"


def _about_case(case: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Case", f"{case['name']} ({_SOURCES.get(case['source'], case['source'])}, {_slices(case['slices'])})"
    if case["positive_slices"] is not None:
        yield "Positive slices", f"{case['positive_slices']} of {case['slices']}"
    if case["highest_class_probability"] is not None:
        place = f", on slice {case['highest_slice']}" if case["highest_slice"] is not None else ""
        yield "Highest probability of a slice", percent(case["highest_class_probability"]) + place


def _slices(count: int) -> str:
    return f"{count} slice" + "s" * (count != 1)


def chart_part(report: Mapping[str, Any]) -> Markup | None:
    """The drawing of all slices with its legend."""
    slices = report["slices"]
    chart = slice_chart(slices, report["thresholds"]["class_probability"], volume=report["geometry"] is not None)
    if chart is None:
        return None
    area, unit = area_of(slices)
    legend = []
    if any(item[area] is not None for item in slices):
        legend.append(tag("li", tag("span", class_="key bar"), f"lesion area, {unit}"))
    if any(item["class_probability"] is not None for item in slices):
        legend.append(tag("li", tag("span", class_="key chance"), "probability of infection of the slice"))
        legend.append(tag("li", tag("span", class_="key threshold"), "class threshold"))
    framed = tag("div", chart, class_="scroll", role="region", aria_label="Chart of all slices", tabindex=0)
    hint = tag("p", "Click on the chart to go to a slice.", class_="quiet screen")
    return section(
        "along", "Along the body" if report["geometry"] else "Over the slices", framed, _legend(legend), hint
    )


def _legend(items: list[Markup]) -> Markup:
    return tag("ul", *items, class_="legend")


def lungs_part(report: Mapping[str, Any]) -> Markup | None:
    """How much of each lung is opacified, and the score."""
    lesions = report["lesions"]
    if lesions is None:
        return None
    zones = ("upper", "middle", "lower")
    headings = ("Lung", "Volume, ml", "Opacified, ml", "Opacified", *(f"{zone.capitalize()} third" for zone in zones))
    rows = [
        row(
            lung["side"].capitalize(),
            [
                number(lung["volume_ml"]),
                number(lung["involved_ml"], 1),
                percent(lung["involved_share"]),
                *(percent(lung["zone_shares"][zone]) for zone in zones),
            ],
        )
        for lung in lesions["lungs"]
    ]
    score = f"Severity score {lesions['severity_score']} of 25; {percent(lesions['involved_share'])} of both lungs is "
    told = tag("p", tag("strong", score + "opacified."), " ", tag("span", _SCORE, class_="quiet"))
    notes = bullets(lesions.get("notes", ()))
    return section(
        "lungs", "Involvement of the lungs", table("Share of the lungs opacified", headings, rows), told, notes
    )


def method_part(report: Mapping[str, Any], picture_notes: list[str]) -> Markup:
    """Networks, thresholds, preprocessing, and what the pictures on the page are."""
    thresholds, activation = report["thresholds"], report["activation"]
    pairs = [
        ("Written by", f"{report['tool']['name']} {report['tool']['version']}"),
        ("A slice is positive from", f"probability {percent(thresholds['class_probability'])}"),
        ("A pixel is opacified from", f"probability {percent(thresholds['mask_probability'])}"),
    ]
    if activation is not None:
        scale = number(activation["scale"], 2)
        pairs.append(("Activation map", f"for {activation['class']}; {activation['unit']}; last colour at {scale}"))
    if report["geometry"] is not None:
        rows, columns = report["geometry"]["pixel_spacing_mm"]
        thickness = report["geometry"]["slice_thickness_mm"]
        pairs.append(("Voxels", f"{rows:.3g} x {columns:.3g} mm in the slice, {thickness:.3g} mm thick"))
    models = [_model("Network", report["model"])]
    if report["screening_model"] is not None and report["screening_model"] != report["model"]:
        models.append(_model("Network that classifies the slices first", report["screening_model"]))
    card = tag("p", _CARD, tag("code", "MODEL_CARD.md"), " of the package.")
    told = bullets(picture_notes)
    heading = tag("h3", "Pictures on this page")
    return section("method", "How this was made", facts(pairs), *models, card, heading, told)


def _model(title: str, model: Mapping[str, Any]) -> Markup:
    pairs = [
        ("Name", model["name"]),
        ("Checkpoint", model["checkpoint"] or "a model in memory"),
        ("Source", model["source"]),
    ]
    preset = tag("details", tag("summary", "All settings"), facts(_flat(model["preset"])))
    return join([tag("h3", title), facts([(name, str(value)) for name, value in pairs if value is not None]), preset])


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as pairs of a dotted name and its value."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        elif isinstance(value, (list, tuple)):
            yield before + name, ", ".join(map(str, value)) or "none"
        else:
            yield before + name, "none" if value is None else str(value)
