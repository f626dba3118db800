"""The drawings show the numbers that they are given."""

import re

import pytest
from report_case import COUNT, made_pictures, made_report

from jcs_jax.report.html.chart import probability_bar, slice_chart


def test_the_bar_is_filled_to_the_probability_and_marked_at_the_threshold():
    drawn = probability_bar(0.25, 0.5)
    assert '<rect class="fill" x="0" y="8" width="100"' in drawn
    assert '<line class="tick" x1="200" x2="200"' in drawn
    assert "probability 25.0%, threshold 50.0%" in drawn


def test_without_a_probability_only_the_threshold_is_drawn():
    assert 'class="fill"' not in probability_bar(None, 0.5)


def test_bars_have_the_heights_of_the_areas():
    slices = made_report()["slices"]
    drawn = slice_chart(slices, 0.5, volume=True)
    heights = [float(value) for value in re.findall(r'class="bar"[^>]* height="([\d.]+)"', drawn)]
    areas = [item["lesion_area_mm2"] for item in slices if item["lesion_area_mm2"]]
    assert [height / heights[0] for height in heights] == pytest.approx([area / areas[0] for area in areas], rel=1e-2)


def test_a_slice_without_a_probability_leaves_a_gap_in_the_line():
    slices = made_report()["slices"]
    slices[3]["class_probability"] = None
    drawn = slice_chart(slices, 0.5, volume=True)
    runs = [len(points.split()) for points in re.findall(r'points="([^"]+)"', drawn)]
    assert runs == [3, COUNT - 4]


def test_without_millimetres_areas_are_shares_of_the_picture():
    slices = [item | {"lesion_area_mm2": None} for item in made_report()["slices"]]
    assert "area, % of the picture" in slice_chart(slices, 0.5, volume=False)


def test_without_segmentation_there_is_only_the_line():
    drawn = slice_chart(made_pictures()[0]["slices"], 0.5, volume=False)
    assert 'class="bar"' not in drawn
    assert "polyline" in drawn


def test_with_neither_there_is_no_chart():
    slices = [item | {"class_probability": None} for item in made_pictures()[0]["slices"]]
    assert slice_chart(slices, None, volume=False) is None
