import os
import shutil

import numpy as np
import pytest
from covid_cs_files import FEATURES, feature_values, save_feature_file, slice_name
from covid_cs_layouts import CLASSIFICATION, FORMS, PICTURES, SECOND, SEGMENTATION, records, refused, write
from PIL import Image
from scipy.io import savemat

from jcs_datasets.covid_cs.annotations import patients_by_name
from jcs_datasets.covid_cs.layout import read_layout


@pytest.fixture
def copy(tmp_path):
    return write(tmp_path / "COVID-CS")


@pytest.fixture
def features(tmp_path):
    return write(tmp_path / "features", "classification_features", train=3)


@pytest.fixture
def pictures(tmp_path):
    return write(tmp_path / "pictures", "images", train=3)


def names(layout):
    return {split: [item.record.name for item in slices] for split, slices in layout.splits.items()}


@pytest.mark.parametrize("config", FORMS)
def test_the_official_lists_become_the_splits(tmp_path, config):
    layout = read_layout(write(tmp_path / "copy", config, train=3, test=2), FORMS[config])
    assert names(layout) == {"train": [slice_name(i) for i in range(3)], "test": [slice_name(i) for i in (4, 5)]}
    assert layout.warnings == []


def test_a_validation_list_is_read_where_there_is_one(copy):
    (copy / "test.txt").rename(copy / "validation.txt")
    assert "test.txt: the list is missing" in refused(copy, SEGMENTATION, "test.txt")
    shutil.copy(copy / "validation.txt", copy / "test.txt")
    assert list(names(read_layout(copy, SEGMENTATION))) == ["train", "validation", "test"]


def test_patients_and_numbers_come_from_the_names(copy):
    record = records(copy, SEGMENTATION)[SECOND]
    assert (record.patient, record.slice_index) == (SECOND.partition("_")[0], 141)


@pytest.mark.parametrize("listed", [["a_1", "b_2", "c"], ["slice_1", "slice_2"], ["a_1", "b_1234567890"]])
def test_names_that_do_not_all_follow_the_pattern_say_nothing(listed):
    assert patients_by_name(listed) == {}


def test_a_slice_listed_twice_in_one_list_is_kept_once(copy):
    lines = (copy / "train.txt").read_text().splitlines()
    (copy / "train.txt").write_text("\n".join([*lines, lines[0]]))
    layout = read_layout(copy, SEGMENTATION)
    assert names(layout)["train"] == [slice_name(0), SECOND]
    assert layout.warnings == []


def test_slices_and_patients_in_two_lists_are_kept_with_a_warning(copy):
    with (copy / "test.txt").open("a") as file:
        file.write((copy / "train.txt").read_text().splitlines()[1] + "\n")
    layout = read_layout(copy, SEGMENTATION)
    assert names(layout)["test"] == [slice_name(2), SECOND]
    assert [warning.split(":")[0] for warning in layout.warnings] == [
        "1 slices are in more than one of the lists",
        "1 patients have slices in more than one of the lists",
    ]


def test_the_pictures_of_the_public_lists_need_not_be_there(copy):
    assert not (copy / "image").exists()
    read_layout(copy, SEGMENTATION)


@pytest.mark.parametrize("side", [64, 128])
def test_annotations_may_have_any_side_of_the_edition(tmp_path, side):
    read_layout(write(tmp_path / "copy", mask_side=side), SEGMENTATION)


def test_the_only_folder_of_features_is_taken_whatever_its_name(copy):
    (copy / FEATURES).rename(copy / "feats_imagenet")
    assert read_layout(copy, SEGMENTATION).features_folder == "feats_imagenet"


def test_of_several_folders_the_one_of_this_edition_is_taken(copy):
    shutil.copytree(copy / FEATURES, copy / "feats_half")
    for index in range(3):
        save_feature_file(copy / f"{FEATURES}/{slice_name(index)}.mat", (128, 64), index)
    assert read_layout(copy, SEGMENTATION).features_folder == "feats_half"


def test_of_several_folders_of_this_edition_the_released_one_is_taken_or_none(copy):
    shutil.copytree(copy / FEATURES, copy / "feats_another")
    assert read_layout(copy, SEGMENTATION).features_folder == FEATURES
    (copy / FEATURES).rename(copy / "feats_third")
    assert "has feats_another, feats_third; keep one" in refused(copy, SEGMENTATION)


def test_a_copy_without_features_is_refused(copy):
    shutil.rmtree(copy / FEATURES)
    assert "must hold one folder feats..." in refused(copy, SEGMENTATION)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    assert "is not a folder; --source must be your copy" in refused(tmp_path / "absent", SEGMENTATION)


def second_features(copy):
    return copy / f"{FEATURES}/{SECOND}.mat"


def second_mask(copy):
    return copy / f"annotation/{SECOND}.png"


def cut_features(copy):
    path = second_features(copy)
    path.write_bytes(path.read_bytes()[:-1000])


def other_key(copy):
    savemat(second_features(copy), {"vgg_feats": feature_values(64, 1), "res2net": feature_values(32, 1)})


def other_type(copy):
    savemat(second_features(copy), {"vgg_feats": feature_values(64, 1) / 20, "res2net_feats": feature_values(32, 1)})


def other_edition(copy):
    save_feature_file(second_features(copy), (128, 64), 1)


def hdf5_features(copy):
    second_features(copy).write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(800))


def picture_as_features(copy):
    shutil.copy(second_mask(copy), second_features(copy))


def empty_features(copy):
    second_features(copy).write_bytes(b"")


def other_mask_size(copy):
    Image.new("L", (96, 96)).save(second_mask(copy))


def text_as_mask(copy):
    second_mask(copy).write_text("no picture")


@pytest.mark.parametrize(
    ("spoil", "file", "expected"),
    [
        (cut_features, second_features, "is cut short"),
        (other_key, second_features, "has no variable 'res2net_feats': it holds 'vgg_feats' (1x64x64x64 uint8), 'res2"),
        (other_type, second_features, "'vgg_feats' is double, not uint8"),
        (other_edition, second_features, "'vgg_feats' is 1x64x128x128, not 1x64x64x64"),
        (hdf5_features, second_features, "is a MATLAB 7.3 file (HDF5)"),
        (picture_as_features, second_features, "is not a MATLAB v5 file"),
        (empty_features, second_features, "is empty (0 bytes)"),
        (other_mask_size, second_mask, "is 96x96 pixels, but its slice has 64x64 or 128x128"),
        (text_as_mask, second_mask, "is not a PNG"),
    ],
)
def test_a_bad_file_is_named_with_the_line_that_lists_it(copy, spoil, file, expected):
    spoil(copy)
    assert f"({copy}/train.txt, line 2): {expected}" in refused(copy, SEGMENTATION, file(copy))


def test_missing_files_are_named_with_their_lines(copy):
    second_features(copy).unlink()
    assert f"1 listed files are missing: {FEATURES}/{SECOND}.mat (line 2);" in refused(copy, SEGMENTATION, "train.txt")
    second_mask(copy).unlink()
    assert "2 listed files are missing: annotation/" in refused(copy, SEGMENTATION, "train.txt")


def relist(copy, line, index=1, name="train.txt"):
    lines = (copy / name).read_text().splitlines()
    lines[index] = line
    (copy / name).write_text("\n".join(lines))


@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("path", ["../outside.png", "image/../../outside.png", "/etc/hostname"])
def test_a_path_that_leaves_the_folder_is_refused_with_its_line(copy, column, path):
    (copy.parent / "outside.png").write_bytes(second_mask(copy).read_bytes())
    columns = [f"image/{SECOND}.png", f"annotation/{SECOND}.png"]
    columns[column] = path
    relist(copy, " ".join(columns))
    message = refused(copy, SEGMENTATION, "train.txt, line 2: ")
    assert f"'{path}' is outside the data set's folder" in message


@pytest.mark.parametrize("file", [second_mask, second_features])
def test_a_link_out_of_the_folder_is_refused_with_its_line(copy, file):
    path = file(copy)
    path.rename(copy.parent / "outside")
    path.symlink_to(copy.parent / "outside")
    message = refused(copy, SEGMENTATION, "train.txt, line 2: ")
    assert f"'{path.relative_to(copy)}' is outside the data set's folder" in message


def test_a_folder_of_features_that_is_a_link_out_is_refused(copy):
    (copy / FEATURES).rename(copy.parent / "outside")
    (copy / FEATURES).symlink_to(copy.parent / "outside")
    assert "is outside the data set's folder" in refused(copy, SEGMENTATION, "train.txt, line 1: ")


def test_two_slices_of_one_name_are_refused_with_both_lines(copy):
    (copy / "more").mkdir()
    shutil.copy(second_mask(copy), copy / "more")
    relist(copy, f"image/{SECOND}.png more/{SECOND}.png", 0)
    message = refused(copy, SEGMENTATION, "train.txt, line 2: ")
    assert f"{SECOND} has another mask in '{copy}/train.txt, line 1'" in message


def test_two_files_of_one_name_are_refused_with_both_lines(features):
    (features / "more").mkdir()
    shutil.copy(features / f"feats/{SECOND}.mat", features / "more")
    relist(features, f"more/{SECOND}.mat 0", 0, "test.txt")
    message = refused(features, CLASSIFICATION, "test.txt, line 1: ")
    assert f"another file of the name {SECOND} is in '{features}/train.txt, line 2'; rename" in message


def test_a_slice_with_two_labels_is_refused_with_both_lines(features):
    relist(features, f"feats/{SECOND}.mat 1", 0, "test.txt")
    message = refused(features, CLASSIFICATION, "test.txt, line 1: ")
    assert f"{SECOND} has another label in '{features}/train.txt, line 2'" in message


@pytest.mark.parametrize("label", ["2", "-1", "covid", "1.0", "٠"])
def test_a_label_outside_the_classes_is_refused_with_its_line(features, label):
    relist(features, f"feats/{SECOND}.mat {label}")
    message = refused(features, CLASSIFICATION, "train.txt, line 2: ")
    assert f"label '{label}' is outside the classes; write 0 (uninfected) or 1 (infected)" in message


def test_labels_of_classification_come_from_the_lists(features):
    assert [record.label for record in records(features, CLASSIFICATION).values()] == [0, 0, 1, 0]


@pytest.mark.parametrize("shape", [(64, 32, 32), (1, 64, 32, 32)])
@pytest.mark.parametrize("name", ["x", "res2net_feats"])
def test_the_variable_of_classification_may_have_any_name(features, shape, name):
    savemat(features / f"feats/{SECOND}.mat", {name: np.zeros(shape, np.uint8), "size": np.eye(2)})
    read_layout(features, CLASSIFICATION)


@pytest.mark.parametrize(
    ("arrays", "holds"),
    [
        ({"x": np.zeros((64, 16, 16), np.uint8)}, "it holds 'x' (64x16x16 uint8)"),
        ({"x": np.zeros((64, 32, 32), np.float32)}, "it holds 'x' (64x32x32 single)"),
        ({name: np.zeros((64, 32, 32), np.uint8) for name in "xy"}, "'x' (64x32x32 uint8), 'y' (64x32x32 uint8)"),
        ({}, "it holds none"),
    ],
)
def test_a_file_of_classification_without_one_fitting_variable_is_refused(features, arrays, holds):
    path = features / f"feats/{SECOND}.mat"
    savemat(path, arrays)
    message = refused(features, CLASSIFICATION, f"feats/{SECOND}.mat ({features}/train.txt, line 2): ")
    assert "must hold exactly one uint8 variable of 64x32x32 or 1x64x32x32, but " in message
    assert holds in message


def test_pictures_need_no_mask(pictures):
    relist(pictures, f"image/{SECOND}.png")
    slices = read_layout(pictures, PICTURES).splits["train"]
    assert [item.mask is None for item in slices] == [False, True, False]
    assert [item.record.label for item in slices] == [-1, -1, -1]
    assert {item.record.file_type for item in slices} == {"png"}


def test_pictures_may_have_any_size_but_that_of_their_mask(pictures):
    Image.new("L", (60, 50)).save(pictures / f"image/{SECOND}.png")
    message = refused(pictures, PICTURES, f"annotation/{SECOND}.png ({pictures}/train.txt, line 2): ")
    assert "is 48x48 pixels, but its slice has 60x50" in message
    Image.new("L", (60, 50)).save(pictures / f"annotation/{SECOND}.png")
    read_layout(pictures, PICTURES)


def test_a_pipe_instead_of_a_file_does_not_hang(copy):
    second_features(copy).unlink()
    os.mkfifo(second_features(copy))
    assert "is not a file" in refused(copy, SEGMENTATION, second_features(copy))
