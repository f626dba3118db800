import math

import pytest
from ct100_copy import write_copy

from jcs_datasets.chest_phantom import Builder as Phantom
from jcs_datasets.common.errors import SourceError
from jcs_datasets.covid19_ct100 import Builder as Ct100
from jcs_datasets.ct_manifest import Builder as Manifest
from jcs_jax.data.preparation import prepare, summarise
from jcs_jax.data.sources import open_source
from jcs_jax.errors import InputError


@pytest.fixture
def copy(tmp_path):
    return write_copy(tmp_path / "copy")


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_build_leaves_the_data_set_and_nothing_else(copy, tmp_path, capsys):
    prepared = prepare(Ct100, data_dir=tmp_path / "a/data", source=copy)
    assert (prepared.dataset, prepared.kept) == ("covid19_ct100/clean", False)
    assert prepared.folder == tmp_path / "a/data/covid19_ct100/clean/1.1.0"
    shards = [f"covid19_ct100-fold{fold}.array_record-00000-of-00001" for fold in range(5)]
    assert files(prepared.folder) == [
        *shards,
        "dataset_info.json",
        "features.json",
        "index.jsonl",
        "metadata.json",
        "source.sha256",
    ]
    assert files(tmp_path / "a")[:3] == ["data", "data/covid19_ct100", "data/covid19_ct100/clean"]
    assert len(files(tmp_path / "a")) == 4 + 10
    assert capsys.readouterr() == ("", "")


def test_prepared_data_is_kept_unless_told_otherwise(copy, tmp_path):
    first = prepare(Ct100, data_dir=tmp_path / "data", source=copy)
    stamp = (first.folder / "dataset_info.json").stat().st_mtime_ns
    assert prepare(Ct100, data_dir=tmp_path / "data", source=copy).kept
    assert (first.folder / "dataset_info.json").stat().st_mtime_ns == stamp
    assert not prepare(Ct100, data_dir=tmp_path / "data", source=copy, overwrite=True).kept
    assert (first.folder / "dataset_info.json").stat().st_mtime_ns != stamp


def test_two_builds_are_the_same_to_the_byte(copy, tmp_path):
    folders = [prepare(Ct100, data_dir=tmp_path / name, source=copy).folder for name in ("one", "two")]
    for name in files(folders[0]):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_a_bad_source_leaves_nothing_behind(copy, tmp_path):
    (copy / "all.txt").write_text("one-column.png\n")
    with pytest.raises(SourceError, match="line 1: has one column"):
        prepare(Ct100, data_dir=tmp_path / "a/data", source=copy)
    assert not (tmp_path / "a").exists()


def test_a_bad_source_keeps_the_data_that_was_to_be_rebuilt(copy, tmp_path):
    folder = prepare(Ct100, data_dir=tmp_path / "data", source=copy).folder
    before = files(tmp_path / "data")
    (copy / "tr_im/tr_im_0003.png").write_bytes(b"")
    with pytest.raises(SourceError, match="0 bytes"):
        prepare(Ct100, data_dir=tmp_path / "data", source=copy, overwrite=True)
    assert files(tmp_path / "data") == before
    assert len(open_source(tmp_path / "data", "covid19_ct100", "fold0")) == 2
    assert folder.is_dir()


def test_an_interrupted_build_leaves_nothing_and_can_be_run_again(copy, tmp_path, monkeypatch):
    def interrupt(_builder, _slices):
        raise KeyboardInterrupt

    monkeypatch.setattr(Ct100, "_generate_examples", lambda self, slices: map(interrupt, slices, slices))
    with pytest.raises(KeyboardInterrupt):
        prepare(Ct100, data_dir=tmp_path / "data", source=copy)
    assert not (tmp_path / "data").exists()
    monkeypatch.undo()
    assert prepare(Ct100, data_dir=tmp_path / "data", source=copy).folder.is_dir()


def test_what_a_killed_build_left_is_no_data_set(copy, tmp_path):
    version = tmp_path / "data/covid19_ct100/clean/1.1.0"
    (version.parent / ".1.1.0.abc.tmp/build").mkdir(parents=True)
    version.mkdir()
    with pytest.raises(InputError, match="not finished"):
        open_source(tmp_path / "data", "covid19_ct100/clean", "fold0")
    assert not prepare(Ct100, data_dir=tmp_path / "data", source=copy).kept
    assert len(open_source(tmp_path / "data", "covid19_ct100/clean", "fold0")) == 2


def test_an_unknown_config_is_refused(tmp_path):
    with pytest.raises(InputError, match="no config 'huge'; choose one of small, tiny"):
        prepare(Phantom, data_dir=tmp_path / "data", config="huge")


def test_a_file_in_place_of_the_data_folder_is_refused(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(InputError, match="data: is a file"):
        prepare(Phantom, data_dir=tmp_path / "data", config="tiny")


def test_a_summary_counts_slices_patients_labels_and_lesions(copy, tmp_path):
    prepare(Ct100, data_dir=tmp_path / "data", source=copy)
    whole = "fold0+fold1+fold2+fold3+fold4"
    summary = summarise(open_source(tmp_path / "data", "covid19_ct100", whole))
    assert (summary.slices, summary.patients, summary.infected, summary.uninfected) == (7, 0, 7, 0)
    assert summary.empty_masks == 1
    assert summary.foreground == pytest.approx(4.5 / 40)  # lesions of 2 to 7 rows of 40


def test_a_summary_without_lesions_has_no_lesion_share(copy, tmp_path):
    (copy / "all.txt").write_text("\n".join((copy / "all.txt").read_text().splitlines()[:5]))
    prepare(Ct100, data_dir=tmp_path / "data", source=copy)
    shares = [summarise(open_source(tmp_path / "data", "covid19_ct100", f"fold{fold}")).foreground for fold in range(5)]
    assert sum(math.isnan(share) for share in shares) == 1


class Options(Ct100, skip_registration=True):
    """COVID-19-CT100 with an option that changes what is built and one that does not."""

    name = "covid19_ct100"
    OPTIONS = ("seed", "download")

    def locate_source(self, manual_dir):
        return manual_dir


def test_data_built_with_other_options_are_not_passed_off(copy, tmp_path):
    def build(**options):
        return prepare(Options, data_dir=tmp_path / "data", source=copy, options=options)

    assert not build(seed=3).kept
    assert build(seed=3).kept
    assert build(seed=3, download=True).kept
    with pytest.raises(InputError, match="was built with --seed=3, not with --seed=4; add --overwrite"):
        build(seed=4)
    with pytest.raises(InputError, match="was built with --seed=3, not with none"):
        build()


def test_an_option_that_the_builder_does_not_have_is_refused(copy, tmp_path):
    with pytest.raises(SourceError, match="has no option --colour; it has --seed, --download"):
        prepare(Options, data_dir=tmp_path / "data", source=copy, options={"colour": 1})
    with pytest.raises(InputError, match="chest_phantom: has no option --seed; it has none"):
        prepare(Phantom, data_dir=tmp_path / "data", options={"seed": 1})
    assert not (tmp_path / "data").exists()


def test_data_of_another_source_are_not_passed_off(copy, tmp_path):
    prepare(Ct100, data_dir=tmp_path / "data", source=copy)
    other = write_copy(tmp_path / "other")
    with pytest.raises(InputError, match=r"was built from another source than .*other.*leave out --source"):
        prepare(Ct100, data_dir=tmp_path / "data", source=other)
    assert prepare(Ct100, data_dir=tmp_path / "data").kept
    assert not prepare(Ct100, data_dir=tmp_path / "data", source=other, overwrite=True).kept
    assert prepare(Ct100, data_dir=tmp_path / "data", source=other).kept


def test_a_list_that_has_changed_since_is_not_passed_off(copy, tmp_path):
    manifest = copy / "mine.csv"
    lines = [f"tr_im/tr_im_{index:04d}.png" for index in (3, 4, 5, 6)]
    manifest.write_text("\n".join(["image", *lines[:3]]))
    prepare(Manifest, data_dir=tmp_path / "data", source=manifest)
    assert prepare(Manifest, data_dir=tmp_path / "data", source=manifest).kept
    with pytest.raises(InputError, match="is there already, so no manifest is made; add --overwrite"):
        prepare(Manifest, data_dir=tmp_path / "data", source=manifest, options={"manifest": str(copy / "out.csv")})
    manifest.write_text("\n".join(["image", *lines]))
    with pytest.raises(InputError, match="or from an older state of it"):
        prepare(Manifest, data_dir=tmp_path / "data", source=manifest)
