"""What a case's folder holds, and what may be replaced."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

from jcs_jax.diagnosis.result import Diagnosis, ModelCard, SliceDiagnosis, SliceFindings
from jcs_jax.errors import InputError
from jcs_jax.report import json_report
from jcs_jax.report.case_folder import require_free, write_case
from jcs_jax.report.json_report import FILE_NAME

CARD = ModelCard(None, {"name": "stub", "source": "made for tests"}, 0.5, 0.5)
SHAPE = (40, 48)
MASK = np.zeros(SHAPE, bool)
MASK[10:20, 10:20] = True


def _slice(name: str = "a.png", peak: float = 2.0, **absent) -> SliceDiagnosis:
    maps = {
        "probability": MASK.astype(np.float32),
        "mask": MASK,
        "activation": np.where(MASK, peak, -1).astype(np.float32),
        **absent,
    }
    return SliceDiagnosis(
        SliceFindings(
            name,
            SHAPE,
            class_probability=None if maps["activation"] is None else 0.5,
            positive=None if maps["activation"] is None else True,
            lesion_share=None if maps["mask"] is None else 100 / 1920,
        ),
        np.full(SHAPE, 0.5, np.float32),
        **maps,
    )


def _write(folder: Path, results, *, notes: tuple[str, ...] = (), **options) -> dict:
    def finish(findings):
        return Diagnosis("case", CARD, findings, notes)

    return write_case(folder, results, CARD, finish, **{"numbered": False, "formats": ("json", "png"), **options})


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _report(folder: Path) -> dict:
    report = json.loads((folder / FILE_NAME).read_text())
    jsonschema.validate(report, json_report.schema())
    return report


def test_single_slice_gets_plain_names(tmp_path):
    report = _write(tmp_path, [_slice()], numbered=False)
    assert _names(tmp_path) == ["activation.png", "diagnosis.json", "mask.png", "overlay.png"]
    assert report == _report(tmp_path)
    assert report["case"]["positive_slices"] == 1
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "mask.png")) == 255, MASK)


def test_slices_of_a_study_get_numbered_names(tmp_path):
    _write(tmp_path, (_slice(name) for name in ("x.png", "y.png")), numbered=True)
    assert _names(tmp_path) == [
        *(f"{number}_{kind}.png" for number in ("0001", "0002") for kind in ("activation", "mask", "overlay")),
        "diagnosis.json",
    ]
    assert [values["files"]["mask"] for values in _report(tmp_path)["slices"]] == ["0001_mask.png", "0002_mask.png"]


def test_activation_pictures_share_one_scale(tmp_path):
    _write(tmp_path, [_slice(peak=1.0), _slice(peak=8.0), _slice(peak=1.0)], numbered=True)
    assert _report(tmp_path)["activation"]["scale"] == 8.0
    weak, strong, again = (
        np.asarray(Image.open(tmp_path / f"{number}_activation.png")) for number in ("0001", "0002", "0003")
    )
    np.testing.assert_array_equal(weak, again)
    assert np.ptp(weak[192, 192].astype(int)) < np.ptp(strong[192, 192].astype(int))


@pytest.mark.parametrize(
    ("absent", "names"),
    [
        ({"activation": None}, ["diagnosis.json", "mask.png", "overlay.png"]),
        ({"mask": None, "probability": None}, ["activation.png", "diagnosis.json"]),
    ],
)
def test_pictures_that_the_network_cannot_give_are_not_written(tmp_path, absent, names):
    _write(tmp_path, [_slice(**absent)], numbered=False)
    assert _names(tmp_path) == names
    assert _report(tmp_path)["slices"][0]["files"].keys() == {"mask", "overlay", "activation"}


def test_formats_choose_what_is_written_and_the_report_always_is(tmp_path):
    report = _write(tmp_path, [_slice(), _slice("b.png")], numbered=True, formats=("html",))
    assert _names(tmp_path) == ["diagnosis.json", "report.html"]
    assert report["files"]["html"] == "report.html"
    assert report["slices"][0]["files"] == {"mask": None, "overlay": None, "activation": None}


def test_notes_on_the_case_lead_the_report(tmp_path):
    _write(tmp_path, [_slice()], numbered=False, notes=("3 files left out",))
    assert _report(tmp_path)["notes"][0] == "3 files left out"


def test_case_without_slices_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no slices"):
        _write(tmp_path, [], numbered=False)


def test_new_folder_is_free(tmp_path):
    require_free(tmp_path / "new", source=Path("a.png"), overwrite=False)


def test_existing_folder_is_refused_without_overwrite(tmp_path):
    with pytest.raises(InputError, match="already exists; give --overwrite"):
        require_free(tmp_path, source=Path("a.png"), overwrite=False)


def test_overwrite_replaces_nothing_but_an_earlier_result(tmp_path):
    with pytest.raises(InputError, match="not the folder of an earlier result"):
        require_free(tmp_path, source=Path("a.png"), overwrite=True)
    (tmp_path / FILE_NAME).write_text("{}")
    require_free(tmp_path, source=Path("a.png"), overwrite=True)


def test_overwrite_never_replaces_the_input(tmp_path):
    (tmp_path / FILE_NAME).write_text("{}")
    (tmp_path / "a.png").touch()
    for source in (tmp_path / "a.png", tmp_path):
        with pytest.raises(InputError, match="holds the input"):
            require_free(tmp_path, source=source, overwrite=True)
