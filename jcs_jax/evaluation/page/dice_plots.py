"""Plots of Dice: plain arrays in, SVG text out, and a PNG too where one is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from jcs_jax.evaluation.page.curves import running_median
from jcs_jax.evaluation.page.drawing import BLUE, INK, ORANGE, finish, house_style, new_figure, unit_axis
from jcs_jax.evaluation.page.wording import measured_text, value_text
from jcs_jax.metrics import Measurement

_MOST_DRAWN_POINTS = 2000  # beyond, points are kept as a picture: a mark each would make the file large
_NARROW = 30  # largest by smallest lesion up to which ticks stand at 2 and 5 as well


def dice_size_plot(areas: Float[np.ndarray, " n"], dice: Float[np.ndarray, " n"], *, png: Path | None = None) -> str:
    """Dice of each slice over the area of its lesions; slices with Dice 0 have a mark of their own.

    Args:
      areas: (N,) shares of the picture's area, above 0.
      dice: (N,) in [0, 1].
      png: a file to write a picture to as well.

    Returns:
      SVG text.
    """
    missed, many = dice == 0, len(dice) > _MOST_DRAWN_POINTS
    with house_style():
        figure = new_figure(4.2)
        axes = figure.subplots()
        points: dict[str, Any] = {"linestyle": "none", "rasterized": many, "clip_on": False}
        found = f"slices ({int((~missed).sum())})"
        axes.plot(
            areas[~missed], dice[~missed], marker="o", ms=3.5, mew=0, color=BLUE, alpha=0.6, label=found, **points
        )
        if missed.any():
            label = f"Dice 0 ({int(missed.sum())})"
            axes.plot(areas[missed], dice[missed], marker="x", ms=5, mew=1.3, color=ORANGE, label=label, **points)
        x, y = running_median(areas, dice)
        if x.size:
            axes.plot(x, y, color=INK, linewidth=1.6, label="running median")
        _log_axis(axes, float(areas.min()), float(areas.max()))
        unit_axis(axes, "y")
        axes.set(xlabel="lesions' share of the picture (log scale)", ylabel="Dice")
        axes.legend(loc="lower right" if np.median(dice) > 0.5 else "upper left")
        axes.set_title(f"Dice and lesion size\n{len(dice)} slices with a lesion, median Dice {_median(dice)}")
        return finish(figure, png)


def threshold_plot(
    curve: Float[np.ndarray, " k"], measured: Mapping[str, Measurement], *, png: Path | None = None
) -> str:
    """Mean Dice over the thresholds of maps that are min-max scaled.

    Args:
      curve: (K,) mean Dice of the images at K thresholds from 0 to 1.
      measured: number by name; `mean_threshold_dice` and `best_threshold_dice` are told in the title.
      png: a file to write a picture to as well.

    Returns:
      SVG text.
    """
    thresholds, best = np.linspace(0, 1, len(curve)), int(np.argmax(curve))
    with house_style():
        figure = new_figure(3.8)
        axes = figure.subplots()
        axes.plot(thresholds, curve, color=BLUE, linewidth=1.8)
        label = f"best, at {value_text(float(thresholds[best]))}"
        axes.plot(thresholds[best], curve[best], marker="o", ms=7, mfc="none", mec=INK, linestyle="none", label=label)
        unit_axis(axes, "x")
        unit_axis(axes, "y")
        axes.set(xlabel="threshold of the min-max scaled map", ylabel="mean Dice")
        axes.legend(loc="best")
        axes.set_title(threshold_title(measured))
        return finish(figure, png)


def threshold_title(measured: Mapping[str, Measurement]) -> str:
    """The title of `threshold_plot`."""
    names = {"mean_threshold_dice": "mean", "best_threshold_dice": "best (optimistic)"}
    told = [f"{short} {measured_text(measured[name])}" for name, short in names.items() if name in measured]
    return "\n".join(["Dice over thresholds", *told])


def _median(dice: np.ndarray) -> str:
    return value_text(float(np.median(dice)))


def _log_axis(axes: Axes, low: float, high: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(low / 1.3, high * 1.3)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < _NARROW else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    axes.xaxis.set_minor_formatter(NullFormatter())
