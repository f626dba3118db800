import csv
import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from absl import logging
from ct_files import write_picture, write_table
from PIL import Image
from prepared import build, prepare, refusal

from jcs_jax import cli
from jcs_jax.data.sources import open_source, split_sizes

PICTURES = "ct_manifest/pictures"


def metadata(data_dir, dataset=PICTURES):
    split = next(iter(split_sizes(data_dir, dataset)))
    return open_source(data_dir, dataset, split).info


def names(splits):
    return {split: [record.name for record in records] for split, records in splits.items()}


@pytest.fixture
def folder(tmp_path):
    """Six pictures `p0.png` to `p5.png`, and a mask `mask.png` of a lesion of 3 rows."""
    for index in range(6):
        write_picture(tmp_path / f"own/p{index}.png", index)
    mask = np.zeros((40, 48), np.uint8)
    mask[5:8] = 255
    Image.fromarray(mask).save(tmp_path / "own/mask.png")
    return tmp_path / "own"


def test_every_column_is_stored(folder, tmp_path):
    table = """
    image,mask,label,patient,split,source
    p0.png,mask.png,infected,anna,train,site A
    p1.png,,0,bert,val,"site B, ward 2"
    p2.png,,,,test,
    """
    splits = build(PICTURES, write_table(folder / "list.csv", table), tmp_path / "data")
    assert names(splits) == {"train": ["p0.png"], "validation": ["p1.png"], "test": ["p2.png"]}
    first, second, third = (splits[split][0] for split in ("train", "validation", "test"))
    assert (first.label, first.patient, first.origin, first.file_type) == (1, "anna", "site A", "png")
    assert (first.lesion_count, first.lesion_area) == (1, 3 * 48)
    assert (first.height, first.width, first.slice_index) == (40, 48, -1)
    assert (second.label, second.patient, second.origin) == (0, "bert", "site B, ward 2")
    assert (second.lesion_count, second.lesion_area) == (-1, -1)
    assert (third.label, third.patient, third.origin) == (-1, "", "")
    example = open_source(tmp_path / "data", PICTURES, "train")[0]
    stored = np.asarray(Image.open(folder / "p0.png"), np.float32) / 255
    assert np.allclose(example.image, stored) and example.mask.sum() == 3 * 48
    assert open_source(tmp_path / "data", PICTURES, "test")[0].mask is None


def test_only_the_image_is_needed_and_path_is_another_name_for_it(folder, tmp_path):
    table = "\n".join(["\ufeffpath", *(f"./p{index}.png" for index in range(3)), ""])
    splits = build(PICTURES, write_table(folder / "manifest.csv", table), tmp_path / "data")
    assert sorted(chain(*names(splits).values())) == ["p0.png", "p1.png", "p2.png"]
    said = metadata(tmp_path / "data")
    assert said["split_note"] == (
        "assigned by patient, stratified, seed 0: train, validation and test 70/15/15; the patient of 3 of 3 slices is "
        "unknown: such slices of one patient may be in two splits"
    )
    assert said["warning"] == said["conversion_note"] == ""
    assert "-1 not told" in said["label_policy"]


def test_a_folder_with_a_manifest_is_read_by_it(folder, tmp_path):
    write_table(folder / "manifest.csv", "image,split\np3.png,train")
    assert names(build(PICTURES, folder, tmp_path / "data")) == {"train": ["p3.png"]}


@pytest.mark.parametrize(
    ("suffix", "file_type"), [("jpg", "jpeg"), ("bmp", "bmp"), ("tif", "tiff"), ("wrong.png", "tiff")]
)
def test_the_file_type_is_that_of_the_content(tmp_path, suffix, file_type):
    write_picture(tmp_path / f"own/a.{suffix}", format=file_type.upper())
    table = write_table(tmp_path / "own/list.csv", f"image,split\na.{suffix},train")
    assert build(PICTURES, table, tmp_path / "data")["train"][0].file_type == file_type


def test_coloured_pictures_are_converted_and_counted(folder, tmp_path):
    rgb = np.zeros((40, 48, 3), np.uint8)
    rgb[..., 1] = 100
    Image.fromarray(rgb).save(folder / "arrow.png")
    table = write_table(folder / "list.csv", "image,split\np0.png,train\narrow.png,train")
    build(PICTURES, table, tmp_path / "data")
    assert metadata(tmp_path / "data")["conversion_note"] == (
        "1 of 2 pictures had colour (unequal channels) and were converted to grey"
    )
    assert open_source(tmp_path / "data", PICTURES, "train")[1].image.max() == pytest.approx(59 / 255)  # 0.587 * 100


def test_rows_without_a_split_follow_their_patient(folder, tmp_path):
    table = """
    image,patient,split
    p0.png,anna,
    p1.png,bert,train
    p2.png,anna,test
    p3.png,bert,
    """
    assert names(build(PICTURES, write_table(folder / "list.csv", table), tmp_path / "data")) == {
        "train": ["p1.png", "p3.png"], "test": ["p0.png", "p2.png"]
    }  # fmt: skip
    assert "; 2 of 4 rows had one;" in metadata(tmp_path / "data")["split_note"]


def test_the_same_picture_under_two_names_is_never_in_two_assigned_splits(folder, tmp_path):
    for index in range(20):
        write_picture(folder / f"q{index}.png", index % 10)
        write_picture(folder / f"q{index}.bmp", index % 10)
    rows = "\n".join(f"q{index}.{suffix}" for suffix in ("png", "bmp") for index in range(20))
    splits = build(PICTURES, write_table(folder / "list.csv", f"image\n{rows}"), tmp_path / "data")
    digests = [{record.digest for record in records} for records in splits.values()]
    assert len(digests) == 3 and sum(map(len, digests)) == 10
    assert metadata(tmp_path / "data")["warning"] == ""


def test_a_blank_picture_makes_no_group(folder, tmp_path):
    for index in range(9):
        Image.new("L", (48, 40), 0).save(folder / f"blank{index}.png")
    rows = [f"blank{index}.png,patient{index}" for index in range(9)]
    splits = build(PICTURES, write_table(folder / "list.csv", "\n".join(["image,patient", *rows])), tmp_path / "data")
    assert len(splits) == 3


def test_a_patient_and_a_picture_that_the_manifest_puts_into_two_splits_are_warned_of_without_names(
    folder, tmp_path, monkeypatch
):
    said = []
    monkeypatch.setattr(logging, "warning", lambda message, *values: said.append(message % values))
    write_picture(folder / "copy.png", 0)
    table = """
    image,patient,split
    p0.png,anna,train
    p1.png,bert,train
    p2.png,bert,test
    copy.png,carl,test
    """
    build(PICTURES, write_table(folder / "list.csv", table), tmp_path / "data")
    warning = metadata(tmp_path / "data")["warning"]
    assert warning.startswith("1 patient and 1 picture in more than one split, as listed: a score on such a split is")
    assert said == [f"ct_manifest/pictures/1.1.0: {warning}"]


def test_folds_and_the_seed_are_options(folder, tmp_path):
    table = write_table(folder / "list.csv", "\n".join(["image", *(f"p{index}.png" for index in range(6))]))
    first = build(PICTURES, table, tmp_path / "a", "--folds=3")
    assert {split: len(records) for split, records in first.items()} == {"fold0": 2, "fold1": 2, "fold2": 2}
    assert "seed 0: 3 folds" in metadata(tmp_path / "a")["split_note"]
    assert json.loads(metadata(tmp_path / "a")["options"]) == {"folds": 3}
    assert names(build(PICTURES, table, tmp_path / "b", "--folds=3")) == names(first)
    others = [names(build(PICTURES, table, tmp_path / f"s{seed}", "--folds=3", f"--seed={seed}")) for seed in (1, 2, 3)]
    assert any(other != names(first) for other in others)


def test_a_test_split_of_your_own_is_kept_beside_folds(folder, tmp_path):
    rows = ["p0.png,test", *(f"p{index}.png," for index in range(1, 6))]
    splits = names(
        build(
            PICTURES, write_table(folder / "list.csv", "\n".join(["image,split", *rows])), tmp_path / "d", "--folds=2"
        )
    )
    assert splits["test"] == ["p0.png"] and sorted(splits) == ["fold0", "fold1", "test"]


def test_the_written_manifest_keeps_the_splits_when_rows_are_inserted(folder, tmp_path):
    table = """
    image,mask,label,patient,source
    p0.png,mask.png,infected,"Anna, ward 1",A
    p1.png,,0,bert,
    p2.png,,,carl,
    p3.png,,1,dora,
    """
    written = folder / "with splits.csv"
    before = build(PICTURES, write_table(folder / "list.csv", table), tmp_path / "a", f"--manifest={written}")
    rows = list(csv.DictReader(written.read_text(encoding="utf-8").splitlines()))
    assert list(rows[0]) == ["image", "mask", "label", "patient", "split", "source"]
    assert [row["label"] for row in rows] == ["1", "0", "", "1"]
    assert rows[0]["mask"] == "mask.png" and rows[0]["patient"] == "Anna, ward 1" and rows[0]["source"] == "A"
    rows.insert(0, dict(rows[1], image="p4.png", patient="emil", split=""))
    with written.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    after = names(build(PICTURES, written, tmp_path / "b"))
    for split, kept in names(before).items():
        assert [name for name in after[split] if name != "p4.png"] == kept
    assert not list(folder.glob(".*"))  # no temporary file stays


def test_a_manifest_may_lie_above_the_files_but_nowhere_else(folder, tmp_path, capsys):
    table = write_table(folder / "list.csv", "image,split\np0.png,train")
    build(PICTURES, table, tmp_path / "a", f"--manifest={tmp_path / 'above.csv'}")
    assert "own/p0.png" in (tmp_path / "above.csv").read_text()
    build(PICTURES, tmp_path / "above.csv", tmp_path / "b")
    capsys.readouterr()
    (tmp_path / "else").mkdir()
    wrong = {
        tmp_path / "else/list.csv": "a manifest names files of its own folder",
        tmp_path / "absent/list.csv": "no such folder",
        tmp_path / "else": "a folder itself",
    }
    for target, message in wrong.items():
        assert prepare(PICTURES, table, tmp_path / "c", f"--manifest={target}") == 2
        refusal(capsys, f"{target}: ", message)
    assert not (tmp_path / "c").exists() and not list((tmp_path / "else").iterdir())


BAD_TABLES = {
    "unknown column": ("image,lable\np0.png,1", 1, "column 'lable' is unknown; known are image (or path), mask, label"),
    "semicolons": ("image;label\np0.png;1", 1, "separate columns with commas"),
    "column twice": ("image,label,label\np0.png,1,1", 1, "has two columns for label; keep one"),
    "image and path": ("image,path\np0.png,p1.png", 1, "has two columns for image; keep one"),
    "no image column": ("mask,label\nmask.png,1", 1, "has no column image"),
    "no columns": ("\n\n", 1, "has no column names"),
    "too few values": ("image,label\np0.png,1\np1.png", 3, "has 1 values for 2 columns"),
    "too many values": ("image,label\np0.png,1,2", 2, "has 3 values for 2 columns"),
    "no image": ("image,label\np0.png,1\n\n,1", 4, "names no image"),
    "duplicate": ("image\np0.png\np1.png\n./p0.png", 4, "p0.png is in '{table}, row 2' already; keep one of the two"),
    "label": ("image,label\np0.png,1\np1.png,2", 3, "label '2' is unknown; write 0 or uninfected, 1 or infected"),
    "split typo": ("image,split\np0.png,train\np1.png,tset", 3, "split 'tset' is unknown (did you mean test?);"),
    "split word": ("image,split\np0.png,quarantine", 2, "split 'quarantine' is unknown; write train, validation, test"),
    "fold number": ("image,split\np0.png,fold01", 2, "split 'fold01' is unknown (did you mean fold1?)"),
    "missing": ("image\np0.png\np9.png", 3, "'p9.png' is missing"),
    "missing mask": ("image,mask\np0.png,p9.png", 2, "'p9.png' is missing"),
    "outside": ("image\n../p0.png", 2, "'../p0.png' is outside the data set's folder"),
    "mask outside": ("image,mask\np0.png,../../m.png", 2, "'../../m.png' is outside the data set's folder"),
    "absolute": ("image\n/etc/hostname", 2, "'/etc/hostname' is outside the data set's folder"),
    "link out": ("image\nlink.png", 2, "'link.png' is outside the data set's folder"),
    "mask link out": ("image,mask\np0.png,link.png", 2, "'link.png' is outside the data set's folder"),
    "link to itself": ("image\nloop.png", 2, "'loop.png' cannot be followed"),
    "long name": (f"image\n{'a' * 300}.png", 2, "cannot be followed"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_is_refused_with_its_row(folder, tmp_path, capsys, case):
    text, row, message = BAD_TABLES[case]
    write_picture(tmp_path / "outside.png")
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    table = folder / "list.csv"
    table.write_text(text)
    assert prepare(PICTURES, table, tmp_path / "data") == 2
    refusal(capsys, f"jcs prepare: {table}, row {row}: ", message.replace("{table}", str(table)))
    assert not (tmp_path / "data").exists()


BAD_FILES = {
    "empty": (b"", "is empty (0 bytes)"),
    "text": (b"hello", "is not a PNG, JPEG, BMP or TIFF picture, nor a DICOM or NIfTI file"),
    "cut": (None, "is damaged or cut short"),
    "dicom": (bytes(128) + b"DICM", "is a DICOM file, not a picture; build HU with --config hounsfield"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_picture_is_refused_with_its_file_and_row(folder, tmp_path, capsys, case):
    data, message = BAD_FILES[case]
    bad = folder / "p1.png"
    bad.write_bytes(bad.read_bytes()[:600] if data is None else data)
    table = write_table(folder / "list.csv", "image,split\np0.png,train\np1.png,train")
    assert prepare(PICTURES, table, tmp_path / "data") == 2
    refusal(capsys, f"{bad} ({table}, row 3): ", message)
    assert not (tmp_path / "data").exists()


def test_masks_of_another_size_or_other_values_are_refused(folder, tmp_path, capsys):
    Image.new("L", (40, 48)).save(folder / "turned.png")
    for mask, message in (
        ("turned.png", "is 40x48 pixels, but its slice p0.png is 48x40"),
        ("p1.png", "a mask holds 0"),
    ):
        table = write_table(folder / "list.csv", f"image,mask,split\np0.png,{mask},train")
        assert prepare(PICTURES, table, tmp_path / "data") == 2
        refusal(capsys, f"{folder / mask} ({table}, row 2): ", message)
    assert not (tmp_path / "data").exists()


BAD_SPLITS = [
    ("image\np0.png\np1.png", [], "3 splits need at least 3 groups, not 2"),
    ("image,patient\np0.png,a\np1.png,a\np2.png,a", [], "need at least 3 groups, not 1"),
    ("image,split\np0.png,train", ["--folds=2"], "every row has a split already; leave --folds and --seed out"),
    ("image,split\np0.png,train", ["--seed=1"], "every row has a split already"),
    ("image,split\np0.png,fold0\np1.png,", [], "row 2: split fold0 is none of those that are made; add --folds"),
    ("image,split\np0.png,fold2\np1.png,", ["--folds=2"], "split fold2 is none of those that are made"),
    ("image", [], "lists no slice"),
    ("image\np0.png", ["--config=hounsfield"], "is a picture, without HU; build it with --config pictures"),
]


@pytest.mark.parametrize("case", range(len(BAD_SPLITS)))
def test_what_cannot_be_split_or_built_is_refused(folder, tmp_path, capsys, case):
    text, arguments, message = BAD_SPLITS[case]
    table = write_table(folder / "list.csv", text)
    assert prepare(PICTURES, table, tmp_path / "data", *arguments) == 2
    refusal(capsys, str(table), message)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("data", [b"\xff\xfei\0", b"PK\x03\x04\x14\0\xe9", b'image\n"p0.png', b"image\np0\0.png"])
def test_what_is_no_table_is_refused(folder, tmp_path, capsys, data):
    (folder / "list.csv").write_bytes(data)
    assert prepare(PICTURES, folder / "list.csv", tmp_path / "data") == 2
    refusal(capsys, str(folder / "list.csv"))
    assert not (tmp_path / "data").exists()


def test_a_source_that_is_not_there_is_refused(tmp_path, capsys):
    assert prepare(PICTURES, tmp_path / "absent.csv", tmp_path / "data") == 2
    refusal(capsys, "absent.csv: is neither a file nor a folder")
    assert cli.main(["prepare", "ct_manifest", "--data_dir", str(tmp_path / "data")]) == 2
    refusal(capsys, "ct_manifest: no source given; name the CSV file, or the folder")
    assert not (tmp_path / "data").exists()


def test_a_failed_build_leaves_no_manifest(folder, tmp_path):
    table = write_table(folder / "list.csv", "image,split\np0.png,train\np1.png,train")
    (folder / "p1.png").write_bytes(b"")
    assert prepare(PICTURES, table, tmp_path / "data", f"--manifest={folder / 'new.csv'}") == 2
    assert not (folder / "new.csv").exists()


def test_a_source_given_by_a_relative_path_or_a_link_gives_the_same_names(folder, tmp_path, monkeypatch):
    write_table(folder / "list.csv", "image,split\np0.png,train")
    monkeypatch.chdir(folder)
    assert names(build(PICTURES, "list.csv", tmp_path / "a")) == {"train": ["p0.png"]}
    (tmp_path / "link").symlink_to(folder)
    assert names(build(PICTURES, Path(tmp_path / "link/list.csv"), tmp_path / "b")) == {"train": ["p0.png"]}
