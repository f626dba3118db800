import os
from collections import Counter
from pathlib import Path

import pytest
from ct_files import write_picture, write_table
from prepared import build, prepare, refusal

from jcs_datasets.ucsd_covid_ct.layout import source_of
from jcs_jax.data.sources import open_source

REAL = Path(os.environ.get("JCS_DATA", Path(__file__).parents[3] / "shared/data")) / "ucsd_covid_ct"
DATASET = "ucsd_covid_ct/default"
LISTED = {
    "COVID/trainCT_COVID.txt": ["2020.01.24.919183-p27-132.png", "PIIS014067%0.png"],
    "COVID/valCT_COVID.txt": ["2020.02.10.20021584-p6-52%0.png"],
    "COVID/testCT_COVID.txt": ["kjr-21-e24.jpg"],
    "NonCOVID/trainCT_NonCOVID.txt": ["20%1.jpg", "1070.png"],
    "NonCOVID/valCT_NonCOVID.txt": ["21.jpg"],
    "NonCOVID/testCT_NonCOVID.txt": ["1071.png"],
}


@pytest.fixture
def official(tmp_path):
    """The official layout with eight pictures."""
    for number, (name, pictures) in enumerate(LISTED.items()):
        write_table(tmp_path / "own/Data-split" / name, "\n".join(pictures))
        for index, picture in enumerate(pictures):
            kind = name.split("/", maxsplit=1)[0]
            write_picture(tmp_path / f"own/Images-processed/CT_{kind}" / picture, 10 * number + index)
    return tmp_path / "own"


def test_the_official_lists_give_splits_and_labels_and_names_tell_the_paper(official, tmp_path):
    splits = build(DATASET, official, tmp_path / "data")
    labels = {split: [(Path(item.name).name, item.label) for item in records] for split, records in splits.items()}
    assert labels == {
        "train": [(name, 1) for name in LISTED["COVID/trainCT_COVID.txt"]]
        + [(name, 0) for name in LISTED["NonCOVID/trainCT_NonCOVID.txt"]],
        "validation": [("2020.02.10.20021584-p6-52%0.png", 1), ("21.jpg", 0)],
        "test": [("kjr-21-e24.jpg", 1), ("1071.png", 0)],
    }  # fmt: skip
    assert [record.origin for record in splits["train"]] == ["paper:2020.01.24.919183", "paper:PIIS014067", "", ""]
    assert splits["train"][0].name == "Images-processed/CT_COVID/2020.01.24.919183-p27-132.png"
    assert {record.patient for records in splits.values() for record in records} == {""}
    said = open_source(tmp_path / "data", DATASET, "train").info
    assert "the patient of 8 of 8 slices is unknown" in said["split_note"]
    assert "non-COVID is not healthy" in said["label_policy"]


def test_the_tables_of_patients_are_used_where_they_lie_there(official, tmp_path):
    table = """
    ,File name,Patient ID,Age
    0,2020.01.24.919183-p27-132.png,Patient 1,50
    1,PIIS014067%0,Patient 2,
    """
    write_table(official / "COVID-CT-MetaInfo.csv", table)
    table = "image name,patient id\n20%1.jpg,crawled_patient_20\n1070.png,medpix_patient_1\n1071.png,medpix_patient_1"
    write_table(official / "NonCOVID-CT-MetaInfo.csv", table)
    splits = build(DATASET, official, tmp_path / "data")
    assert [(record.patient, record.origin) for record in splits["train"]] == [
        ("meta:Patient 1", "paper:2020.01.24.919183"),
        ("meta:Patient 2", "paper:PIIS014067"),
        ("crawled_patient_20", "crawled"),
        ("medpix_patient_1", "medpix"),
    ]
    warning = open_source(tmp_path / "data", DATASET, "train").info["warning"]
    assert warning.startswith("1 patient in more than one split")


def test_folds_take_the_place_of_the_official_splits(official, tmp_path):
    splits = build(DATASET, official, tmp_path / "data", "--folds=2")
    assert {split: len(records) for split, records in splits.items()} == {"fold0": 4, "fold1": 4}


@pytest.mark.parametrize(
    ("picture", "patient", "label", "source"),
    [
        ("2020.02.10.20021584-p6-52%0.png", "meta:Patient 2", 1, "paper:2020.02.10.20021584"),
        ("novel-p-adult_2020-p3-89%0.png", "", 1, "paper:novel-p-adult_2020"),
        ("PIIS0140673620303603%8.png", "", 1, "paper:PIIS0140673620303603"),
        ("kjr-21-e24-g001-l-a.jpg", "", 1, ""),
        ("1070.png", "medpix_patient_1", 0, "medpix"),
        ("20.jpg", "crawled_patient_20", 0, "crawled"),
        ("20%3.jpg", "", 0, ""),
    ],
)
def test_the_source_is_what_names_tell(picture, patient, label, source):
    assert source_of(picture, patient, label) == source


def zipped(own):
    (own / "Images-processed/CT_COVID").rename(own / "Images-processed/elsewhere")
    return "CT_COVID: is missing; unzip Images-processed/CT_COVID.zip"


def no_list(own):
    (own / "Data-split/NonCOVID/valCT_NonCOVID.txt").unlink()
    return "valCT_NonCOVID.txt: the list is missing"


def no_picture(own):
    (own / "Images-processed/CT_NonCOVID/21.jpg").unlink()
    return "valCT_NonCOVID.txt: 1 listed files are missing: Images-processed/CT_NonCOVID/21.jpg (line 1)"


def in_two_lists(own):
    (own / "Data-split/COVID/testCT_COVID.txt").write_text("PIIS014067%0.png\n")
    return "testCT_COVID.txt, line 1: Images-processed/CT_COVID/PIIS014067%0.png is in '"


def outside(own):
    (own / "Data-split/COVID/testCT_COVID.txt").write_text("../../../x.png\n")
    return "testCT_COVID.txt, line 1: 'Images-processed/CT_COVID/../../../x.png' is outside"


def other_table(own):
    write_table(own / "COVID-CT-MetaInfo.csv", "image,patient\na.png,1")
    return "COVID-CT-MetaInfo.csv: has no columns 'file name' and 'patient id'"


def no_lists(own):
    (own / "Data-split").rename(own / "lists")
    return "has neither Data-split nor manifest.csv"


@pytest.mark.parametrize("damage", [zipped, no_list, no_picture, in_two_lists, outside, other_table, no_lists])
def test_a_bad_copy_is_refused_in_one_line_and_leaves_nothing(official, tmp_path, capsys, damage):
    message = damage(official)
    assert prepare(DATASET, official, tmp_path / "data") == 2
    refusal(capsys, message)
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real ucsd_covid_ct beside the project or in $JCS_DATA")
def test_the_real_copy_has_425_and_118_slices_of_disjoint_patients(tmp_path):
    splits = build(DATASET, REAL, tmp_path)
    labels = {split: Counter(record.label for record in records) for split, records in splits.items()}
    assert labels == {"train": {0: 234, 1: 191}, "validation": {0: 58, 1: 60}}
    patients = [{record.patient for record in records} for records in splits.values()]
    assert [len(group) for group in patients] == [233, 56] and not patients[0] & patients[1] and "" not in patients[0]
    sources = Counter(record.origin.split(":")[0] for records in splits.values() for record in records)
    assert sources == {"paper": 251, "crawled": 149, "medpix": 143}
    said = open_source(tmp_path, DATASET, "train").info
    assert said["conversion_note"].startswith("131 of 543 pictures had colour") and said["warning"] == ""
