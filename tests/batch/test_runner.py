"""Cases one after the other: what is planned, what is told of failures, and in which order."""

import json
import re
from pathlib import Path

import pytest
from chest_study import chest, chest_models, write_chest_dicom, write_chest_nifti

from jcs_jax.batch.names import own_cases
from jcs_jax.batch.options import Options
from jcs_jax.batch.run import run_cases
from jcs_jax.batch.runner import Outcome, Runner
from jcs_jax.errors import InputError
from jcs_jax.study.cases import find_cases

pytestmark = pytest.mark.usefixtures("chest_models")
__all__ = ["chest_models"]
KEY = bytes(range(32))


def _options(output: Path, **changes) -> Options:
    return Options(output, changes.pop("checkpoint", "models/joint"), formats=("json",), pseudonym_key=KEY, **changes)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    return write_chest_nifti(tmp_path_factory.mktemp("study") / "study.nii", chest())


def test_outcomes_are_told_in_the_order_of_the_cases(tmp_path, study):
    inputs = [tmp_path / "b", study, tmp_path / "a", study]
    outcome = run_cases(find_cases(inputs), _options(tmp_path / "out"))
    assert list(outcome.reports) == ["study", "study-2"]
    assert list(outcome.failures) == ["b", "a"]
    assert list(outcome.seconds["study"]) == ["reading", "lungs", "networks", "lesions", "report"]


def test_in_order_leaves_out_nothing_but_what_is_not_named():
    outcome = Outcome({"a": {}, "b": {}}, {"c": "said"}, {"b": {}, "a": {}})
    assert list(outcome.in_order(["c", "b", "a"]).reports) == ["b", "a"]
    assert list(outcome.in_order(["c", "b", "a"]).seconds) == ["b", "a"]


def test_networks_are_not_loaded_for_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, "load", lambda self: pytest.fail("loaded"))
    outcome = run_cases(find_cases([tmp_path / "missing"]), _options(tmp_path / "out", skip_done=True))
    assert list(outcome.failures) == ["missing"]


def test_a_result_in_the_way_is_found_before_anything_is_computed(tmp_path, study):
    (tmp_path / "study").mkdir()
    outcome = Outcome()
    assert Runner(_options(tmp_path)).plan(find_cases([study]), outcome) == []
    assert outcome.failures["study"].startswith(f"{tmp_path / 'study'}: already exists")


def test_what_a_killed_process_left_of_a_case_goes_when_it_is_diagnosed(tmp_path, study):
    leftovers = [tmp_path / f".study.0123456{number}.{kind}" for number, kind in enumerate(("tmp", "old"))]
    others = [tmp_path / ".study-2.01234567.tmp", tmp_path / ".other.01234567.tmp"]
    for path in (*leftovers, *others):
        path.mkdir()
    run_cases(find_cases([study]), _options(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [*sorted(path.name for path in others), "study"]


def test_a_failing_report_leaves_nothing(tmp_path, study, monkeypatch):
    def full(*parts, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jcs_jax.report.study_folder.write_study", full)
    outcome = run_cases(find_cases([study]), _options(tmp_path / "out"))
    assert outcome.failures["study"] == (
        f"{study}: unexpected OSError: [Errno 28] No space left on device (--debug shows where)"
    )
    assert list((tmp_path / "out").iterdir()) == []


def test_debug_lets_errors_through(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        run_cases(find_cases([tmp_path / "missing"]), _options(tmp_path / "out", debug=True))


def test_a_network_that_can_not_be_loaded_stops_the_run(tmp_path, study, monkeypatch):
    def refuse(path):
        raise InputError(f"{path}: no model here; name a model folder")

    monkeypatch.setattr("jcs_jax.load_model", refuse, raising=False)
    with pytest.raises(InputError, match="models/joint: no model here"):
        run_cases(find_cases([study]), _options(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_names_of_patients_become_numbers_of_the_whole_list(tmp_path, study):
    named = write_chest_dicom(tmp_path / "ID-4711", chest())
    cases = find_cases([study, named, tmp_path / "missing"])
    assert [case.name for case in own_cases(cases)] == ["study", "case-0002", "missing"]
    assert [case.name for case in own_cases(cases, part=(2, 2))] == ["case-0002"]
    assert [case.name for case in own_cases(cases, keep_identifiers=True)] == ["study", "ID-4711", "missing"]


def test_with_a_key_names_of_patients_become_pseudonyms_that_the_order_does_not_change(tmp_path, study):
    named = write_chest_dicom(tmp_path / "ID-4711", chest())
    name = own_cases(find_cases([study, named]), key=b"k" * 16)[1].name
    assert re.fullmatch("case-[0-9a-f]{12}", name)
    assert own_cases(find_cases([named, study]), key=b"k" * 16)[0].name == name
    assert own_cases(find_cases([named]), key=b"l" * 16)[0].name != name


def test_a_report_of_another_version_is_not_taken_for_done(tmp_path, study):
    run_cases(find_cases([study]), _options(tmp_path))
    file = tmp_path / "study" / "diagnosis.json"
    report = json.loads(file.read_text())
    file.write_text(json.dumps({**report, "schema": "jcs-diagnosis/1"}))
    outcome = run_cases(find_cases([study]), _options(tmp_path, skip_done=True))
    assert "joint (jcs-diagnosis/1) made it, and this run has joint (jcs-diagnosis/2)" in outcome.failures["study"]
