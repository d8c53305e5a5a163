"""Send, find and get with a real PACS, which is killed and started again on the way."""

import gc
import json
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pydicom
import pytest

from compress import compress
from nephroscope.base.errors import PacsError
from nephroscope.cli import run
from nephroscope.exchange.address import Line, read_node, read_url
from nephroscope.exchange.connect import connect
from nephroscope.exchange.deliver import deliver_once
from nephroscope.exchange.outbox import Outbox
from nephroscope.exchange.peer import is_uid, objects_below
from nephroscope.imaging.read import read_ct
from orthanc import MISSING, Orthanc, free_port
from phantoms import box_tumor, dicom_slices, write_seg, write_slices

needs_orthanc = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
# pynetdicom leaves the socket of a connection that was refused to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
JPEG_2000 = "1.2.840.10008.1.2.4.90"


@pytest.fixture(scope="module", autouse=True)
def _no_sockets_for_the_next_file():
    """Once a file, whose own tests ignore them: each collection looks at all that the tests have imported."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    archive = Orthanc(tmp_path_factory.mktemp("orthanc") / "o")
    yield archive
    archive.kill()


@pytest.fixture
def archive(shared):
    """Running and empty."""
    if shared.process is None:
        shared.start()
    import urllib.request

    for one in shared.ask("patients"):
        request = urllib.request.Request(
            f"http://127.0.0.1:{shared.web_port}/patients/{one}", method="DELETE"
        )
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
    return shared


def make_export(folder, syntax=None, patient="P1"):
    """A CT series and its SEG; gives the images."""
    images = dicom_slices(patient)
    for image in images:
        image.StudyDate, image.AccessionNumber = "20240131", "A1"
        if syntax:
            compress(image, syntax)
    write_slices(images, folder / "ct")
    write_seg(images, {"Tumor": box_tumor()}, folder / "roi.dcm")
    return images


def uids_below(folder):
    return {one.sop_uid for one in objects_below([folder])}


def to(archive, protocol):
    return ["--to", archive.node] if protocol == "dicom" else ["--stow", archive.web]


def of(archive, protocol):
    return ["--from", archive.node] if protocol == "dicom" else ["--web", archive.web]


@needs_orthanc
@pytest.mark.parametrize("protocol", ["dicom", "web"])
@pytest.mark.parametrize("syntax", [None, JPEG_2000])
def test_sent_found_and_fetched_again(archive, tmp_path, capsys, protocol, syntax):
    images = make_export(tmp_path / "export", syntax)
    assert run(["send", str(tmp_path / "export"), *to(archive, protocol), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["confirmed"] == len(images) + 1
    assert {one["tries"] for one in said["objects"]} == {0}
    assert sorted(archive.sop_uids()) == sorted(uids_below(tmp_path / "export"))
    asked = [*of(archive, protocol), "--patient-id", "P1"]
    assert run(["pacs", "find", *asked, "--json"]) == 0
    out = capsys.readouterr().out
    assert "Secret" not in out
    found = {one["modality"]: one for one in json.loads(out)["series"]}
    assert found["CT"]["n_images"] == len(images)
    assert found["CT"]["date"] == "20240131"
    assert set(found) == {"CT", "SEG"}
    assert run(["pacs", "get", *asked, "--out", str(tmp_path / "back")]) == 0
    assert "2 of 2 series are whole" in capsys.readouterr().out
    assert uids_below(tmp_path / "back") == uids_below(tmp_path / "export")
    back = tmp_path / "back" / images[0].SeriesInstanceUID
    assert np.array_equal(read_ct(back).hu, read_ct(tmp_path / "export" / "ct").hu)
    if syntax:
        first = pydicom.dcmread(next(back.iterdir()), stop_before_pixels=True)
        assert first.file_meta.TransferSyntaxUID == syntax


@needs_orthanc
def test_c_move_to_a_port_of_ours(archive, tmp_path, capsys):
    make_export(tmp_path / "export")
    run(["send", str(tmp_path / "export"), "--to", archive.node])
    port = str(archive.our_port)
    asked = [
        "--from",
        archive.node,
        "--accession",
        "A1",
        "--move-port",
        port,
        "--out",
        str(tmp_path / "back"),
    ]
    assert run(["pacs", "get", *asked]) == 0
    assert uids_below(tmp_path / "back") == uids_below(tmp_path / "export")


@needs_orthanc
def test_what_is_there_is_not_fetched_again(archive, tmp_path):
    make_export(tmp_path / "export")
    run(["send", str(tmp_path / "export"), "--to", archive.node])
    asked = ["pacs", "get", "--from", archive.node, "--date", "20240131", "--out", str(tmp_path / "back")]
    assert run(asked) == 0
    files = sorted((tmp_path / "back").rglob("*.dcm"))
    before = {path: path.stat().st_mtime_ns for path in files}
    assert run(asked) == 0
    assert {path: path.stat().st_mtime_ns for path in files} == before
    files[0].unlink()
    assert run(asked) == 0
    assert files[0].exists()
    archive.kill()
    assert run(asked) == 2


@needs_orthanc
def test_fetched_export_is_imported(archive, tmp_path, capsys):
    make_export(tmp_path / "export")
    run(["send", str(tmp_path / "export"), "--to", archive.node])
    run(["pacs", "get", "--from", archive.node, "--patient-id", "P1", "--out", str(tmp_path / "back")])
    (tmp_path / "labels.csv").write_text("case_id,subtype\nP1,PRCC\n")
    run(["new", str(tmp_path / "study"), "--subtypes", "PRCC", "ChRCC"])
    study, back, labels = (str(tmp_path / name) for name in ("study", "back", "labels.csv"))
    capsys.readouterr()
    assert run(["import", "dicom", study, back, "--labels", labels]) == 0
    assert "1 case" in capsys.readouterr().out


@needs_orthanc
@pytest.mark.parametrize("protocol", ["dicom", "web"])
def test_a_queue_goes_on_when_the_pacs_is_back(archive, tmp_path, capsys, protocol):
    make_export(tmp_path / "export")
    archive.kill()
    queue = ["--queue", str(tmp_path / "queue"), "--patience-s", "0"]
    assert run(["send", str(tmp_path / "export"), *to(archive, protocol), *queue]) == 3
    assert "they wait in the queue" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "export" / "ct")  # the queue has copies
    archive.start()
    assert run(["send", *to(archive, protocol), *queue, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["confirmed"] == len(said["objects"]) == 7
    assert len(archive.sop_uids()) == len(set(archive.sop_uids())) == 7
    assert not list((tmp_path / "queue" / "objects").iterdir())
    assert run(["send", *to(archive, protocol), *queue, "--json"]) == 0  # nothing waits any more


@needs_orthanc
def test_what_is_there_already_is_not_sent_again(archive, tmp_path):
    """As after a kill between the sending and its note in the queue."""
    make_export(tmp_path / "export")
    run(["send", str(tmp_path / "export"), "--to", archive.node])
    outbox = Outbox(tmp_path / "queue")
    outbox.put(objects_below([tmp_path / "export"]), archive.node)
    peer = connect(Line(address=read_node(archive.node)))
    peer.store = None  # would raise
    assert deliver_once(outbox, peer, archive.node) == ""
    assert outbox.waiting() == []


@needs_orthanc
def test_killed_at_any_moment_everything_arrives_once(archive, tmp_path):
    """kill -9 of ours at several moments, and of the PACS once: each object is there once, with its UID."""
    make_export(tmp_path / "export")
    command = [sys.executable, "-m", "nephroscope", "send", "--to", archive.node]
    queue = ["--queue", str(tmp_path / "queue")]
    for number, seconds in enumerate((0.6, 0.9, 1.2, 1.5)):
        with subprocess.Popen(
            [*command, str(tmp_path / "export"), *queue], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(seconds)
            process.kill()
        if number == 2:
            archive.kill()
            archive.start()
    done = subprocess.run(
        [*command, str(tmp_path / "export"), *queue, "--json"], capture_output=True, check=True
    )
    said = json.loads(done.stdout)
    assert {one["state"] for one in said["objects"]} == {"confirmed"}
    assert sorted(archive.sop_uids()) == sorted(uids_below(tmp_path / "export"))


@needs_orthanc
def test_another_called_ae_is_refused_with_its_reason(archive, tmp_path, capsys):
    make_export(tmp_path / "export")
    node = archive.node.replace("ARCHIVE", "OTHER")
    assert run(["send", str(tmp_path / "export" / "roi.dcm"), "--to", node, "--patience-s", "0"]) == 3
    assert "it refuses NEPHROSCOPE" in capsys.readouterr().out
    assert archive.sop_uids() == []


def test_a_pacs_that_lies_is_not_believed(tmp_path):
    """It says that it took everything, and has nothing."""

    class Liar:
        def store(self, objects):
            return {one.sop_uid: "" for one in objects}

        def instances(self, study_uid, series_uid):
            return set()

    make_export(tmp_path / "export")
    outbox = Outbox(tmp_path / "queue")
    outbox.put(objects_below([tmp_path / "export"]), "X@h:1")
    assert "does not find it" in deliver_once(outbox, Liar(), "X@h:1")
    assert {one.tries for one in outbox.waiting()} == {1}


def test_a_queue_holds_an_object_once_for_each_destination(tmp_path):
    make_export(tmp_path / "export")
    objects = objects_below([tmp_path / "export"])
    outbox = Outbox(tmp_path / "queue")
    for destination in ("A@h:1", "A@h:1", "B@h:1"):
        outbox.put(objects, destination)
    assert len(outbox.all()) == 2 * len(objects)
    outbox.confirm(outbox.waiting("A@h:1"))
    assert len(list((tmp_path / "queue" / "objects").iterdir())) == len(objects)  # B waits for them
    outbox.confirm(outbox.waiting("B@h:1"))
    assert not list((tmp_path / "queue" / "objects").iterdir())


def test_an_object_put_again_is_looked_for_in_its_new_series(tmp_path):
    """The same SOP Instance UID, moved to another series and study before it was sent once more."""

    class Recorder:
        asked = ()

        def instances(self, study_uid, series_uid):
            self.asked += ((study_uid, series_uid),)
            return {one.sop_uid} if (study_uid, series_uid) == ("1.2.8", "1.2.9") else set()

    make_export(tmp_path / "export")
    (one,) = objects_below([tmp_path / "export" / "roi.dcm"])
    outbox, peer = Outbox(tmp_path / "queue"), Recorder()
    outbox.put([one], "X@h:1")
    outbox.put([replace(one, study_uid="1.2.8", series_uid="1.2.9")], "X@h:1")
    assert deliver_once(outbox, peer, "X@h:1") == ""
    assert peer.asked == (("1.2.8", "1.2.9"),)
    assert [sent.state for sent in outbox.all()] == ["confirmed"]


def test_a_damaged_queue_is_refused(tmp_path):
    (tmp_path / "queue").mkdir()
    (tmp_path / "queue" / "queue.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(PacsError, match=r"expected a file queue\.sqlite that this program wrote"):
        Outbox(tmp_path / "queue")


def test_a_queue_of_a_newer_version_is_refused(tmp_path):
    import sqlite3

    Outbox(tmp_path)
    with sqlite3.connect(tmp_path / "queue.sqlite") as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(PacsError, match="expected format 1 or older, found format 9"):
        Outbox(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "A", "A@h", "A@h:0", "A@h:99999", "@h:1", "A" * 17 + "@h:1", "A\\B@h:1", "A@h:x"]
)
def test_an_address_that_is_none_is_refused(text):
    with pytest.raises(PacsError):
        read_node(text)


def test_addresses_are_read():
    node = read_node("MY ARCHIVE@[::1]:104")
    assert (node.ae, node.host, node.port, str(node)) == ("MY ARCHIVE", "::1", 104, "MY ARCHIVE@[::1]:104")
    assert str(read_url("https://h/dicom-web/")) == "https://h/dicom-web"


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(PacsError, match="found one with them") as error:
        read_url("https://u:geheim@h/dicom-web")
    assert "geheim" not in str(error.value)


@pytest.mark.parametrize("more", [[], ["--to", "A@127.0.0.1:1", "--stow", "http://127.0.0.1:1/d"]])
def test_a_send_needs_one_named_destination(tmp_path, capsys, more):
    make_export(tmp_path / "export")
    assert run(["send", str(tmp_path / "export"), *more]) == 2
    assert "expected one named PACS" in capsys.readouterr().err


def test_nothing_but_dicom_is_sent(tmp_path, capsys):
    (tmp_path / "letter.txt").write_text("Secret Name")
    assert run(["send", str(tmp_path / "letter.txt"), "--to", "A@127.0.0.1:1"]) == 2
    assert "expected a DICOM object" in capsys.readouterr().err


def test_a_pacs_is_not_asked_for_everything(capsys):
    assert run(["pacs", "find", "--from", "A@127.0.0.1:1"]) == 2
    assert "everything in the PACS would match" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--from", "--web"])
def test_a_pacs_that_is_not_there_is_named(capsys, option):
    port = free_port()
    address = f"A@127.0.0.1:{port}" if option == "--from" else f"http://127.0.0.1:{port}/d"
    assert run(["pacs", "find", option, address, "--patient-id", "Secret"]) == 2
    said = capsys.readouterr().err
    assert f"PACS {address}: expected an answer, found no connection" in said
    assert "Secret" not in said


def test_uids_are_safe_names():
    assert is_uid("1.2.840")
    assert not any(map(is_uid, ("", "..", "1..2", ".1", "1/2", "a", "1" * 65)))


@contextmanager
def web_server(answer):
    """Answers each request by ``answer(handler)``; gives its URL and the headers that came."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(dict(self.headers))
            answer(self)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/d", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def no_series(handler):
    handler.send_response(200)
    handler.send_header("Content-Type", "application/dicom+json")
    handler.end_headers()
    handler.wfile.write(b"[]")


def test_no_redirect_is_followed(capsys):
    with web_server(no_series) as (other, seen):

        def redirect(handler):
            handler.send_response(302)
            handler.send_header("Location", f"{other}/series")
            handler.end_headers()

        with web_server(redirect) as (url, _):
            assert run(["pacs", "find", "--web", url, "--patient-id", "P1"]) == 2
        assert seen == []
    assert "HTTP status 302" in capsys.readouterr().err


def test_no_proxy_is_used_and_netrc_is_read(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login u password p\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with web_server(no_series) as (url, seen):
        assert run(["pacs", "find", "--web", url, "--patient-id", "P1"]) == 0
    assert {one["Authorization"] for one in seen} == {"Basic dTpw"}


def test_an_answer_that_is_none_is_refused(capsys):
    def page(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.end_headers()
        handler.wfile.write(b"<html>Secret</html>")

    with web_server(page) as (url, _):
        assert run(["pacs", "find", "--web", url, "--patient-id", "P1"]) == 2
    assert "Secret" not in capsys.readouterr().err
