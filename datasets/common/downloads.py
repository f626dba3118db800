"""Fetching public files one by one: checked against a table, written whole or not at all, and never fetched twice."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import http.client
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import pooch
import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from jcs_datasets.common.errors import SourceError

THREADS = 4
RETRIES = 1  # of a file, after a second
TIMEOUT = (10.0, 30.0)  # seconds to connect, and between two pieces of an answer
_PIECE = 1 << 16
_BY_HAND = "or download the files by hand and name their folder with --source"
_KEPT = "what has come so far is kept"


@dataclasses.dataclass(frozen=True)
class PublicFile:
    """A file as it was published.

    Attributes:
      path: relative to the base URL, with forward slashes.
      size: bytes.
      sha256: of its bytes, in hexadecimal.
    """

    path: str
    size: int
    sha256: str


class _StoppedError(Exception):
    """Another file has failed: this transfer ends too."""


def read_published_files(table: Path) -> list[PublicFile]:
    """Reads a table of published files: tab-separated, with the columns path, bytes and sha256."""
    with table.open(encoding="utf-8", newline="") as lines:
        return [
            PublicFile(row["path"], int(row["bytes"]), row["sha256"]) for row in csv.DictReader(lines, delimiter="\t")
        ]


def check_base_url(url: str) -> str:
    """The URL of a web folder, with one slash at its end.

    Raises:
      SourceError: not http or https, no host, a user or password in it, or a part after `?` or `#`.
    """
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or parts.query or parts.fragment:
        raise SourceError(f"{url!r}: is not the URL of a web folder; write it as https://host/folder/")
    if parts.username or parts.password:
        # Error messages name the URL.
        raise SourceError(f"the URL of {parts.hostname} holds a user or a password; put them into ~/.netrc instead")
    return parts.geturl().rstrip("/") + "/"


def fetch_files(files: Sequence[PublicFile], *, base_url: str, folder: Path) -> None:
    """Brings a folder up to the published state, over several connections.

    A file that is there and has the right SHA-256 is not asked for; one that has another is fetched again. A
    file takes its name only when it is whole and right, so a run that was cut short is simply run again.
    A progress line is drawn on stderr where that is a terminal.

    Args:
      files: what was published.
      base_url: the web folder that holds them, with a slash at its end.
      folder: where they go, under their paths.

    Raises:
      SourceError: the first file that can't be had: no network, no such host, refused, an HTTP error, no answer
        in time, other bytes than published, or a folder that can't be written.
    """
    pooch.get_logger().setLevel("WARNING")  # it would name each of hundreds of files
    stop = threading.Event()
    sizes = {base_url + file.path: file.size for file in files}
    store = pooch.create(
        folder, base_url, registry={file.path: f"sha256:{file.sha256}" for file in files}, retry_if_failed=RETRIES
    )
    _make_folders({(folder / file.path).parent for file in files})
    with (
        requests.Session() as session,
        _progress(f"{urlsplit(base_url).hostname}", sum(sizes.values())) as advance,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        transfer = functools.partial(_transfer, session, stop, sizes)
        jobs = {pool.submit(_fetch, store, file, transfer): file for file in files}
        try:
            for job in as_completed(jobs):
                job.result()
                advance(jobs[job].size)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _fetch(store: pooch.Pooch, file: PublicFile, transfer: Callable[..., None]) -> None:
    """Fetches one file, unless it is there; every failure is a `SourceError`."""
    url = store.get_url(file.path)
    try:
        store.fetch(file.path, downloader=transfer)
    except requests.RequestException as error:  # of which some kinds are a ValueError and all are an OSError
        raise SourceError(f"{url}: {_network_failure(error)}") from error
    except ValueError as error:
        raise SourceError(
            f"{url}: what came is not the published {file.path} (its size or SHA-256 differs) and was thrown away; "
            f"run the same command again, {_BY_HAND}"
        ) from error
    except OSError as error:
        raise _unwritable(store.abspath / file.path, error) from error


def _transfer(
    session: requests.Session, stop: threading.Event, sizes: Mapping[str, int], url: str, output: str, _store: Any
) -> None:
    """Fetches one URL into a temporary file for pooch, over a kept connection and never more than was published."""
    received = 0
    # Unencoded: the pictures don't compress, and a small answer can't unfold into a large one.
    headers = {"Accept-Encoding": "identity"}
    with session.get(url, stream=True, timeout=TIMEOUT, headers=headers) as answer, _open_new(output) as file:
        answer.raise_for_status()
        for piece in answer.iter_content(_PIECE):
            if stop.is_set():
                raise _StoppedError
            received += len(piece)
            if received > sizes[url]:
                raise ValueError(f"longer than {sizes[url]} bytes")
            file.write(piece)


def _open_new(path: str) -> BinaryIO:
    """Opens pooch's temporary file anew: as it was made, only its owner could read the data in a shared folder."""
    Path(path).unlink()
    return Path(path).open("xb")


def _network_failure(error: requests.RequestException) -> str:
    """What went wrong on the way to a file, and what to do."""
    if error.response is not None:
        code = error.response.status_code
        answered = f"the server answers {code} {http.client.responses.get(code, '')}".rstrip()
        if code == requests.codes.too_many_requests:
            return f"{answered}; {_KEPT}: run the same command again in some minutes, {_BY_HAND}"
        return f"{answered}; check the URL, name another copy with --mirror, {_BY_HAND}"
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    said = [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]
    if any(isinstance(cause, requests.Timeout | TimeoutError) for cause in causes):
        said = [f"no answer within {max(TIMEOUT):g} s"]
    reason = said[-1] if said else "the connection broke off"
    return (
        f"cannot be fetched: {reason}; {_KEPT}: check the network (and HTTPS_PROXY) and run the same command again, "
        f"name a copy that you can reach with --mirror, {_BY_HAND}"
    )


def write_whole(path: Path, text: str) -> None:
    """Writes a text file that another process sees whole or not at all.

    Raises:
      SourceError: the folder can't be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _unwritable(path, error) from error


def _make_folders(folders: set[Path]) -> None:
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(folder, error) from error


def _unwritable(path: Path, error: OSError) -> SourceError:
    return SourceError(f"{path}: cannot be written: {error.strerror or error}; make room or choose another --data_dir")


@contextlib.contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Draws a line of progress on a terminal; yields what to tell of each further number of bytes."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(title, total=total)
        yield functools.partial(progress.advance, task)
