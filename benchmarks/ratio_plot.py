"""Draws the ratios of ratios.csv, our time divided by PyTorch's in the same run, by version: docs/performance.md.

python benchmarks/ratio_plot.py --table benchmarks/ratios.csv --output docs/images/performance_ratio.png
"""

import csv
from pathlib import Path

import matplotlib
from absl import app, flags

matplotlib.use("Agg")
from matplotlib import pyplot as plt

_TABLE = flags.DEFINE_string("table", "benchmarks/ratios.csv", "Commit, date, work, program and ratio.")
_OUTPUT = flags.DEFINE_string("output", "docs/images/performance_ratio.png", "Picture to write.")
MARKS = {"JAX float32": "o", "OpenVINO float32": "s", "OpenVINO bfloat16": "^"}


def main(arguments: list[str]) -> None:
    """Draws a panel a kind of work."""
    del arguments
    rows = list(csv.DictReader(Path(_TABLE.value).read_text().splitlines()))
    versions = list(dict.fromkeys(row["commit"] for row in rows))
    works = list(dict.fromkeys(row["work"] for row in rows))
    figure, panels = plt.subplots(1, len(works), figsize=(11, 3.5), sharey=True, layout="constrained")
    for panel, work in zip(panels, works, strict=True):
        for program, mark in MARKS.items():
            line = [row for row in rows if (row["work"], row["program"]) == (work, program)]
            places = [versions.index(row["commit"]) for row in line]
            panel.plot(places, [float(row["ratio"]) for row in line], marker=mark, label=program)
            for place, row in zip(places, line, strict=True):
                panel.annotate(
                    row["ratio"], (place, float(row["ratio"])), (0, 6), textcoords="offset points", ha="center"
                )
        panel.axhline(1, color="grey", linewidth=1, linestyle="--")
        panel.set_title(work)
        panel.set_xticks(range(len(versions)), versions, fontsize=8, rotation=45)
        panel.set_xlim(-0.5, len(versions) - 0.5)
    panels[0].set(ylabel="our time / PyTorch's", ylim=(0, 1.6))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(MARKS), frameon=False)
    figure.savefig(_OUTPUT.value, dpi=110)


if __name__ == "__main__":
    app.run(main)
