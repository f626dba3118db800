"""HU windows, geometry and normalisation, against hand computations and JAX's own resize."""

import json

import jax
import numpy as np
import pytest

from jcs_jax.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, resize_array, with_tissue_at

RNG = np.random.default_rng(0)
CROP = Preprocessing(size=(224, 224), geometry="centre_crop", shorter_side=256, antialias=False)


def _centre_of_mass(plane: np.ndarray) -> tuple[float, float]:
    y, x = np.mgrid[: plane.shape[0], : plane.shape[1]]
    return float((y * plane).sum() / plane.sum()), float((x * plane).sum() / plane.sum())


@pytest.mark.parametrize(
    ("hounsfield", "intensity"),
    [(-2000, 0), (-1350, 0), (-975, 0.25), (-600, 0.5), (150, 1), (3000, 1)],
)
def test_the_lung_window_maps_hounsfield_units_by_hand(hounsfield, intensity):
    value = Preprocessing(size=(8, 8)).window(np.int16([hounsfield]))
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, [intensity], atol=1e-7)


def test_the_window_is_the_presets_own():
    narrow = Preprocessing(size=(8, 8), window_level=40.0, window_width=400.0)
    np.testing.assert_allclose(narrow.window(np.float32([-160, -60, 40, 240])), [0, 0.25, 0.5, 1], atol=1e-7)


def test_normalisation_is_imagenets_with_the_slice_repeated_three_times():
    assert IMAGENET_MEAN == (0.485, 0.456, 0.406)
    assert IMAGENET_STD == (0.229, 0.224, 0.225)
    values = Preprocessing(size=(2, 2)).normalize(np.float32([[0, 1], [0.5, 0.25]]))
    assert values.shape == (2, 2, 3)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[0, 0], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-6)
    np.testing.assert_allclose(values[0, 1], [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225], rtol=1e-6)


def test_normalisation_keeps_leading_axes():
    assert Preprocessing(size=(4, 5)).normalize(np.zeros((2, 3, 4, 5))).shape == (2, 3, 4, 5, 3)


@pytest.mark.parametrize("size", [(64, 96), (80, 20), (20, 80), (17, 13), (40, 56), (41, 57)])
def test_resizing_without_antialias_is_bilinear_with_half_pixel_centres(size):
    plane = RNG.random((40, 56), np.float32)
    expected = jax.image.resize(plane, size, "bilinear", antialias=False)
    np.testing.assert_allclose(resize_array(plane, size), expected, atol=1e-4)


def test_resizing_keeps_channels_and_a_single_channel():
    assert resize_array(np.zeros((8, 9, 5)), (4, 3)).shape == (4, 3, 5)
    assert resize_array(np.zeros((8, 9, 1)), (4, 3)).shape == (4, 3, 1)
    assert resize_array(np.zeros((8, 9, 1)), (4, 3), antialias=True).shape == (4, 3, 1)


def test_resizing_to_the_same_size_changes_nothing():
    plane = RNG.random((7, 5), np.float32)
    np.testing.assert_array_equal(resize_array(plane, (7, 5), antialias=True), plane)


def test_antialias_averages_the_pixels_under_each_output_pixel():
    plane = RNG.random((12, 9), np.float32)
    expected = plane.reshape(4, 3, 3, 3).mean((1, 3))
    np.testing.assert_allclose(resize_array(plane, (4, 3), antialias=True), expected, atol=1e-6)


def test_antialias_averages_the_side_that_shrinks_where_the_other_grows():
    rows = np.float32([0, 1, 0, 1, 0, 1, 0, 1])
    plane = np.repeat(rows[:, np.newaxis], 3, axis=1)
    np.testing.assert_allclose(resize_array(plane, (4, 6), antialias=True), np.full((4, 6), 0.5), atol=1e-6)
    assert resize_array(plane, (2, 6), antialias=False).max() > 0.4


def test_antialias_changes_nothing_where_no_side_shrinks():
    plane = RNG.random((7, 5), np.float32)
    np.testing.assert_array_equal(
        resize_array(plane, (9, 11), antialias=True), resize_array(plane, (9, 11), antialias=False)
    )


@pytest.mark.parametrize(
    ("shape", "resized"), [((512, 512), (256, 256)), ((400, 300), (341, 256)), ((49, 98), (256, 512))]
)
def test_centre_crop_cuts_the_middle_of_the_resized_slice(shape, resized):
    plane = RNG.random(shape, np.float32)
    whole = np.asarray(jax.image.resize(plane, resized, "bilinear", antialias=False))
    top, left = round((resized[0] - 224) / 2), round((resized[1] - 224) / 2)
    framed = CROP.frame(plane)
    assert framed.shape == (224, 224)
    np.testing.assert_allclose(framed, whole[top : top + 224, left : left + 224], atol=1e-4)


def test_centre_crop_of_a_slice_that_is_smaller_than_the_input_still_fills_it():
    assert CROP.frame(np.zeros((1, 1), np.float32)).shape == (224, 224)
    assert CROP.frame(np.zeros((1, 3), np.float32)).shape == (224, 224)


@pytest.mark.parametrize("shape", [(512, 512), (512, 400), (300, 420)])
def test_a_square_comes_back_to_its_place_from_a_centre_crop(shape):
    plane = np.zeros(shape, np.float32)
    plane[120:180, 200:260] = 1
    back = CROP.to_source(CROP.frame(plane), shape)
    assert back.shape == shape
    assert back.dtype == np.float32
    np.testing.assert_allclose(_centre_of_mass(back), (149.5, 229.5), atol=0.3)
    overlap = 2 * ((back > 0.5) & (plane > 0.5)).sum() / ((back > 0.5).sum() + plane.sum())
    assert overlap > 0.97


def test_a_map_is_zero_where_a_centre_crop_never_looked():
    back = CROP.to_source(np.ones((7, 7), np.float32), (512, 512))
    # 512 -> 256, 16 of 256 pixels cut off each side: 32 of 512, with two pixels of blur at the border.
    assert back[:30].max() == back[-30:].max() == back[:, :30].max() == back[:, -30:].max() == 0
    np.testing.assert_allclose(back[34:-34, 34:-34], 1)


def test_a_square_comes_back_to_its_place_from_a_stretch_of_a_slice_that_is_not_square():
    plane = np.zeros((300, 500), np.float32)
    plane[60:120, 300:420] = 1
    preprocessing = Preprocessing(size=(128, 128))
    back = preprocessing.to_source(preprocessing.frame(plane), (300, 500))
    np.testing.assert_allclose(_centre_of_mass(back), (89.5, 359.5), atol=0.5)
    assert np.abs((back > 0.5).sum() - plane.sum()) < 0.03 * plane.sum()


def test_a_slice_of_the_networks_own_size_is_left_as_it_is():
    plane = RNG.random((32, 48), np.float32)
    preprocessing = Preprocessing(size=(32, 48))
    np.testing.assert_array_equal(preprocessing.frame(plane), plane)
    np.testing.assert_array_equal(preprocessing.to_source(plane, (32, 48)), plane)


def test_network_input_is_frame_and_normalise():
    plane = RNG.random((40, 30), np.float32)
    preprocessing = Preprocessing(size=(16, 16))
    value = preprocessing.network_input(plane)
    assert value.shape == (16, 16, 3)
    np.testing.assert_array_equal(value, preprocessing.normalize(preprocessing.frame(plane)))


def test_preprocessing_survives_json():
    changed = Preprocessing(
        size=(96, 64), geometry="centre_crop", shorter_side=100, mean=(0.1, 0.2, 0.3), window_level=1
    )
    assert Preprocessing.from_json(json.loads(json.dumps(changed.to_json()))) == changed


def test_an_unknown_key_of_a_stored_preprocessing_is_refused():
    with pytest.raises(TypeError, match="colour"):
        Preprocessing.from_json({"size": [8, 8], "colour": 1})


def _chest(tissue: float, lung: float = 0.1, bone: float = 1.0) -> np.ndarray:
    """A body with two lungs, in which a few pixels are bone."""
    slice_ = np.full((40, 60), tissue, np.float32)
    slice_[8:32, 6:26] = slice_[8:32, 34:54] = lung
    slice_[30:36, 28:32] = bone
    return slice_


@pytest.mark.parametrize("tissue", [0.4, 0.75, 0.95])
def test_tissue_gets_its_grey_whatever_the_window(tissue):
    levelled = with_tissue_at(_chest(tissue, lung=tissue / 8), 0.75)
    np.testing.assert_allclose(levelled[0, 0], 0.75, rtol=1e-6)
    np.testing.assert_allclose(levelled[20, 10], 0.75 / 8, rtol=1e-6)
    assert levelled.dtype == np.float32
    assert levelled.max() <= 1


def test_tissue_at_its_grey_stays_and_a_consolidated_lung_does_not_move_it():
    np.testing.assert_allclose(with_tissue_at(_chest(0.75), 0.75), _chest(0.75), rtol=1e-6)
    consolidated = _chest(0.75)
    consolidated[8:32, 6:26] = 0.7
    np.testing.assert_allclose(with_tissue_at(consolidated, 0.75), consolidated, rtol=0.08)


@pytest.mark.parametrize("grey", [0.0, 0.3, 1.0])
def test_a_slice_of_one_grey_comes_back_as_it_is(grey):
    blank = np.full((8, 8), grey, np.float32)
    np.testing.assert_array_equal(with_tissue_at(blank, 0.75), blank)


def test_the_networks_picture_is_levelled_only_where_the_preset_says_so():
    plain, levelled = Preprocessing(size=(40, 60)), Preprocessing(size=(40, 60), tissue_grey=0.75)
    np.testing.assert_array_equal(plain.picture(_chest(0.4)), _chest(0.4))
    np.testing.assert_array_equal(levelled.picture(_chest(0.4)), with_tissue_at(_chest(0.4), 0.75))
    np.testing.assert_array_equal(
        levelled.network_input(_chest(0.4)), levelled.normalize(levelled.picture(_chest(0.4)))
    )
    assert Preprocessing.from_json(levelled.to_json()) == levelled
    assert Preprocessing.from_json({"size": [8, 8]}).tissue_grey == 0  # weights from before there was such a thing
