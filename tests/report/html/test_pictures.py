"""What the page holds of a slice is the slice, as exactly as it says."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from jcs_jax.report.html.pictures import QUALITIES, SliceEncoder, ViewerSlice, grey_values, to_greys

RNG = np.random.default_rng(0)


def _decoded(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def _encoder(slices: int = 1, *, hounsfield: bool = True) -> SliceEncoder:
    return SliceEncoder(slices, hounsfield=hounsfield, activation_scale=2.0)


def _files(encoder: SliceEncoder, item: ViewerSlice) -> dict[str, str]:
    ((given, files),) = encoder.encode([item])
    assert given is item
    return files


@pytest.mark.parametrize(
    ("hounsfield", "grey"), [(-3000, 0), (-1024, 0), (-592, 64), (-160, 128), (40, 178), (240, 228), (600, 255)]
)
def test_greys_of_hounsfield_units(hounsfield, grey):
    assert to_greys(np.array([hounsfield]), hounsfield=True) == [grey]


def test_a_grey_stands_for_hounsfield_units_within_half_a_step():
    given = np.arange(-1024, 601)
    shown = grey_values(hounsfield=True)[to_greys(given, hounsfield=True)]
    assert np.abs(shown - given)[given < -160].max() < 3.5
    assert np.abs(shown - given)[(given >= -160) & (given <= 240)].max() <= 2


def test_intensities_beyond_0_and_1_are_cut_off():
    np.testing.assert_array_equal(to_greys(np.array([-1.0, 0.5, 2.0]), hounsfield=False), [0, 128, 255])


def test_a_slice_comes_back_within_the_error_that_is_told():
    rows, columns = np.mgrid[:128, :128]
    given = (-800 + 5 * rows + 2 * columns).astype(np.int16)
    encoder = _encoder()
    shown = grey_values(hounsfield=True)[
        np.asarray(Image.fromarray(_decoded(_files(encoder, ViewerSlice(given))["greys"])).convert("L"))
    ]
    error = np.abs(shown - np.clip(given, -1024, 600)).mean()
    assert error < 6
    assert encoder.mean_error == pytest.approx(error, rel=1e-5)


def test_masks_and_numbers_beyond_a_byte_are_exact():
    labels = RNG.integers(0, 65536, (20, 30)).astype(np.uint16)
    mask = RNG.random((20, 30)) < 0.5
    pixels = _decoded(_files(_encoder(), ViewerSlice(np.zeros((20, 30)), mask, labels))["regions"]).astype(int)
    np.testing.assert_array_equal(pixels[..., 0] == 255, mask)
    np.testing.assert_array_equal(pixels[..., 1] + 256 * pixels[..., 2], labels)


def test_without_a_lesion_there_is_nothing_to_keep():
    empty = ViewerSlice(np.zeros((20, 30)), np.zeros((20, 30), bool), np.zeros((20, 30), np.uint16))
    assert set(_files(_encoder(), empty)) == {"greys"}
    assert set(_files(_encoder(), ViewerSlice(np.zeros((20, 30))))) == {"greys"}


def test_the_map_has_256_steps_from_0_to_the_scale():
    given = np.array([[-1.0, 0.0], [1.0, 5.0]], np.float32)
    levels = _decoded(_files(_encoder(), ViewerSlice(np.zeros((20, 30)), activation=given))["activation"])
    np.testing.assert_array_equal(levels, [[0, 0], [128, 255]])


def test_quality_falls_when_slices_would_not_fit_the_page():
    noise = ViewerSlice(RNG.normal(-400, 300, (256, 256)))
    few, many = _encoder(), _encoder(2000)
    assert len(_files(few, noise)["greys"]) > len(_files(many, noise)["greys"])
    assert few.quality == QUALITIES[0]
    assert many.quality == QUALITIES[-1]


def test_slices_made_at_once_are_those_made_one_after_the_other():
    """Quality falls in the middle: those behind have the lower one, whoever made them first."""
    spread = [0, 0, 0, 300, 0, 0, 60, 0, 0, 0, 300, 0, 0]
    items = [ViewerSlice(-800 + RNG.normal(0, 1 + one, (256, 256))) for one in spread]
    together, alone = _encoder(1500), _encoder(1500)
    made = list(together.encode(items))
    assert all(item is given for (item, _), given in zip(made, items, strict=True))
    assert [files for _, files in made] == [_files(alone, item) for item in items]
    assert together.quality == alone.quality < QUALITIES[0]


def test_of_many_slices_some_tell_the_error():
    """Every second one of 128: the others' noise is not seen."""
    quiet, noisy = (ViewerSlice((-800 + RNG.normal(0, one, (64, 64))).astype(np.int16)) for one in (1, 200))
    alone, many = _encoder(), _encoder(128)
    _files(alone, quiet)
    assert len(list(many.encode([quiet, noisy] * 64))) == 128
    assert many.mean_error == pytest.approx(alone.mean_error)


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
def test_whole_hounsfield_units_have_the_same_greys_in_every_type(kind):
    given = np.arange(-1100, 700)
    np.testing.assert_array_equal(
        to_greys(given.astype(kind), hounsfield=True), to_greys(given.astype(np.float64), hounsfield=True)
    )


@pytest.mark.parametrize("kind", ["mask", "labels"])
def test_a_region_of_another_size_is_refused(kind):
    with pytest.raises(ValueError, match=kind):
        _files(_encoder(), ViewerSlice(np.zeros((20, 30)), **{kind: np.ones((20, 31), np.uint16)}))
