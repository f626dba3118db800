"""Augmentation: repeatable, in range, and the mask stays on what it marks."""

import collections

import numpy as np
import pytest

from jcs_jax.data import transforms
from jcs_jax.data.transforms import AUGMENTATIONS, flip, flip_some, modern, reference, with_opacities

SHAPE = (96, 120)


def _disc(centre=(40.0, 70.0), radius=18.0) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc on a dark ground, and its mask."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    mask = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2).astype(np.float32)
    return (0.1 + 0.8 * mask).astype(np.float32), mask


def _dice(one: np.ndarray, two: np.ndarray) -> float:
    return 2 * float((one * two).sum()) / float(one.sum() + two.sum())


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_same_generator_state_gives_the_same_result(name):
    image, mask = _disc()
    for seed in range(8):
        one, two = (AUGMENTATIONS[name](image, mask, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("with_mask", [True, False])
def test_size_range_and_type_are_kept(name, with_mask):
    image, mask = _disc()
    before = image.copy()
    for seed in range(20):
        out, out_mask = AUGMENTATIONS[name](image, mask if with_mask else None, np.random.default_rng(seed))
        assert out.shape == SHAPE
        assert out.dtype == np.float32
        assert out.min() >= 0
        assert out.max() <= 1
        if with_mask:
            assert out_mask.shape == SHAPE
            assert set(np.unique(out_mask)) <= {0.0, 1.0}
        else:
            assert out_mask is None
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_picture_does_not_depend_on_whether_there_is_a_mask(name):
    image, mask = _disc()
    for seed in range(8):
        with_mask, _ = AUGMENTATIONS[name](image, mask, np.random.default_rng(seed))
        without, _ = AUGMENTATIONS[name](image, None, np.random.default_rng(seed))
        np.testing.assert_array_equal(with_mask, without)


@pytest.mark.parametrize("name", ["reference", "modern"])
def test_the_mask_stays_on_the_disc(name):
    image, mask = _disc()
    for seed in range(60):
        out, out_mask = AUGMENTATIONS[name](image, mask, np.random.default_rng(seed))
        between = (
            np.percentile(out, 2) + out[out_mask > 0].mean()
        ) / 2  # between ground and disc, whatever the contrast
        assert _dice((out > between).astype(np.float32), out_mask) > 0.9, f"seed {seed}"


def test_modern_moves_and_changes_the_picture():
    image, mask = _disc()
    areas, overlaps, levels = [], [], []
    for seed in range(60):
        out, out_mask = modern(image, mask, np.random.default_rng(seed))
        areas.append(out_mask.sum() / mask.sum())
        overlaps.append(_dice(out_mask, mask))
        levels.append(out[out_mask > 0].mean())
    assert min(areas) < 0.75
    assert max(areas) > 1.3
    assert min(overlaps) < 0.5
    assert np.ptp(levels) > 0.2


def test_an_empty_mask_stays_empty():
    image, _ = _disc()
    for seed in range(8):
        assert not modern(image, np.zeros(SHAPE, np.float32), np.random.default_rng(seed))[1].any()


def test_flips_are_named_as_a_viewer_sees_them():
    array = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(flip(array, "left_right")[0], [3, 2, 1, 0])
    np.testing.assert_array_equal(flip(array, "top_bottom")[0], [8, 9, 10, 11])
    features = np.stack([array, -array], axis=-1)
    np.testing.assert_array_equal(flip(features, "left_right")[..., 1], -array[:, ::-1])


def test_slice_and_mask_are_mirrored_together_along_half_of_the_axes():
    array, rng, kinds = np.arange(6).reshape(2, 3), np.random.default_rng(0), collections.Counter()
    for _ in range(400):
        arrays, mask = flip_some({"a": array, "b": -array}, array, ("left_right", "top_bottom"), rng)
        np.testing.assert_array_equal(arrays["a"], mask)
        np.testing.assert_array_equal(arrays["b"], -mask)
        kinds[int(mask[0, 0])] += 1
    assert sorted(kinds) == [0, 2, 3, 5]
    assert all(70 < count < 130 for count in kinds.values())
    assert flip_some({"a": array}, None, ("left_right",), rng)[1] is None


def test_keep_keeps():
    image, mask = _disc()
    out, out_mask = AUGMENTATIONS["none"](image, mask, np.random.default_rng(0))
    assert out is image
    assert out_mask is mask


class _Script:
    """A generator that draws what the test says."""

    def __init__(self, chances, crops=()):
        self._chances, self._crops = list(chances), list(crops)
        self.bounds = None

    def random(self):
        return self._chances.pop(0)

    def integers(self, low, high, count):
        self.bounds = (low, high - 1, count)
        return np.array(self._crops)


def test_the_reference_crop_is_resized_back_and_takes_at_most_16_pixels_off_a_side():
    rng = _Script([0.4, 0.6], [16, 0, 0, 16])
    image = np.broadcast_to(np.arange(SHAPE[1], dtype=np.float32), SHAPE).copy()
    mask = np.zeros(SHAPE, np.float32)
    mask[16:56, :52] = 1
    out, out_mask = reference(image, mask, rng)
    assert rng.bounds == (0, 16, 4)
    # Rows 16-96 and columns 0-104 remain: a column's value grows by 104/120 a pixel, the mask fills a quarter.
    np.testing.assert_allclose(np.diff(out[40, 2:-2]), 104 / 120, rtol=1e-3)
    assert out.max() <= 103
    np.testing.assert_array_equal(out_mask[:48, :60], 1)
    assert out_mask.sum() == 48 * 60


def test_the_reference_flip_turns_the_picture_upside_down():
    image, mask = _disc()
    out, out_mask = reference(image, mask, _Script([0.6, 0.4]))
    np.testing.assert_array_equal(out, image[::-1])
    np.testing.assert_array_equal(out_mask, mask[::-1])


def test_the_reference_crops_and_flips_half_of_the_time_each():
    image, _ = _disc(centre=(20.0, 70.0), radius=12.0)  # stays in the upper half under any crop
    kinds = collections.Counter()
    rng = np.random.default_rng(0)
    for _ in range(1600):
        out, _ = reference(image, None, rng)
        flipped = float(np.mgrid[: SHAPE[0], : SHAPE[1]][0][out > 0.5].mean()) > (SHAPE[0] - 1) / 2
        cropped = not (np.array_equal(out, image) or np.array_equal(out, image[::-1]))
        kinds[cropped, flipped] += 1
    assert all(340 < kinds[cropped, flipped] < 460 for cropped in (True, False) for flipped in (True, False))


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 40), (33, 5)])
def test_the_smallest_slices_survive(name, shape):
    for seed in range(6):
        out, mask = AUGMENTATIONS[name](
            np.full(shape, 0.5, np.float32), np.ones(shape, np.float32), np.random.default_rng(seed)
        )
        assert out.shape == mask.shape == shape


def test_the_reference_crop_is_the_releases():
    assert transforms.REFERENCE_CROP == 16


def _chest(tissue: float = 0.8, opacity: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Two lungs of grey 0.1 in soft tissue; one of them with an opacity that also reaches into the tissue."""
    image = np.full(SHAPE, tissue, np.float32)
    image[10:86, 10:50] = image[10:86, 70:110] = tissue / 8
    mask = np.zeros(SHAPE, np.float32)
    if opacity is not None:
        mask[20:30, 5:30] = 1
        image = np.where((mask > 0) & (image < opacity), np.float32(opacity), image)
    return image, mask


class Straight(np.random.Generator):
    """Mirrors nothing."""

    def __init__(self):
        super().__init__(np.random.PCG64(0))

    def random(self, *sizes):
        return 1.0


def test_opacities_are_laid_over_lung_and_stay_behind_tissue():
    image, mask = with_opacities(*_chest(), *_chest(opacity=0.5), Straight())
    lung = np.zeros(SHAPE, bool)
    lung[20:30, 10:30] = True
    np.testing.assert_array_equal(mask, lung)
    np.testing.assert_allclose(image, np.where(lung, 0.5, _chest()[0]), rtol=1e-6)


def test_laid_opacities_have_the_density_that_they_had_whatever_the_windows():
    # Soft tissue at 0.4 in one picture and at 0.8 in the other: an opacity half as bright stays so.
    image, _ = with_opacities(*_chest(0.4), *_chest(0.8, opacity=0.4), Straight())
    np.testing.assert_allclose(image[25, 20], 0.2, rtol=1e-6)
    assert image.dtype == np.float32


def test_a_slice_keeps_its_own_opacities_under_fainter_ones():
    own, mask = _chest(opacity=0.6)
    image, both = with_opacities(own, mask, *_chest(opacity=0.3), Straight())
    np.testing.assert_array_equal(image, own)
    np.testing.assert_array_equal(both, mask)


def test_laid_opacities_are_mirrored_along_half_of_the_axes():
    places = [with_opacities(*_chest(), *_chest(opacity=0.5), np.random.default_rng(seed))[1] for seed in range(40)]
    corners = {(bool(mask[:48].any()), bool(mask[:, :60].any())) for mask in places}
    assert corners == {(True, True), (True, False), (False, True), (False, False)}


@pytest.mark.parametrize("lacking", ["own", "other"])
def test_nothing_is_laid_where_a_mask_is_not_known(lacking):
    (own, own_mask), (other, other_mask) = _chest(), _chest(opacity=0.5)
    masks = (None, other_mask) if lacking == "own" else (own_mask, None)
    image, mask = with_opacities(own, masks[0], other, masks[1], Straight())
    assert image is own
    assert mask is masks[0]


def test_a_blank_slice_gets_no_opacities_and_gives_none():
    blank = np.zeros(SHAPE, np.float32)
    for one, two in ((blank, _chest(opacity=0.5)[0]), (_chest()[0], blank)):
        image, mask = with_opacities(one, blank, two, np.ones(SHAPE, np.float32), Straight())
        assert image is one
        assert not mask.any()
