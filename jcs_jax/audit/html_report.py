"""`audit.html`: one page that needs no network, with the offending pairs side by side."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from jcs_jax import __version__
from jcs_jax.audit import wording
from jcs_jax.audit.confounding import CROSS_FITTED, RULE
from jcs_jax.audit.findings import Audit, Copy, Place, SameSlices
from jcs_jax.notice import RESEARCH_USE

_THUMBNAIL = 192  # pixels on the longer side
_SHOWN_PICTURES = 100
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1100px; padding: 0 1em; color: #1b1b1b; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .7em; text-align: right; border-bottom: 1px solid #e4e4e4; overflow-wrap: anywhere; }
th { font-weight: 600; } .text { text-align: left; }
.verdict { padding: .7em 1em; border-radius: 4px; font-weight: 600; }
.leak { background: #fbe3e0; } .clean { background: #e2f1e4; } .warning { background: #fff3d6; }
.flagged td { background: #fff3d6; } .quiet { color: #5c5c5c; font-size: .9em; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 1em; }
figure { margin: 0; padding: .6em; border: 1px solid #ddd; border-radius: 4px; }
figure .two { display: flex; gap: 8px; align-items: flex-start; }
figure .two div { width: 196px; overflow-wrap: anywhere; font-size: .8em; }
figure img { display: block; max-width: 192px; background: #000; }
figcaption { margin-top: .4em; font-size: .85em; }
"""


def audit_page(audit: Audit) -> str:
    """The whole page as HTML; everything that comes from data is escaped.

    Args:
      audit: what was found. Of exact pictures and of copies, the first hundred have thumbnails.
    """
    leaks = any(audit.leaks.values())
    body = [
        "<h1>Audit of data sets</h1>",
        f'<p class="verdict {"leak" if leaks else "clean"}">{_escape(wording.verdict(audit))}</p>',
        f'<p class="verdict warning">{_escape(wording.warning(audit))}</p>' if wording.warning(audit) else "",
        _section("Parts", _table(wording.PART_HEADINGS, map(wording.part_cells, audit.parts))),
        _list("patients", [wording.patient_line(item) for item in audit.patients]),
        _pictures(audit.pictures),
        _list("names", [wording.same_line(item) for item in audit.names]),
        _copies(audit.copies),
        _confounding(audit),
        _section("Notes", _bullets(audit.notes)) if audit.notes else "",
        f'<p class="quiet">{_escape(RESEARCH_USE)} Written by jcs-jax {_escape(__version__)}.</p>',
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Audit of data sets</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(filter(None, body)) + "\n</body>\n</html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<h2>{_escape(title)}</h2>\n{content}"


def _list(kind: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return _section(wording.counted(kind, len(lines)), _bullets(lines))


def _pictures(pictures: Sequence[SameSlices]) -> str:
    if not pictures:
        return ""
    seen = [item for item in pictures if item.thumbnail is not None]
    unseen = [item for item in pictures if item.thumbnail is None]
    figures = [
        _figure([(place, item.thumbnail) for place in item.places[:2]], _more(item)) for item in seen[:_SHOWN_PICTURES]
    ]
    rest = [wording.same_line(item) for item in (*seen[_SHOWN_PICTURES:], *unseen)]
    content = f'<div class="pairs">{"".join(figures)}</div>{_bullets(rest)}'
    return _section(wording.counted("pictures", len(pictures)), content)


def _more(item: SameSlices) -> str:
    others = item.places[2:]
    listed = ", ".join(f"{place.part} {place.name}" for place in others)
    return "the same pixels" + (f"; also {listed}" if others else "")


def _copies(copies: Sequence[Copy]) -> str:
    if not copies:
        return ""
    figures = [
        _figure(
            list(zip((item.first, item.second), item.thumbnails, strict=True)),
            f"similarity {item.similarity:.3f}: {item.change}",
        )
        for item in copies
        if item.thumbnails
    ]
    rest = [
        f"{item.first.part} {item.first.name} ~ {item.second.part} {item.second.name}: {item.change}"
        for item in copies
        if not item.thumbnails
    ]
    told = '<p class="quiet">To the right the second slice, laid over the first as it was found to fit.</p>'
    content = told + f'<div class="pairs">{"".join(figures)}</div>' + _bullets(rest)
    return _section(wording.counted("copies", len(copies)), content)


def _bullets(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{_escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _figure(pictures: Sequence[tuple[Place, np.ndarray | None]], caption: str) -> str:
    """Two slices side by side, each with its place."""
    cells = "".join(
        f"<div>{_image(picture)}{_escape(place.part)}<br>{_escape(place.name)}</div>" for place, picture in pictures
    )
    return f'<figure><div class="two">{cells}</div><figcaption>{_escape(caption)}</figcaption></figure>'


def _image(picture: np.ndarray | None) -> str:
    if picture is None:
        return ""
    factor = min(1.0, _THUMBNAIL / max(picture.shape))
    size = tuple(max(1, round(side * factor)) for side in picture.shape[::-1])
    _, data = cv2.imencode(".png", cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(data.tobytes()).decode()}">'


def _confounding(audit: Audit) -> str:
    rows = wording.measured(audit)
    if not rows:
        return ""
    table = _table(wording.CONFOUNDER_HEADINGS, map(wording.confounder_cells, rows))
    told = f'<p class="quiet">{_escape(RULE)}; file type, source and data set: {_escape(CROSS_FITTED)}</p>'
    return _section("Trivial features as classifiers", table + told)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = [heading in ("part", "feature", "empty masks", "full masks", "") for heading in headings]
    classes = [' class="text"' if left else "" for left in text]
    head = "".join(f"<th{kind}>{_escape(heading)}</th>" for kind, heading in zip(classes, headings, strict=True))
    lines = []
    for row in rows:
        cells = "".join(f"<td{kind}>{_escape(cell)}</td>" for kind, cell in zip(classes, row, strict=True))
        flagged = ' class="flagged"' if row[-1] == wording.FLAG else ""
        lines.append(f"<tr{flagged}>{cells}</tr>")
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _escape(text: str) -> str:
    return html.escape(text)
