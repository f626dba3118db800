import os
from collections import Counter
from pathlib import Path

import pytest
from ct_files import write_picture
from prepared import build, prepare, refusal

from jcs_jax.data.sources import open_source

REAL = Path(os.environ.get("JCS_DATA", Path(__file__).parents[3] / "shared/data")) / "mosmed_slices"
DEFAULT, WITHOUT_CT1 = "mosmed_slices/default", "mosmed_slices/ct0_ct2"


@pytest.fixture
def copy(tmp_path):
    """Seven studies of each of three categories, with the same file names in each."""
    for category in range(3):
        for index in range(7):
            write_picture(tmp_path / f"own/CT-{category}/img{index}.jpg", 10 * category + index)
    (tmp_path / "own/README.txt").write_text("passed over")
    return tmp_path / "own"


def test_a_file_is_a_study_with_the_label_of_its_category(copy, tmp_path):
    records = [record for split in build(DEFAULT, copy, tmp_path / "data").values() for record in split]
    assert len({record.patient for record in records}) == 21
    assert all(record.label == (not record.name.startswith("CT-0/")) for record in records)
    assert all(record.patient == record.name.removesuffix(".jpg") for record in records)
    assert {record.origin for record in records} == {"MosMedData"}
    assert {record.file_type for record in records} == {"jpeg"}


def test_every_split_has_every_category(copy, tmp_path):
    for split in build(DEFAULT, copy, tmp_path / "data").values():
        assert {record.name.split("/")[0] for record in split} == {"CT-0", "CT-1", "CT-2"}


def test_ct0_ct2_leaves_ct1_out(copy, tmp_path):
    splits = build(WITHOUT_CT1, copy, tmp_path / "data", "--folds=3")
    assert sorted(splits) == ["fold0", "fold1", "fold2"]
    counts = Counter(record.name.split("/")[0] for split in splits.values() for record in split)
    assert counts == {"CT-0": 7, "CT-2": 7}
    assert (
        "a CT-1 slice often shows no lesion"
        in (open_source(tmp_path / "data", WITHOUT_CT1, "fold0").info["label_policy"])
    )


def test_a_folder_without_the_categories_is_refused(copy, tmp_path, capsys):
    for source in (copy / "CT-0", tmp_path / "absent"):
        assert prepare(DEFAULT, source, tmp_path / "data") == 2
        refusal(capsys, f"{source}: holds no pictures in CT-0 and in another of CT-1 to CT-4")
    (copy / "CT-1/notes.txt").write_text("not passed over among the pictures")
    assert prepare(DEFAULT, copy, tmp_path / "data") == 2
    refusal(capsys, "CT-1/notes.txt: is not a PNG, JPEG, BMP or TIFF picture")
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real mosmed_slices beside the project or in $JCS_DATA")
def test_the_real_copy_has_903_studies_of_three_categories(tmp_path):
    splits = build(DEFAULT, REAL, tmp_path)
    sizes = {split: Counter(record.name[:4] for record in records) for split, records in splits.items()}
    assert sizes == {
        "train": {"CT-0": 152, "CT-1": 406, "CT-2": 74},
        "validation": {"CT-0": 32, "CT-1": 87, "CT-2": 16},
        "test": {"CT-0": 32, "CT-1": 88, "CT-2": 16},
    }
    records = [record for split in splits.values() for record in split]
    assert len({record.digest for record in records}) == len(records) == 903
