"""Drawings of numbers: where along the body the opacities lie, and a probability against its threshold. Plain SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jcs_jax.report.html.markup import Markup, number, percent, tag

_WIDTH, _HEIGHT = 1000, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 60, 16, 46
_TICKS = 5


def probability_bar(probability: float | None, threshold: float) -> Markup:
    """A bar from 0 to 1, filled up to the probability, with a tick at the threshold."""
    told = f"probability {percent(probability)}, threshold {percent(threshold)}"
    fill = tag("rect", class_="fill", x=0, y=8, width=_short(400 * (probability or 0)), height=16)
    return tag(
        "svg",
        tag("rect", class_="trough", x=0, y=8, width=400, height=16),
        fill if probability is not None else None,
        tag("line", class_="tick", x1=_short(400 * threshold), x2=_short(400 * threshold), y1=2, y2=30),
        viewBox="-2 0 404 32",
        class_="probability",
        role="img",
        aria_label=told,
    )


def slice_chart(slices: Sequence[Mapping[str, Any]], threshold: float | None, *, volume: bool) -> Markup | None:
    """Lesion area as bars and class probability as a line over the slices; None if neither is known.

    Args:
      slices: of `diagnosis.json`.
      threshold: of the class probability, drawn where there are probabilities.
      volume: whether the slices are in the body's order, from the feet up.
    """
    area, unit = area_of(slices)
    areas = [item[area] for item in slices]
    chances = [item["class_probability"] for item in slices]
    if all(value is None for value in (*areas, *chances)):
        return None
    step = (_WIDTH - _LEFT - _RIGHT) / len(slices)
    parts = [*_frame(slices, step, volume=volume)]
    if any(value is not None for value in areas):
        parts += _bars(areas, step, unit)
    if any(value is not None for value in chances):
        parts += _line(chances, step, threshold)
    marker = tag("line", class_="marker", id="chart-marker", y1=_TOP, y2=_HEIGHT - _BOTTOM, visibility="hidden")
    return tag(
        "svg",
        *parts,
        marker,
        id="chart",
        class_="chart",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=_told(areas, chances, unit),
        data_left=_LEFT,
        data_step=_short(step),
    )


def area_of(slices: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The key under which slices have their lesion area, and its unit: mm² if known, else the share of the picture."""
    if any(item["lesion_area_mm2"] is not None for item in slices):
        return "lesion_area_mm2", "mm²"
    return "lesion_share_of_picture", "% of the picture"


def _frame(slices: Sequence[Mapping[str, Any]], step: float, *, volume: bool) -> Iterator[Markup]:
    bottom = _HEIGHT - _BOTTOM
    yield tag("line", class_="axis", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=bottom, y2=bottom)
    between = max(1, -(-len(slices) // 10))
    for index in range(0, len(slices), between):
        label = str(slices[index]["number"])
        yield tag("text", label, x=_short(_LEFT + (index + 0.5) * step), y=bottom + 18, text_anchor="middle")
    title = "slice, from the feet up" if volume else "slice"
    yield tag("text", title, x=(_LEFT + _WIDTH - _RIGHT) / 2, y=bottom + 38, text_anchor="middle")


def _bars(areas: Sequence[float | None], step: float, unit: str) -> Iterator[Markup]:
    factor = 100 if unit.startswith("%") else 1
    highest = max(value or 0 for value in areas) * factor
    top = _round_up(highest)
    room = _HEIGHT - _BOTTOM - _TOP
    for place in range(_TICKS + 1):
        y = _short(_HEIGHT - _BOTTOM - room * place / _TICKS)
        yield tag("line", class_="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y)
        yield tag("text", f"{top * place / _TICKS:.4g}", x=_LEFT - 6, y=y, dy="0.35em", text_anchor="end")
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    turned = f"rotate(-90 14 {middle})"
    yield tag("text", f"area, {unit}", class_="area", x=14, y=middle, text_anchor="middle", transform=turned)
    for index, value in enumerate(areas):
        if value:
            height = room * value * factor / top
            yield tag(
                "rect",
                class_="bar",
                x=_short(_LEFT + (index + 0.1) * step),
                y=_short(_HEIGHT - _BOTTOM - height),
                width=_short(0.8 * step),
                height=_short(height),
            )


def _line(chances: Sequence[float | None], step: float, threshold: float | None) -> Iterator[Markup]:
    right, middle = _WIDTH - _RIGHT, (_TOP + _HEIGHT - _BOTTOM) / 2
    for share in (0, 0.5, 1):
        yield tag("text", f"{share:.0%}", class_="chance", x=right + 6, y=_short(_level(share)), dy="0.35em")
    turned = f"rotate(90 {_WIDTH - 16} {middle})"
    label = "probability"
    yield tag("text", label, class_="chance", x=_WIDTH - 16, y=middle, text_anchor="middle", transform=turned)
    if threshold is not None:
        y = _short(_level(threshold))
        yield tag("line", class_="threshold", x1=_LEFT, x2=right, y1=y, y2=y)
    for run in _runs(chances):
        points = " ".join(f"{_short(_LEFT + (index + 0.5) * step)},{_short(_level(value))}" for index, value in run)
        yield tag("polyline", class_="chance", points=points)
        if len(run) == 1 or len(chances) <= 60:
            for index, value in run:
                x, y = _short(_LEFT + (index + 0.5) * step), _short(_level(value))
                yield tag("circle", class_="chance", cx=x, cy=y, r=3)


def _runs(values: Sequence[float | None]) -> Iterator[list[tuple[int, float]]]:
    """Stretches without a gap, as (index, value)."""
    run: list[tuple[int, float]] = []
    for index, value in enumerate((*values, None)):
        if value is not None:
            run.append((index, value))
        elif run:
            yield run
            run = []


def _level(share: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * share


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, ... from the value on; 1 for 0."""
    if value <= 0:
        return 1.0
    power = 10.0 ** (len(f"{value:.0f}") - 1) if value >= 1 else 0.01
    while True:
        for factor in (1, 2, 5):
            if factor * power >= value:
                return factor * power
        power *= 10


def _told(areas: Sequence[float | None], chances: Sequence[float | None], unit: str) -> str:
    parts = []
    factor = 100 if unit.startswith("%") else 1
    for name, values in (("lesion area", areas), ("probability", chances)):
        known = {index + 1: value for index, value in enumerate(values) if value is not None}
        if known:
            place = max(known, key=lambda index: known[index])
            value = percent(known[place]) if name == "probability" else number(known[place] * factor, 1, unit)
            parts.append(f"{name} is highest on slice {place} with {value}")
    return "; ".join(parts) + ". The table of all slices holds the numbers."


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
