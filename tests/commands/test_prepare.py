import numpy as np
import pytest
from ct100_copy import write_copy, write_list
from PIL import Image

from jcs_jax import cli


@pytest.fixture
def copy(tmp_path):
    return write_copy(tmp_path / "copy")


def prepare(*arguments):
    return cli.main(["prepare", *map(str, arguments)])


def test_it_prepares_and_says_what_came_of_it(copy, tmp_path, capsys):
    assert prepare("covid19_ct100", "--source", copy, "--data_dir", tmp_path / "data") == 0
    said = capsys.readouterr().out
    assert f"covid19_ct100/clean: written: {tmp_path / 'data/covid19_ct100/clean/1.1.0'}" in said
    rows = [line.split() for line in said.splitlines() if line.strip().startswith("fold")]
    assert [row[:2] for row in rows] == [["fold0", "2"], ["fold1", "2"], ["fold2", "1"], ["fold3", "1"], ["fold4", "1"]]
    assert [row[3:5] for row in rows] == [[row[1], "0"] for row in rows]  # every slice has label 1
    assert sum(int(row[5]) for row in rows) == 1  # slice 0 shows no lesion
    assert "patients are unknown" in said
    assert "jcs train" in said


def test_a_second_run_keeps_the_data_and_says_so(copy, tmp_path, capsys):
    arguments = ("covid19_ct100", f"--source={copy}", f"--data_dir={tmp_path / 'data'}")
    assert prepare(*arguments) == 0
    assert "kept as it was (--overwrite rebuilds)" not in capsys.readouterr().out
    assert prepare(*arguments) == 0
    assert "kept as it was (--overwrite rebuilds)" in capsys.readouterr().out
    assert prepare(*arguments, "--overwrite") == 0
    assert "clean: written: " in capsys.readouterr().out


def test_the_official_lists_are_prepared_with_a_loud_warning(copy, tmp_path, capsys):
    write_list(copy, "train.txt", [0, 1, 2, 3])
    write_list(copy, "test.txt", [1, 2])
    assert prepare("covid19_ct100", "--source", copy, "--data_dir", tmp_path / "data", "--config", "official") == 0
    assert "WARNING: 2 of the 2 test images are also in train" in capsys.readouterr().out


def test_a_phantom_needs_no_source(tmp_path, capsys):
    assert prepare("chest_phantom", "--config", "tiny", "--data_dir", tmp_path / "data") == 0
    assert "WARNING: synthetic phantom, not a patient" in capsys.readouterr().out


def remove_list(copy):
    (copy / "all.txt").unlink()


def one_column(copy):
    (copy / "all.txt").write_text("tr_im/tr_im_0000.png\n")


def empty_image(copy):
    (copy / "tr_im/tr_im_0004.png").write_bytes(b"")


def no_image(copy):
    (copy / "tr_im/tr_im_0004.png").unlink()


def text_image(copy):
    (copy / "tr_im/tr_im_0004.png").write_text("no picture")


def one_pixel(copy):
    Image.new("L", (1, 1)).save(copy / "tr_im/tr_im_0004.png")


def sixteen_bits(copy):
    Image.fromarray(np.zeros((40, 48), np.uint16)).save(copy / "tr_im/tr_im_0004.png")


def transparent(copy):
    Image.new("RGBA", (48, 40)).save(copy / "tr_im/tr_im_0004.png")


def other_size(copy):
    Image.new("L", (40, 48)).save(copy / "tr_mask_new/tr_mask_0004.png")


def other_values(copy):
    Image.new("L", (48, 40), 3).save(copy / "tr_mask_new/tr_mask_0004.png")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (remove_list, "has neither all.txt nor"),
        (one_column, "all.txt, line 1: has one column"),
        (empty_image, "tr_im_0004.png"),
        (no_image, "tr_im_0004.png (line 5)"),
        (text_image, "tr_im_0004.png"),
        (one_pixel, "tr_im_0004.png"),
        (sixteen_bits, "tr_im_0004.png"),
        (transparent, "tr_im_0004.png"),
        (other_size, "tr_mask_0004.png"),
        (other_values, "tr_mask_0004.png"),
    ],
)
def test_bad_input_ends_in_one_line_exit_code_2_and_nothing_written(copy, tmp_path, capsys, spoil, expected):
    spoil(copy)
    assert prepare("covid19_ct100", "--source", copy, "--data_dir", tmp_path / "data") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("jcs prepare: ")
    assert expected in said.err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "name one data set of chest_phantom, covid19_ct100"),
        (("covid_ct", "--data_dir=data"), "name one data set of chest_phantom, covid19_ct100"),
        (("common", "--data_dir=data"), "name one data set of chest_phantom, covid19_ct100"),
        (("chest_phantom",), "--data_dir is missing"),
        (("covid19_ct100", "--data_dir=data"), "no source given"),
        (("covid19_ct100", "--data_dir=data", "--source=absent"), "absent: is not a folder"),
        (("chest_phantom", "--data_dir=data", "--config=huge"), "no config 'huge'; choose one of small, tiny"),
        (("chest_phantom", "--data_dir=data", "--colour=red"), "colour"),
    ],
)
def test_bad_usage_ends_in_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, expected):
    monkeypatch.chdir(tmp_path)
    assert prepare(*arguments) == 2
    assert expected in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_names_with_spaces_are_prepared_where_a_tab_follows(copy, tmp_path):
    (copy / "tr_im/tr_im_0004.png").rename(copy / "tr_im/my slice.png")
    text = (copy / "all.txt").read_text().replace("tr_im/tr_im_0004.png ", "tr_im/my slice.png\t")
    (copy / "all.txt").write_text(text)
    assert prepare("covid19_ct100", "--source", copy, "--data_dir", tmp_path / "data") == 0
