"""Uninfected slices as outlined ones; all others as they were."""

import numpy as np
import pytest

from jcs_jax.data.empty_masks import EmptyMasks
from jcs_jax.data.examples import ArraySource, Example

IMAGE = np.zeros((4, 6), np.float32)
DRAWN = np.ones((4, 6), np.uint8)
SOURCE = ArraySource(
    [
        Example(IMAGE, label=0, name="clear"),
        Example(IMAGE, label=1, name="infected"),
        Example(IMAGE, label=-1, name="unknown"),
        Example(IMAGE, label=0, mask=DRAWN, name="uninfected, outlined"),
    ],
    {"licence": "free"},
)


def test_an_uninfected_slice_without_a_mask_gets_an_empty_one_of_its_size():
    mask = EmptyMasks(SOURCE)[0].mask
    assert (mask.shape, mask.dtype, mask.any()) == ((4, 6), np.uint8, False)


@pytest.mark.parametrize("index", [1, 2, 3])
def test_every_other_slice_is_the_sources(index):
    assert EmptyMasks(SOURCE)[index] is SOURCE[index]


def test_its_record_says_that_it_was_outlined():
    areas = [(record.lesion_count, record.lesion_area) for record in EmptyMasks(SOURCE).records()]
    before = [(record.lesion_count, record.lesion_area) for record in SOURCE.records()]
    assert areas[0] == (0, 0.0)
    assert areas[1:] == before[1:]


def test_length_and_what_is_told_of_the_data_are_the_sources():
    adapted = EmptyMasks(SOURCE)
    assert (len(adapted), adapted.info) == (4, SOURCE.info)
