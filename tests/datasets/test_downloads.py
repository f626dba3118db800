import errno
import hashlib
import io
import os
import socket
import stat
import time

import pytest
from loopback import (
    answer_after,
    break_off,
    only_once,
    reach_loopback_directly,
    send_other,
    send_status,
    serve,
)

from jcs_datasets.common import downloads
from jcs_datasets.common.downloads import PublicFile, check_base_url, fetch_files, read_published_files, write_whole
from jcs_datasets.common.errors import SourceError

NAMES = ["list.txt", *(f"pictures/{index:02d}.bin" for index in range(20))]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    reach_loopback_directly(monkeypatch)
    monkeypatch.setattr(downloads, "RETRIES", 0)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    (folder / "pictures").mkdir()
    for number, name in enumerate(NAMES):
        (folder / name).write_bytes(bytes([number]) * (1000 + number))
    return folder


@pytest.fixture(scope="module")
def files(published):
    contents = {name: (published / name).read_bytes() for name in NAMES}
    return [PublicFile(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in contents.items()]


@pytest.fixture
def site(published):
    with serve(published) as site:
        yield site


@pytest.fixture
def fetch(files, site, tmp_path):
    return lambda: fetch_files(files, base_url=site.url, folder=tmp_path / "kept")


def kept(tmp_path):
    folder = tmp_path / "kept"
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def refused(call):
    with pytest.raises(SourceError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_file_arrives_as_it_was_published(fetch, published, tmp_path, capfd):
    fetch()
    assert kept(tmp_path) == set(NAMES)
    for name in NAMES:
        assert (tmp_path / "kept" / name).read_bytes() == (published / name).read_bytes()
    assert capfd.readouterr() == ("", "")  # no progress line where stderr is no terminal


def test_a_terminal_shows_progress(fetch, monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal)
    fetch()
    assert "127.0.0.1" in terminal.getvalue()


def test_files_have_the_permissions_of_any_new_file(fetch, tmp_path):
    (tmp_path / "ordinary").touch()
    fetch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "kept" / NAMES[0], tmp_path / "ordinary")}
    assert len(modes) == 1


def test_what_is_there_is_not_asked_for_again(fetch, site):
    fetch()
    assert sorted(site.asked) == sorted(NAMES)
    fetch()
    assert len(site.asked) == len(NAMES)


def test_a_download_that_failed_goes_on_where_it_stopped(fetch, site, tmp_path):
    site.answers[NAMES[10]] = send_status(500)
    assert "answers 500 Internal Server Error" in refused(fetch)
    first, had = list(site.asked), kept(tmp_path)
    assert 5 <= len(had) < len(NAMES)
    assert len(first) <= 10 + 2 * downloads.THREADS  # the others are not even tried
    site.answers.clear()
    fetch()
    assert set(site.asked[len(first) :]) == set(NAMES) - had
    assert kept(tmp_path) == set(NAMES)


def test_a_damaged_file_is_fetched_again(fetch, site, published, tmp_path):
    fetch()
    damaged = tmp_path / "kept" / NAMES[3]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    fetch()
    assert site.asked[len(NAMES) :] == [NAMES[3]]
    assert damaged.read_bytes() == (published / NAMES[3]).read_bytes()


@pytest.mark.parametrize("other", [b"", b"\x04" * 1003, b"\x05" * 1004, b"\x04" * 2000, b"<html>Please log in</html>"])
def test_other_bytes_than_published_are_thrown_away(fetch, site, tmp_path, other):
    site.answers[NAMES[4]] = send_other(other)
    said = refused(fetch)
    assert said.startswith(f"{site.url}{NAMES[4]}: what came is not the published {NAMES[4]}")
    assert "--source" in said
    assert kept(tmp_path) < set(NAMES) - {NAMES[4]}


def test_no_more_is_read_than_was_published(fetch, site):
    sent = []

    def endless(request, _data):
        request.send_response(200)
        request.end_headers()
        for _ in range(1000):
            sent.append(request.wfile.write(bytes(1 << 20)))

    site.answers[NAMES[0]] = endless
    assert "what came is not the published" in refused(fetch)
    assert sum(sent) < 100 << 20


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (404, "the server answers 404 Not Found; check the URL, name another copy with --mirror"),
        (403, "the server answers 403 Forbidden;"),
        (429, "the server answers 429 Too Many Requests; what has come so far is kept: run the same command again in"),
        (599, "the server answers 599;"),
    ],
)
def test_what_the_server_answers_is_said(fetch, site, tmp_path, code, expected):
    site.answers[NAMES[0]] = send_status(code)
    assert f"{site.url}{NAMES[0]}: {expected}" in refused(fetch)
    assert NAMES[0] not in kept(tmp_path)


def test_a_refused_connection_is_said(files, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        said = refused(lambda: fetch_files(files, base_url=url, folder=tmp_path / "kept"))
    assert said.startswith(f"{url}")
    assert "cannot be fetched: Connection refused;" in said
    assert "--mirror" in said and "--source" in said
    assert not kept(tmp_path)


def test_a_host_that_is_not_known_is_said(files, tmp_path, monkeypatch):
    def unknown(*_arguments, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("NO_PROXY", "mirror.test")
    said = refused(lambda: fetch_files(files, base_url="https://mirror.test/", folder=tmp_path / "kept"))
    assert "https://mirror.test/" in said and "cannot be fetched: Name or service not known;" in said


def test_a_server_that_does_not_answer_is_given_up(fetch, site, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", (0.2, 0.2))
    site.answers[NAMES[0]] = answer_after(0.6)
    assert f"{site.url}{NAMES[0]}: cannot be fetched: no answer within 0.2 s;" in refused(fetch)


def test_a_server_that_stops_in_the_middle_is_given_up(fetch, site, tmp_path, monkeypatch):
    def stall(request, data):
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data[:100])
        time.sleep(0.6)

    monkeypatch.setattr(downloads, "TIMEOUT", (0.2, 0.2))
    site.answers[NAMES[0]] = stall
    assert "cannot be fetched: no answer within 0.2 s;" in refused(fetch)
    assert NAMES[0] not in kept(tmp_path)


def test_a_connection_that_breaks_off_is_said(fetch, site, tmp_path):
    site.answers[NAMES[0]] = break_off
    assert "cannot be fetched: the connection broke off;" in refused(fetch)
    assert NAMES[0] not in kept(tmp_path)


def test_a_file_is_tried_twice(fetch, site, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "RETRIES", 1)
    site.answers[NAMES[0]] = only_once(break_off)
    fetch()
    assert kept(tmp_path) == set(NAMES)
    assert len(site.asked) == len(NAMES) + 1


def test_a_redirect_is_followed_and_what_comes_is_checked(fetch, site, published, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/moved").write_bytes((published / NAMES[0]).read_bytes())
    with serve(tmp_path / "elsewhere") as other:
        site.answers[NAMES[0]] = send_status(302, Location=f"{other.url}moved")
        fetch()
        assert other.asked == ["moved"]
        (tmp_path / "kept" / NAMES[0]).unlink()
        (tmp_path / "elsewhere/moved").write_bytes(b"something else")
        assert "what came is not the published" in refused(fetch)


def test_a_full_disk_is_said_and_no_piece_stays(fetch, tmp_path, monkeypatch):
    class FullDisk(io.FileIO):
        def write(self, _piece):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(downloads, "_open_new", lambda path: FullDisk(path, "w"))
    said = refused(fetch)
    assert said.startswith(str(tmp_path / "kept"))
    assert "cannot be written: No space left on device; make room" in said
    assert not kept(tmp_path)


def test_a_file_in_place_of_the_folder_is_said(fetch, site, tmp_path):
    (tmp_path / "kept").write_text("")
    assert f"{tmp_path / 'kept'}" in refused(fetch)
    assert site.asked == []


def test_an_interrupt_ends_the_other_transfers_too(fetch, site, tmp_path, monkeypatch):
    def interrupted(_jobs):
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "as_completed", interrupted)
    for name in NAMES:
        site.answers[name] = answer_after(0.2)
    with pytest.raises(KeyboardInterrupt):
        fetch()
    assert len(site.asked) <= downloads.THREADS
    assert not kept(tmp_path)
    monkeypatch.undo()
    reach_loopback_directly(monkeypatch)
    site.answers.clear()
    fetch()
    assert kept(tmp_path) == set(NAMES)


def test_the_table_of_published_files_is_read(tmp_path):
    (tmp_path / "table.tsv").write_text("path\tbytes\tsha256\na b/c.png\t12\tff00\n")
    assert read_published_files(tmp_path / "table.tsv") == [PublicFile("a b/c.png", 12, "ff00")]


@pytest.mark.parametrize("url", ["https://host/folder", "https://host/folder/", "https://host/folder//"])
def test_a_base_url_ends_in_one_slash(url):
    assert check_base_url(url) == "https://host/folder/"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host/folder",
        "ftp://host/",
        "file:///folder",
        "https://",
        "http://[::1",
        "http://host:port/",
        "http://h/?q=1",
    ],
)
def test_what_is_no_web_folder_is_refused(url):
    assert "is not the URL of a web folder" in refused(lambda: check_base_url(url))


def test_a_password_in_a_url_is_refused_and_not_repeated():
    said = refused(lambda: check_base_url("https://me:secret@host/folder"))
    assert "~/.netrc" in said
    assert "secret" not in said and "me:" not in said


def test_a_text_file_is_replaced_whole(tmp_path):
    write_whole(tmp_path / "all.txt", "one\n")
    write_whole(tmp_path / "all.txt", "two\n")
    assert (tmp_path / "all.txt").read_text() == "two\n"
    assert [path.name for path in tmp_path.iterdir()] == ["all.txt"]
    assert "cannot be written" in refused(lambda: write_whole(tmp_path / "absent/all.txt", ""))
