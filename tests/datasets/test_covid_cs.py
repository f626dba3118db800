import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from absl import logging
from covid_cs_files import FEATURES, lesion_mask, save_feature_file, slice_name, slice_pixels, write_covid_cs
from etils import epath
from PIL import Image
from scipy.io import loadmat, savemat
from scipy.ndimage import binary_dilation

from jcs_datasets.common import beam_shards, shards
from jcs_datasets.common.errors import SourceError
from jcs_datasets.covid_cs import Builder, CovidCsConfig
from jcs_datasets.covid_cs.examples import describe_zeros
from jcs_datasets.covid_cs.feature_files import count_suspicious_zeros
from jcs_datasets.covid_cs.forms import Form
from jcs_jax.data.sources import open_source

SIDES = (64, 32)
NAMES = {"train": [slice_name(0), slice_name(1)], "test": [slice_name(2)]}


class SmallCovidCs(Builder, skip_registration=True):
    """The same builder for features small enough to write in a moment."""

    VERSION = Builder.VERSION
    BUILDER_CONFIGS = [  # noqa: RUF012
        CovidCsConfig(
            name="small", form=Form(content="segmentation", vgg_side=64, res2net_side=32, mask_sides=(64, 128))
        )
    ]
    code_path = epath.Path(__file__)
    pkg_dir_path = code_path.parent


@pytest.fixture
def copy(tmp_path):
    return write_covid_cs(tmp_path / "COVID-CS", sides=SIDES)


def build(source, data_dir, config="small", **options):
    tfds.disable_progress_bar()
    kind = SmallCovidCs if config == "small" else Builder
    builder = kind(data_dir=data_dir, config=config, file_format="array_record", options=options)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=source, try_download_gcs=False)
    )
    return builder


def stored(builder):
    return {
        split: {example["name"].decode(): example for example in builder.as_data_source(split)}
        for split in builder.info.splits
    }


@pytest.mark.parametrize(
    ("config", "vgg_side", "res2net_side", "mask_side"),
    [
        ("segmentation_features", 512, 256, 512),
        ("segmentation_features_half", 256, 128, 256),
        ("segmentation_features_half", 256, 128, 512),
    ],
)
def test_features_and_masks_are_stored_exactly_and_channels_last(tmp_path, config, vgg_side, res2net_side, mask_side):
    copy = write_covid_cs(tmp_path / "copy", config, mask_side=mask_side)
    builder = build(copy, tmp_path / "data", config)
    found = stored(builder)
    assert {split: list(examples) for split, examples in found.items()} == NAMES
    example = found["train"][slice_name(1)]
    file = loadmat(copy / FEATURES / f"{slice_name(1)}.mat")
    for network, side in (("vgg", vgg_side), ("res2net", res2net_side)):
        values = example[f"{network}_features"]
        assert (values.shape, values.dtype) == ((side, side, 64), np.uint8)
        assert (values == np.moveaxis(file[f"{network}_feats"][0], 0, -1)).all()
        assert values.any()
    assert (example["mask"][..., 0] == lesion_mask(mask_side, 1)).all()
    assert (example["height"], example["width"]) == (mask_side, mask_side)
    assert (example["label"], example["patient"].decode()) == (1, slice_name(1).partition("_")[0])
    assert (example["slice_index"], example["file_type"]) == (141, b"mat")
    assert (example["lesion_count"], example["lesion_area"]) == (1, lesion_mask(mask_side, 1).sum())


def test_features_of_classification_are_stored_with_their_labels(tmp_path):
    copy = write_covid_cs(tmp_path / "copy", "classification_features", train=3)
    found = stored(build(copy, tmp_path / "data", "classification_features"))
    assert [example["label"] for example in found["train"].values()] == [0, 0, 1]
    name = slice_name(2)
    values = found["train"][name]["res2net_features"]
    assert values.shape == (112, 112, 64)
    assert (values == np.moveaxis(loadmat(copy / f"feats/{name}.mat")["feat"], 0, -1)).all()
    assert found["train"][name]["mask"].shape == (1, 1, 1)  # nobody drew one
    assert "vgg_features" not in found["train"][name]


def test_pictures_are_stored_exactly(tmp_path):
    copy = write_covid_cs(tmp_path / "copy", "images")
    builder = build(copy, tmp_path / "data", "images")
    example = stored(builder)["train"][slice_name(1)]
    assert (example["image"][..., 0] == slice_pixels(512, 1)).all()
    assert (example["mask"][..., 0] == lesion_mask(512, 1)).all()
    assert (example["label"], example["file_type"]) == (-1, b"png")
    assert builder.info.metadata["image_encoding"] == "gray8"


def test_compressed_files_give_the_same_data(copy, tmp_path):
    packed = write_covid_cs(tmp_path / "packed", sides=SIDES, compressed=True)
    first, second = (stored(build(source, tmp_path / source.name)) for source in (copy, packed))
    for name in NAMES["train"]:
        assert (first["train"][name]["vgg_features"] == second["train"][name]["vgg_features"]).all()
        assert first["train"][name]["digest"] == second["train"][name]["digest"]


def test_palette_annotations_of_0_and_1_are_read(copy, tmp_path):
    picture = Image.frombytes("P", (64, 64), lesion_mask(64, 1).tobytes())
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(copy / f"annotation/{slice_name(1)}.png")
    example = stored(build(copy, tmp_path / "data"))["train"][slice_name(1)]
    assert (example["mask"][..., 0] == lesion_mask(64, 1)).all()


def test_what_was_prepared_is_read_without_the_builder(copy, tmp_path):
    build(copy, tmp_path / "data")
    source = open_source(tmp_path / "data", "small_covid_cs/small", "train")
    example = source[1]
    assert example.image is None
    assert {name: array.shape for name, array in example.stage_features.items()} == {
        "vgg_features": (64, 64, 64),
        "res2net_features": (32, 32, 64),
    }
    assert [record.name for record in source.records()] == NAMES["train"]


def test_the_metadata_say_what_the_release_does_not(copy, tmp_path):
    metadata = build(copy, tmp_path / "data").info.metadata
    assert (metadata["image_encoding"], metadata["feature_scale"], metadata["warning"]) == ("features", 20, "")
    assert "infected patient, so label is 1, also where no lesion shows" in metadata["label_policy"]
    assert "whether it counts from the apex of the lungs is not published" in metadata["slice_note"]
    assert metadata["features_note"].startswith(f"features from {FEATURES}/; 0 of 983040 stored values (0.0000%)")
    assert json.loads(metadata["options"]) == {}


def test_leaks_between_the_lists_are_kept_and_told(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda message, *values: said.append(message % values))
    copy = write_covid_cs(tmp_path / "copy", sides=SIDES, train=3)  # of two patients
    shutil.copy(copy / "train.txt", copy / "test.txt")
    builder = build(copy, tmp_path / "data")
    assert builder.info.splits["test"].num_examples == 3
    warning = builder.info.metadata["warning"]
    assert warning.startswith("3 slices are in more than one of the lists: a score on one of them is a training score;")
    assert "2 patients have slices in more than one of the lists" in warning
    assert any("3 slices are in more than one" in message for message in said)


def test_suspicious_zeros_are_those_beside_a_saturated_value_of_their_channel():
    features = np.full((5, 6, 2), 9, np.uint8)
    features[2, 3, 0] = 240
    features[[1, 3], 3, 0] = 0  # above and below
    features[2, 2, 0] = 0  # left
    features[1, 2, 0] = 0  # across a corner
    features[2, 4, 1] = 0  # another channel
    features[0, 0, 1], features[4, 0, 1] = 255, 0  # opposite edges
    features[4, 5, 1], features[4, 4, 1] = 239, 0  # not saturated
    assert count_suspicious_zeros(features) == 3


def test_suspicious_zeros_agree_with_a_dilation():
    features = np.random.default_rng(0).choice(np.array([0, 100, 250], np.uint8), (20, 17, 4), p=[0.4, 0.5, 0.1])
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])[..., None]
    expected = binary_dilation(features >= 240, cross) & (features == 0)
    assert count_suspicious_zeros(features) == expected.sum() > 0


def test_the_share_of_suspicious_zeros_is_told_and_warned_of(copy, tmp_path):
    values = np.full((1, 64, 64, 64), 9, np.uint8)
    values[0, :, 10, 10:12] = [250, 0]
    stem = np.full((1, 64, 32, 32), 9, np.uint8)
    savemat(copy / f"{FEATURES}/{slice_name(1)}.mat", {"vgg_feats": values, "res2net_feats": stem})
    metadata = build(copy, tmp_path / "data").info.metadata
    assert "; 64 of 983040 stored values (0.0065%) are zeros beside a value of 240 or more" in metadata["features_note"]
    assert metadata["warning"] == ""
    note, warning = describe_zeros({"values": 1_000_000, "suspicious_zeros": 1001})
    assert "1001 of 1000000 stored values (0.1001%)" in note
    assert warning.startswith(
        "1001 of 1000000 stored values (0.1001%) may be maxima that the published encoding wrapped"
    )
    assert describe_zeros({"values": 1_000_000, "suspicious_zeros": 1000})[1] == ""


def damaged_values(copy):
    save_feature_file(copy / f"{FEATURES}/{slice_name(2)}.mat", SIDES, 2, compressed=True)
    path = copy / f"{FEATURES}/{slice_name(2)}.mat"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)
    return f"{path} ({copy}/test.txt, line 1): the values of 'vgg_feats' are damaged"


def odd_mask(copy):
    path = copy / f"annotation/{slice_name(2)}.png"
    Image.new("L", (64, 64), 7).save(path)
    return f"{path} ({copy}/test.txt, line 1): a mask holds 0 and 1, or 0 and 255, but this one holds 7"


def cut_mask(copy):
    path = copy / f"annotation/{slice_name(2)}.png"
    path.write_bytes(path.read_bytes()[:-30])
    return f"{path} ({copy}/test.txt, line 1): is damaged or cut short"


def empty_features(copy):
    path = copy / f"{FEATURES}/{slice_name(2)}.mat"
    path.write_bytes(b"")
    return f"{path} ({copy}/test.txt, line 1): is empty (0 bytes)"


@pytest.mark.parametrize("spoil", [damaged_values, odd_mask, cut_mask, empty_features])
def test_a_bad_source_ends_in_one_line_and_leaves_nothing_that_reads_as_data(copy, tmp_path, spoil):
    expected = spoil(copy)
    with pytest.raises(SourceError) as caught:
        build(copy, tmp_path / "data")
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "data").rglob("*.array_record*"))
    assert not list((tmp_path / "data").rglob("dataset_info.json"))


def test_a_build_without_a_source_or_with_an_unknown_option_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no source given; name the folder"):
        build(None, tmp_path / "data")
    with pytest.raises(SourceError, match="has no option --folds; it has --beam"):
        build(None, tmp_path / "data", folds=5)
    assert not (tmp_path / "data").exists()


def test_splits_are_cut_into_files_in_the_order_of_the_list(tmp_path, monkeypatch):
    copy = write_covid_cs(tmp_path / "copy", sides=SIDES, train=7)
    monkeypatch.setattr(shards, "SHARD_BYTES", 1_000_000)  # a slice has 64 * 64 * 64 + 32 * 32 * 64 = 327,680
    builder = build(copy, tmp_path / "data")
    assert builder.info.splits["train"].shard_lengths == [3, 3, 1]
    assert list(stored(builder)["train"]) == [slice_name(index) for index in range(7)]
    assert len(list(builder.data_path.glob("*-train.array_record-*-of-00003"))) == 3
    assert not list(builder.data_path.glob("unnamed*"))
    monkeypatch.setattr(shards, "SHARD_BYTES", 1)
    assert build(copy, tmp_path / "other").info.splits["train"].shard_lengths == [1] * 7


def test_without_apache_beam_the_cure_is_told_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(beam_shards.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceError) as caught:
        build(tmp_path / "absent", tmp_path / "data", beam=True)
    assert str(caught.value) == "--beam: Apache Beam isn't installed; run pip install 'jcs-jax[beam]'"
    assert not (tmp_path / "data").exists()


def test_beam_builds_the_same_examples_in_the_same_order(tmp_path, monkeypatch):
    pytest.importorskip("apache_beam", reason="needs the extra beam")
    copy = write_covid_cs(tmp_path / "copy", sides=SIDES, train=7, test=3)
    monkeypatch.setattr("jcs_datasets.covid_cs.covid_cs_dataset_builder.SHARD_BYTES", 700_000)
    builder = build(copy, tmp_path / "beam", beam=True)
    plain = build(copy, tmp_path / "plain")
    assert builder.info.splits["train"].shard_lengths == [2, 2, 2, 1]
    assert builder.info.metadata["features_note"] == plain.info.metadata["features_note"]
    assert not list(builder.data_path.glob("unnamed*"))
    found, expected = stored(builder), stored(plain)
    for split, examples in expected.items():
        assert list(found[split]) == list(examples)
        for name, example in examples.items():
            assert all(np.array_equal(found[split][name][key], value) for key, value in example.items())


def test_beam_ends_in_the_same_line_and_leaves_nothing(copy, tmp_path, capfd):
    pytest.importorskip("apache_beam", reason="needs the extra beam")
    expected = damaged_values(copy)
    with pytest.raises(SourceError) as caught:
        build(copy, tmp_path / "data", beam=True)
    assert str(caught.value).startswith(expected)
    assert "Traceback" not in capfd.readouterr().err
    assert not list((tmp_path / "data").rglob("*.array_record*"))
