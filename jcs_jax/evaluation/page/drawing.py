"""The look of the plots, and a finished figure as SVG text that is the same each time.

matplotlib keeps its style in one place for the whole process. It is set here only while a plot is being drawn and is
put back afterwards; two threads mustn't draw at once.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jcs_jax.files import write_atomically

INK, GROUND, FAINT, QUIET = "#1b1b1b", "#ffffff", "#e4e4e4", "#707070"
BLUE, ORANGE = "#0072b2", "#d55e00"  # of Okabe and Ito: told apart in all common kinds of colour blindness
_DARK = {
    INK: "#ececec",
    GROUND: "#16181b",
    FAINT: "#34383d",
    QUIET: "#9c9c9c",
    BLUE: "#56b4e9",
    ORANGE: "#e69f00",
}
WIDTH = 4.8  # inch; 460 pixels in a browser, where the text is 12 pixels high
_DPI = 200  # of a PNG, and of the parts of an SVG that are a picture
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": QUIET,
    "axes.facecolor": GROUND,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "figure.facecolor": GROUND,
    "font.size": 9,
    "grid.color": FAINT,
    "legend.edgecolor": GROUND,
    "legend.facecolor": GROUND,
    "legend.framealpha": 0.85,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "jcs-jax",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.color": QUIET,
    "ytick.labelcolor": INK,
}


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Sets matplotlib's style for one plot, whatever the user's own is, and puts it back."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def new_figure(height: float) -> Figure:
    """An empty figure of the plots' width; `height` in inch."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def unit_axis(axes: Axes, which: str) -> None:
    """From 0 to 1 with a little room, so that what lies on the border is seen whole."""
    axes.set(**{f"{which}lim": (-0.03, 1.03), f"{which}ticks": [0, 0.2, 0.4, 0.6, 0.8, 1]})


def finish(figure: Figure, png: Path | None) -> str:
    """The figure as SVG text; `png` names a file to write it to as well, as a picture."""
    if png is not None:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
        write_atomically(png, buffer.getvalue())
    text = io.StringIO()
    figure.savefig(text, format="svg", dpi=_DPI, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    return svg.replace("</style>", f"{_dark_rules()}</style>", 1)


def _dark_rules() -> str:
    """Rules for browsers that show dark pages; other programs that read SVG skip them."""
    rules = (
        f'[style*="{kind}: {light}"]{{{kind}: {dark} !important}}'
        for light, dark in _DARK.items()
        for kind in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme: dark) {{{''.join(rules)}}}"
