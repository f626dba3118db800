import os

import pytest
from ct_files import write_picture
from prepared import build, prepare, refusal

PICTURES = "ct_manifest/pictures"


def labelled(source, data_dir, *flags):
    splits = build(PICTURES, source, data_dir, *flags)
    return {split: [(record.name, record.label) for record in records] for split, records in splits.items()}


@pytest.mark.parametrize(
    ("infected", "uninfected"),
    [
        ("infected", "uninfected"),
        ("COVID", "Non-COVID"),
        ("CT_COVID", "CT_NonCOVID"),
        ("COVID-19", "normal"),
        ("positive", "negative"),
        ("1", "0"),
        ("covid", "Healthy"),
    ],
)
def test_class_folders_give_the_labels_and_splits_are_assigned(tmp_path, infected, uninfected):
    for index in range(7):
        write_picture(tmp_path / f"own/{infected}/a{index}.png", index)
        write_picture(tmp_path / f"own/{uninfected}/b{index}.jpg", 50 + index)
    (tmp_path / "own/README.md").write_text("text is passed over")
    (tmp_path / f"own/{infected}/notes.txt").write_text("here too")
    (tmp_path / "own/.DS_Store").write_bytes(b"hidden")
    splits = labelled(tmp_path / "own", tmp_path / "data")
    assert list(splits) == ["train", "validation", "test"]
    labels = dict(pair for pairs in splits.values() for pair in pairs)
    assert labels == {f"{infected}/a{index}.png": 1 for index in range(7)} | {
        f"{uninfected}/b{index}.jpg": 0 for index in range(7)
    }
    assert all({label for _, label in pairs} == {0, 1} for pairs in splits.values())


def test_split_folders_around_class_folders_give_the_splits(tmp_path):
    for number, place in enumerate(("train/covid", "train/normal", "val/covid", "Test/normal")):
        write_picture(tmp_path / "own" / place / "a.png", number)
    assert labelled(tmp_path / "own", tmp_path / "data") == {
        "train": [("train/covid/a.png", 1), ("train/normal/a.png", 0)],
        "validation": [("val/covid/a.png", 1)],
        "test": [("Test/normal/a.png", 0)],
    }


def test_the_manifest_of_class_folders_keeps_splits_and_labels(tmp_path):
    for index in range(4):
        write_picture(tmp_path / f"own/covid/a{index}.png", index)
    written = tmp_path / "own/list.csv"
    before = labelled(tmp_path / "own", tmp_path / "a", f"--manifest={written}")
    assert labelled(written, tmp_path / "b") == before


def unknown_class(own):
    write_picture(own / "pneumonia/a.png")
    return own / "pneumonia", "is neither a class nor a split; name class folders infected, covid"


def unknown_class_in_split(own):
    write_picture(own / "train/pneumonia/a.png")
    return own / "train/pneumonia", "is no class; name class folders infected, covid"


def file_beside(own):
    write_picture(own / "a.png")
    return own / "a.png", "lies beside the folders of"


def other_file(own):
    (own / "covid/report.pdf").write_bytes(b"%PDF-1.4")
    return own / "covid/report.pdf", "is not a PNG, JPEG, BMP or TIFF picture"


def folder_in_class(own):
    write_picture(own / "covid/patient1/a.png")
    return own / "covid/patient1", "is a folder, not a picture; build HU with --config hounsfield"


def link_out(own):
    write_picture(own.parent / "outside.png")
    (own / "covid/b.png").symlink_to(own.parent / "outside.png")
    return own / "covid/b.png", "is outside the data set's folder"


def linked_folder(own):
    write_picture(own.parent / "elsewhere/a.png")
    (own / "normal").symlink_to(own.parent / "elsewhere")
    return own / "normal/a.png", "is outside the data set's folder"


def link_twice(own):
    (own / "normal").mkdir()
    (own / "normal/b.png").symlink_to(own / "covid/a.png")
    return own / "covid/a.png", "covid/a.png is listed under another name, a link, already"


def odd_bytes(own):
    (own / os.fsdecode(b"covid/\xff.png")).write_bytes((own / "covid/a.png").read_bytes())
    return "'covid/\\udcff.png'", "its name is not UTF-8; rename it"


@pytest.mark.parametrize(
    "damage",
    [
        unknown_class,
        unknown_class_in_split,
        file_beside,
        other_file,
        folder_in_class,
        link_out,
        linked_folder,
        link_twice,
        odd_bytes,
    ],
)
def test_a_bad_folder_is_refused_in_one_line_and_leaves_nothing(tmp_path, capsys, damage):
    write_picture(tmp_path / "own/covid/a.png", 1)
    named, message = damage(tmp_path / "own")
    assert prepare(PICTURES, tmp_path / "own", tmp_path / "data") == 2
    refusal(capsys, f"jcs prepare: {named}: ", message)
    assert not (tmp_path / "data").exists()


def test_folders_without_files_are_refused(tmp_path, capsys):
    (tmp_path / "own/covid").mkdir(parents=True)
    assert prepare(PICTURES, tmp_path / "own", tmp_path / "data") == 2
    refusal(capsys, "holds no class folder with files, and no manifest.csv")
