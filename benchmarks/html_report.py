"""The HTML report of a large study: how long it takes to write, how large it is, how soon and how well it works.

Run from the project's folder, on a machine with nothing else to do:

    PYTHONPATH=tests/support .venv/bin/python benchmarks/html_report.py

It makes a study of 300 slices of 512 x 512 out of the DICOM series under `../shared/data/lung_pet_ct_dx` or
$JCS_DATA, by going through it again and again, or of the phantom where there is none; draws two lesions and a map that
change from slice to slice; writes the page; and opens it in Chromium. Once as it is, and once with noise, for thin
slices are noisier than the series' 5 mm.

One line of JSON goes to stdout for each noise: seconds of processor time to write the page, its size, the mean error of
its greys, milliseconds from the start of loading to the first slice on the canvas and to a step of the slider after
that, then for 40 jumps to slices not decoded before, with the map shown, median and longest; and the script's memory.

Printed on 2 shared cores that did other things too (load 5), on the real series: without noise 5.5 s, 12.9 MB, 5.4 HU,
first slice 418 ms, slider 562 ms, jumps 86 ms (longest 166); with noise of 30 HU 6.3 s, 19.6 MB at quality 85,
13.7 HU, 1195 ms, 1338 ms, 74 ms (longest 181).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from browser import Page, running_browser
from report_case import made_report

from jcs_datasets.chest_phantom import make_patient
from jcs_jax.report.html.page import write_html
from jcs_jax.report.html.pictures import ViewerSlice
from jcs_jax.study.dicom.reader import read_dicom

SIDE, SPACING, STEP, JUMPS = 512, 0.8, 1.0, 40
TARGETS = {"megabytes": 25, "write_s": 30, "first_slice_ms": 2000, "slider_ms": 2000}


def find_volume() -> tuple[str, np.ndarray]:
    """What is shown, and its slices in HU: a real series, or the phantom enlarged."""
    shared = Path(__file__).resolve().parents[2] / "shared/data"
    real = Path(os.environ.get("JCS_DATA", shared)) / "lung_pet_ct_dx"
    if real.is_dir():
        return "lung_pet_ct_dx", np.asarray(read_dicom(real).hounsfield)
    phantom = make_patient((0, 0), infected=True, slices=16, size=SIDE // 2)
    return "chest_phantom", np.kron(phantom.hounsfield, np.ones((1, 2, 2), np.int16))


def lesions_of(index: int, slices: int) -> np.ndarray:
    """(512, 512) uint16: two lesions with ragged borders in the middle half of the study."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    labels = np.zeros((SIDE, SIDE), np.uint16)
    for number, column in ((1, 150), (2, 370)):
        angle = np.arctan2(rows - 300, columns - column)
        radius = 50 * (1 - (4 * index / slices - 2) ** 2) + 8 * np.sin(9 * angle + index / 5)
        labels[(rows - 300) ** 2 + (columns - column) ** 2 < np.sign(radius) * radius**2] = number
    return labels


def study(volume: np.ndarray, slices: int, noise: float) -> Iterator[ViewerSlice]:
    """The slices to show, made one by one."""
    rng = np.random.default_rng(0)
    for index in range(slices):
        labels = lesions_of(index, slices)
        hounsfield = volume[index % len(volume)] + noise * rng.standard_normal((SIDE, SIDE))
        activation = rng.normal(-1, 2, (32, 32)).astype(np.float32)
        yield ViewerSlice(np.rint(hounsfield).astype(np.int16), labels > 0, labels, activation)


def report_of(slices: int) -> dict[str, Any]:
    """A report that fits the slices in form; its numbers are made up."""
    report = made_report()
    one = report["slices"][0] | {"height": SIDE, "width": SIDE, "lesion_area_mm2": 900.0}
    report["slices"] = [one | {"number": index + 1, "height_mm": STEP * index} for index in range(slices)]
    report["case"] |= {"slices": slices, "highest_slice": slices // 2}
    report["geometry"] |= {"pixel_spacing_mm": [SPACING, SPACING], "slice_thickness_mm": STEP}
    return report


def opened(page: Page, slices: int) -> dict[str, float]:
    """How soon the first slice is there, and how long jumps take after it."""
    page.wait_for("document.getElementById('picture')?.dataset.slice", seconds=60)
    first = page.evaluate("performance.getEntriesByName('first-slice')[0].startTime")
    moved = page.evaluate(
        "(async () => { const slider = document.getElementById('slice'); slider.value = 1;"
        " slider.dispatchEvent(new Event('input'));"
        " while (picture.dataset.slice !== '1') await new Promise((next) => setTimeout(next, 0));"
        " return performance.now(); })()"
    )
    jumps = page.evaluate(
        "(async () => { shown.map = true; const times = [];"
        f" for (let jump = 1; jump <= {JUMPS}; jump += 1) {{ const index = (jump * 37) % {slices};"
        "  const start = performance.now(); goTo(index);"
        "  while (picture.dataset.slice !== String(index + 1)) await new Promise((next) => setTimeout(next, 0));"
        "  times.push(performance.now() - start); }"
        " return times; })()"
    )
    return {
        "first_slice_ms": round(first),
        "slider_ms": round(moved),
        "jump_median_ms": round(statistics.median(jumps), 1),
        "jump_longest_ms": round(max(jumps), 1),
        "script_mb": round(page.evaluate("performance.memory.usedJSHeapSize") / 1e6, 1),
    }


def measure(volume: np.ndarray, slices: int, noise: float, folder: Path) -> dict[str, Any]:
    """Writes and opens one page; making the slices isn't counted."""
    made, start = 0.0, time.process_time()

    def uncounted() -> Iterator[ViewerSlice]:
        nonlocal made
        source = study(volume, slices, noise)
        while True:
            before = time.process_time()
            item = next(source, None)
            made += time.process_time() - before
            if item is None:
                return
            yield item

    path = write_html(folder / "report.html", report_of(slices), uncounted(), hounsfield=True)
    seconds = time.process_time() - start - made
    told = re.search(r"quality (\d+);.*?off by ([\d.]+) HU", path.read_text(encoding="utf-8"))
    quality, error = (float(value) for value in told.groups()) if told else (None, None)
    with running_browser() as browser, browser.open(path) as page:
        shown = opened(page, slices)
    written = {"write_s": round(seconds, 1), "megabytes": round(path.stat().st_size / 1e6, 1)}
    return written | {"quality": quality, "mean_error_hu": error} | shown


def main() -> None:
    """Reads the flags, measures, writes the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--noise", type=float, nargs="*", default=[0, 30], help="standard deviations, HU")
    options = parser.parse_args()
    name, volume = find_volume()
    for noise in options.noise:
        with tempfile.TemporaryDirectory() as scratch:
            numbers = measure(volume, options.slices, noise, Path(scratch))
        about = {"benchmark": "html_report", "pictures": name, "slices": options.slices, "noise_hu": noise}
        load = {"targets": TARGETS, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
        sys.stdout.write(json.dumps(about | numbers | load) + "\n")


if __name__ == "__main__":
    main()
