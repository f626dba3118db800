import json

import cv2
import numpy as np
import pytest
from ct100_copy import write_copy, write_list
from ct_files import write_table
from fake_slices import cropped, fake_slice
from prepared import build

from jcs_jax import cli


def audit(*arguments):
    return cli.main(["audit", *map(str, arguments)])


def manifest(folder, pictures, splits):
    """A CSV file of pictures, each of a patient of its own."""
    folder.mkdir()
    rows = ["image,label,patient,split"]
    for number, (picture, split) in enumerate(zip(pictures, splits, strict=True)):
        cv2.imwrite(str(folder / f"{number}.png"), picture)
        rows.append(f"{number}.png,{number % 2},p{number},{split}")
    return write_table(folder / "manifest.csv", "\n".join(rows))


def test_a_clean_manifest_ends_with_exit_code_0_and_both_reports(tmp_path, capsys):
    rows = manifest(tmp_path / "mine", [fake_slice(number) for number in range(4)], ["train", "train", "test", "test"])
    assert audit(rows, "--output", tmp_path / "report") == 0
    said = capsys.readouterr()
    assert "manifest:train" in said.out
    assert "No leak found between the parts." in said.out
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["audit.html", "audit.json"]
    assert json.loads((tmp_path / "report/audit.json").read_text())["leaks"] is False
    assert str(tmp_path) not in (tmp_path / "report/audit.json").read_text()


def test_a_changed_copy_in_two_data_sets_ends_with_exit_code_1_and_is_shown(tmp_path, capsys):
    first = manifest(tmp_path / "first", [fake_slice(0), fake_slice(1)], ["train", "test"])
    first = first.rename(first.with_name("one.csv"))
    second = manifest(tmp_path / "second", [cropped(fake_slice(1).T), fake_slice(3)], ["train", "test"])
    assert audit(first, second, "--output", tmp_path / "report") == 1
    said = capsys.readouterr().out
    assert "one:test 1.png ~ manifest:train 0.png" in said
    assert "LEAKS: 1 changed copy in two parts" in said
    (pair,) = json.loads((tmp_path / "report/audit.json").read_text())["copies"]["pairs"]
    assert pair["change"] == "transposed, cropped to 82% of the first"
    assert (tmp_path / "report/audit.html").read_text().count("data:image/png;base64,") == 2


def test_the_overlap_of_the_published_lists_is_named_in_full(tmp_path, capsys):
    copy = write_copy(tmp_path / "copy")
    write_list(copy, "train.txt", [0, 1, 2, 3, 4, 5])
    write_list(copy, "test.txt", [1, 2, 4])
    build("covid19_ct100/official", copy, tmp_path / "data")
    capsys.readouterr()
    assert audit("covid19_ct100/official", "--data_dir", tmp_path / "data", "--output", tmp_path / "report") == 1
    said = capsys.readouterr().out
    for number in (1, 2, 4):
        name = f"tr_im_{number:04d}"
        assert f"covid19_ct100/official:train {name} = covid19_ct100/official:test {name}" in said
    assert json.loads((tmp_path / "report/audit.json").read_text())["counts"]["pictures"] == 3


def test_a_phantom_whose_patients_are_disjoint_leaks_nothing(tmp_path, capsys):
    assert cli.main(["prepare", "chest_phantom", "--config=tiny", f"--data_dir={tmp_path}"]) == 0
    capsys.readouterr()
    assert audit("chest_phantom", "--data_dir", tmp_path) == 0
    assert "No leak found" in capsys.readouterr().out


def test_reports_of_an_earlier_run_are_replaced(tmp_path):
    rows = manifest(tmp_path / "mine", [fake_slice(0), fake_slice(1)], ["train", "test"])
    (tmp_path / "report").mkdir()
    (tmp_path / "report/audit.json").write_text("old")
    assert audit(rows, f"--output={tmp_path / 'report'}") == 0
    assert json.loads((tmp_path / "report/audit.json").read_text())["schema"] == "jcs-audit/1"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "name at least one data set"),
        (("absent",), "absent: no such data set, file or folder"),
        (("absent/folder.csv",), "check the path"),
        (("chest_phantom", "--data_dir=."), "run `jcs prepare chest_phantom --data_dir .`"),
        (("table.csv",), "table.csv"),
        (("table.csv", "--output=table.csv"), "table.csv: is a file; name a folder for the reports"),
        (("table.csv", "--colour=red"), "colour"),
    ],
)
def test_bad_usage_ends_in_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text("name\nno image column\n")
    assert audit(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("jcs audit: ")
    assert expected in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_slices_of_any_contrast_are_compared(tmp_path):
    dark = (fake_slice(0) * 0.2).astype(np.uint8)
    assert audit(manifest(tmp_path / "mine", [fake_slice(0), dark], ["train", "test"])) == 1
