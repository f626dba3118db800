"""The classical lung mask on a drawn thorax, on odd input and on real slices."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jcs_jax.evaluation.lungs import lung_mask

DATA = Path(os.environ.get("JCS_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")) / "covid19_ct100"


def _disc(shape, cy, cx, ry, rx):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1


def _thorax(shape=(200, 240)):
    """A bright body in dark air with two dark lungs, a vessel, an opacity and a trachea; (intensity, lungs)."""
    lungs = _disc(shape, 100, 70, 55, 30) | _disc(shape, 100, 170, 55, 30)
    intensity = np.full(shape, 0.05, np.float32)
    intensity[_disc(shape, 100, 120, 85, 105)] = 0.9
    intensity[lungs] = 0.2
    intensity[_disc(shape, 60, 120, 6, 6)] = 0.05
    intensity[_disc(shape, 100, 70, 5, 5)] = 0.95
    intensity[_disc(shape, 110, 180, 14, 10)] = 0.85
    return intensity, lungs


def _dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_finds_both_lungs_with_vessels_and_opacities_inside():
    intensity, lungs = _thorax()
    found = lung_mask(intensity)
    assert found.dtype == bool
    assert _dice(found, lungs) > 0.97
    assert found[100, 70]  # the vessel
    assert found[110, 180]  # the opacity
    assert not found[60, 120]  # the trachea
    assert not found[100, 120]  # the mediastinum
    assert not found[2, 2]  # air outside


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 0.0), (0.5, 0.5), (1.0, 0.05)])
def test_does_not_depend_on_the_window(gain, offset):
    intensity, lungs = _thorax()
    assert _dice(lung_mask(gain * intensity + offset), lungs) > 0.97


def test_the_dark_ring_around_a_round_field_of_view_is_ignored():
    intensity, lungs = _thorax()
    ringed = np.where(_disc(intensity.shape, 100, 120, 100, 120), 0.5 + 0.2 * intensity, 0.0)
    assert _dice(lung_mask(ringed), lungs) > 0.97


def test_small_lungs_keep_their_shape():
    shape = (200, 240)
    lungs = _disc(shape, 90, 90, 12, 9) | _disc(shape, 90, 150, 12, 9)
    intensity = np.where(lungs, 0.2, np.where(_disc(shape, 100, 120, 85, 105), 0.9, 0.05))
    assert _dice(lung_mask(intensity), lungs) > 0.9


def test_survives_noise():
    intensity, lungs = _thorax()
    noisy = np.clip(intensity + np.random.default_rng(0).normal(0, 0.05, intensity.shape), 0, 1)
    assert _dice(lung_mask(noisy), lungs) > 0.95


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (64, 64)])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_slice_has_no_lungs(shape, value):
    found = lung_mask(np.full(shape, value, np.float32))
    assert found.shape == shape
    assert not found.any()


def test_covers_most_opacities_of_real_slices():
    if not DATA.is_dir():
        pytest.skip("needs the COVID-19-CT100 slices: set JCS_DATA or put them in ../shared/data")
    coverage = []
    for path in sorted((DATA / "tr_im").glob("*.png"))[:12]:
        mask = np.asarray(Image.open(DATA / "tr_mask_new" / path.name.replace("im", "mask"))) > 0
        found = lung_mask(np.asarray(Image.open(path).convert("L"), np.float32) / 255)
        assert 0.02 < found.mean() < 0.65
        coverage.append((found & mask).sum() / mask.sum())
    assert np.mean(coverage) > 0.85  # 0.86 over all 52; dense consolidations at the chest wall are lost
