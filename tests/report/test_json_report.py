"""`diagnosis.json` follows its schema and gives nothing away."""

import json
from pathlib import Path

import jsonschema
import pytest

import jcs_jax
from jcs_jax.diagnosis.result import Diagnosis, MapAgreement, ModelCard, SliceFindings
from jcs_jax.models.presets import get_preset
from jcs_jax.report.json_report import case_report, schema, to_text

VALIDATOR = jsonschema.Draft202012Validator(schema())
CARD = ModelCard("joint_tiny", get_preset("joint_tiny").to_json(), 0.5, 0.5)
WHOLE = SliceFindings("a b.png", (64, 80), "0" * 64, ("windowed",), 0.75, True, 0.125, MapAgreement(0.5, True))
BARE = SliceFindings("b.png", (64, 80))
NAMES = {"mask": "mask.png", "overlay": "overlay.png", "activation": "activation.png"}


def _report(findings: SliceFindings = WHOLE, names=NAMES, scale: float | None = 3.5) -> dict:
    return case_report(Diagnosis("case 1", CARD, (findings,)), pictures=[names], activation_scale=scale)


def test_schema_is_valid_and_versioned():
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["properties"]["schema"] == {"const": "jcs-diagnosis/2"}


@pytest.mark.parametrize("arguments", [(WHOLE, NAMES, 3.5), (WHOLE, NAMES, 0.0), (BARE, {}, None)])
def test_report_follows_the_schema(arguments):
    text = to_text(_report(*arguments))
    VALIDATOR.validate(json.loads(text))


def test_notice_and_notes_come_before_any_number():
    assert list(_report())[:3] == ["schema", "research_use", "notes"]
    assert "not a medical device" in _report()["research_use"]
    assert _report()["notes"] == ["windowed"]


def test_report_says_which_tool_model_and_thresholds():
    report = _report()
    assert report["tool"] == {"name": "jcs-jax", "version": jcs_jax.__version__}
    assert report["model"]["name"] == report["model"]["checkpoint"] == "joint_tiny"
    assert report["model"]["preset"]["preprocessing"]["window_level"] == -600
    assert report["thresholds"] == {"class_probability": 0.5, "mask_probability": 0.5}
    assert report["activation"]["scale"] == 3.5
    assert report["activation"]["unit"].startswith("log-odds of infection against no infection;")


def test_report_is_slice_level_and_says_so():
    assert _report()["case"]["statement"] == "slice-level result; no decision on the patient"


def test_slice_names_its_files_and_its_numbers():
    (values,) = _report()["slices"]
    assert values["file"] == "a b.png"
    assert values["files"] == NAMES
    assert values["class_probability"] == 0.75
    assert values["map_mask_agreement"] == {"activation_inside_mask": 0.5, "pointing_hit": True}


def test_what_a_network_cannot_give_is_null_and_noted():
    report = _report(BARE, {}, None)
    assert report["slices"][0]["files"] == {"mask": None, "overlay": None, "activation": None}
    assert report["activation"] is None
    assert len(report["notes"]) == 2


def test_nan_is_never_written():
    with pytest.raises(ValueError, match="JSON"):
        to_text(_report(scale=float("nan")))


def test_every_slice_needs_its_pictures():
    with pytest.raises(ValueError, match="zip"):
        case_report(Diagnosis("case", CARD, (WHOLE, BARE)), pictures=[NAMES], activation_scale=1.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [("schema", "jcs-diagnosis/1"), ("research_use", "fit for patients"), ("extra", 1), ("slices", [])],
)
def test_schema_refuses_a_changed_report(key, value):
    assert not VALIDATOR.is_valid({**_report(), key: value})


@pytest.mark.parametrize("name", ["/home/x/a.png", "x\\a.png", "../a.png"])
def test_schema_refuses_paths(name):
    report = json.loads(to_text(_report()))
    report["slices"][0]["file"] = name
    assert not VALIDATOR.is_valid(report)


def test_report_holds_no_path_of_this_machine():
    text = to_text(_report())
    assert str(Path.home()) not in text
    assert str(Path.cwd()) not in text
