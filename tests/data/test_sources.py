import json
import pickle
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from ct100_copy import write_copy
from PIL import Image

from jcs_datasets.chest_phantom import Builder as Phantom
from jcs_datasets.chest_phantom import make_patient
from jcs_datasets.common import contract, records
from jcs_datasets.covid19_ct100 import Builder as Ct100
from jcs_jax.data.index import stored_spacing
from jcs_jax.data.preparation import prepare
from jcs_jax.data.sources import open_source, split_sizes
from jcs_jax.errors import InputError


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return write_copy(tmp_path_factory.mktemp("source") / "copy")


@pytest.fixture(scope="module")
def data_dir(copy, tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    prepare(Ct100, data_dir=root, config="clean", source=copy)
    prepare(Phantom, data_dir=root, config="tiny")
    return root


@pytest.fixture
def scratch(data_dir, tmp_path):
    return shutil.copytree(data_dir, tmp_path / "data")


def version(root):
    return root / "covid19_ct100/clean/1.1.0"


def test_gray_slices_come_as_intensities(data_dir, copy):
    example = next(iter(open_source(data_dir, "covid19_ct100/clean", "fold0")))
    pixels = np.asarray(Image.open(copy / f"tr_im/{example.name}.png"))
    assert example.encoding == "intensity"
    assert example.image.dtype == np.float32
    np.testing.assert_allclose(example.image, pixels / 255, rtol=1e-6)
    assert example.mask.dtype == np.uint8
    assert example.mask.shape == example.image.shape == (40, 48)
    assert (example.label, example.patient) == (1, "")


def test_hounsfield_units_come_back_exactly(data_dir):
    example = open_source(data_dir, "chest_phantom/tiny", "train")[1]
    phantom = make_patient((0, 0), infected=True, slices=2, size=96)
    assert example.encoding == "hounsfield"
    assert (example.image == phantom.hounsfield[1]).all()
    assert (example.mask == phantom.lesions[1]).all()
    assert (example.patient, example.name) == ("phantom-000", "phantom-000-slice-01")


def test_splits_can_be_joined_and_cut(data_dir):
    joined = open_source(data_dir, "covid19_ct100/clean", "fold0+fold1")
    parts = [open_source(data_dir, "covid19_ct100/clean", split) for split in ("fold0", "fold1")]
    assert [example.name for example in joined] == [example.name for part in parts for example in part]
    assert len(open_source(data_dir, "chest_phantom", "train[:3]")) == 3
    assert len(open_source(data_dir, "chest_phantom", "train[:50%]+test")) == 8


def test_indices_count_from_both_ends_and_stop(data_dir):
    source = open_source(data_dir, "covid19_ct100", "fold0")
    assert source[-1].name == source[np.int64(1)].name == list(source)[1].name
    for index in (2, -3):
        with pytest.raises(IndexError):
            source[index]


def test_info_holds_the_metadata(data_dir):
    info = open_source(data_dir, "covid19_ct100", "fold0").info
    assert info["dataset"] == "covid19_ct100/clean/1.1.0"
    assert "patients are unknown" in info["split_note"]


@pytest.mark.parametrize("split", ["test", "train[1:3]+test[:50%]"])
@pytest.mark.parametrize("indexed", [True, False])
def test_records_tell_of_every_slice_with_and_without_the_index(scratch, split, indexed):
    if not indexed:
        (scratch / "chest_phantom/tiny/1.2.0/index.jsonl").unlink()
    source = open_source(scratch, "chest_phantom", split)
    told = list(source.records())
    assert len(told) == 4
    for record, example in zip(told, source, strict=True):
        assert (record.name, record.patient, record.label) == (example.name, example.patient, example.label)
        assert (record.height, record.width) == example.image.shape
        assert (record.origin, record.file_type, record.lesion_area) == ("phantom", "", example.mask.sum())
        assert record.slice_index == int(record.name[-1])
        assert record.spacing == example.spacing == (3.75, 3.75)  # 360 mm on 96 pixels
    assert len({record.digest for record in told}) == 4


@pytest.fixture
def older(tmp_path, monkeypatch):
    """A data set that was prepared before the spacing was stored."""
    features, told = contract._record_features, records._told

    def without(values):
        return {name: value for name, value in values.items() if not name.endswith("_spacing")}

    with monkeypatch.context() as patch:
        patch.setattr(contract, "_record_features", lambda: without(features()))
        patch.setattr(records, "_told", lambda *arguments: without(told(*arguments)))
        folder = prepare(Phantom, data_dir=tmp_path, config="tiny").folder
    index = folder / "index.jsonl"
    lines = [json.dumps(without(json.loads(line))) for line in index.read_text().splitlines()]
    index.write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.mark.parametrize("indexed", [True, False])
def test_data_prepared_before_the_spacing_was_stored_still_open(older, indexed):
    assert "spacing" not in (older / "features.json").read_text() + (older / "index.jsonl").read_text()
    if not indexed:
        (older / "index.jsonl").unlink()
    source = open_source(older.parents[2], "chest_phantom/tiny", "train")
    assert [example.spacing for example in source] == [None] * 8
    assert [record.spacing for record in source.records()] == [None] * 8
    assert prepare(Phantom, data_dir=older.parents[2], config="tiny").kept


def test_slices_of_unknown_spacing_say_so_in_the_index(data_dir):
    source = open_source(data_dir, "covid19_ct100/clean", "fold0")
    assert source[0].spacing is None and {record.spacing for record in source.records()} == {None}
    line = json.loads((version(data_dir) / "index.jsonl").read_text().splitlines()[0])
    assert (line["row_spacing"], line["column_spacing"]) == (-1, -1) and "spacing" not in line


@pytest.mark.parametrize("pair", [(-1, -1), (0.8, -1), (-1, 0.8), (0, 0.8), (float("nan"), 0.8), (float("inf"), 0.8)])
def test_a_stored_spacing_that_is_no_length_is_unknown(pair):
    assert stored_spacing({"row_spacing": np.float32(pair[0]), "column_spacing": np.float32(pair[1])}) is None


def test_rows_come_before_columns_in_a_stored_spacing():
    assert stored_spacing({"column_spacing": np.float32(0.5), "row_spacing": np.float32(0.75)}) == (0.75, 0.5)


def test_an_index_whose_spacing_is_no_number_is_damaged(scratch):
    index = scratch / "chest_phantom/tiny/1.2.0/index.jsonl"
    index.write_text(index.read_text().replace('"row_spacing": 3.75', '"row_spacing": "wide"'))
    with pytest.raises(InputError, match=r"index\.jsonl: is damaged"):
        list(open_source(scratch, "chest_phantom", "train").records())


def test_records_decode_no_picture(data_dir, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", None)
    assert len(list(open_source(data_dir, "chest_phantom", "train").records())) == 8


@pytest.mark.parametrize("spoil", ["{", '{"file": "x"}', ""])
def test_a_damaged_index_is_refused(scratch, spoil):
    index = scratch / "chest_phantom/tiny/1.2.0/index.jsonl"
    index.write_text(index.read_text()[:-20] + spoil)
    with pytest.raises(InputError, match=r"index\.jsonl: is damaged; prepare the data set again"):
        list(open_source(scratch, "chest_phantom", "test").records())


def test_split_sizes_are_listed(data_dir):
    assert split_sizes(data_dir, "chest_phantom") == {"train": 8, "validation": 4, "test": 4}


def test_many_threads_read_what_one_reads(data_dir):
    expected = [example.image.sum() for example in open_source(data_dir, "chest_phantom", "train")]
    fresh = open_source(data_dir, "chest_phantom", "train")
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda index: fresh[index % 8].image.sum(), range(80))) == expected * 10


def test_a_source_can_be_pickled(data_dir):
    source = open_source(data_dir, "chest_phantom", "test")
    again = pickle.loads(pickle.dumps(source))
    assert [example.name for example in again] == [example.name for example in source]


def test_a_mask_of_one_pixel_means_that_nobody_drew_one(data_dir):
    source = open_source(data_dir, "covid19_ct100", "fold0")
    stored = {**source._data[0], "mask": cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes()}
    source._data = [stored, stored]
    assert source[0].mask is None


def test_the_newest_finished_version_is_read(scratch):
    shutil.copytree(version(scratch), version(scratch).with_name("1.10.0"))
    shutil.copytree(version(scratch), version(scratch).with_name("1.9.0"))
    (version(scratch).with_name("2.0.0")).mkdir()
    info = version(scratch).with_name("1.10.0") / "dataset_info.json"
    info.write_text(info.read_text().replace("1.1.0", "1.10.0"))
    assert open_source(scratch, "covid19_ct100", "fold0").info["dataset"] == "covid19_ct100/clean/1.10.0"


def refused(*arguments):
    with pytest.raises(InputError) as caught:
        open_source(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_data_set_that_is_not_there_says_how_to_prepare_it(data_dir, tmp_path):
    assert "run `jcs prepare covid_cs --data_dir" in refused(data_dir, "covid_cs", "train")
    assert "no prepared data set" in refused(tmp_path / "absent", "covid19_ct100", "fold0")
    assert "--config official`" in refused(data_dir, "covid19_ct100/official", "train")


def test_an_unknown_split_lists_the_known_ones(data_dir):
    assert "it has fold0, fold1, fold2, fold3, fold4;" in refused(data_dir, "covid19_ct100", "train")


@pytest.mark.parametrize("split", ["", "fold0[", "fold0[:x]", "fold0 fold1", "fold0+", "+"])
def test_an_ill_formed_split_is_refused(data_dir, split):
    assert "no such split" in refused(data_dir, "covid19_ct100", split)


def test_an_empty_split_is_refused(data_dir):
    assert "holds no slice" in refused(data_dir, "covid19_ct100", "fold0[:0]")


@pytest.mark.parametrize("dataset", ["", "../covid19_ct100", "covid19_ct100/clean/1.1.0", "covid19_ct100/..", "/"])
def test_what_is_no_name_is_refused(data_dir, dataset):
    assert "is not a name" in refused(data_dir, dataset, "fold0")


def test_several_configs_ask_for_one(scratch):
    shutil.copytree(scratch / "covid19_ct100/clean", scratch / "covid19_ct100/other")
    assert "has configs clean, other; name one" in refused(scratch, "covid19_ct100", "fold0")


def test_an_unfinished_build_is_refused(scratch):
    (version(scratch) / "dataset_info.json").unlink()
    assert "not finished" in refused(scratch, "covid19_ct100/clean", "fold0")


def test_a_lost_file_is_named(scratch):
    lost = next(version(scratch).glob("*fold1*"))
    lost.unlink()
    assert str(lost) in refused(scratch, "covid19_ct100", "fold0")


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_a_damaged_description_is_refused(scratch, name):
    (version(scratch) / name).write_text("{")
    assert "prepare it again" in refused(scratch, "covid19_ct100", "fold0")


def test_a_data_set_of_another_kind_is_refused(scratch):
    (version(scratch) / "metadata.json").write_text(json.dumps({"image_encoding": "rgb"}))
    assert "is not a CT data set" in refused(scratch, "covid19_ct100", "fold0")


def test_reading_touches_no_network(data_dir, monkeypatch):
    def forbid(*_arguments, **_options):
        raise AssertionError("network")

    monkeypatch.setattr(socket.socket, "connect", forbid)
    monkeypatch.setattr(socket, "getaddrinfo", forbid)
    assert len(open_source(data_dir, "chest_phantom", "train")) == 8


def test_reading_imports_neither_tensorflow_nor_the_builders_and_warns_of_nothing(data_dir):
    code = (
        "import sys; from jcs_jax.data.sources import open_source\n"
        f"open_source({str(data_dir)!r}, 'chest_phantom', 'train')[0]\n"
        "found = {name.split('.')[0] for name in sys.modules} & {'tensorflow', 'torch', 'jcs_datasets', 'datasets'}\n"
        "sys.exit(f'imported {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
