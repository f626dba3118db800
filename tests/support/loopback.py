"""A web server on this machine's own loopback address, for tests of downloads; nothing leaves the machine."""

import contextlib
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Answer = Callable[[http.server.BaseHTTPRequestHandler, bytes], None]


class Site:
    """A folder that is served.

    Attributes:
      url: of the folder, with a slash at its end.
      asked: the paths that were asked for, in order.
      answers: path -> what answers in place of the plain file; it gets the request and the file's bytes.
    """

    def __init__(self, folder: Path, port: int):
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}/"
        self.asked: list[str] = []
        self.answers: dict[str, Answer] = {}

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        """Answers one request."""
        path = request.path.lstrip("/")
        self.asked.append(path)
        file = self.folder / path
        if file.is_file():
            self.answers.get(path, send)(request, file.read_bytes())
        else:
            send_status(404)(request, b"")


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Site]:
    """Serves a folder while the block runs."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5

        def do_GET(self):
            with contextlib.suppress(ConnectionError):  # a client may hang up: that is what some tests are about
                site.answer(self)

        def log_message(self, *_arguments):
            """Says nothing on stderr."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        site = Site(folder, server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


def reach_loopback_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps a proxy that this machine may be told to use out of the way."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


def send(request: http.server.BaseHTTPRequestHandler, data: bytes) -> None:
    """The plain answer."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)


def send_status(code: int, **headers: str) -> Answer:
    """An answer without a body."""

    def answer(request: http.server.BaseHTTPRequestHandler, _data: bytes) -> None:
        request.send_response(code)
        for name, value in {"Content-Length": "0", **headers}.items():
            request.send_header(name, value)
        request.end_headers()

    return answer


def send_other(data: bytes) -> Answer:
    """An answer with other bytes than the file's."""
    return lambda request, _data: send(request, data)


def break_off(request: http.server.BaseHTTPRequestHandler, data: bytes) -> None:
    """Half of the file, then the connection ends."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    request.wfile.write(data[: len(data) // 2])
    request.close_connection = True


def answer_after(seconds: float) -> Answer:
    """The plain answer, late."""

    def answer(request: http.server.BaseHTTPRequestHandler, data: bytes) -> None:
        time.sleep(seconds)
        send(request, data)

    return answer


def only_once(first: Answer) -> Answer:
    """Answers the first request so, and later ones plainly."""
    left = [first]

    def answer(request: http.server.BaseHTTPRequestHandler, data: bytes) -> None:
        chosen = left.pop() if left else send
        chosen(request, data)

    return answer
