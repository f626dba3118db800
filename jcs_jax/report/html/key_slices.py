"""The few slices that a printed page shows: drawn beforehand, since no script can be waited for when a page prints."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from jcs_jax.preprocessing import display_window
from jcs_jax.report.html.markup import Markup, number, percent, section, tag
from jcs_jax.report.html.pictures import ViewerSlice
from jcs_jax.report.overlay import activation_overlay, mask_overlay

_MOST = 6
_LUNG_LEVEL, _LUNG_WIDTH = -600, 1500  # HU
_QUALITY = 85  # of JPEG


def choose_key_slices(report: Mapping[str, Any], most: int = _MOST) -> set[int]:
    """Numbers of the slices worth printing: by turns of the highest probability and the largest area of lesions.

    Neighbours look alike, so slices nearer to a chosen one than a twentieth of the case are passed over. A case
    with neither probabilities nor lesions gets its middle slice.
    """
    slices = report["slices"]
    apart = len(slices) / 20
    keys = ("class_probability", "lesion_share_of_picture")
    left = [item for item in slices if any(item[key] for key in keys)]
    chosen: list[int] = []
    for key in itertools.cycle(keys):
        if not left or len(chosen) == most:
            break
        best = _highest(left, key)
        if best[key]:
            chosen.append(best["number"])
            left = [item for item in left if abs(item["number"] - best["number"]) > apart]
    return set(chosen) or {slices[len(slices) // 2]["number"]}


def _highest(slices: Sequence[Mapping[str, Any]], key: str) -> Mapping[str, Any]:
    return max(slices, key=lambda item: item[key] or 0)


def key_figure(
    item: ViewerSlice, told: Mapping[str, Any], *, hounsfield: bool, activation_scale: float | None
) -> Markup:
    """The slice with its mask, else with its activation map, else plain; and its numbers below."""
    intensity = np.asarray(item.values, np.float32)
    if hounsfield:
        intensity = display_window(intensity, _LUNG_LEVEL, _LUNG_WIDTH)
    if item.mask is not None and told["segmented"]:
        picture = mask_overlay(intensity, item.mask)
    elif item.activation is not None and activation_scale is not None:
        picture = activation_overlay(intensity, item.activation, scale=activation_scale)
    else:
        picture = Image.fromarray(np.rint(255 * np.clip(intensity, 0, 1)).astype(np.uint8))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=_QUALITY)
    address = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    words = _caption(told)
    return tag("figure", tag("img", src=address, alt=words), tag("figcaption", words))


def key_slices_part(figures: list[Markup]) -> Markup:
    """The part that only paper, or a browser without scripts, shows."""
    return tag("div", section("key-slices", "Key slices", tag("div", *figures, class_="figures")), class_="still")


def _caption(told: Mapping[str, Any]) -> str:
    words = [f"Slice {told['number']}"]
    if told["height_mm"] is not None:
        words.append(f"height {number(told['height_mm'], 1, 'mm')}")
    if told["class_probability"] is not None:
        words.append(f"probability {percent(told['class_probability'])}")
    if told["lesion_area_mm2"] is not None:
        words.append(f"lesions {number(told['lesion_area_mm2'], 0, 'mm²')}")
    elif told["lesion_share_of_picture"] is not None:
        words.append(f"lesions {percent(told['lesion_share_of_picture'])} of the picture")
    return ", ".join(words)
