"""Reading PNG and JPEG slices: what is accepted, what is noted, and what is refused with a cure."""

import hashlib
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jcs_jax.errors import InputError
from jcs_jax.study.images import ONE_GREY_LEVEL, WINDOWED_PICTURE, read_slice, write_slice

REAL_DATA = Path(os.environ.get("JCS_DATA", Path(__file__).parents[3] / "shared" / "data"))
GREY = np.arange(48 * 40, dtype=np.int64).reshape(48, 40).astype(np.uint8)


def _save(path: Path, array: np.ndarray, mode: str | None = None, **options) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_of(width: int, height: int, rows: bytes, depth: int = 8, color: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _refused(path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_slice(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    for word in words:
        assert word in message


def test_grey_png_is_read_exactly(tmp_path):
    image = read_slice(_save(tmp_path / "a.png", GREY))
    assert image.intensity.dtype == np.float32
    assert image.intensity.shape == (48, 40)
    np.testing.assert_allclose(image.intensity, GREY / 255, atol=1e-7)
    assert image.name == "a.png"
    assert image.notes == (WINDOWED_PICTURE,)
    assert image.pixels_sha256 == hashlib.sha256(GREY.tobytes()).hexdigest()


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_other_ways_to_store_the_same_grey_levels_give_the_same_slice(tmp_path, mode):
    image = read_slice(_save(tmp_path / "a.png", GREY, mode))
    np.testing.assert_array_equal(image.intensity, (GREY / np.float32(255)).astype(np.float32))
    assert image.notes == (WINDOWED_PICTURE,)


def test_a_written_slice_is_read_back_to_half_a_grey_level(tmp_path):
    intensity = np.random.default_rng(0).uniform(-0.1, 1.1, (48, 40)).astype(np.float32)
    path = write_slice(tmp_path / "new folder" / "a.png", intensity)
    np.testing.assert_allclose(read_slice(path).intensity, np.clip(intensity, 0, 1), atol=0.51 / 255)


def test_palette_order_does_not_matter(tmp_path):
    image = Image.fromarray(255 - GREY, mode=None)
    image = image.convert("P")
    image.putpalette([255 - level for level in range(256) for _ in range(3)])
    image.save(tmp_path / "a.png")
    np.testing.assert_allclose(read_slice(tmp_path / "a.png").intensity, GREY / 255, atol=1e-7)


def test_grey_jpeg_with_chroma_noise_is_taken_as_grey(tmp_path):
    noise = np.random.default_rng(0).integers(-8, 9, (48, 40, 3))
    array = np.clip(120 + noise, 0, 255).astype(np.uint8)
    image = read_slice(_save(tmp_path / "a.JPG", array, quality=90))
    assert image.notes == (WINDOWED_PICTURE,)
    assert abs(image.intensity.mean() - 120 / 255) < 0.02


def test_coloured_arrow_is_noted_and_turned_grey_by_luminance(tmp_path):
    array = np.repeat(GREY[..., np.newaxis], 3, axis=2)
    array[10:12, 10:15] = (255, 0, 0)
    image = read_slice(_save(tmp_path / "a.png", array))
    assert any("0.52% of the pixels are coloured" in note for note in image.notes)
    assert image.intensity[10, 10] == pytest.approx(0.299, abs=2e-3)


def test_exif_orientation_is_noted_and_not_applied(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    image = read_slice(_save(tmp_path / "a.png", GREY, exif=exif))
    np.testing.assert_allclose(image.intensity, GREY / 255, atol=1e-7)
    assert any("EXIF orientation 6 was not applied" in note for note in image.notes)


def test_picture_of_one_grey_level_is_noted(tmp_path):
    assert ONE_GREY_LEVEL in read_slice(_save(tmp_path / "a.png", np.zeros((64, 64), np.uint8))).notes


def test_name_with_spaces_and_other_letters_works(tmp_path):
    assert read_slice(_save(tmp_path / "my slice é.png", GREY)).name == "my slice é.png"


def test_missing_file_is_refused(tmp_path):
    _refused(tmp_path / "absent.png", "no such file")


def test_folder_is_refused(tmp_path):
    _refused(tmp_path, "not a file")


def test_empty_file_is_refused(tmp_path):
    (tmp_path / "a.png").touch()
    _refused(tmp_path / "a.png", "empty (0 bytes)", "export it again")


@pytest.mark.parametrize("content", [b"not an image at all", b"\0" * 128 + b"DICM" + b"\0" * 100, b"\x89PNG\r\n\x1a\n"])
def test_file_that_is_no_image_is_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    _refused(tmp_path / "a.png", "not a readable 8-bit PNG or JPEG picture", "lung window")


def test_other_image_formats_are_refused(tmp_path):
    _refused(_save(tmp_path / "a.png", GREY, format="GIF"), "not a readable 8-bit PNG or JPEG")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_file_is_refused(tmp_path, suffix):
    path = _save(tmp_path / f"a.{suffix}", np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    _refused(path, "damaged or cut off")


@pytest.mark.parametrize("shape", [(1, 1), (31, 512), (512, 31)])
def test_too_small_picture_is_refused(tmp_path, shape):
    _refused(_save(tmp_path / "a.png", np.zeros(shape, np.uint8)), "too small for a CT slice", "at least 32")


def test_smallest_allowed_picture_is_read(tmp_path):
    assert read_slice(_save(tmp_path / "a.png", GREY[:32, :32])).intensity.shape == (32, 32)


def test_banner_is_no_slice(tmp_path):
    _refused(_save(tmp_path / "a.png", np.zeros((32, 300), np.uint8)), "no shape of a CT slice")


@pytest.mark.parametrize("side", [8_001, 12_000, 100_000])
def test_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path, side):
    (tmp_path / "a.png").write_bytes(_png_of(side, side, b"\0" * 100))
    _refused(tmp_path / "a.png", "64,000,000")


def test_16_bit_grey_png_is_refused(tmp_path):
    path = _save(tmp_path / "a.png", GREY.astype(np.uint16) * 100)
    _refused(path, "16 bits a sample", "can't say which HU", "level -600, width 1500")


def test_16_bit_colour_png_is_refused_though_pillow_reads_it_as_8_bit(tmp_path):
    rows = b"".join(b"\0" + b"\x12\x34" * 3 * 40 for _ in range(40))
    (tmp_path / "a.png").write_bytes(_png_of(40, 40, rows, depth=16, color=2))
    _refused(tmp_path / "a.png", "16 bits a sample")


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_picture_with_an_alpha_channel_is_refused_even_if_it_is_opaque(tmp_path, alpha):
    array = np.dstack([GREY, GREY, GREY, np.full_like(GREY, alpha)])
    _refused(_save(tmp_path / "a.png", array), "has an alpha channel", "save it as 8-bit grey")
    _refused(_save(tmp_path / "b.png", GREY, "LA"), "has an alpha channel")


def test_see_through_palette_entry_is_refused(tmp_path):
    _refused(_save(tmp_path / "a.png", GREY, "P", transparency=7), "has an alpha channel")


def test_black_and_white_picture_and_cmyk_are_refused(tmp_path):
    _refused(_save(tmp_path / "a.png", GREY, "1"), "colour mode 1 is not a grey picture")
    _refused(_save(tmp_path / "a.jpg", GREY, "CMYK"), "colour mode CMYK")


def test_animation_is_refused(tmp_path):
    frames = [Image.fromarray(np.roll(GREY, shift)) for shift in (0, 5)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    _refused(tmp_path / "a.png", "2 frames")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_no_damage_ends_in_anything_but_a_slice_or_an_input_error(tmp_path, suffix):
    rng = np.random.default_rng(0)
    path = _save(tmp_path / f"a.{suffix}", rng.integers(0, 256, (40, 40)).astype(np.uint8))
    whole = path.read_bytes()
    outcomes = set()
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(int(rng.integers(1, 5))):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            outcomes.add(read_slice(path).intensity.ndim)
        except InputError:
            outcomes.add("refused")
    assert outcomes <= {2, "refused"}
    assert "refused" in outcomes


def test_bytes_after_the_picture_do_not_matter(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue() + b"trailing")
    assert read_slice(tmp_path / "a.png").intensity.shape == (48, 40)


@pytest.mark.parametrize("folder", ["covid19_ct100/tr_im", "ucsd_covid_ct/CT_COVID", "mosmed_slices/CT-1"])
def test_real_slices_are_read(folder):
    paths = sorted((REAL_DATA / folder).glob("*.*g"))[:40]
    if not paths:
        pytest.skip(f"no real slices in {REAL_DATA / folder}; set JCS_DATA")
    for path in paths:
        with Image.open(path) as picture:
            mode = picture.mode
        if mode == "RGBA":  # many of UCSD's figures
            _refused(path, "has an alpha channel")
            continue
        image = read_slice(path)
        assert min(image.intensity.shape) >= 32
        assert 0 <= image.intensity.min() < image.intensity.max() <= 1
