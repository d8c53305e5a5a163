"""Hostile requests to the workstation, most of them over a raw socket, since clients clean what they send."""

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nephroscope.workstation import safety
from nephroscope.workstation.database import connected
from small_study import make_study
from workstation_browser import Server

STATIC = Path(safety.__file__).parent / "static"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server of a small study, with a client that was let in, and another server on another port."""
    folder = tmp_path_factory.mktemp("hostile")
    make_study(folder / "study", 2)
    (folder / "study" / "report").mkdir()
    (folder / "secret.html").write_text("SECRET")
    (folder / "study" / "report" / "index.html").symlink_to(folder / "secret.html")
    (folder / "study-2").mkdir()
    (folder / "study-2" / "secret.txt").write_text("SECRET")
    server, other = Server(folder / "study"), Server(folder / "other")
    server.session, server.other, server.folder = server.client(), other.client(), folder
    yield server
    server.kill()
    other.kill()


def send(served, data, seconds=5.0):
    """Status and the whole answer; status 0 where the server closed without one."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=seconds) as wire:
        wire.sendall(data)
        answer = b""
        try:
            while part := wire.recv(65536):
                answer += part
        except (TimeoutError, ConnectionError):
            pass
    found = re.match(rb"HTTP/1\.1 (\d+)", answer)
    return (int(found[1]) if found else 0), answer


def request(served, line="GET /api/cases HTTP/1.1", body=b"", **headers):
    """A request that would be answered, with some of it changed; a header that is None is left out."""
    given = {"Host": f"127.0.0.1:{served.port}", "Cookie": served.session.cookie, "Connection": "close"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    if line.startswith("POST"):
        usual = {
            "Origin": served.origin,
            "X-Nephroscope-Token": served.session.csrf,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }
        given = usual | given
    lines = [line, *(f"{name}: {value}" for name, value in given.items() if value is not None), "", ""]
    return send(served, "\r\n".join(lines).encode("latin-1") + body)


def test_the_usual_requests_are_answered(served):
    assert request(served)[0] == 200
    assert request(served, Host=f"localhost:{served.port}")[0] == 200
    assert request(served, "POST /api/folders HTTP/1.1", b"{}")[0] == 200


HOSTS = (
    "evil.example",
    "127.0.0.1",
    "127.0.0.1:1",
    "localhost.evil.example:{port}",
    "[::1]:{port}",
    "",
    "0.0.0.0:{port}",
)


@pytest.mark.parametrize("host", HOSTS)
def test_other_hosts(served, host):
    """Also a name that a stranger's server lets point to this computer for a moment."""
    status, answer = request(served, Host=host.format(port=served.port))
    assert status in (400, 421)
    assert b"c00" not in answer


def test_host_twice_or_missing(served):
    assert request(served, Host=None)[0] == 400
    twice = f"127.0.0.1:{served.port}\r\nHost: evil.example"
    assert request(served, Host=twice)[0] in (400, 421)


COOKIES = (
    "",
    "nephroscope-{port}=",
    "nephroscope-{port}=x",
    "nephroscope-1={secret}",
    'a="; nephroscope-{port}=x',
    "{other}",
)


@pytest.mark.parametrize("cookie", COOKIES)
def test_other_cookies(served, cookie):
    """None, guessed ones, and that of a workstation on another port, under this port's name too."""
    secret = served.session.cookie.partition("=")[2]
    text = cookie.format(port=served.port, secret=secret, other=served.other.cookie)
    assert request(served, Cookie=text)[0] == 403
    strange = f"nephroscope-{served.port}={served.other.cookie.partition('=')[2]}"
    assert request(served, Cookie=strange)[0] == 403


@pytest.mark.parametrize(
    "other",
    ['a={"b": "c, d"}', "a b=c", "a=\u00e9\u00df", "a", 'a="', "=", "", "$Version=1", "nephroscope-{port}=x"],
)
def test_cookies_of_other_programs_do_not_hide_ours(served, other):
    """Cookies of 127.0.0.1 are shared by all ports."""
    text = other.format(port=served.port) if "port" in other else other
    for cookie in (f"{text}; {served.session.cookie}", f"{served.session.cookie}; {text}"):
        assert request(served, Cookie=cookie)[0] == 200


@pytest.mark.parametrize(
    "path", ["/", "/jobs", "/api/session", "/static/common.js", "/case/x", "/api/nothing"]
)
def test_without_a_cookie_there_is_nothing(served, path):
    status, answer = request(served, f"GET {path} HTTP/1.1", Cookie=None)
    assert status == 403
    assert b"csrf" not in answer


@pytest.mark.parametrize(
    "query", ["token=", "token=x", "token=%00", "token=x&token=y", f"token={'a' * 1900}"]
)
def test_guessed_tokens(served, query):
    status, answer = request(served, f"GET /?{query} HTTP/1.1", Cookie=None)
    assert status == 403
    assert b"set-cookie" not in answer.lower()


def test_the_token_becomes_a_cookie_and_leaves_the_address(served):
    token = served.url.partition("?")[2]
    status, answer = request(served, f"GET /jobs?{token} HTTP/1.1", Cookie=None)
    assert status == 303
    head = answer.decode("latin-1").lower()
    assert re.search(r"\r\nlocation: /jobs\r\n", head)
    assert re.search(r"set-cookie: nephroscope-\d+=[^;]+; path=/; httponly; samesite=strict\r\n", head)
    assert "referrer-policy: no-referrer" in head
    assert "cache-control: no-store" in head


WRITES = (
    {"Origin": None},
    {"Origin": "null"},
    {"Origin": "http://evil.example"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "https://127.0.0.1:{port}"},
    {"Origin": "http://127.0.0.1:{port}.evil.example"},
    {"X_Nephroscope_Token": None},
    {"X_Nephroscope_Token": ""},
    {"X_Nephroscope_Token": "x" * 64},
    {"X_Nephroscope_Token": "{other}"},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
)


@pytest.mark.parametrize("headers", WRITES, ids=str)
def test_writes_of_other_pages(served, headers):
    given = {
        name: value and value.format(port=served.port, other=served.other.csrf)
        for name, value in headers.items()
    }
    assert request(served, "POST /api/jobs HTTP/1.1", b'{"command": "check"}', **given)[0] == 403
    assert served.session.get("/api/jobs")[1]["jobs"] == []


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/xml"]
)
def test_kinds_of_body_that_a_form_could_send(served, kind):
    assert request(served, "POST /api/jobs HTTP/1.1", b'{"command": "check"}', Content_Type=kind)[0] == 415


def test_reads_of_other_pages(served):
    for site in ("cross-site", "same-site"):
        assert (
            request(served, Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="image")[0] == 403
        )
    _, answer = request(served, Origin="http://evil.example")
    assert b"access-control" not in answer.lower()


@pytest.mark.parametrize(
    "method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "PROPFIND", "get"]
)
def test_other_methods(served, method):
    assert request(served, f"{method} /api/cases HTTP/1.1")[0] in (400, 405)


PATHS = (
    "/static/../server.py",
    "/static/%2e%2e/server.py",
    "/static/..%2fserver.py",
    "/static/..%5cserver.py",
    "/static/..\\server.py",
    "/static//etc/passwd",
    "//etc/passwd",
    "/static/%00",
    "/static/common.js%00.html",
    "/static/common.css%0d%0aX-Bad:%201",
    "/../../etc/passwd",
    "/static/....//server.py",
    "/static/server.py",
    "/static/worklist.html",
    "/pages/../secret.html",
    "/pages/report",
    "/study-2/secret.txt",
    "/api/cases/../session",
    "/api/cases/c00",
    "/api/cases/c00/picture",
    "http://evil.example/api/cases",
    "/" + "a" * 3000,
    "/api/cases?subtype=1&x=" + "a" * 3000,
    "/api/jobs/..%2f..%2fworkstation.sqlite",
    "/workstation.sqlite",
)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:40])
def test_paths(served, path):
    status, answer = request(served, f"GET {path} HTTP/1.1")
    assert status in (400, 403, 404, 405, 414), answer[:200]
    assert b"SECRET" not in answer
    assert b"X-Bad" not in answer


def test_a_page_behind_a_link_is_not_served(served):
    """The identifier is guessed right, since it was once given out; the file is a link out of the study."""
    assert served.session.get("/api/pages")[1]["pages"] == []
    from nephroscope.workstation.place import Place

    id_ = Place(served.folder / "study").id_of("page", "report/index.html")
    status, answer = served.session.get(f"/pages/{id_}")
    assert status == 404
    assert "SECRET" not in str(answer)


def test_identifiers_of_another_kind_or_study(served):
    case = served.session.get("/api/cases")[1]["cases"][0]["id"]
    folder = served.session.post("/api/folders", {"path": str(served.folder)})[1]["folder"]["id"]
    assert served.session.get(f"/api/cases/{folder}/picture")[0] == 404
    assert served.session.get(f"/pages/{case}")[0] == 404
    assert served.session.post("/api/folders", {"folder": case})[0] == 404
    assert served.other.post("/api/folders", {"folder": folder})[0] == 404
    for path in ("relative", "../x", "/nowhere/at/all", "\0", "a" * 5000, "~nobody-here/x"):
        assert served.session.post("/api/folders", {"path": path})[0] == 404


def test_ranges(served):
    flood = "bytes=" + ",".join(f"{n}-{n + 1}" for n in range(500))
    assert request(served, "GET /static/common.js HTTP/1.1", Range=flood)[0] == 416
    status, answer = request(served, "GET /static/common.js HTTP/1.1", Range="bytes=0-1")
    assert (status, len(answer) > 1000) == (200, True)  # the whole file: ranges are not looked at


def test_large_bodies(served):
    for path, kind, large in (
        ("/api/jobs", "application/json", 10**12),
        ("/api/uploads", "application/octet-stream", 32_000_001),
        ("/api/folders", "application/json", 1_000_001),
    ):
        assert (
            request(served, f"POST {path} HTTP/1.1", Content_Type=kind, Content_Length=str(large))[0] == 413
        )
    assert request(served, "POST /api/jobs HTTP/1.1", b"x" * 1_000_001)[0] == 413
    assert (
        request(served, "POST /api/uploads HTTP/1.1", b"", Content_Type="application/octet-stream")[0] == 400
    )


def test_odd_lengths(served):
    for length in ("-1", "1e3", "0x10", "99999999999999999999", "1, 2"):
        assert request(served, "POST /api/jobs HTTP/1.1", b"{}", Content_Length=length)[0] in (400, 413)
    both = request(
        served, "POST /api/jobs HTTP/1.1", b"0\r\n\r\n", Transfer_Encoding="chunked", Content_Length="5"
    )
    assert both[0] in (400, 403, 0)
    assert request(served, "GET /api/cases HTTP/1.1", b"{}", Content_Length="2")[0] == 400


def test_a_chunked_body_is_counted(served):
    chunk = b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n"
    status, _ = request(
        served,
        "POST /api/jobs HTTP/1.1",
        chunk * 2 + b"0\r\n\r\n",
        Transfer_Encoding="chunked",
        Content_Length=None,
    )
    assert status in (413, 0)


BODIES = (
    b"",
    b"null",
    b"[]",
    b"{",
    b"\xff\xfe",
    b'{"command": {"a": 1}}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"command": "check", "options": {"x": ' + b"9" * 5000 + b"}}",
    b'{"command": "import", "options": {"folder": "../../etc"}}',
    b'{"command": "import", "options": {"folder": "/etc", "kind": "--dry-run"}}',
    b'{"command": "<script>alert(1)</script>"}',
)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:24])
def test_odd_json(served, body):
    status, answer = request(served, "POST /api/jobs HTTP/1.1", body)
    assert status in (400, 404)
    assert b"<script>" not in answer
    assert served.session.get("/api/jobs")[1]["jobs"] == []


def test_other_protocols(served):
    for name in ("websocket", "h2c", "TLS/1.0"):
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": name,
            "Sec_WebSocket_Key": "x",
            "Sec_WebSocket_Version": "13",
        }
        assert request(served, **upgrade)[0] == 400
    assert send(served, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")[0] in (0, 400, 403, 405, 421)
    assert send(served, b"\x16\x03\x01\x02\x00\x01\x00")[0] in (0, 400)


def test_headers_without_end_or_measure(served):
    assert request(served, X_Long="a" * 200_000)[0] in (0, 400, 431)
    many = "\r\n".join(f"X-{n}: 1" for n in range(20_000))
    assert send(served, f"GET / HTTP/1.1\r\n{many}\r\n\r\n".encode())[0] in (0, 400, 431)
    assert request(served, "GET /api/cases\r\nX-Bad: 1 HTTP/1.1")[0] == 400


def test_slow_bodies_end(monkeypatch):
    """A body that never comes is given up."""
    import asyncio

    monkeypatch.setattr(safety, "BODY_S", 0.05)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"5")]

    async def never():
        await asyncio.sleep(60)

    scope = {"method": "POST", "headers": headers}
    with ThreadPoolExecutor(1) as pool, pytest.raises(safety.RefusedError) as caught:
        pool.submit(lambda: asyncio.run(safety._whole_body(scope, safety._Headers(scope), never))).result()
    assert caught.value.status == 408


def test_every_answer_has_the_headers(served):
    for line in ("GET / HTTP/1.1", "GET /api/cases HTTP/1.1", "GET /nothing HTTP/1.1", "PUT / HTTP/1.1"):
        _, answer = request(served, line)
        head = answer.partition(b"\r\n\r\n")[0].decode("latin-1").lower()
        assert "content-security-policy: default-src 'self'" in head
        for name in (
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
        ):
            assert name in head
        assert "x-frame-options: deny" in head
        assert "server:" not in head
        assert "access-control" not in head


SCRIPT = '<img src=x onerror="window.bad=1"><script>window.bad=1</script>'


def test_script_in_every_name_stays_text(tmp_path, workstation, page):
    """Names of cases, patients, folders and files, and messages of findings are shown as they are."""
    study = make_study(tmp_path / "<b>study", 2)
    for name in ("cohort.csv", "series.csv", "rois.csv"):
        path = study.folder.root / name
        path.write_text(path.read_text().replace("c00", '"<img src=x onerror=window.bad=1>"'))
    (tmp_path / "<img src=x onerror=window.bad=1>").mkdir()
    (tmp_path / "<script>window.bad=1<").mkdir()
    server = workstation(study.folder.root)
    client = server.client()
    (found, *_) = client.get("/api/cases")[1]["cases"]
    assert found["case_id"] == "<img src=x onerror=window.bad=1>"
    with connected(study.folder.root / "workstation" / "workstation.sqlite") as db:
        db.execute(
            "INSERT INTO jobs (id, title, command, words, state, made) VALUES (?, ?, '', '[]', 'failed', 1)",
            ("j", SCRIPT),
        )
    folder = study.folder.root / "workstation" / "jobs" / "j"
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text(SCRIPT)
    (folder / "result.json").write_text(json.dumps({"error": {"code": "x", "message": SCRIPT}}))
    page.goto(server.url)
    page.get_by_test_id("worklist-row").first.wait_for()
    assert "<img src=x onerror=window.bad=1>" in page.get_by_test_id("worklist-table").inner_text()
    for path in ("/jobs", f"/result/{found['id']}", "/doubts", "/steps", "/import"):
        page.goto(server.origin + path)
        page.wait_for_load_state("networkidle") if path != "/jobs" else page.get_by_test_id(
            "job-error"
        ).wait_for()
        assert page.evaluate("window.bad") is None
        assert "onerror" not in page.title()
    page.get_by_test_id("import-path-choose").click()
    page.get_by_test_id("chooser-place").last.click()
    page.get_by_test_id("chooser-folder").filter(has_text="onerror").wait_for()
    assert page.evaluate("window.bad") is None


def test_no_script_makes_html_of_text():
    """The pages build elements; nothing is parsed as HTML, no code is evaluated."""
    for path in STATIC.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "srcdoc",
        ):
            assert word not in text, f"{path.name}: {word}"
    for path in STATIC.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=|https?:", text), path.name
