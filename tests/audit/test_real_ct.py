"""The audit on real CT: the figures of the data's own notes."""

import csv
import os
from pathlib import Path

import cv2
import pytest
from audit_parts import part

from jcs_jax.audit.auditor import audit
from jcs_jax.audit.confounding import find_confounders
from jcs_jax.audit.looks import look_at, workers
from jcs_jax.audit.parts import list_slices

DATA = Path(os.environ.get("JCS_DATA", Path(__file__).parents[3] / "shared/data"))
CT100 = DATA / "covid19_ct100/tr_im"
SEMISEG = DATA / "covid_semiseg/TrainingSet/LungInfection-Train/Doctor-label/Imgs"
UCSD = DATA / "ucsd_covid_ct"


def need(folder):
    return pytest.mark.skipif(
        not folder.is_dir(), reason=f"needs the real {folder.name} beside the project or in $JCS_DATA"
    )


def pictures(split, dataset, files, **told):
    read = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]
    return part(split, read, dataset=dataset, name=[file.stem for file in files], **told)


def ucsd():
    rows = list(csv.DictReader((UCSD / "manifest.csv").read_text(encoding="utf-8").splitlines()))
    for split in ("train", "val"):
        chosen = [row for row in rows if row["split"] == split]
        told = {"label": [int(row["label"]) for row in chosen], "patient": [row["patient"] for row in chosen]}
        yield pictures(split, "ucsd", [UCSD / row["path"] for row in chosen], **told)


@need(CT100)
@need(SEMISEG)
def test_the_transposed_lung_crops_of_covid_semiseg_are_found_in_covid19_ct100():
    whole = pictures("train", "ct100", sorted(CT100.glob("*.png")))
    crops = pictures("train", "semiseg", sorted(SEMISEG.glob("*.jpg")))
    found = audit([whole, crops])
    pairs = {(int(copy.first.name[-4:]), int(copy.second.name)) for copy in found.copies}
    assert pairs >= {(number, number) for number in (int(file.stem) for file in SEMISEG.glob("*.jpg"))}
    assert pairs - {(number, number) for number, _ in pairs} == {(10, 43), (43, 10)}  # one picture, twice in the set
    assert all(copy.change.startswith("transposed, cropped") for copy in found.copies)


@need(UCSD)
def test_the_brightness_of_the_official_ucsd_split_tells_the_classes_apart_in_train_only():
    parts = list(ucsd())
    with workers() as executor:
        rows = find_confounders(list_slices(parts), look_at(parts, executor, find_features=False))
    brightness = {row.part: row for row in rows if row.feature == "mean brightness"}
    assert brightness["ucsd:train"].auc.value == pytest.approx(0.73, abs=0.01)
    assert brightness["ucsd:val"].auc.value == pytest.approx(0.54, abs=0.01)
    assert [brightness[name].flagged for name in ("ucsd:train", "ucsd:val")] == [True, False]


@pytest.mark.slow
@need(UCSD)
def test_nothing_leaks_in_the_official_ucsd_split():
    assert not any(audit(list(ucsd())).leaks.values())
