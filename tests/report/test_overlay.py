"""Pictures: anatomy kept, lesion and map where they belong, text below."""

import io

import numpy as np
import pytest
from PIL import Image

from jcs_jax.report.overlay import (
    LESION_COLOR,
    REFERENCE_COLOR,
    activation_overlay,
    mask_overlay,
    mask_picture,
    png_bytes,
)

GREY = np.full((512, 512), 0.5, np.float32)
MASK = np.zeros((512, 512), bool)
MASK[100:200, 150:300] = True


def _pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


def test_outline_runs_inside_the_mask_and_nothing_outside_is_touched():
    pixels = _pixels(mask_overlay(GREY, MASK))
    for y, x in ((100, 200), (199, 200), (150, 150), (150, 299)):
        assert tuple(pixels[y, x]) == LESION_COLOR
    assert tuple(pixels[99, 200]) == (0, 0, 0)
    outside = np.ones_like(MASK)
    outside[99:201, 149:301] = False
    assert (pixels[:512][outside] == 128).all()


def test_fill_leaves_the_tissue_readable():
    intensity = GREY.copy()
    intensity[150, 200] = 0.7
    pixels = _pixels(mask_overlay(intensity, MASK))
    assert pixels[150, 200].sum() > pixels[150, 210].sum() + 90
    assert pixels[150, 210, 0] > pixels[150, 210, 2]


def test_empty_mask_leaves_the_slice_as_it_is():
    pixels = _pixels(mask_overlay(GREY, np.zeros_like(MASK)))
    assert (pixels[:512] == 128).all()


def test_full_mask_is_drawn():
    pixels = _pixels(mask_overlay(GREY, np.ones_like(MASK)))
    assert (pixels[:512, :, 0] > pixels[:512, :, 2]).all()


def test_reference_is_outlined_but_not_filled():
    pixels = _pixels(mask_overlay(GREY, np.zeros_like(MASK), reference=MASK))
    assert tuple(pixels[100, 200]) == REFERENCE_COLOR
    assert tuple(pixels[150, 200]) == (128, 128, 128)


def test_text_stands_below_the_picture_on_a_strip_of_its_own():
    plain = mask_overlay(GREY, MASK)
    captioned = mask_overlay(GREY, MASK, caption="probability 0.5")
    assert plain.width == captioned.width == 512
    assert captioned.height > plain.height > 512 + 30
    np.testing.assert_array_equal(_pixels(plain)[:512], _pixels(captioned)[:512])
    assert _pixels(plain)[512:].max() > 180


@pytest.mark.parametrize(
    "text", ["x" * 500, "", "naïve µ – 漢字", *("word " * count + "end" for count in range(12, 20))]
)
def test_any_caption_fits_the_strip(text):
    picture = mask_overlay(GREY, MASK, caption=text)
    strip = _pixels(picture)[512:]
    assert picture.width == 512
    assert (strip[:, -3:] == strip[0, 0]).all()


@pytest.mark.parametrize(
    ("shape", "size"),
    [((64, 64), (512, 512)), ((61, 148), (512, 1242)), ((512, 512), (512, 512)), ((700, 600), (700, 600))],
)
def test_small_slices_are_enlarged_to_512(shape, size):
    picture = mask_overlay(np.zeros(shape, np.float32), np.zeros(shape, bool))
    assert picture.width == size[1]
    assert picture.height > size[0]


def test_very_large_slices_are_reduced():
    shape = (3000, 4096)
    picture = mask_overlay(np.zeros(shape, np.float32), np.zeros(shape, bool))
    assert picture.width == 2048


def test_activation_is_coloured_where_it_is_positive_only():
    activation = np.full((512, 512), -3.0, np.float32)
    activation[100:200, 150:300] = 4.0
    pixels = _pixels(activation_overlay(GREY, activation, scale=4.0))
    assert (pixels[:512][~MASK] == 128).all()
    assert (np.ptp(pixels[:512][MASK], axis=-1) > 60).all()


def test_hotter_is_brighter_at_the_top_of_the_scale():
    activation = np.tile(np.linspace(-1, 5, 512, dtype=np.float32), (512, 1))
    pixels = _pixels(activation_overlay(np.full_like(GREY, 0.2), activation, scale=5.0))
    luminance = pixels[256] @ (0.2126, 0.7152, 0.0722)
    assert np.argmax(luminance) >= 505


def test_reference_is_outlined_on_the_activation_too():
    plain, outlined = (
        activation_overlay(GREY, np.full_like(GREY, -1.0), scale=1.0, reference=reference) for reference in (None, MASK)
    )
    assert tuple(_pixels(outlined)[100, 200]) == REFERENCE_COLOR
    assert tuple(_pixels(outlined)[150, 200]) == (128, 128, 128)
    assert outlined.height > plain.height


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_map_without_positive_values_leaves_the_slice_as_it_is(value):
    pixels = _pixels(activation_overlay(GREY, np.full_like(GREY, value), scale=0.0))
    assert (pixels[:512] == 128).all()
    assert pixels[512:].max() > 180


def test_scale_bar_shows_colours_and_numbers():
    low, high = (activation_overlay(GREY, GREY, scale=scale) for scale in (1.0, 123.0))
    strip = _pixels(low)[512:]
    assert (np.ptp(strip, axis=-1) > 40).sum() > 5000
    assert not np.array_equal(strip, _pixels(high)[512:])


def test_mask_picture_is_0_and_255_at_its_own_size():
    picture = mask_picture(MASK[:100, :120])
    assert picture.mode == "L"
    assert picture.size == (120, 100)
    np.testing.assert_array_equal(np.asarray(mask_picture(MASK)), np.where(MASK, 255, 0))


def test_png_bytes_hold_the_same_pixels_and_no_text():
    picture = mask_overlay(GREY, MASK)
    with Image.open(io.BytesIO(png_bytes(picture))) as read:
        assert read.format == "PNG"
        assert read.info == {}
        np.testing.assert_array_equal(_pixels(read), _pixels(picture))
