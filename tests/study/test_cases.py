"""Files and folders as cases, with names that are safe for folders."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jcs_jax.errors import InputError
from jcs_jax.study.cases import find_cases, natural_key


def _picture(path: Path, level: int = 0) -> Path:
    array = np.full((32, 32), level, np.uint8)
    array[0, 0] = 255
    Image.fromarray(array).save(path)
    return path


def test_file_is_a_case_of_one_slice(tmp_path):
    (case,) = find_cases([_picture(tmp_path / "my slice.png")])
    assert case.name == "my slice"
    assert [image.name for image in case.slices()] == ["my slice.png"]
    assert case.check() == 1
    assert case.notes() == ()


def test_folder_is_one_case_in_natural_order(tmp_path):
    for name in ("slice10.png", "slice2.JPG", "Slice1.jpeg"):
        _picture(tmp_path / name)
    (case,) = find_cases([str(tmp_path)])
    assert case.name == tmp_path.name
    assert [path.name for path in case.files()] == ["Slice1.jpeg", "slice2.JPG", "slice10.png"]


def test_other_files_in_a_folder_are_left_out_and_counted(tmp_path):
    _picture(tmp_path / "a.png")
    _picture(tmp_path / "._a.png")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "scan.dcm").write_bytes(b"x")
    (case,) = find_cases([tmp_path])
    assert [path.name for path in case.files()] == ["a.png"]
    assert case.notes() == ("2 files and folders that are no PNG or JPEG were left out",)


def test_bad_picture_in_a_folder_fails_the_case(tmp_path):
    _picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"broken")
    (case,) = find_cases([tmp_path])
    with pytest.raises(InputError, match=r"b\.png: not a readable"):
        case.check()


def test_folder_without_pictures_is_an_input_error(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (case,) = find_cases([tmp_path])
    with pytest.raises(InputError, match="no PNG or JPEG picture in this folder; give the folder"):
        case.files()


def test_missing_input_fails_when_it_is_read_not_when_it_is_listed(tmp_path):
    missing, present = find_cases([tmp_path / "absent.png", _picture(tmp_path / "a.png")])
    assert present.check() == 1
    with pytest.raises(InputError, match=r"absent\.png: no such file"):
        missing.check()


def test_cases_of_the_same_name_get_folders_of_their_own():
    names = [case.name for case in find_cases(["x/a.png", "y/A.jpg", "a-2", "z/a.jpeg"])]
    assert names == ["a", "A-2", "a-2-2", "a-3"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("/", "case"),
        ("x/.hidden.png", "hidden"),
        ("a\nb.png", "a?b"),
        ("x/" + "n" * 240 + ".png", "n" * 100),
        ("study.v2", "study.v2"),
        ("bad\udcff.png", "bad?"),
    ],
)
def test_case_names_can_be_folders(given, name):
    assert find_cases([given])[0].name == name


def test_dot_is_looked_up(tmp_path, monkeypatch):
    folder = tmp_path / "study 7"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert find_cases(["."])[0].name == "study 7"


def test_natural_order_compares_numbers_as_numbers():
    names = ["s10", "s9", "s09", "S1", "t", "s", "10", "9"]
    assert sorted(names, key=natural_key) == ["9", "10", "s", "S1", "s09", "s9", "s10", "t"]
