"""What is left of a slice without its lungs, and of the lungs without the slice."""

import numpy as np
import pytest

from jcs_jax.data.examples import ArraySource, Example
from jcs_jax.errors import InputError
from jcs_jax.evaluation.erased_lungs import ErasedLungs, LungsOnly, box_around
from jcs_jax.preprocessing import Preprocessing

PREPROCESSING = Preprocessing((64, 64), mean=(0.25, 0.25, 0.25), std=(1, 1, 1))
SHAPE = (100, 120)
CHANGED = (ErasedLungs, LungsOnly)


def _disc(cy, cx, ry, rx):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1


LUNGS = _disc(50, 35, 27, 15) | _disc(50, 85, 27, 15)


def _thorax(lungs=LUNGS, *, marked=False, inside=0.2):
    intensity = np.full(SHAPE, 0.05, np.float32)
    intensity[_disc(50, 60, 42, 52)] = 0.9
    intensity[lungs] = inside
    intensity[40:45, 30:35] = np.where(lungs, 0.5, 0.9)[40:45, 30:35]  # an opacity, where there is lung
    if marked:
        intensity[:6, :12] = 0.75
    return intensity


def _source(*images, label=1):
    mask = LUNGS.astype(np.uint8)
    examples = [Example(image, mask=mask, label=label, patient="p", name=f"{i}") for i, image in enumerate(images)]
    return ArraySource(examples, {"licence": "CC0"})


def test_a_box_is_even_about_the_middle_column():
    region = np.zeros((6, 9), bool)
    region[2:4, 1:3] = True  # columns 1 and 2: mirrored, 6 and 7
    expected = np.zeros((6, 9), bool)
    expected[2:4, 1:8] = True
    np.testing.assert_array_equal(box_around(region), expected)
    np.testing.assert_array_equal(box_around(region[:, ::-1]), expected)
    assert not box_around(np.zeros((3, 3), bool)).any()


def test_erasing_leaves_one_intensity_around_the_lungs_and_the_rest_as_it_was():
    image = _thorax(marked=True)
    erased = ErasedLungs(_source(image), PREPROCESSING)[0]
    box = erased.image == 0.25
    assert (box >= LUNGS).all()
    rows, columns = np.flatnonzero(box.any(axis=1)), np.flatnonzero(box.any(axis=0))
    assert box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert (rows[0], rows[-1]) == pytest.approx((23 - 2, 77 + 2), abs=1)  # dilated by 2 of 100 pixels
    assert (columns[0], columns[-1]) == pytest.approx((20 - 2, 100 + 2), abs=1)
    np.testing.assert_array_equal(erased.image[~box], image[~box])
    assert erased.image.dtype == np.float32
    assert (erased.label, erased.patient, erased.mask) == (1, "p", None)


def test_neither_the_outline_of_the_lungs_nor_what_is_in_them_shows():
    ragged = LUNGS & ~_disc(50, 30, 6, 5)  # a vessel that isn't found, say
    first, second = ErasedLungs(_source(_thorax(inside=0.2), _thorax(ragged, inside=0.35)), PREPROCESSING)
    np.testing.assert_array_equal(first.image, second.image)


def test_a_lung_too_opaque_to_be_found_goes_with_the_other_one():
    one_lung = LUNGS.copy()
    one_lung[:, 60:] = False
    both, one = (example.image == 0.25 for example in ErasedLungs(_source(_thorax(), _thorax(one_lung)), PREPROCESSING))
    assert (one >= LUNGS).all()
    assert (one != both).mean() < 0.01  # one pixel: the threshold of the lungs depends on their area


def test_only_the_lungs_stay():
    image = _thorax(marked=True)
    kept = LungsOnly(_source(image), PREPROCESSING)[0]
    outside = kept.image == 0.25
    np.testing.assert_array_equal(kept.image[LUNGS], image[LUNGS])
    assert outside[:6, :12].all()
    assert (~outside).sum() < 1.4 * LUNGS.sum()
    np.testing.assert_array_equal(kept.mask, LUNGS)


def test_hounsfield_units_are_windowed_first():
    units = Example(_thorax() * 1500 - 1350, encoding="hounsfield", name="HU")
    erased = ErasedLungs(ArraySource([units]), PREPROCESSING)[0]
    assert erased.encoding == "intensity"
    np.testing.assert_allclose(erased.image, ErasedLungs(_source(_thorax()), PREPROCESSING)[0].image, atol=1e-5)


@pytest.mark.parametrize("changed", CHANGED)
def test_a_slice_without_lungs_is_blank_and_has_no_label(changed):
    source = changed(_source(_thorax(np.zeros(SHAPE, bool))), PREPROCESSING)
    assert source[0].label == -1
    assert (source[0].image == 0.25).all()
    record = next(source.records())
    assert (record.label, record.digest) == (-1, "")


def test_records_tell_what_was_changed():
    source = _source(_thorax(), _thorax(marked=True))
    before, erased, kept = (list(s.records()) for s in (source, *(c(source, PREPROCESSING) for c in CHANGED)))
    assert [record.name for record in erased] == ["0", "1"]
    assert [record.lesion_area for record in erased] == [-1, -1]
    assert [record.lesion_area for record in kept] == [LUNGS.sum()] * 2
    assert {erased[0].digest, erased[1].digest, kept[0].digest}.isdisjoint({before[0].digest, before[1].digest})
    assert kept[0].digest == kept[1].digest  # they differed outside the lungs
    assert len(ErasedLungs(source, PREPROCESSING)) == 2
    assert ErasedLungs(source, PREPROCESSING).info == {"licence": "CC0"}


@pytest.mark.parametrize("changed", CHANGED)
def test_stored_features_have_no_lungs_to_erase(changed):
    features = Example(None, name="one", res2net_features=np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(InputError, match=r"^one: has stored features.*choose a data set with pictures$"):
        changed(ArraySource([features]), PREPROCESSING)
