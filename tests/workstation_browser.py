"""Fixtures for tests of the workstation: the real command in a process of its own, and pages of a real Chromium."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Server:
    """A workstation that runs; ``url`` carries the token of its start."""

    def __init__(self, folder, *options):
        command = [sys.executable, "-m", "nephroscope", "workstation", str(folder), "--json", "--no-browser"]
        self.process = subprocess.Popen(
            [*command, *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        said = json.loads(line)
        self.url, self.port, self.pid = said["url"], said["port"], said["pid"]
        self.origin = f"http://127.0.0.1:{self.port}"

    def kill(self):
        """As a power cut would end it."""
        self.process.kill()
        self.process.communicate()

    def client(self):
        """A client that was let in: `get` and `post` give status and parsed JSON (or bytes)."""
        return Client(self)


class Client:
    """Plain requests with the cookie and the write token of a session."""

    def __init__(self, server):
        self.origin = server.origin
        opener = urllib.request.build_opener(_NoRedirect)
        with pytest.raises(urllib.error.HTTPError) as caught:
            opener.open(server.url)
        self.cookie = caught.value.headers["Set-Cookie"].partition(";")[0]
        caught.value.close()
        self.csrf = self.get("/api/session")[1]["csrf"]

    def get(self, path):
        return self._ask(urllib.request.Request(self.origin + path))

    def post(self, path, body=None, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body if body is not None else {}).encode()
        headers = {"Origin": self.origin, "X-Nephroscope-Token": self.csrf, "Content-Type": kind}
        return self._ask(urllib.request.Request(self.origin + path, data=data, headers=headers))

    def _ask(self, request):
        request.add_header("Cookie", self.cookie)
        try:
            with urllib.request.urlopen(request) as answer:
                status, kind, content = answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, kind, content = error.code, error.headers["Content-Type"], error.read()
        return status, json.loads(content) if kind and kind.startswith("application/json") else content


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args, **kwargs):
        return None


@pytest.fixture
def workstation():
    """``workstation(folder, *options)`` starts one; all are ended after the test."""
    started = []

    def start(folder, *options):
        started.append(Server(Path(folder), *options))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture(scope="module")
def chromium():
    """The browser, once for the tests of a file; while it is there, this thread has a running event loop."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def page(chromium):
    """A page of 1280 x 800 in a fresh profile; a test that leaves an error in its console fails."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    made = context.new_page()
    wrong = []
    made.on("pageerror", lambda error: wrong.append(str(error)))
    yield made
    context.close()
    assert wrong == [], wrong
