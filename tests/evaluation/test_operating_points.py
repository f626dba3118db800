"""Thresholds chosen on validation data, and their file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from evaluated import PRESET, Brightness, noisy_slices

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.errors import InputError
from jcs_jax.evaluation.operating_points import (
    OperatingPoints,
    choose_operating_points,
    read_operating_points,
    write_operating_points,
)

POINTS = OperatingPoints("abc", 0.4, 0.25, "demo:validation")


def _choose(examples):
    return choose_operating_points(
        Brightness(), {}, PRESET, ArraySource(examples), weights="abc", chosen_on="demo:validation", batch_size=4
    )


def test_the_class_threshold_separates_the_labels():
    dark, bright = (np.full((16, 16), level, np.float32) for level in (0.2, 0.4))
    slices = [(dark, 0), (bright, 1), (dark, 0), (bright, 1)]
    points = _choose([Example(image, label=label, name=str(i)) for i, (image, label) in enumerate(slices)])
    assert 1 / (1 + np.exp(0.5)) < points.class_threshold < 1 / (1 + np.exp(-1.5))  # log-odds -0.5 and 1.5
    assert points.mask_threshold is None
    assert points.applied(PRESET).mask_threshold == PRESET.mask_threshold
    assert points.applied(PRESET).class_threshold == points.class_threshold


def test_the_mask_threshold_is_that_of_the_highest_mean_dice():
    image, mask = np.full((16, 16), 0.47, np.float32), np.zeros((16, 16), np.uint8)
    image[:4], image[4:8], mask[:8] = 0.6, 0.49, 1  # probabilities 0.98, 0.40 and 0.23
    points = _choose([Example(image, mask=mask, name="a")])
    assert 0.23 < points.mask_threshold <= 0.41
    assert points.class_threshold is None


def test_nothing_to_choose_on_is_told():
    with pytest.raises(InputError, match="neither a mask with an opacity nor both labels"):
        _choose([Example(np.zeros((16, 16), np.float32), label=1, name="a")])


def test_thresholds_come_back_from_their_file(tmp_path):
    file = write_operating_points(POINTS, tmp_path / "thresholds.json")
    assert read_operating_points(file, weights="abc") == POINTS
    assert json.loads(file.read_text())["notice"].startswith("Research use only")


def test_thresholds_of_another_model_are_refused(tmp_path):
    file = write_operating_points(POINTS, tmp_path / "thresholds.json")
    with pytest.raises(InputError, match="another model's weights"):
        read_operating_points(file, weights="def")


@pytest.mark.parametrize(
    "change",
    [
        {"format": "x"},
        {"class_threshold": 1.5},
        {"mask_threshold": "high"},
        {"more": 1},
        {"class_threshold": float("nan")},
    ],
)
def test_a_changed_file_is_refused(tmp_path, change):
    file = write_operating_points(POINTS, tmp_path / "thresholds.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(InputError, match=r"thresholds\.json: holds no thresholds"):
        read_operating_points(file, weights="abc")


@pytest.mark.parametrize("text", ["", "[]", "3", "\x00", "[" * 100_000])
def test_no_thresholds_are_one_line(tmp_path, text):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(InputError) as error:
        read_operating_points(tmp_path / "t.json", weights="abc")
    assert "\n" not in str(error.value)


def test_a_missing_file_names_the_cure(tmp_path):
    with pytest.raises(InputError, match="--save_thresholds"):
        read_operating_points(tmp_path / "none.json", weights="abc")


def test_slices_of_noise_give_both():
    points = _choose(noisy_slices(40))
    assert points.class_threshold is not None
    assert points.mask_threshold is not None
