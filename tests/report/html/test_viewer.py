"""The viewer in a real browser: what mouse and keys do, read off the canvas."""

import contextlib
import json

import numpy as np
import pytest
from PIL import Image
from report_case import COUNT, SIDE, made_pictures

from jcs_jax.report.colormap import color_table
from jcs_jax.report.html.page import write_html
from jcs_jax.report.overlay import LESION_COLOR

LESION, LUNG, WALL = (32, 18), (32, 50), (32, 32)  # row, column on slice 5
_READ = """(async () => {
  await new Promise((done) => setTimeout(done, 0));
  const canvas = document.createElement("canvas");
  canvas.width = picture.width;
  canvas.height = picture.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const [width, height, row, column] = [%d, %d, %f, %f];
  const [x, y] = [(column + 0.5) * canvas.width / width, (row + 0.5) * canvas.height / height].map(Math.round);
  return [...context.getImageData(x, y, 1, 1).data].slice(0, 3);
})()"""


@pytest.fixture
def opened(browser, made_page):
    with browser.open(made_page) as page:
        page.wait_for("picture.dataset.slice === '5'")
        yield page


def pixel(page, place, size=(SIDE, SIDE)):
    """Colour on the canvas at (row, column) of the slice."""
    page.wait_for("!drawing")
    return page.evaluate(_READ % (size[1], size[0], *place))


def near(values, expected, tolerance=5):
    return all(abs(value - wanted) <= tolerance for value, wanted in zip(values, expected, strict=True))


def shows(page, number):
    page.wait_for(f"picture.dataset.slice === '{number}'")
    assert page.evaluate("document.getElementById('place').textContent") == f"{number} / {COUNT}"
    assert page.evaluate("Number(document.getElementById('slice').value)") == number


def windowed(hounsfield, level, width):
    return max(0, min(255, 255 * ((hounsfield - level) / width + 0.5)))


def test_it_opens_on_the_most_probable_slice_with_its_numbers_beside(opened):
    told = opened.evaluate("document.getElementById('facts').innerText")
    for words in ("5 of 12", "80.0 mm", "95.0%, positive", "mm²", "slice05.dcm"):
        assert words in told


def test_pixels_are_those_of_the_slice_under_the_lung_window(opened):
    assert near(pixel(opened, LUNG), [windowed(-800, -600, 1500)] * 3)
    assert near(pixel(opened, WALL), [windowed(40, -600, 1500)] * 3)


def test_the_mask_is_filled_lightly_in_its_colour_and_its_key_takes_it_away(opened):
    grey = windowed(-300, -600, 1500)
    assert near(pixel(opened, LESION), [0.78 * grey + 0.22 * part for part in LESION_COLOR])
    opened.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    opened.evaluate("picture.focus()")
    opened.press("m")
    assert near(pixel(opened, LESION), [grey] * 3)
    assert opened.evaluate("document.getElementById('mask').checked") is False


def test_the_mask_is_outlined(opened):
    drawn = [pixel(opened, (32, 18 + 8 + shift / 16)) for shift in range(-20, 1)]
    assert any(near(color, LESION_COLOR, 12) for color in drawn)


def test_the_map_has_the_colours_of_the_pictures_and_its_opacity_a_slider(opened):
    opened.click("#mask")
    opened.click("#map")
    place = (31.5, 15.5)  # where four highest positions meet
    grey = windowed(-300, -600, 1500)
    last = color_table()[-1].tolist()
    assert near(pixel(opened, place), [0.45 * grey + 0.55 * part for part in last])
    opened.evaluate("(o => { o.value = 100; o.dispatchEvent(new Event('input')) })(document.getElementById('opacity'))")
    assert near(pixel(opened, place), last)
    assert near(pixel(opened, LUNG), [windowed(-800, -600, 1500)] * 3)
    assert opened.evaluate("document.getElementById('scale-top').textContent") == "4.00"


@pytest.mark.parametrize("shape", [(4, 7), (1, 1), (20, 30)])
def test_the_map_is_enlarged_as_pillow_does(opened, shape):
    levels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    given = json.dumps({"height": shape[0], "width": shape[1], "values": levels.ravel().tolist()})
    enlarged = opened.evaluate(f"[...enlargeMap({given}, 90, 60)]")
    expected = Image.fromarray(levels.astype(np.float32)).resize((90, 60), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(np.reshape(enlarged, (60, 90)), np.asarray(expected) / 255, atol=1e-5)


def test_windows_change_by_key_and_by_mouse(opened):
    opened.click("#picture", across=0.9, down=0.1)
    opened.press("2")
    assert near(pixel(opened, WALL), [127.5] * 3)
    assert near(pixel(opened, LUNG), [0] * 3)
    assert opened.evaluate("document.querySelector('[name=window]:checked').value") == "soft"
    opened.click("#window-wide")
    assert near(pixel(opened, WALL), [windowed(40, -212, 1624)] * 3)
    opened.press("1")
    assert near(pixel(opened, WALL), [windowed(40, -600, 1500)] * 3)


def test_keys_walk_through_the_slices_and_stop_at_the_ends(opened):
    opened.evaluate("picture.focus()")
    for key, number in (
        ("ArrowUp", 6),
        ("ArrowRight", 7),
        ("ArrowDown", 6),
        ("Home", 1),
        ("PageDown", 1),
        ("PageUp", 11),
        ("End", 12),
        ("ArrowUp", 12),
    ):
        opened.press(key)
        shows(opened, number)


def test_the_slider_has_the_same_keys_and_follows_the_mouse(opened):
    opened.evaluate("document.getElementById('slice').focus()")
    opened.press("ArrowRight")
    shows(opened, 6)
    opened.click("#slice", across=0.999)
    shows(opened, 12)


def test_the_wheel_walks_through_the_slices_and_the_page_stays(opened):
    opened.box("#picture")
    before = opened.evaluate("scrollY")
    opened.wheel("#picture", -120)
    shows(opened, 6)
    opened.wheel("#picture", 120)
    shows(opened, 5)
    assert opened.evaluate("scrollY") == before


def test_a_row_of_the_table_leads_to_the_lesions_largest_slice_and_outlines_it(opened):
    opened.click("tr[data-lesion='2'] td")
    shows(opened, 9)
    drawn = [pixel(opened, (40, 46 + 4 + shift / 16)) for shift in range(-20, 21)]
    assert any(near(color, (255, 255, 255), 12) for color in drawn)
    assert opened.evaluate("document.activeElement.id") == "picture"
    assert opened.evaluate("document.querySelector('tr.chosen').dataset.lesion") == "2"


def test_enter_on_a_lesions_number_does_the_same(opened):
    opened.evaluate("picture.focus()")
    opened.press("End")
    shows(opened, 12)
    opened.evaluate("document.querySelector(\"tr[data-lesion='1'] button\").focus()")
    opened.press("Enter")
    shows(opened, 5)


def test_a_click_on_the_chart_leads_to_that_slice(opened):
    opened.click("#chart", across=(70 + 2.5 * 870 / COUNT) / 1000)
    shows(opened, 3)
    marked = float(opened.evaluate("document.getElementById('chart-marker').getAttribute('x1')"))
    assert marked == pytest.approx(70 + 2.5 * 870 / COUNT, abs=0.1)


def test_pointing_tells_the_pixel_and_marks_the_lesions_row(opened):
    box = opened.box("#picture")
    place = {"x": box["x"] + box["width"] * 18.5 / SIDE, "y": box["y"] + box["height"] * 32.5 / SIDE}
    opened.call("Input.dispatchMouseEvent", type="mouseMoved", **place)
    opened.wait_for("document.querySelector('tr.pointed')?.dataset.lesion === '1'")
    told = opened.evaluate("document.getElementById('pointed').textContent")
    assert told.startswith("row 33, column 19, about -30")
    assert told.endswith("lesion 1")


def test_sides_of_the_patient_stand_beside_the_picture(opened):
    boxes = {side: opened.box(f".side.{side}") for side in ("right", "left", "anterior", "posterior")}
    picture = opened.box("#picture")
    assert boxes["right"]["x"] < picture["x"] < boxes["left"]["x"]
    assert opened.evaluate("document.querySelector('.side.right').textContent") == "R"
    assert opened.evaluate("[...document.querySelectorAll('.side')].every((side) => !side.hidden)")


def test_what_is_shown_is_read_out_once_it_rests(opened):
    opened.evaluate("picture.focus()")
    opened.press("Home")
    opened.wait_for("document.getElementById('live').textContent.startsWith('Slice 1 of 12')")
    assert opened.evaluate("document.getElementById('live').getAttribute('aria-live')") == "polite"
    assert "Probability of infection 55.0%, positive" in opened.evaluate("document.getElementById('live').textContent")


def test_only_a_few_slices_are_kept_decoded(opened):
    opened.evaluate("(async () => { for (let i = 0; i < 12; i += 1) await loadSlice(i); })()")
    assert opened.evaluate("keptSlices.size") <= opened.evaluate("KEPT_SLICES")


@contextlib.contextmanager
def _pictures(browser, folder):
    report, slices = made_pictures()
    path = write_html(folder / "report.html", report, slices, hounsfield=False)
    with browser.open(path) as page:
        page.wait_for("picture.dataset.slice === '3'")
        yield page


def test_pictures_have_no_windows_no_sides_no_mask_and_are_told_why(browser, tmp_path):
    with _pictures(browser, tmp_path) as page:
        assert page.evaluate("document.getElementById('windows').disabled")
        assert "windows need HU" in page.evaluate("document.getElementById('windows-reason').innerText")
        assert page.evaluate("document.getElementById('mask').disabled")
        assert "there is no mask" in page.evaluate("document.getElementById('layers-reason').innerText")
        assert page.evaluate("[...document.querySelectorAll('.side')].every((side) => side.hidden)")


def test_pictures_of_differing_sizes_are_shown_in_their_own_shape(browser, tmp_path):
    with _pictures(browser, tmp_path) as page:
        assert page.evaluate("picture.width / picture.height") == pytest.approx(2)
        page.evaluate("picture.focus()")
        page.press("Home")
        page.wait_for("picture.dataset.slice === '1'")
        assert page.evaluate("picture.width / picture.height") == pytest.approx(4 / 3, abs=0.01)
        assert near(pixel(page, (24, 32), (48, 64)), [255 * 32 / 63] * 3, 6)
