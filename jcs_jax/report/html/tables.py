"""The tables of lesions and of slices; their first cells are buttons that lead to the picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jcs_jax.report.html.markup import MISSING, Markup, join, number, percent, row, section, table, tag

_LESION_HEADINGS = (
    "Lesion",
    "Volume, ml",
    "Largest diameter, mm",
    "Mean, HU",
    "Consolidated",
    "Map speaks for infection",
    "Slices",
    "Largest on",
    "Kind",
    "Lung",
    "Third",
    "Depth",
)
_SLICE_HEADINGS = (
    "Slice",
    "Height, mm",
    "Probability",
    "Positive",
    "Lesion area, mm²",
    "Share of the picture",
    "Activation inside the mask",
    "Highest point inside",
    "Lungs on it",
    "File",
    "Notes",
)
_NOT_MEASURED = "Lesions were not measured: this needs a volume in HU and a network that segments."
_HINT = "Choose a lesion to see it on the slice where it is largest."


def lesions_part(report: Mapping[str, Any]) -> Markup:
    """All opacities, the largest first."""
    lesions = report["lesions"]
    if lesions is None:
        return section("lesions", "Lesions", tag("p", _NOT_MEASURED))
    if not lesions["lesions"]:
        return section("lesions", "Lesions", tag("p", "No lesion was found."))
    count = lesions["count"]
    total = f"{count} lesion{'s' * (count != 1)}, {number(lesions['volume_ml'], 1, 'ml')} together."
    rows = [_lesion_row(lesion) for lesion in lesions["lesions"]]
    body = table("Lesions, the largest first", _LESION_HEADINGS, rows, texts=4)
    return section("lesions", "Lesions", tag("p", total, " ", tag("span", _HINT, class_="screen")), body)


def _lesion_row(lesion: Mapping[str, Any]) -> Markup:
    told = f"Lesion {lesion['number']}, show on slice {lesion['largest_slice']}"
    button = tag("button", str(lesion["number"]), type="button", aria_label=told)
    cells = [
        number(lesion["volume_ml"], 2),
        number(lesion["largest_diameter_mm"], 1),
        number(lesion["mean_hu"]),
        percent(lesion["consolidated_share"]),
        percent(lesion["activation_share"]),
        f"{lesion['first_slice']}\u00a0to\u00a0{lesion['last_slice']}",
        str(lesion["largest_slice"]),
        lesion["kind"],
        lesion["side"],
        lesion["zone"],
        lesion["depth"],
    ]
    return row(button, cells, texts=4, data_lesion=lesion["number"], data_slice=lesion["largest_slice"])


def slices_part(report: Mapping[str, Any]) -> Markup:
    """What is known of every slice, folded away."""
    rows = [_slice_row(item) for item in report["slices"]]
    body = table("All slices", _SLICE_HEADINGS, rows, texts=3)
    folded = tag("details", tag("summary", f"Numbers of all slices ({len(rows)})"), body)
    return section("slices", "Slices", folded)


def _slice_row(item: Mapping[str, Any]) -> Markup:
    button = tag("button", str(item["number"]), type="button", aria_label=f"Show slice {item['number']}")
    agreement = item["map_mask_agreement"] or {}
    cells = [
        number(item["height_mm"], 1),
        percent(item["class_probability"]),
        _yes_or_no(item["positive"]),
        number(item["lesion_area_mm2"], 1) if item["segmented"] else MISSING,
        percent(item["lesion_share_of_picture"]) if item["segmented"] else MISSING,
        percent(agreement.get("activation_inside_mask")),
        _yes_or_no(agreement.get("pointing_hit")),
        _yes_or_no(item["lung_bearing"]),
        item["file"] or MISSING,
        join(item["notes"], "; ") or MISSING,
    ]
    return row(button, cells, texts=3, data_slice=item["number"])


def _yes_or_no(value: bool | None) -> str:
    return MISSING if value is None else "yes" if value else "no"
