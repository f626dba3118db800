import os
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from absl import logging
from ct100_copy import line, write_copy, write_list
from PIL import Image

from jcs_datasets.common.errors import SourceError
from jcs_datasets.covid19_ct100 import Builder
from jcs_datasets.covid19_ct100.layout import read_clean, read_official

REAL = Path(os.environ.get("JCS_DATA", Path(__file__).parents[3] / "shared/data")) / "covid19_ct100"


@pytest.fixture
def copy(tmp_path):
    return write_copy(tmp_path / "copy")


def build(source, data_dir, config):
    tfds.disable_progress_bar()
    builder = Builder(data_dir=data_dir, config=config, file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=source))
    return builder


def names(layout):
    return {split: [item.name for item in slices] for split, slices in layout.splits.items()}


def test_clean_folds_hold_every_slice_of_all_txt_once(copy):
    folds = names(read_clean(copy, folds=5, seed=0))
    assert [len(fold) for fold in folds.values()] == [2, 2, 1, 1, 1]
    assert sorted(chain(*folds.values())) == [f"tr_im_{index:04d}" for index in range(7)]


def test_without_all_txt_the_union_of_train_and_test_is_folded(copy):
    (copy / "all.txt").unlink()
    write_list(copy, "train.txt", [0, 1, 2, 3])
    write_list(copy, "test.txt", [3, 4, 5])
    folds = names(read_clean(copy, folds=5, seed=0))
    assert sorted(chain(*folds.values())) == [f"tr_im_{index:04d}" for index in range(6)]


def test_images_in_no_list_are_counted_in_the_warning(copy):
    assert not read_clean(copy, folds=5, seed=0).warning
    write_list(copy, "all.txt", [0, 1, 2, 3, 4])
    assert read_clean(copy, folds=5, seed=0).warning.startswith("2 images in the folder are in no list")


def test_identical_pictures_stay_in_one_fold(copy):
    (copy / "tr_im/tr_im_0006.png").write_bytes((copy / "tr_im/tr_im_0002.png").read_bytes())
    folds = names(read_clean(copy, folds=5, seed=0))
    assert any({"tr_im_0002", "tr_im_0006"} <= set(fold) for fold in folds.values())


def test_slices_of_one_name_in_two_folders_are_told_apart(copy):
    (copy / "more").mkdir()
    Image.fromarray(np.zeros((40, 48), np.uint8)).save(copy / "more/tr_im_0000.png")
    (copy / "all.txt").write_text(
        f"{line(0)}\n{line(1)}\n{line(2)}\n{line(3)}\nmore/tr_im_0000.png {line(4).split()[1]}\n"
    )
    folds = names(read_clean(copy, folds=5, seed=0))
    assert {"tr_im/tr_im_0000.png", "more/tr_im_0000.png"} <= set(chain(*folds.values()))


def test_official_keeps_the_lists_and_counts_what_they_share(copy):
    write_list(copy, "train.txt", [3, 1, 2, 0])
    write_list(copy, "test.txt", [5, 2, 3])
    layout = read_official(copy)
    assert names(layout) == {
        "train": ["tr_im_0003", "tr_im_0001", "tr_im_0002", "tr_im_0000"],
        "test": ["tr_im_0005", "tr_im_0002", "tr_im_0003"],
    }
    assert layout.warning.startswith("2 of the 3 test images are also in train")


def test_official_without_its_lists_points_to_clean(copy):
    with pytest.raises(SourceError, match=r"train\.txt: the published list is missing; use config clean"):
        read_official(copy)
    write_list(copy, "train.txt", [0])
    with pytest.raises(SourceError, match=r"test\.txt: the list is missing"):
        read_official(copy)


def test_official_finds_a_train_picture_that_test_lists_under_another_name(copy):
    write_list(copy, "train.txt", [0, 1])
    write_list(copy, "test.txt", [2])
    assert not read_official(copy).warning
    (copy / "tr_im/tr_im_0002.png").write_bytes((copy / "tr_im/tr_im_0001.png").read_bytes())
    assert read_official(copy).warning.startswith("1 of the 1 test images")


def test_two_lists_that_disagree_on_a_mask_are_refused(copy):
    write_list(copy, "train.txt", [0, 1])
    (copy / "test.txt").write_text(f"{line(1).split()[0]} {line(2).split()[1]}\n")
    with pytest.raises(SourceError, match=r"test\.txt, line 1: tr_im/tr_im_0001\.png has another mask"):
        read_official(copy)


def test_a_mask_of_another_size_is_refused(copy):
    Image.fromarray(np.zeros((48, 40), np.uint8)).save(copy / "tr_mask_new/tr_mask_0002.png")
    pattern = (
        r"tr_mask_0002\.png \(.*all\.txt, line 3\): is 40x48 pixels, but its slice tr_im/tr_im_0002\.png is 48x40;"
    )
    with pytest.raises(SourceError, match=pattern):
        read_clean(copy, folds=5, seed=0)


def test_the_digest_depends_on_the_pictures_alone(copy, tmp_path):
    other = write_copy(tmp_path / "elsewhere")
    first = read_clean(copy, folds=5, seed=0).digest
    assert read_clean(other, folds=5, seed=1).digest == first
    Image.fromarray(np.zeros((40, 48), np.uint8)).save(other / "tr_im/tr_im_0002.png")
    assert read_clean(other, folds=5, seed=0).digest != first


def test_a_folder_without_lists_and_no_folder_are_refused(tmp_path):
    with pytest.raises(SourceError, match=r"has neither all\.txt nor train\.txt and test\.txt"):
        read_clean(tmp_path, folds=5, seed=0)
    with pytest.raises(SourceError, match="is not a folder"):
        read_official(tmp_path / "absent")


def test_the_builder_stores_exactly_the_pixels_of_the_source(copy, tmp_path):
    builder = build(copy, tmp_path / "data", "clean")
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == {
        "fold0": 2, "fold1": 2, "fold2": 1, "fold3": 1, "fold4": 1
    }  # fmt: skip
    for example in builder.as_data_source("all"):
        name = example["name"].decode()
        image = np.asarray(Image.open(copy / f"tr_im/{name}.png"))
        mask = np.asarray(Image.open(copy / f"tr_mask_new/{name.replace('im', 'mask')}.png"))
        assert (example["image"] == image[..., None]).all() and example["image"].dtype == np.uint8
        assert (example["mask"] == mask[..., None]).all()
        assert (example["label"], example["patient"], example["slice_index"]) == (1, b"", -1)


def test_the_builder_states_its_metadata(copy, tmp_path):
    metadata = build(copy, tmp_path / "data", "clean").info.metadata
    assert metadata["image_encoding"] == "gray8"
    assert metadata["warning"] == ""
    assert "patients are unknown" in metadata["split_note"]
    assert set(metadata) >= {"research_use_only", "licence", "absent_values", "label_policy", "source_digest"}


def test_the_official_build_warns_aloud_and_in_its_metadata(copy, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda message, *values: said.append(message % values))
    write_list(copy, "train.txt", [0, 1, 2])
    write_list(copy, "test.txt", [2])
    builder = build(copy, tmp_path / "data", "official")
    assert list(builder.info.splits) == ["train", "test"]
    assert "1 of the 1 test images are also in train" in builder.info.metadata["warning"]
    assert any("1 of the 1 test images are also in train" in message for message in said)


def test_a_bad_source_leaves_nothing_behind(copy, tmp_path):
    (copy / "tr_im/tr_im_0006.png").write_bytes(b"")
    with pytest.raises(SourceError, match="0 bytes"):
        build(copy, tmp_path / "data", "clean")
    assert not (tmp_path / "data").exists()


def test_a_build_without_a_source_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no source given"):
        build(None, tmp_path / "data", "clean")
    assert not (tmp_path / "data").exists()


def test_prepared_data_needs_no_source_any_more(copy, tmp_path):
    build(copy, tmp_path / "data", "clean")
    assert build(None, tmp_path / "data", "clean").is_prepared()


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real covid19_ct100 beside the project or in $JCS_DATA")
def test_the_real_development_copy_has_52_slices_in_five_folds(tmp_path):
    builder = build(REAL, tmp_path / "data", "clean")
    assert [info.num_examples for info in builder.info.splits.values()] == [11, 11, 10, 10, 10]
    examples = list(builder.as_data_source("all"))
    assert all(example["image"].shape == (512, 512, 1) for example in examples)
    assert {value for example in examples for value in np.unique(example["mask"]).tolist()} == {0, 1}
    assert [example["name"] for example in examples if not example["mask"].any()] == [b"tr_im_0048"]
    assert np.median([example["mask"].mean() for example in examples]) == pytest.approx(0.048, abs=0.001)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real covid19_ct100 beside the project or in $JCS_DATA")
def test_the_real_development_copy_has_no_official_lists(tmp_path):
    with pytest.raises(SourceError, match=r"train\.txt: the published list is missing; use config clean"):
        build(REAL, tmp_path / "data", "official")
