"""Plots of class probabilities: plain arrays in, SVG text out, and a PNG too where one is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jcs_jax.evaluation.page.curves import (
    BINS,
    precision_recall_points,
    reliability_bins,
    roc_points,
)
from jcs_jax.evaluation.page.drawing import BLUE, INK, ORANGE, QUIET, finish, house_style, new_figure, unit_axis
from jcs_jax.evaluation.page.wording import measured_text, value_text
from jcs_jax.metrics import Measurement

_LOOKS = (
    {"color": BLUE, "linestyle": "-", "marker": "o"},
    {"color": ORANGE, "linestyle": "--", "marker": "s"},
)


@dataclasses.dataclass(frozen=True)
class Scores:
    """The class probabilities of slices or of patients, with what was measured on them.

    Attributes:
      level: `slices` or `patients`.
      probabilities: (N,) in [0, 1].
      labels: (N,) 0 uninfected, 1 infected.
      threshold: operating point, a probability from which on a case counts as infected; nan if there is none.
      measured: number by name; `auc`, `average_precision`, `ece` and `brier` are told in the titles.
    """

    level: str
    probabilities: Float[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]
    threshold: float
    measured: Mapping[str, Measurement]

    def has_both_classes(self) -> bool:
        """Whether there are infected and uninfected ones."""
        return bool((self.labels == 1).any() and (self.labels == 0).any())


def roc_plot(levels: Sequence[Scores], *, png: Path | None = None) -> str:
    """ROC curves with the operating points.

    Args:
      levels: one or two, each with both classes.
      png: a file to write a picture to as well.

    Returns:
      SVG text.
    """
    with house_style():
        figure = new_figure(4.7)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=QUIET, linestyle=":", label="no information")
        for one, look in zip(levels, _LOOKS, strict=False):
            false, true = roc_points(one.probabilities, one.labels)
            axes.plot(false, true, color=look["color"], linestyle=look["linestyle"], linewidth=1.8, label=one.level)
            if np.isfinite(one.threshold):
                positive = one.probabilities >= one.threshold
                _mark(axes, float(positive[one.labels == 0].mean()), float(positive[one.labels == 1].mean()), one, look)
        _square(axes, "1 - specificity", "sensitivity")
        axes.legend(loc="lower right")
        axes.set_title(title_text("ROC curve", levels, {"auc": "AUC"}))
        return finish(figure, png)


def precision_recall_plot(levels: Sequence[Scores], *, png: Path | None = None) -> str:
    """Precision over recall with the operating points, and the prevalence, which is a guess's precision.

    Args:
      levels: one or two, each with both classes.
      png: a file to write a picture to as well.

    Returns:
      SVG text.
    """
    with house_style():
        figure = new_figure(4.7)
        axes = figure.subplots()
        for one, look in zip(levels, _LOOKS, strict=False):
            recall, precision = precision_recall_points(one.probabilities, one.labels)
            drawn: dict[str, Any] = {"color": look["color"], "linestyle": look["linestyle"]}
            steps = np.append(0.0, recall), np.append(precision[0], precision)
            axes.step(*steps, where="pre", linewidth=1.8, label=one.level, **drawn)
            prevalence = float((one.labels == 1).mean())
            label = f"{one.level}: prevalence {value_text(prevalence)}"
            axes.axhline(prevalence, linewidth=0.9, alpha=0.75, label=label, **drawn)
            positive = one.probabilities >= one.threshold
            if positive.any():
                right = positive & (one.labels == 1)
                _mark(
                    axes, float(right.sum() / (one.labels == 1).sum()), float(right.sum() / positive.sum()), one, look
                )
        _square(axes, "recall (sensitivity)", "precision")
        axes.legend(loc="lower left")
        axes.set_title(title_text("Precision and recall", levels, {"average_precision": "AP"}))
        return finish(figure, png)


def reliability_plot(one: Scores, *, png: Path | None = None) -> str:
    """Observed share of infected cases over the predicted probability in ten bins, and how many cases each holds.

    Args:
      one: with at least one case.
      png: a file to write a picture to as well.

    Returns:
      SVG text.
    """
    bins = reliability_bins(one.probabilities, one.labels)
    filled = bins.counts > 0
    observed = bins.observed[filled]
    reach = np.maximum(0.0, [observed - bins.low[filled], bins.high[filled] - observed])
    with house_style():
        figure = new_figure(5.4)
        above, below = figure.subplots(2, sharex=True, height_ratios=(3.4, 1))
        above.plot([0, 1], [0, 1], color=QUIET, linestyle=":", label="as predicted")
        drawn: dict[str, Any] = {"color": BLUE, "ecolor": BLUE, "elinewidth": 1.2, "capsize": 3, "linewidth": 1.2}
        above.errorbar(
            bins.predicted[filled], observed, yerr=reach, marker="o", label="observed, 95% interval", **drawn
        )
        unit_axis(above, "y")
        above.set(ylabel="observed share of infected")
        above.legend(loc="upper left")
        above.set_title(title_text("Reliability", [one], {"ece": "ECE", "brier": "Brier"}))
        below.bar((np.arange(BINS) + 0.5) / BINS, bins.counts, 0.9 / BINS, color=BLUE, edgecolor=INK, linewidth=0.5)
        for place, count in enumerate(bins.counts):
            below.annotate(str(count), ((place + 0.5) / BINS, count), (0, 2), textcoords="offset points", ha="center")
        unit_axis(below, "x")
        below.set(xlabel="predicted probability of infection", ylabel=one.level, ylim=(0, 1.35 * bins.counts.max()))
        below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        return finish(figure, png)


def title_text(kind: str, levels: Sequence[Scores], names: Mapping[str, str]) -> str:
    """The kind of plot, and below what was measured at each level: a line each."""
    lines = [kind]
    for one in levels:
        told = [f"{short} {measured_text(one.measured[name])}" for name, short in names.items() if name in one.measured]
        lines += [f"{one.level}: {line}" for line in told or [f"n = {len(one.labels)}"]]
    return "\n".join(lines)


def _mark(axes: Axes, x: float, y: float, one: Scores, look: Mapping[str, str]) -> None:
    """The operating point: an outlined mark that is seen on the curve."""
    label = f"{one.level}: threshold {value_text(one.threshold)}"
    edges: dict[str, Any] = {"ms": 8, "mfc": look["color"], "mec": INK, "mew": 1.2}
    axes.plot(x, y, marker=look["marker"], linestyle="none", label=label, zorder=5, clip_on=False, **edges)


def _square(axes: Axes, x: str, y: str) -> None:
    unit_axis(axes, "x")
    unit_axis(axes, "y")
    axes.set(xlabel=x, ylabel=y, box_aspect=0.82)
