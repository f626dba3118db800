"""The page in a real browser: it asks for nothing, runs nothing, fits narrow windows, prints, and can be read."""

import dataclasses
import re

import pytest
from browser import CHROMIUM, running_browser
from made_evaluation import made_comparison, made_evaluation, made_facts, made_published

from jcs_jax.evaluation.page.page import evaluation_page

HOSTILE = "</style><script>window.ran = 1</script><img src=x onerror='window.ran = 1'>" + "x" * 120


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("evaluation") / "evaluation.html"
    whole = made_evaluation()
    pictures = [dataclasses.replace(one, name=HOSTILE) for one in whole.pictures]
    subgroups = {HOSTILE: whole.summary, **whole.subgroups}
    evaluation = dataclasses.replace(whole, pictures=pictures, subgroups=subgroups, notes=(HOSTILE,))
    facts = dataclasses.replace(made_facts(), checkpoint=HOSTILE)
    text = evaluation_page(evaluation, facts, comparison=made_comparison(), published=made_published())
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_is_asked_for_nothing_runs_and_nothing_complains(browser, written):
    with browser.open(written) as page:
        urls = [event["request"]["url"] for event in page.events("Network.requestWillBeSent")]
        assert [url for url in urls if not url.startswith("data:")] == [written.resolve().as_uri()]
        assert page.events("Log.entryAdded") == []
        assert page.evaluate("window.ran") is None
        assert page.evaluate("document.querySelectorAll('img').length") == 13
        assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


@pytest.mark.parametrize("width", [320, 480, 1200])
def test_the_window_needs_no_scrolling_sideways_though_names_are_long(browser, written, width):
    with browser.open(written, width=width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_plots_are_dark_where_the_page_is(browser, written):
    pixel = """(async () => {
      const image = document.querySelector("#plots img");
      await image.decode();
      const canvas = Object.assign(document.createElement("canvas"), {width: 9, height: 9});
      canvas.getContext("2d").drawImage(image, 0, 0);
      return [...canvas.getContext("2d").getImageData(1, 1, 1, 1).data];
    })()"""
    grounds = {}
    for dark in (False, True):
        with browser.open(written, dark=dark) as page:
            grounds[dark] = page.evaluate(pixel), page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert grounds[False] == ([255, 255, 255, 255], "rgb(255, 255, 255)")
    assert grounds[True] == ([22, 24, 27, 255], "rgb(22, 24, 27)")


def test_it_prints_all_its_parts_on_a4(browser, written):
    with browser.open(written) as page:
        pdf = page.pdf()
        page.call("Emulation.setEmulatedMedia", media="print")
        printed = page.evaluate("document.body.innerText")
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 12
    for words in ("Research use only", "Classification, by patient", "Paired comparison", "How to read the intervals"):
        assert words in printed


_CONTRASTS = """(() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => color.slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = (part) => {
    const color = numbers(getComputedStyle(part).backgroundColor);
    return color.length === 3 || color[3] > 0 || !part.parentElement ? color : ground(part.parentElement);
  };
  return [...document.querySelectorAll("main *")].filter((part) => part.innerText?.trim()).map((part) => {
    const pair = [numbers(getComputedStyle(part).color), ground(part)].map(luminance).sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05);
  });
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_texts_stand_out_from_their_ground(browser, written, dark):
    with browser.open(written, dark=dark) as page:
        contrasts = page.evaluate(_CONTRASTS)
    assert len(contrasts) > 300
    assert min(contrasts) >= 4.5
