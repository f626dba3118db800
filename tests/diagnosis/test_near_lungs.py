"""Marks outside the chest never become lesions."""

import numpy as np
import pytest
from phantom_study import phantom_study

from jcs_jax.diagnosis.near_lungs import keep_near_lungs
from jcs_jax.study.lungs import Lungs


@pytest.fixture(scope="module")
def study():
    return phantom_study(1, lesions=3)


def test_opacities_in_and_at_the_lungs_stay_as_they_are(study):
    lungs = Lungs(np.where(study.mask, 0, study.lungs).astype(np.uint8), ())  # found without the lesions
    kept, notes = keep_near_lungs(study.mask, study.volume, lungs)
    np.testing.assert_array_equal(kept, study.mask)
    assert notes == ()


def test_a_mark_outside_the_body_is_left_out_and_told(study):
    mask = study.mask.copy()
    mask[2:4, 1:5, 1:6] = True
    kept, notes = keep_near_lungs(mask, study.volume, Lungs(study.lungs, ()))
    np.testing.assert_array_equal(kept, study.mask)
    volume = 40 * study.volume.voxel_volumes[2] / 1000
    assert notes == (f"1 piece of the mask left out, {volume:.1f} ml, farther than 10 mm from lung",)


def test_an_empty_mask_stays_empty(study):
    empty = np.zeros_like(study.mask)
    kept, notes = keep_near_lungs(empty, study.volume, Lungs(study.lungs, ()))
    assert not kept.any()
    assert notes == ()
