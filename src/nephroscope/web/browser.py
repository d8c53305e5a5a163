"""A headless Chromium that is started, asked and ended here, through its debugging socket on loopback."""

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from nephroscope.base.errors import ConfigError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PLACES = (
    r"Google\Chrome\Application\chrome.exe",
    r"Chromium\Application\chrome.exe",
    r"Microsoft\Edge\Application\msedge.exe",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
SECONDS_TO_START = 60
SECONDS_TO_ANSWER = 600.0
OPTIONS = (
    *(
        "--headless=new",
        "--disable-gpu",
        "--no-first-run",
        "--no-default-browser-check",
        "--disable-extensions",
    ),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio"),
    *("--disable-dev-shm-usage", "--remote-debugging-port=0", "--remote-allow-origins=*"),
)


def find_chromium() -> str | None:
    """The program of Chromium, Chrome or Edge; None where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found:
        return found
    roots = [os.environ.get(name, "") for name in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")]
    paths = [
        Path(root) / place if "\\" in place else Path(place)
        for place in PLACES
        for root in (roots if "\\" in place else [""])
    ]
    return next((str(path) for path in paths if path.is_file()), None)


class Tab:
    """One page of the browser."""

    def __init__(self, address: str) -> None:
        where = urlsplit(address)
        self._socket = socket.create_connection(
            (where.hostname or "127.0.0.1", where.port or 80), SECONDS_TO_ANSWER
        )
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._buffer = b""
        while b"\r\n\r\n" not in self._buffer:
            self._read()
        self._buffer = self._buffer.partition(b"\r\n\r\n")[2]
        self._number = 0

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol and its answer.

        Raises:
            ConfigError: The browser refuses it, or ends.
        """
        self._number += 1
        self._send(json.dumps({"id": self._number, "method": method, "params": parameters}).encode())
        while True:
            answer = json.loads(self._receive())
            if answer.get("id") != self._number:
                continue
            if "error" in answer:
                raise _broken(str(answer["error"].get("message", ""))[:200])
            result: dict[str, Any] = answer["result"]
            return result

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited.

        Raises:
            ConfigError: It throws.
        """
        answer = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            said = answer["exceptionDetails"].get("exception", {})
            raise _broken(str(said.get("description") or said.get("value"))[:500])
        return answer["result"].get("value")

    def open(self, path: Path) -> None:
        """Open a file as by double click.

        Raises:
            ConfigError: The browser shows something else, such as one that may not read the folder.
        """
        end = time.monotonic() + SECONDS_TO_START
        self.ask("Page.enable")
        self.ask("Page.navigate", url=path.resolve().as_uri())
        while (
            self.evaluate("document.readyState") != "complete"
            or self.evaluate("location.protocol") != "file:"
        ):
            if time.monotonic() > end:
                raise _broken("that it does not show the file; one from a snap may not read other folders")
            time.sleep(0.02)

    def _send(self, data: bytes) -> None:
        """One masked text frame. Source: RFC 6455, 5.2."""
        n, mask = len(data), os.urandom(4)
        head = struct.pack(">BB", 0x81, 0x80 | (n if n < 126 else 126 if n < 65536 else 127))
        head += b"" if n < 126 else struct.pack(">H" if n < 65536 else ">Q", n)
        key = int.from_bytes((mask * (n // 4 + 1))[:n], "big")
        masked = (int.from_bytes(data, "big") ^ key).to_bytes(n, "big")
        self._socket.sendall(head + mask + masked)

    def _receive(self) -> bytes:
        """One whole message."""
        message = b""
        while True:
            first, second = self._take(2)
            n = second & 0x7F
            if n >= 126:
                n = int.from_bytes(self._take(2 if n == 126 else 8), "big")
            message += self._take(n)
            if first & 0x80 and first & 0x0F in (0, 1, 2):
                return message
            if first & 0x0F == 8:
                raise _broken("it ended")

    def _take(self, n: int) -> bytes:
        while len(self._buffer) < n:
            self._read()
        taken, self._buffer = self._buffer[:n], self._buffer[n:]
        return taken

    def _read(self) -> None:
        try:
            part = self._socket.recv(1 << 20)
        except OSError as error:
            raise _broken(f"no answer ({type(error).__name__})") from error
        if not part:
            raise _broken("it ended")
        self._buffer += part

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()


@contextmanager
def browser(program: str) -> Iterator[tuple[Tab, int]]:
    """A tab of a browser that runs for this block, with a profile of its own, and its process number.

    Raises:
        ConfigError: It does not start.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        more = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        process = subprocess.Popen(  # noqa: S603 - a browser of this computer
            [program, *OPTIONS, *more, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            tab = Tab(_address(Path(profile), process))
            try:
                yield tab, process.pid
            finally:
                with suppress(ConfigError, OSError):
                    tab.ask("Browser.close")
                tab.close()
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(profile: Path, process: "subprocess.Popen[bytes]") -> str:
    """Address of the debugging socket of the first page."""
    end = time.monotonic() + SECONDS_TO_START
    port = profile / "DevToolsActivePort"
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError, ValueError, IndexError, StopIteration):
            number = int(port.read_text(encoding="utf-8").splitlines()[0])
            with urlopen(f"http://127.0.0.1:{number}/json/list", timeout=5) as answer:
                pages = json.load(answer)
            return str(next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"))
        time.sleep(0.1)
    raise _broken("it did not start")


def _broken(found: str) -> ConfigError:
    return ConfigError(
        where="the browser of the gate",
        expected="Chromium to open the page and to answer",
        found=found,
        remedy="try it again; if that does not help, install Chromium or Chrome again",
    )
