"""Building HTML out of values, so that text can't become markup by accident; and how numbers are written."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

MISSING = "–"


class Markup(str):
    """Text that is HTML already; any other text is escaped where it enters a page."""

    __slots__ = ()


def tag(name: str, *children: str | None, **attributes: Any) -> Markup:
    """An element.

    Args:
      name: of the element.
      *children: in order; what isn't `Markup` is escaped, None is left out.
      **attributes: an underscore at the end is dropped, others become hyphens. None and False leave an attribute out,
        True gives one without a value.
    """
    opening = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{opening}>")
    return Markup(f"<{name}{opening}>{join(children)}</{name}>")


_VOID = {"img", "input", "meta", "link", "br"}


def _attribute(key: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    name = key.removesuffix("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'


def join(children: Iterable[str | None], between: str = "") -> Markup:
    """Elements and texts one after the other; texts are escaped."""
    return Markup(between.join(_safe(child) for child in children if child is not None))


def _safe(child: str) -> str:
    return child if isinstance(child, Markup) else html.escape(child)


def section(anchor: str, title: str, *children: str | None) -> Markup:
    """A part of the page with its heading."""
    heading = tag("h2", title, id=f"{anchor}-title")
    return tag("section", heading, *children, id=anchor, aria_labelledby=f"{anchor}-title")


def bullets(lines: Iterable[str]) -> Markup | None:
    """A list; None without lines."""
    items = [tag("li", line) for line in lines]
    return tag("ul", *items) if items else None


def table(caption: str, headings: Sequence[str], rows: Iterable[Markup], *, texts: int = 0) -> Markup:
    """A table that scrolls by itself where the window is narrow.

    Args:
      caption: what it shows, for those who don't see it.
      headings: of the columns.
      rows: `row` makes one.
      texts: how many columns at the right hold words, which are set to the left.
    """
    first_text = len(headings) - texts
    cells = [
        tag("th", heading, scope="col", class_="text" if index >= first_text else None)
        for index, heading in enumerate(headings)
    ]
    body = tag("table", tag("caption", caption), tag("thead", tag("tr", *cells)), tag("tbody", *rows))
    return tag("div", body, class_="scroll", role="region", aria_label=caption, tabindex=0)


def row(heading: str, cells: Sequence[str], *, texts: int = 0, **attributes: Any) -> Markup:
    """A row whose first cell names it; `texts` as in `table`."""
    first_text = len(cells) - texts
    rest = [tag("td", cell, class_="text" if index >= first_text else None) for index, cell in enumerate(cells)]
    return tag("tr", tag("th", heading, scope="row"), *rest, **attributes)


def facts(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Names and what they stand for."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs))


def embedded_json(values: Any) -> Markup:
    """Strict JSON in ASCII that holds nothing which could end a script element."""
    text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """So many decimals, and the unit if there is one."""
    if value is None:
        return MISSING
    return f"{value:,.{digits}f}".replace("-", "\u2212") + (f" {unit}" if unit else "")


def percent(share: float | None) -> str:
    """A share from 0 to 1 with one decimal; what is neither 0 nor 1 is never rounded to it."""
    if share is None:
        return MISSING
    if 0 < share < 0.0005:
        return "< 0.1%"
    if 0.9995 <= share < 1:
        return "> 99.9%"
    return f"{share:.1%}"


def source_hash(text: str) -> str:
    """What a page's Content-Security-Policy names a style or script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
