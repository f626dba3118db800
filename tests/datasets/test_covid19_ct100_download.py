import hashlib
import os
import shutil
import socket
from pathlib import Path

import pytest
from ct100_copy import write_copy, write_list
from loopback import reach_loopback_directly, send_other, send_status, serve

from jcs_datasets.common import downloads
from jcs_datasets.common.downloads import read_published_files
from jcs_datasets.common.errors import SourceError
from jcs_datasets.covid19_ct100 import Builder, download
from jcs_jax import cli
from jcs_jax.data.preparation import SOURCE_FILE, prepare
from jcs_jax.data.sources import open_source, split_sizes

REAL = Path(os.environ.get("JCS_DATA", Path(__file__).parents[3] / "shared/data")) / "covid19_ct100"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    reach_loopback_directly(monkeypatch)
    monkeypatch.setattr(downloads, "RETRIES", 0)


@pytest.fixture
def copy(tmp_path):
    """A whole local copy: all.txt, and published lists that leave slices 5 and 6 out."""
    folder = write_copy(tmp_path / "copy")
    write_list(folder, "train.txt", [0, 1, 2, 3, 4])
    write_list(folder, "test.txt", [1, 2])
    return folder


@pytest.fixture
def site(copy, tmp_path, monkeypatch):
    """The public repository, small: the copy without all.txt, and its table of checksums."""
    public = shutil.copytree(copy, tmp_path / "public")
    (public / "all.txt").unlink()
    rows = ["path\tbytes\tsha256"]
    for file in sorted(path for path in public.rglob("*") if path.is_file()):
        data = file.read_bytes()
        rows.append(f"{file.relative_to(public).as_posix()}\t{len(data)}\t{hashlib.sha256(data).hexdigest()}")
    (tmp_path / "published_files.tsv").write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(download, "PUBLISHED_FILES", tmp_path / "published_files.tsv")
    with serve(public) as site:
        monkeypatch.setattr(download, "BASE_URL", site.url)
        yield site


def kept(root):
    return root / "downloads/covid19_ct100" / download.COMMIT


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("config", ["clean", "official"])
def test_a_download_builds_what_a_local_copy_builds(site, copy, tmp_path, config):
    fetched = prepare(Builder, data_dir=tmp_path / "data", config=config, options={"download": True})
    local = prepare(Builder, data_dir=tmp_path / "other", config=config, source=copy)
    assert contents(fetched.folder) | {SOURCE_FILE: b""} == contents(local.folder) | {SOURCE_FILE: b""}
    assert len(site.asked) == 2 + 2 * 7


def test_clean_has_the_slices_that_no_published_list_names(site, tmp_path):
    prepare(Builder, data_dir=tmp_path / "data", options={"download": True})
    assert sum(split_sizes(tmp_path / "data", "covid19_ct100").values()) == 7
    assert open_source(tmp_path / "data", "covid19_ct100", "fold0").info["warning"] == ""
    assert (kept(tmp_path / "data") / "all.txt").read_text() == (tmp_path / "copy/all.txt").read_text()


def test_the_files_stay_and_serve_another_config_without_the_network(site, tmp_path):
    prepare(Builder, data_dir=tmp_path / "data", options={"download": True})
    asked = len(site.asked)
    prepare(Builder, data_dir=tmp_path / "data", config="official", options={"download": True})
    prepare(Builder, data_dir=tmp_path / "other", config="official", source=kept(tmp_path / "data"))
    assert len(site.asked) == asked
    assert split_sizes(tmp_path / "other", "covid19_ct100") == {"train": 5, "test": 2}


def test_a_failed_download_builds_nothing_and_the_next_one_goes_on(site, tmp_path):
    site.answers["tr_mask_new/tr_mask_0006.png"] = send_status(503)
    with pytest.raises(SourceError, match=r"tr_mask_0006\.png: the server answers 503"):
        prepare(Builder, data_dir=tmp_path / "data", options={"download": True})
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["downloads"]
    asked = len(site.asked)
    site.answers.clear()
    prepare(Builder, data_dir=tmp_path / "data", options={"download": True})
    assert len(site.asked) < asked + 2 * downloads.THREADS
    assert sum(split_sizes(tmp_path / "data", "covid19_ct100").values()) == 7


def test_a_picture_that_was_tampered_with_builds_nothing(site, tmp_path):
    other = (tmp_path / "copy/tr_im/tr_im_0003.png").read_bytes()
    site.answers["tr_im/tr_im_0004.png"] = send_other(other)
    with pytest.raises(SourceError, match=r"what came is not the published tr_im/tr_im_0004\.png"):
        prepare(Builder, data_dir=tmp_path / "data", options={"download": True})
    assert not (tmp_path / "data/covid19_ct100").exists()
    assert not (kept(tmp_path / "data") / "all.txt").exists()


def test_a_mirror_is_asked_in_place_of_the_public_home(site, tmp_path):
    shutil.copytree(site.folder, tmp_path / "intranet/ct100")
    with serve(tmp_path / "intranet") as mirror:
        options = {"download": True, "mirror": f"{mirror.url}ct100"}
        prepare(Builder, data_dir=tmp_path / "data", config="official", options=options)
        assert len(mirror.asked) == 2 + 2 * 7
    assert site.asked == []


def test_a_mirror_has_no_part_in_the_result(site, tmp_path):
    folders = [
        prepare(Builder, data_dir=tmp_path / name, options={"download": True, **options}).folder
        for name, options in {"one": {}, "two": {"mirror": site.url}}.items()
    ]
    assert contents(folders[0]) == contents(folders[1])


def test_the_command_downloads_from_a_mirror_or_says_in_one_line_why_not(site, tmp_path, capsys):
    arguments = ["prepare", "covid19_ct100", "--download", f"--mirror={site.url}", f"--data_dir={tmp_path / 'data'}"]
    site.answers["test.txt"] = send_status(404)
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"jcs prepare: {site.url}test.txt: the server answers 404 Not Found;")
    assert said.err.count("\n") == 1
    site.answers.clear()
    assert cli.main(arguments) == 0
    said = capsys.readouterr()
    assert "covid19_ct100/clean: written" in said.out
    assert said.err == ""


@pytest.mark.parametrize(
    ("options", "source", "expected"),
    [
        ({"download": True}, "copy", "--download and --source are both given; keep one of the two"),
        ({"mirror": "https://host/"}, "copy", "--mirror says where to download from; add --download"),
        ({"mirror": "https://host/"}, None, "--mirror says where to download from; add --download"),
        ({"download": True, "mirror": "/srv/ct100"}, None, "'/srv/ct100': is not the URL of a web folder"),
        ({}, None, "no source given; name the folder of your copy with --source, or add --download"),
        ({"download": False}, None, "no source given"),
    ],
)
def test_contradictions_are_refused_in_one_line(site, tmp_path, options, source, expected):
    with pytest.raises(SourceError) as caught:
        prepare(Builder, data_dir=tmp_path / "data", source=source and tmp_path / source, options=options)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert site.asked == []
    assert not (tmp_path / "data").exists()


def test_without_download_there_is_no_network(copy, tmp_path, monkeypatch):
    def forbid(*_arguments, **_options):
        raise AssertionError("network")

    monkeypatch.setattr(socket.socket, "connect", forbid)
    monkeypatch.setattr(socket, "getaddrinfo", forbid)
    prepare(Builder, data_dir=tmp_path / "data", source=copy)
    assert not (tmp_path / "data/downloads").exists()


def test_the_shipped_table_has_both_lists_and_a_hundred_pairs():
    files = {file.path: file for file in read_published_files(Path(download.__file__).with_name("published_files.tsv"))}
    pairs = [(f"tr_im/tr_im_{number:04d}.png", f"tr_mask_new/tr_mask_{number:04d}.png") for number in range(100)]
    assert set(files) == {"train.txt", "test.txt", *(path for pair in pairs for path in pair)}
    assert sum(file.size for file in files.values()) == 14_376_508  # as the repository lists them
    assert all(len(bytes.fromhex(file.sha256)) == 32 for file in files.values())
    assert download.COMMIT in download.BASE_URL and download.BASE_URL.startswith("https://")


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real covid19_ct100 beside the project or in $JCS_DATA")
def test_the_shipped_table_agrees_with_the_real_development_copy():
    files = {file.path: file for file in read_published_files(Path(download.__file__).with_name("published_files.tsv"))}
    pictures = sorted(REAL.glob("*/*.png"))
    assert len(pictures) == 2 * 52
    for picture in pictures:
        data = picture.read_bytes()
        published = files[picture.relative_to(REAL).as_posix()]
        assert (len(data), hashlib.sha256(data).hexdigest()) == (published.size, published.sha256)
