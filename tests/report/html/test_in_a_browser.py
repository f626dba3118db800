"""The page as a whole in a real browser: it asks for nothing, trusts nothing, prints, and everyone can use it."""

import itertools
import json
import re
import zlib

import pytest
from report_case import made_pictures, made_report, made_slices

from jcs_jax.report.html.page import write_html

HOSTILE = "</script><img src=x onerror=alert(1)><svg onload=alert(2)>&amp;\"'$x${y}\udcff"


def complaints(page):
    told = [*page.events("Runtime.exceptionThrown"), *page.events("Runtime.consoleAPICalled")]
    return told + page.events("Log.entryAdded") + page.events("Page.javascriptDialogOpening")


def asked_for(page):
    return [event["request"]["url"] for event in page.events("Network.requestWillBeSent")]


def use_everything(page):
    page.wait_for("picture.dataset.slice")
    page.evaluate("picture.focus()")
    for key in ("a", "2", "m", "End", "Home"):
        page.press(key)
    for selector in ("tr[data-lesion] td", "#chart"):
        if page.evaluate(f"document.querySelector({json.dumps(selector)}) !== null"):
            page.click(selector)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")


def test_nothing_is_asked_for_and_nothing_complains(browser, made_page):
    with browser.open(made_page) as page:
        use_everything(page)
        asked = [url for url in asked_for(page) if not url.startswith("data:")]
        assert asked == [made_page.resolve().as_uri()]
        assert complaints(page) == []


def test_the_policy_forbids_requests_and_foreign_scripts(browser, made_page):
    with browser.open(made_page) as page:
        refused = page.evaluate("fetch('https://example.invalid/').then(() => 'sent', () => 'refused')")
        assert refused == "refused"
        page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
        )
        assert page.evaluate("window.ran") is None


def test_hostile_names_stay_text(browser, tmp_path):
    report = made_report()
    report["case"]["name"] = report["decision"]["rule"] = HOSTILE
    report["notes"] = [HOSTILE]
    report["model"] |= {"name": HOSTILE, "checkpoint": HOSTILE, "preset": {HOSTILE: HOSTILE}}
    for item in report["slices"]:
        item |= {"file": HOSTILE, "notes": [HOSTILE]}
    path = write_html(tmp_path / "report.html", report, made_slices(), hounsfield=True)
    with browser.open(path) as page:
        use_everything(page)
        assert page.evaluate("document.querySelectorAll('img[onerror], svg[onload]').length") == 0
        assert page.evaluate("document.querySelector('h1').textContent").startswith(HOSTILE[:-1])
        assert HOSTILE[:-1] in page.evaluate("document.getElementById('facts').textContent")
        assert complaints(page) == []


def _case_without(*parts):
    report, slices = made_report(), made_slices()
    if "class head" in parts:
        report |= {"decision": None, "activation": None, "screening_model": None}
        report["case"] |= {"positive_slices": None, "highest_class_probability": None, "highest_slice": None}
        for item in report["slices"]:
            item |= {"class_probability": None, "positive": None, "map_mask_agreement": None}
        slices = [type(item)(item.values, item.mask, item.labels) for item in slices]
    if "segmentation" in parts:
        report["lesions"] = None
        for item in report["slices"]:
            item |= {"segmented": False, "lesion_share_of_picture": None, "lesion_area_mm2": None}
            item |= {"map_mask_agreement": None, "file": None, "height_mm": None, "lung_bearing": None}
        slices = [type(item)(item.values, activation=item.activation) for item in slices]
    return report, slices


@pytest.mark.parametrize("parts", [("class head",), ("segmentation",), ("class head", "segmentation")])
def test_missing_parts_leave_a_page_that_works(browser, tmp_path, parts):
    report, slices = _case_without(*parts)
    path = write_html(tmp_path / "report.html", report, slices, hounsfield=True)
    with browser.open(path) as page:
        use_everything(page)
        assert page.evaluate("document.getElementById('map').disabled") == ("class head" in parts)
        assert page.evaluate("document.getElementById('mask').disabled") == ("segmentation" in parts)
        assert complaints(page) == []
        visible = page.evaluate("document.body.innerText")
        assert not re.search(r"\b(null|undefined|None|NaN)\b", visible)


def test_pictures_leave_a_page_that_works(browser, tmp_path):
    report, slices = made_pictures()
    path = write_html(tmp_path / "report.html", report, slices, hounsfield=False)
    with browser.open(path) as page:
        use_everything(page)
        assert complaints(page) == []
        assert "No patient-level decision was made." in page.evaluate("document.body.innerText")


def test_it_prints_on_a4_with_text_and_pictures(browser, made_page):
    with browser.open(made_page) as page:
        page.wait_for("picture.dataset.slice")
        pdf = page.pdf()
        page.call("Emulation.setEmulatedMedia", media="print")
        printed = page.evaluate("document.body.innerText")
        shown = page.evaluate(
            "[...document.querySelectorAll('input, #viewer')].filter((part) => part.offsetParent).length"
        )
    assert len(re.findall(rb"/Subtype\s*/Image", pdf)) >= 6
    assert {tuple(map(round, map(float, box.split()))) for box in re.findall(rb"/MediaBox \[([^\]]+)\]", pdf)} <= {
        (0, 0, 595, 842),
        (0, 0, 596, 842),
    }
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 4
    assert sum(stream.count(b"Tj") + stream.count(b"TJ") for stream in _streams(pdf)) > 100
    for words in ("Research use only", "infected", "Key slices", "Lesions", "Severity score 7 of 25", "MODEL_CARD.md"):
        assert words in printed
    assert shown == 0


def _streams(pdf):
    for data in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        try:
            yield zlib.decompress(data)
        except zlib.error:
            continue


def test_without_scripts_the_numbers_and_key_slices_are_there(browser, made_page):
    with browser.open(made_page) as page:
        page.call("Emulation.setScriptExecutionDisabled", value=True)
        page.call("Page.reload")
        page.wait_for("document.readyState === 'complete'")
        told = page.evaluate("document.body.innerText")
        assert "Scripts are off" in told
        assert "Key slices" in told
        assert "Slices of the case" not in told


def test_a_narrow_window_needs_no_scrolling_sideways(browser, made_page):
    with browser.open(made_page, width=480) as page:
        page.wait_for("picture.dataset.slice")
        assert page.evaluate("document.documentElement.scrollWidth") <= 480


def test_every_control_has_a_name_and_the_page_its_landmarks(browser, made_page):
    with browser.open(made_page) as page:
        page.wait_for("picture.dataset.slice")
        nameless = page.evaluate(
            "[...document.querySelectorAll('input, button, canvas, svg, img, [role=region]')].filter((part) =>"
            " !(part.labels?.length || part.getAttribute('aria-label') || part.alt || part.textContent.trim()))"
            ".map((part) => part.outerHTML)"
        )
        assert nameless == []
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.evaluate("document.title") == "case-1 - JCS-JAX diagnosis"
        for landmark in ("header", "main", "footer", "h1"):
            assert page.evaluate(f"document.querySelectorAll('{landmark}').length") == 1
        assert page.evaluate("[...document.querySelectorAll('th')].every((cell) => cell.scope)")
        levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((title) => Number(title.tagName[1]))")
        assert all(second - first <= 1 for first, second in itertools.pairwise(levels))
        assert page.evaluate(
            "(ids => ids.length === new Set(ids).size)([...document.querySelectorAll('[id]')].map(e => e.id))"
        )


_CONTRASTS = """(() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => color.slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = (part) => {
    for (let at = part; at; at = at.parentElement) {
      const color = numbers(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("body *")].filter((part) => part.checkVisibility() &&
    [...part.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim()));
  return texts.map((part) => {
    const style = getComputedStyle(part);
    const color = numbers(part instanceof SVGElement ? style.fill : style.color);
    const [high, low] = [luminance(color), luminance(ground(part))].sort((a, b) => b - a);
    return [(high + 0.05) / (low + 0.05), part.outerHTML.slice(0, 90)];
  });
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_texts_stand_out_from_their_ground(browser, made_page, dark):
    with browser.open(made_page, dark=dark) as page:
        use_everything(page)
        contrasts = page.evaluate(_CONTRASTS)
        assert len(contrasts) > 100
        assert [told for told in contrasts if told[0] < 4.5] == []
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(22, 24, 27)" if dark else "rgb(255, 255, 255)"
        )


def test_what_has_the_focus_is_outlined(browser, made_page):
    with browser.open(made_page) as page:
        page.wait_for("picture.dataset.slice")
        for _ in range(3):
            page.press("Tab")
            style = page.evaluate("(s => [s.outlineStyle, s.outlineWidth])(getComputedStyle(document.activeElement))")
            assert style == ["solid", "3px"]
