import zlib

import numpy as np
import pytest
from PIL import Image

from jcs_datasets.common.errors import SourceError
from jcs_datasets.common.pictures import read_gray, read_mask, read_picture

GRAY = np.random.default_rng(0).integers(0, 256, (40, 48), np.uint8)
MASK = (GRAY > 128).astype(np.uint8)


def save(path, array, mode=None):
    picture = Image.fromarray(array) if mode is None else Image.frombytes(mode, array.shape[1::-1], array.tobytes())
    picture.save(path)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_a_gray_picture_comes_back_exactly(tmp_path, suffix):
    assert (read_gray(save(tmp_path / f"a.{suffix}", GRAY), "a") == GRAY).all()


def test_equal_channels_count_as_gray(tmp_path):
    rgb = np.repeat(GRAY[..., None], 3, axis=2)
    assert (read_gray(save(tmp_path / "rgb.png", rgb), "rgb") == GRAY).all()


def test_a_one_bit_picture_becomes_black_and_white(tmp_path):
    Image.fromarray(MASK * 255).convert("1").save(tmp_path / "a.png")
    assert (read_gray(tmp_path / "a.png", "a") == MASK * 255).all()


def test_palette_masks_are_read_by_index_and_not_by_colour(tmp_path):
    picture = Image.frombytes("P", (48, 40), MASK.tobytes())
    picture.putpalette([255, 0, 0, 0, 0, 0])  # red background, black lesion
    picture.save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png", "m") == MASK).all()


@pytest.mark.parametrize("scale", [1, 255])
def test_gray_masks_of_0_and_1_or_0_and_255_are_read_as_0_and_1(tmp_path, scale):
    assert (read_mask(save(tmp_path / "m.png", MASK * np.uint8(scale)), "m") == MASK).all()


def test_one_bit_masks_are_read(tmp_path):
    Image.fromarray(MASK * 255).convert("1").save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png", "m") == MASK).all()


@pytest.mark.parametrize("value", [0, 1, 255])
def test_masks_of_one_value_are_read(tmp_path, value):
    mask = read_mask(save(tmp_path / "m.png", np.full((40, 48), value, np.uint8)), "m")
    assert (mask == (value > 0)).all()


def refused(path, reader=read_gray):
    with pytest.raises(SourceError) as caught:
        reader(path, f"{path} (all.txt, line 3)")
    message = str(caught.value)
    assert message.startswith(f"{path} (all.txt, line 3): ")
    assert "\n" not in message
    assert ";" in message  # what is wrong; the cure
    return message


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    assert "0 bytes" in refused(tmp_path / "a.png")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "not a file" in refused(tmp_path / "a.png")
    assert "not a file" in refused(tmp_path)


@pytest.mark.parametrize("data", [b"hello", b"\x89PNG\r\n\x1a\n", b"II*\0", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"GIF89a"])
def test_what_is_no_picture_is_refused(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    assert "is not a PNG" in refused(tmp_path / "a.png")


def test_a_picture_cut_short_is_refused(tmp_path):
    data = save(tmp_path / "a.png", GRAY).read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    assert "cut short" in refused(tmp_path / "a.png")


def test_damaged_pixels_are_refused(tmp_path):
    data = bytearray(save(tmp_path / "a.png", GRAY).read_bytes())
    data[60:80] = bytes(20)
    (tmp_path / "a.png").write_bytes(data)
    assert "damaged" in refused(tmp_path / "a.png")


def test_a_picture_of_one_pixel_is_refused_with_its_size(tmp_path):
    assert "1x1 pixels" in refused(save(tmp_path / "a.png", GRAY[:1, :1]))
    assert "1x1 pixels" in refused(save(tmp_path / "m.png", MASK[:1, :1]), read_mask)


def test_a_huge_header_is_refused_before_anything_is_decoded(tmp_path):
    header = b"IHDR" + (60000).to_bytes(4) + (60000).to_bytes(4) + b"\x08\x00\x00\x00\x00"
    chunk = (13).to_bytes(4) + header + zlib.crc32(header).to_bytes(4)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT" + bytes(4))
    assert "large" in refused(tmp_path / "a.png")


def test_16_bit_gray_is_refused_with_a_window(tmp_path):
    message = refused(save(tmp_path / "a.png", GRAY.astype(np.uint16) * 16))
    assert "more than 8 bits" in message
    assert "level -600, width 1500" in message


def png16(colour_type, channels):
    """A 16-bit PNG of 40 x 40, which Pillow itself would silently read as 8-bit where it has colours."""
    rows = b"".join(b"\0" + bytes(40 * channels * 2) for _ in range(40))
    parts = [b"IHDR" + (40).to_bytes(4) * 2 + bytes([16, colour_type, 0, 0, 0]), b"IDAT" + zlib.compress(rows), b"IEND"]
    chunks = [(len(part) - 4).to_bytes(4) + part + zlib.crc32(part).to_bytes(4) for part in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_colours_are_not_cut_to_8_bits_silently(tmp_path, colour_type, channels):
    (tmp_path / "a.png").write_bytes(png16(colour_type, channels))
    assert "more than 8 bits" in refused(tmp_path / "a.png")


def test_floating_point_pictures_are_refused(tmp_path):
    assert "more than 8 bits" in refused(save(tmp_path / "a.tif", GRAY.astype(np.float32)))


@pytest.mark.parametrize("alpha", [0, 255])
def test_an_alpha_channel_is_refused_even_if_it_is_opaque(tmp_path, alpha):
    rgba = np.dstack([GRAY, GRAY, GRAY, np.full_like(GRAY, alpha)])
    assert "has an alpha channel (RGBA); flatten it" in refused(save(tmp_path / "a.png", rgba))


def test_colours_are_refused(tmp_path):
    rgb = np.repeat(GRAY[..., None], 3, axis=2)
    rgb[0, 0, 2] ^= 1
    assert "coloured" in refused(save(tmp_path / "a.png", rgb))


def test_cmyk_is_refused(tmp_path):
    assert "CMYK" in refused(save(tmp_path / "a.jpg", np.repeat(GRAY[..., None], 4, axis=2), "CMYK"))


def test_several_pictures_in_one_file_are_refused(tmp_path):
    first, second = Image.fromarray(GRAY), Image.fromarray(255 - GRAY)
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    assert "2 pictures" in refused(tmp_path / "a.tif")


def test_other_mask_values_are_refused_and_listed(tmp_path):
    assert "holds 0, 1, 2;" in refused(save(tmp_path / "m.png", MASK + MASK * (GRAY > 200)), read_mask)
    assert "holds 0, 7;" in refused(save(tmp_path / "n.png", MASK * np.uint8(7)), read_mask)


def test_a_mask_that_mixes_1_and_255_is_refused(tmp_path):
    mixed = MASK.copy()
    mixed[0, 0] = 255
    assert "holds 0, 1, 255;" in refused(save(tmp_path / "m.png", mixed), read_mask)


def test_a_mask_of_many_values_is_listed_in_part(tmp_path):
    assert "holds 0, 1, 2, 3, 4, 5, 6, 7, ...;" in refused(save(tmp_path / "m.png", GRAY), read_mask)


def figure(red=0):
    """An RGB picture that is grey up to `red`, which is added to the first channel of one pixel."""
    rgb = np.repeat(np.clip(GRAY, 0, 200)[..., None], 3, axis=2)
    rgb[3, 4, 0] += red
    return rgb


@pytest.mark.parametrize(("suffix", "file_type"), [("png", "png"), ("bmp", "bmp"), ("tif", "tiff")])
def test_a_figure_without_colour_is_read_exactly(tmp_path, suffix, file_type):
    for pixels in (figure(), figure()[..., 0]):
        picture = read_picture(save(tmp_path / f"a.{suffix}", pixels), "a")
        assert (picture.gray == figure()[..., 0]).all()
        assert picture[1:] == (False, file_type)


def test_the_type_of_a_figure_is_that_of_its_content(tmp_path):
    Image.fromarray(GRAY).save(tmp_path / "a.png", format="JPEG")
    assert read_picture(tmp_path / "a.png", "a").file_type == "jpeg"


def test_colours_of_a_figure_become_their_luminance(tmp_path):
    picture = read_picture(save(tmp_path / "a.png", figure(red=50)), "a")
    expected = figure()[..., 0].astype(int)
    expected[3, 4] += 15  # 0.299 * 50
    assert picture.coloured
    assert (picture.gray == expected).all()


def test_an_opaque_alpha_channel_of_a_figure_is_dropped(tmp_path):
    rgba = np.dstack([figure(), np.full_like(GRAY, 255)])
    assert (read_picture(save(tmp_path / "a.png", rgba), "a").gray == figure()[..., 0]).all()
    la = np.dstack([GRAY, np.full_like(GRAY, 255)])
    assert (read_picture(save(tmp_path / "la.png", la, "LA"), "la").gray == GRAY).all()


def test_a_colour_named_transparent_that_no_pixel_has_is_dropped(tmp_path):
    pixels = np.clip(GRAY, 1, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png", transparency=0)
    assert (read_picture(tmp_path / "a.png", "a").gray == pixels).all()


def test_transparent_pixels_of_a_figure_are_refused(tmp_path):
    alpha = np.full_like(GRAY, 255)
    alpha[0, 0] = 254
    rgba = np.dstack([figure(), alpha])
    assert "transparent pixels" in refused(save(tmp_path / "a.png", rgba), read_picture)
    Image.fromarray(GRAY).save(tmp_path / "b.png", transparency=int(GRAY[0, 0]))
    assert "transparent pixels" in refused(tmp_path / "b.png", read_picture)


def test_a_coloured_palette_of_a_figure_is_read_by_its_colours(tmp_path):
    picture = Image.frombytes("P", (48, 40), MASK.tobytes())
    picture.putpalette([100, 100, 100, 200, 100, 100])
    picture.save(tmp_path / "p.png")
    read = read_picture(tmp_path / "p.png", "p")
    assert read.coloured
    assert (read.gray == 100 + 30 * MASK).all()


def test_one_bit_figures_become_black_and_white(tmp_path):
    Image.fromarray(MASK * 255).convert("1").save(tmp_path / "a.png")
    assert (read_picture(tmp_path / "a.png", "a").gray == MASK * 255).all()


def test_what_is_no_figure_is_refused_as_for_grey_pictures(tmp_path):
    cmyk = save(tmp_path / "a.jpg", np.repeat(GRAY[..., None], 4, axis=2), "CMYK")
    assert "CMYK" in refused(cmyk, read_picture)
    assert "more than 8 bits" in refused(save(tmp_path / "b.png", GRAY.astype(np.uint16) * 16), read_picture)
    assert "1x1 pixels" in refused(save(tmp_path / "c.png", GRAY[:1, :1]), read_picture)
