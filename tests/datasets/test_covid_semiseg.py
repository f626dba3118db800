import os
from pathlib import Path

import numpy as np
import pytest
from ct_files import write_picture
from PIL import Image
from prepared import build, prepare, refusal

from jcs_datasets.covid_semiseg.layout import LABELLED, PSEUDO, patient_of
from jcs_jax.data.sources import open_source

REAL = Path(os.environ.get("JCS_DATA", Path(__file__).parents[3] / "shared/data")) / "covid_semiseg"
DATASET = "covid_semiseg/default"
VOLUMES = ("coronacases_org_001", "radiopaedia_org_covid-19-pneumonia-10_85902_1-dcm")


def write_labelled(folder, numbers):
    for number in numbers:
        write_picture(folder / f"Imgs/{number}.jpg", number)
        mask = np.zeros((40, 48), np.uint8)
        mask[:number] = 255
        (folder / "GT").mkdir(exist_ok=True)
        Image.fromarray(mask).save(folder / f"GT/{number}.png")


@pytest.fixture
def copy(tmp_path):
    """Four slices with masks of as many rows as their number, and 12 slices of each of two volumes."""
    write_labelled(tmp_path / "own" / LABELLED, (1, 2, 10, 20))
    for number, volume in enumerate(VOLUMES):
        for index in range(1, 13):
            write_picture(tmp_path / f"own/{PSEUDO}/Data-1_{volume}_{index}.jpg", 100 + 20 * number + index)
    return tmp_path / "own"


def test_slices_with_masks_are_train_and_slices_of_volumes_are_unlabelled(copy, tmp_path):
    splits = build(DATASET, copy, tmp_path / "data")
    assert list(splits) == ["train", "unlabelled"]
    train, unlabelled = splits["train"], splits["unlabelled"]
    assert [Path(record.name).stem for record in train] == ["1", "2", "10", "20"]
    assert [record.lesion_area for record in train] == [number * 48 for number in (1, 2, 10, 20)]
    assert {record.patient for record in train} == {""} and {record.origin for record in train} == {"MedSeg"}
    assert [Path(record.name).stem for record in unlabelled] == [
        f"Data-1_{volume}_{index}" for volume in VOLUMES for index in range(1, 13)
    ]
    assert [record.patient for record in unlabelled] == (
        ["coronacases:001"] * 12 + ["radiopaedia:covid-19-pneumonia-10"] * 12
    )
    assert [record.origin for record in unlabelled] == ["coronacases"] * 12 + ["radiopaedia"] * 12
    assert {record.label for record in train + unlabelled} == {1}
    assert open_source(tmp_path / "data", DATASET, "unlabelled")[0].mask is None
    said = open_source(tmp_path / "data", DATASET, "train").info
    assert "the same pictures as in covid19_ct100 but transposed and cropped" in said["split_note"]
    assert said["licence"].startswith("non-commercial use only")


def test_folds_are_made_of_the_slices_with_masks_alone(copy, tmp_path):
    splits = build(DATASET, copy, tmp_path / "data", "--folds=2", "--seed=1")
    assert {split: len(records) for split, records in splits.items()} == {"unlabelled": 24, "fold0": 2, "fold1": 2}


def test_the_test_slices_are_read_where_they_lie_there(copy, tmp_path):
    write_labelled(copy / "TestingSet/LungInfection-Test", (5, 6))
    splits = build(DATASET, copy, tmp_path / "data")
    assert [record.name for record in splits["test"]] == [
        f"TestingSet/LungInfection-Test/Imgs/{number}.jpg" for number in (5, 6)
    ]
    assert [record.lesion_area for record in splits["test"]] == [5 * 48, 6 * 48]


@pytest.mark.parametrize(
    ("volume", "patient"),
    [
        ("coronacases_org_001", "coronacases:001"),
        ("coronacases_org_010", "coronacases:010"),
        ("radiopaedia_org_covid-19-pneumonia-10_85902_3-dcm", "radiopaedia:covid-19-pneumonia-10"),
        ("radiopaedia_org_covid-19-pneumonia-29_86490_1-dcm", "radiopaedia:covid-19-pneumonia-29"),
        ("radiopaedia_org_covid-19-pneumonia-29_86491_1-dcm", "radiopaedia:covid-19-pneumonia-29"),
    ],
)
def test_volumes_of_one_case_are_one_patient(volume, patient):
    assert patient_of(f"Data-1_{volume}_112") == (patient, patient.split(":")[0])


def test_a_name_that_tells_no_volume_tells_no_patient():
    assert patient_of("slice_12") == ("", "")


def no_mask(own):
    (own / LABELLED / "GT/10.png").unlink()
    return "GT/10.png: the mask of 10.jpg is missing"


def grey_mask(own):
    Image.fromarray(np.full((40, 48), 38, np.uint8)).save(own / LABELLED / "GT/10.png")
    return "GT/10.png: a mask holds 0 and 1, or 0 and 255, but this one holds 38"


def odd_name(own):
    write_picture(own / PSEUDO / "slice_1.jpg", 9)
    return "slice_1.jpg: its name doesn't tell the volume"


def wrong_folder(own):
    (own / "TrainingSet").rename(own / "Training")
    return "Imgs: is missing; --source must be the folder that holds TrainingSet"


@pytest.mark.parametrize("damage", [no_mask, grey_mask, odd_name, wrong_folder])
def test_a_bad_copy_is_refused_in_one_line_and_leaves_nothing(copy, tmp_path, capsys, damage):
    message = damage(copy)
    assert prepare(DATASET, copy, tmp_path / "data") == 2
    refusal(capsys, message)
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real covid_semiseg beside the project or in $JCS_DATA")
def test_the_real_copy_has_50_slices_with_masks_and_1600_of_18_patients(tmp_path):
    splits = build(DATASET, REAL, tmp_path)
    assert {split: len(records) for split, records in splits.items()} == {"train": 50, "unlabelled": 1600}
    patients = [record.patient for record in splits["unlabelled"]]
    assert len(set(patients)) == 18 and patients.count("radiopaedia:covid-19-pneumonia-10") == 19 + 207
    assert all(record.lesion_area > 0 for record in splits["train"])
    assert open_source(tmp_path, DATASET, "train").info["warning"] == ""
