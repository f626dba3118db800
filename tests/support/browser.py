"""Debian's Chromium without a window, driven over pipes by the DevTools protocol; nothing but the standard library."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-pipe",
)
_PATIENCE = 30  # seconds for an answer
_KEYS = {"Home": 36, "End": 35, "PageUp": 33, "PageDown": 34, "Enter": 13, "Tab": 9} | {
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
}


class Browser:
    """A running Chromium: sends commands, sorts answers from events."""

    def __init__(self, commands: int, answers: int):
        self._commands, self._answers = commands, answers
        self._numbers = itertools.count(1)
        self._buffer = b""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer; RuntimeError if the browser refuses it."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        while True:
            answer = self._next()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(0, deadline - time.monotonic()))
            received = os.read(self._answers, 1 << 20) if ready else b""
            if not received:
                raise RuntimeError("chromium gave no answer")
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    @contextlib.contextmanager
    def open(self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Page]:
        """A page that has loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        page = Page(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        page.call("Page.navigate", url=path.resolve().as_uri())
        page.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")
        try:
            yield page
        finally:
            self.call("Target.closeTarget", targetId=target)


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str):
        self._browser, self._session = browser, session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command for this tab."""
        return self._browser.call(method, self._session, **params)

    def events(self, method: str) -> list[dict[str, Any]]:
        """What this tab has told of so far."""
        self.evaluate("0")  # whatever came before has been read when this is answered
        mine = (event for event in self._browser.events if event.get("sessionId") == self._session)
        return [event["params"] for event in mine if event["method"] == method]

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript, a promise's once it is there."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 10) -> None:
        """Waits until JavaScript is true."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(expression):
            if time.monotonic() > deadline:
                raise TimeoutError(f"never true: {expression}")
            time.sleep(0.01)

    def press(self, key: str) -> None:
        """A key, by its name or its letter, to what has the focus."""
        code = _KEYS.get(key, ord(key[0].upper()))
        pressed = {"key": key, "windowsVirtualKeyCode": code}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **pressed, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def box(self, selector: str) -> dict[str, float]:
        """Where an element lies in the window, after scrolling to it."""
        return self.evaluate(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
            " found.scrollIntoView({block: 'center'});"
            " const {x, y, width, height} = found.getBoundingClientRect(); return {x, y, width, height}; })()"
        )

    def click(self, selector: str, *, across: float = 0.5, down: float = 0.5) -> None:
        """Clicks on an element, at a share of its width and height."""
        box = self.box(selector)
        place = {"x": box["x"] + across * box["width"], "y": box["y"] + down * box["height"]}
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, **place, **button)

    def wheel(self, selector: str, down: float) -> None:
        """Turns the wheel over the middle of an element, by pixels."""
        box = self.box(selector)
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        self.call("Input.dispatchMouseEvent", type="mouseWheel", **place, deltaX=0, deltaY=down)

    def screenshot(self, *, whole: bool = False) -> bytes:
        """A PNG of the window, or of the whole page."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def pdf(self) -> bytes:
        """The page as it prints, on the paper that its style asks for."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"])


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    """Starts Chromium with an empty profile; ends it afterwards."""
    commands_in, commands = _high_pipe()
    answers, answers_out = _high_pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        null = os.open(os.devnull, os.O_RDWR)
        pid = os.posix_spawn(
            str(CHROMIUM),
            [str(CHROMIUM), *_FLAGS, f"--user-data-dir={profile}"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 1),
                (os.POSIX_SPAWN_DUP2, null, 2),
                (os.POSIX_SPAWN_DUP2, commands_in, 3),  # the numbers that the browser expects
                (os.POSIX_SPAWN_DUP2, answers_out, 4),
            ],
        )
        for descriptor in (null, commands_in, answers_out):
            os.close(descriptor)
        browser = Browser(commands, answers)
        try:
            yield browser
        finally:
            with contextlib.suppress(RuntimeError, OSError):
                browser.call("Browser.close")
            os.close(commands)
            os.close(answers)
            _reap(pid)


def _reap(pid: int) -> None:
    deadline = time.monotonic() + 5
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        time.sleep(0.02)


def _high_pipe() -> tuple[int, int]:
    """A pipe whose ends can't be mistaken for the numbers they get in the browser; no other child inherits them."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
    return ends[0], ends[1]
