import json
import shutil

import cv2
import pytest
from ct100_copy import write_copy
from ct_files import nifti_bytes, noise, write_picture, write_table
from fake_slices import fake_slice
from prepared import build

from jcs_jax.audit.parts import list_slices, open_parts
from jcs_jax.errors import InputError


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Holds covid19_ct100/clean of seven slices, and chest_phantom in two configs."""
    folder = tmp_path_factory.mktemp("prepared")
    build("covid19_ct100/clean", write_copy(folder / "copy"), folder / "data")
    for config in ("clean", "copy_of_clean"):
        shutil.copytree(folder / "data/covid19_ct100/clean", folder / "data/several" / config)
    return folder / "data"


def opened(*data, data_dir=None):
    with open_parts(list(map(str, data)), data_dir and str(data_dir)) as parts:
        return [(part.name, len(part.source)) for part in parts]


FOLDS = [("fold0", 2), ("fold1", 2), ("fold2", 1), ("fold3", 1), ("fold4", 1)]


@pytest.mark.parametrize("name", ["covid19_ct100", "covid19_ct100/clean"])
def test_a_prepared_set_is_opened_by_name_with_all_its_splits(data_dir, name):
    assert opened(name, data_dir=data_dir) == [(f"{name}:{fold}", count) for fold, count in FOLDS]


@pytest.mark.parametrize("below", ["", "clean", "clean/1.1.0"])
def test_the_folder_of_a_prepared_set_needs_no_data_dir(data_dir, below):
    found = opened(data_dir / "covid19_ct100" / below)
    assert found == [(f"covid19_ct100/clean:{fold}", count) for fold, count in FOLDS]


def test_a_name_wins_over_a_folder_of_that_name_where_data_dir_has_it(data_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "covid19_ct100").mkdir()
    assert len(opened("covid19_ct100", data_dir=data_dir)) == 5


def test_a_manifest_is_prepared_for_the_time_being(tmp_path):
    for number in range(3):
        write_picture(tmp_path / f"p{number}.png", number)
    rows = write_table(
        tmp_path / "mine.csv", "image,label,patient,split\np0.png,1,a,train\np1.png,0,b,train\np2.png,1,c,test"
    )
    with open_parts([str(rows)], None) as parts:
        assert [part.name for part in parts] == ["mine:train", "mine:test"]
        assert [item.record.patient for item in list_slices(parts)] == ["a", "b", "c"]
        assert list_slices(parts)[0].person != ("mine", "a")  # a patient of this file, not of any set called mine
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.csv", "p0.png", "p1.png", "p2.png"]


def test_class_folders_and_volumes_are_prepared_too(tmp_path):
    for label in ("covid", "normal"):
        for split in ("train", "test"):
            path = tmp_path / "folders" / split / label / "a.png"
            path.parent.mkdir(parents=True)
            cv2.imwrite(str(path), fake_slice(len(str(path)) + ord(label[0]), 64))
    assert opened(tmp_path / "folders") == [("folders:train", 2), ("folders:test", 2)]
    for split in ("train", "test"):
        (tmp_path / f"{split}.nii.gz").write_bytes(nifti_bytes(noise(len(split), 40, 40, 3)))
    rows = write_table(tmp_path / "volumes.csv", "image,split\ntrain.nii.gz,train\ntest.nii.gz,test")
    assert opened(rows) == [("volumes:train", 3), ("volumes:test", 3)]


def test_several_sets_are_opened_in_order_and_share_no_patients(data_dir, tmp_path):
    write_picture(tmp_path / "p.png")
    rows = write_table(tmp_path / "mine.csv", "image,patient,split\np.png,a,train")
    with open_parts(["covid19_ct100", str(rows)], str(data_dir)) as parts:
        assert [part.dataset for part in parts] == ["covid19_ct100"] * 5 + ["mine"]
        assert len({part.namespace for part in parts}) == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["absent"], "absent: no such data set, file or folder; add --data_dir"),
        (["./absent.csv"], "absent.csv: no such data set, file or folder; check the path"),
    ],
)
def test_what_is_not_there_is_refused(given, expected):
    with pytest.raises(InputError, match=expected):
        opened(*given)


def test_a_set_that_is_not_prepared_is_refused_with_the_command_that_does_it(data_dir):
    with pytest.raises(InputError, match="jcs prepare chest_phantom"):
        opened("chest_phantom", data_dir=data_dir)


def test_one_of_several_configs_has_to_be_named(data_dir):
    with pytest.raises(InputError, match="has configs clean, copy_of_clean; name one"):
        opened("several", data_dir=data_dir)


@pytest.mark.parametrize("other", ["covid19_ct100", "covid19_ct100/clean", "{}/covid19_ct100"])
def test_a_set_given_twice_is_refused_under_whatever_name(data_dir, other):
    with pytest.raises(InputError, match="covid19_ct100: is given twice"):
        opened("covid19_ct100", other.format(data_dir), data_dir=data_dir)


def test_two_manifests_of_one_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        write_picture(tmp_path / folder / "p.png")
    tables = [write_table(tmp_path / folder / "mine.csv", "image,split\np.png,train") for folder in ("a", "b")]
    with pytest.raises(InputError, match="mine: is given twice; name every data set once, and folders differently"):
        opened(*tables)


def test_a_set_that_was_moved_or_damaged_or_outdated_is_refused(data_dir, tmp_path):
    moved = tmp_path / "elsewhere/1.1.0"
    shutil.copytree(data_dir / "covid19_ct100/clean/1.1.0", moved)
    with pytest.raises(InputError, match="was moved"):
        opened(moved)
    home = tmp_path / "covid19_ct100/clean"
    for version in ("1.1.0", "1.2.0"):
        shutil.copytree(moved, home / version)
    with pytest.raises(InputError, match="newer version"):
        opened(home / "1.1.0")
    (moved / "dataset_info.json").write_text(json.dumps([]))
    with pytest.raises(InputError, match="damaged"):
        opened(moved)


def test_a_bad_manifest_is_refused_with_the_builders_own_line(tmp_path):
    rows = write_table(tmp_path / "mine.csv", "image,split\nabsent.png,train")
    with pytest.raises(InputError, match=r"absent\.png"):
        opened(rows)
