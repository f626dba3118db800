"""`report.html`: a case's result as one page that asks for nothing beyond itself."""

from __future__ import annotations

import importlib.resources
import string
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jcs_jax.files import write_atomically
from jcs_jax.report.colormap import color_table
from jcs_jax.report.html import sections, tables
from jcs_jax.report.html.key_slices import choose_key_slices, key_figure, key_slices_part
from jcs_jax.report.html.markup import Markup, embedded_json, join, percent, source_hash, tag
from jcs_jax.report.html.pictures import (
    KNOT_GREYS,
    KNOT_HOUNSFIELD,
    SliceEncoder,
    ViewerSlice,
    grey_values,
)
from jcs_jax.report.overlay import FILL_OPACITY, LESION_COLOR, MAP_FULL_OPACITY_FROM, MAP_OPACITY

_WINDOWS = (("lung", -600, 1500), ("soft", 40, 400), ("wide", -212, 1624))  # level and width, HU
_SCRIPTS = ("decoding.js", "drawing.js", "showing.js", "viewer.js")


def write_html(path: Path, report: Mapping[str, Any], slices: Iterable[ViewerSlice], *, hounsfield: bool) -> Path:
    """Writes the page.

    Args:
      path: of the file; an existing one is replaced in one step.
      report: the content of diagnosis.json, version 2.
      slices: as many as the report has, in its order. They are taken a few at a time, and only their files are kept.
      hounsfield: whether they are in HU.

    Returns:
      The path written.

    Raises:
      ValueError: if there aren't as many slices as the report has, or one is inconsistent in itself.
    """
    activation = report["activation"]
    scale = activation["scale"] if activation else None
    encoder = SliceEncoder(len(report["slices"]), hounsfield=hounsfield, activation_scale=scale)
    chosen = choose_key_slices(report)
    files, figures = [], []
    for (item, own), told in zip(encoder.encode(slices), report["slices"], strict=True):
        files.append(own)
        if told["number"] in chosen:
            figures.append(key_figure(item, told, hounsfield=hounsfield, activation_scale=scale))
    notes = _picture_notes(encoder, hounsfield=hounsfield)
    page = _page(
        report,
        view=_view(report, hounsfield=hounsfield),
        body=_body(report, notes, figures),
        data=join(_data(files), "\n"),
    )
    return write_atomically(path, page.encode("utf-8", "replace"))


def _page(report: Mapping[str, Any], *, view: dict[str, Any], body: dict[str, Markup], data: Markup) -> str:
    style, script = _resource("style.css"), "\n".join(map(_resource, _SCRIPTS))
    return string.Template(_resource("template.html")).substitute(
        body,
        title=join([report["case"]["name"], " - JCS-JAX diagnosis"]),
        style=style,
        style_hash=source_hash(style),
        script=script,
        script_hash=source_hash(script),
        view=embedded_json(view),
        data=data,
    )


def _body(report: Mapping[str, Any], notes: list[str], figures: list[Markup]) -> dict[str, Markup]:
    before = [sections.warnings_part(report), sections.decision_part(report)]
    after = [
        key_slices_part(figures),
        tables.lesions_part(report),
        sections.chart_part(report),
        sections.lungs_part(report),
        tables.slices_part(report),
        sections.method_part(report, notes),
    ]
    footer = f"{report['research_use']} Written by {report['tool']['name']} {report['tool']['version']}."
    return {"before": join(before, "\n"), "after": join(after, "\n"), "footer": join([footer])}


def _data(files: list[dict[str, str]]) -> Iterator[Markup]:
    """Script elements that no browser runs; `decoding.js` reads them when their slice is asked for."""
    for index, kinds in enumerate(files):
        for kind, text in kinds.items():
            yield tag("script", Markup(text), type="text/plain", id=f"{kind}-{index}")


def _view(report: Mapping[str, Any], *, hounsfield: bool) -> dict[str, Any]:
    """What the viewer's script has to know, as plain values."""
    geometry, lesions, activation = report["geometry"], report["lesions"], report["activation"]
    row_spacing, column_spacing = geometry["pixel_spacing_mm"] if geometry else (1, 1)
    windows = [{"name": name, "level": level, "width": width} for name, level, width in _WINDOWS]
    return {
        "windows": windows if hounsfield else [],
        "greyValues": [round(float(value), 1) for value in grey_values(hounsfield=hounsfield)],
        "colors": color_table().ravel().tolist(),
        "lesionColor": LESION_COLOR,
        "fillOpacity": FILL_OPACITY,
        "mapOpacity": MAP_OPACITY,
        "mapFullOpacityFrom": MAP_FULL_OPACITY_FROM,
        "activationScale": activation["scale"] if activation else None,
        "volume": geometry is not None,
        "pixelAspect": column_spacing / row_spacing,
        "first": _first_shown(report),
        "lesions": [lesion["number"] for lesion in lesions["lesions"]] if lesions else [],
        "slices": [_slice_view(item) for item in report["slices"]],
    }


def _slice_view(item: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers beside the picture, in words."""
    probability = item["class_probability"]
    area, share = item["lesion_area_mm2"], item["lesion_share_of_picture"]
    told = [f"{share:.1%} of the picture"] if share is not None else []
    if area is not None:
        told.insert(0, f"{area:,.1f} mm²")
    verdict = "" if item["positive"] is None else ", positive" if item["positive"] else ", negative"
    return {
        "width": item["width"],
        "height": item["height"],
        "z": None if item["height_mm"] is None else f"{item['height_mm']:,.1f} mm",
        "probability": None if probability is None else percent(probability) + verdict,
        "area": ", ".join(told) if told and item["segmented"] else None,
        "segmented": item["segmented"],
        "lungs": item["lung_bearing"],
        "file": item["file"],
        "notes": list(item["notes"]),
    }


def _first_shown(report: Mapping[str, Any]) -> int:
    """Index of the slice to open on: of the highest probability, else the largest lesion, else the middle."""
    if report["case"]["highest_slice"] is not None:
        return report["case"]["highest_slice"] - 1
    if report["lesions"] and report["lesions"]["lesions"]:
        return report["lesions"]["lesions"][0]["largest_slice"] - 1
    shares = [item["lesion_share_of_picture"] or 0 for item in report["slices"]]
    return shares.index(max(shares)) if any(shares) else len(shares) // 2


def _picture_notes(encoder: SliceEncoder, *, hounsfield: bool) -> list[str]:
    """What was lost between the study and the page."""
    lost = f"quality {encoder.quality}; all numbers on this page come from the study itself"
    if not hounsfield:
        return [f"Slices are kept as 8-bit greys in WebP with loss ({lost}). Windows need HU, which this case hasn't."]
    parts = zip(KNOT_HOUNSFIELD, KNOT_HOUNSFIELD[1:], KNOT_GREYS, KNOT_GREYS[1:], strict=False)
    steps = [f"{(high - low) / (last - first):.1f} HU from {low} to {high}" for low, high, first, last in parts]
    return [
        f"Slices are kept as 8-bit greys over {KNOT_HOUNSFIELD[0]} to {KNOT_HOUNSFIELD[-1]} HU, one step being "
        f"{', '.join(steps)}; beyond, they are cut off.",
        f"Greys are compressed with loss (WebP, {lost}): on average they are off by {encoder.mean_error:.1f} HU.",
        "Masks and lesions' numbers are exact; the activation map has 256 steps from 0 to its last colour.",
    ]


def _resource(name: str) -> str:
    return (importlib.resources.files(__package__) / name).read_text("utf-8")
