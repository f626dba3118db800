"""The file that is written, without a browser."""

import itertools
import json
import re
from pathlib import Path

import jsonschema
import pytest
from report_case import COUNT, made_pictures, made_report, made_slices

from jcs_jax.report import json_report, overlay
from jcs_jax.report.html import page
from jcs_jax.report.html.key_slices import choose_key_slices, key_figure
from jcs_jax.report.html.page import write_html


@pytest.fixture(scope="module")
def text(made_page) -> str:
    return made_page.read_text(encoding="utf-8")


def test_the_made_case_is_laid_out_as_diagnosis_json():
    for report in (made_report(), made_pictures()[0]):
        jsonschema.validate(report, json_report.schema())


def test_warnings_come_before_the_decision_and_that_before_the_pictures(text):
    body = text[text.index("<body>") :]
    order = [body.index(f'id="{anchor}"') for anchor in ("warnings", "decision", "viewer", "lesions", "along", "lungs")]
    assert order == sorted(order)
    assert body.index("Research use only: not a medical device.") < order[1]


def test_the_decision_is_told_with_its_threshold_and_the_releases_rule(text):
    assert "Probability of infection 91.3% (calibrated); a patient counts as infected from 42.0%." in text
    assert "not infected (7 slices reach the class threshold, more than 18 are needed for infected)" in text


def test_the_page_names_nothing_outside_itself(text):
    assert not re.search(
        r"https?:|//[a-z]", re.sub(r"base64,[^\"]+|>[A-Za-z0-9+/=]{80,}<", "", text.split("<script>")[0])
    )
    assert "default-src 'none'" in text


def test_the_same_case_gives_the_same_file(made_page, tmp_path):
    again = write_html(tmp_path / "again.html", made_report(), made_slices(), hounsfield=True)
    assert again.read_bytes() == made_page.read_bytes()


def test_slices_are_taken_one_by_one(tmp_path):
    waiting = made_slices()

    def taken():
        while waiting:
            yield waiting.pop(0)

    write_html(tmp_path / "report.html", made_report(), taken(), hounsfield=True)
    assert not waiting


@pytest.mark.parametrize("count", [COUNT - 1, COUNT + 1])
def test_another_number_of_slices_is_refused_and_no_file_left(tmp_path, count):
    slices = itertools.islice(itertools.cycle(made_slices()), count)
    with pytest.raises(ValueError, match="zip"):
        write_html(tmp_path / "report.html", made_report(), slices, hounsfield=True)
    assert not list(tmp_path.iterdir())


def test_it_cant_be_told_is_written_with_its_reasons(tmp_path):
    report = made_report()
    report["decision"] |= {"answer": "can't tell", "probability": None, "reasons": ["only 2 slices show lung"]}
    text = _written(tmp_path, report)
    assert "can&#x27;t tell</p>" in text
    assert "<li>only 2 slices show lung</li>" in text
    assert "No probability could be computed." in text


def test_a_case_without_lesions_says_so(tmp_path):
    report = made_report()
    report["lesions"] |= {"count": 0, "volume_ml": 0.0, "lesions": []}
    assert "No lesion was found." in _written(tmp_path, report)


def test_overlays_are_as_strong_as_in_the_pictures():
    assert page.FILL_OPACITY == overlay.FILL_OPACITY
    assert page.MAP_OPACITY == overlay.MAP_OPACITY
    assert page.MAP_FULL_OPACITY_FROM == overlay.MAP_FULL_OPACITY_FROM


def test_key_slices_are_the_most_probable_and_the_most_affected_by_turns():
    report = made_report()
    for item in report["slices"]:
        item["class_probability"] = item["number"] / COUNT
        item["lesion_share_of_picture"] = 1 / item["number"]
    assert choose_key_slices(report, most=4) == {COUNT, 1, COUNT - 1, 2}


def test_key_slices_are_not_neighbours_in_a_long_case():
    report = made_report()
    report["slices"] = [
        report["slices"][0] | {"number": number, "class_probability": 1 / number} for number in range(1, 101)
    ]
    chosen = sorted(choose_key_slices(report))
    assert len(chosen) == 6
    assert min(second - first for first, second in itertools.pairwise(chosen)) == 6


def test_a_case_without_any_result_has_its_middle_slice_as_key():
    report = made_pictures()[0]
    for item in report["slices"]:
        item["class_probability"] = None
    assert choose_key_slices(report) == {2}


def test_a_slice_that_was_not_segmented_is_not_said_to_have_no_lesion(monkeypatch):
    told = made_report()["slices"][0] | {"segmented": False}
    monkeypatch.setattr("jcs_jax.report.html.key_slices.mask_overlay", None)
    assert "Slice 1" in key_figure(made_slices()[0], told, hounsfield=True, activation_scale=None)


def test_nothing_of_the_embedded_values_can_end_its_script(tmp_path):
    report = made_report()
    report["slices"][0]["notes"] = ["</script><b>"]
    values = re.search(r'id="view">(.*?)</script>', _written(tmp_path, report)).group(1)
    assert json.loads(values)["slices"][0]["notes"] == ["</script><b>"]


def _written(folder: Path, report) -> str:
    return write_html(folder / "report.html", report, made_slices(), hounsfield=True).read_text(encoding="utf-8")
