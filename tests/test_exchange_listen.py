"""A series and its ROI come, the report goes back: with a real PACS, both killed on the way, and the bounds of it."""

import copy
import gc
import json
import math
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import replace

import pydicom
import pytest
from pydicom.uid import generate_uid

from nephroscope.base.errors import PacsError, RoiError
from nephroscope.cli import run
from nephroscope.exchange.address import Line, read_node
from nephroscope.exchange.connect import connect
from nephroscope.exchange.inbox import FULL, MOST_TRIES, NOT_OURS, TAKEN, Inbox, Limits, images_of_roi
from nephroscope.exchange.listener import Listener, Listening
from nephroscope.exchange.peer import objects_below
from nephroscope.exchange.read_sr import read_answer
from nephroscope.facade.listen import answering
from nephroscope.facade.prediction import FilesToPredict, predict_files
from nephroscope.intake.phantom import write_phantoms
from orthanc import MISSING, Orthanc, free_port
from phantoms import TUMOR, box_tumor, dicom_slices, write_seg, write_slices
from test_rtstruct import rtstruct, save
from tiny_bundle import make_bundle

needs_orthanc = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
NOW = Limits(quiet_s=0.0)
PATIENCE_S = 60


@pytest.fixture(scope="module", autouse=True)
def _no_sockets_for_the_next_file():
    """Once a file, whose own tests ignore them: each collection looks at all that the tests have imported."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "export"
    write_phantoms(folder, 1, 7)
    return folder / "SYNTHETIC-0001"


@pytest.fixture
def archive(tmp_path):
    made = Orthanc(tmp_path / "orthanc")
    yield made.start()
    made.kill()


@contextmanager
def listening(archive, bundle, folder, *more):
    """The command in a process of its own, which is killed at the end; gives the process and its log."""
    log = folder.with_suffix(".log")
    command = [sys.executable, "-m", "nephroscope", "listen", bundle, "--port", str(archive.our_port)]
    command += ["--answer-to", archive.node, "--folder", folder, "--quiet-s", "1", *more]
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        wait_for(lambda: "answers go to" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield process, log
    finally:
        process.kill()
        process.wait()


def wait_for(true, seconds=PATIENCE_S):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)


def push(archive, uids):
    """Let the PACS send these objects to us."""
    known = {one["MainDicomTags"]["SOPInstanceUID"]: one["ID"] for one in archive.ask("instances?expand")}
    archive.ask("modalities/us/store", json.dumps([known[uid] for uid in uids]).encode())


def reports(archive):
    """The structured reports in the PACS."""
    series = [one for one in archive.ask("series?expand") if one["MainDicomTags"]["Modality"] == "SR"]
    return [instance for one in series for instance in one["Instances"]]


def read_back(archive, instance, path):
    url = f"http://127.0.0.1:{archive.web_port}/instances/{instance}/file"
    with urllib.request.urlopen(url, timeout=30) as answer:
        path.write_bytes(answer.read())
    return path


def sent_to(archive, patient):
    """The patient's CT and one SEG in the PACS: UIDs of images and SEG."""
    seg = patient / "roi_reader1.dcm"
    assert run(["send", str(patient / "ct"), str(seg), "--to", archive.node]) == 0
    images = [one.sop_uid for one in objects_below([patient / "ct"])]
    return images, pydicom.dcmread(seg).SOPInstanceUID


@needs_orthanc
def test_an_incomplete_series_waits_and_a_whole_one_is_answered(archive, bundle, patient, tmp_path):
    images, seg = sent_to(archive, patient)
    with listening(archive, bundle, tmp_path / "listen", "--sc") as (_, log):
        push(archive, [*images[:-2], seg])
        time.sleep(3)
        assert reports(archive) == []
        push(archive, images[-2:])
        wait_for(lambda: reports(archive))
        push(archive, [seg])  # once more
        time.sleep(3)
        wait_for(lambda: not list((tmp_path / "listen" / "queue" / "objects").iterdir()))
    (instance,) = reports(archive)
    answer = read_answer(read_back(archive, instance, tmp_path / "sr.dcm"))
    expected = predict_files(bundle, FilesToPredict(image=patient / "ct", roi=patient / "roi_reader1.dcm"))
    assert answer.probabilities == expected.probabilities
    assert answer.call == expected.call
    report = pydicom.dcmread(tmp_path / "sr.dcm")
    assert report.PatientID == "SYNTHETIC-0001"
    assert any(seg in str(item) for item in report.CurrentRequestedProcedureEvidenceSequence)
    kinds = [one["MainDicomTags"]["Modality"] for one in archive.ask("series?expand")]
    assert sorted(kinds) == ["CT", "OT", "SEG", "SR"]
    assert "SYNTHETIC" not in log.read_text()


@needs_orthanc
def test_kills_on_both_sides_lose_and_double_nothing(archive, bundle, patient, tmp_path):
    images, seg = sent_to(archive, patient)
    folder = tmp_path / "listen"
    with listening(archive, bundle, folder):
        push(archive, [*images, seg])
        archive.kill()
    for _ in range(3):  # killed while the PACS is away: before, while or after the answer is made
        with listening(archive, bundle, folder):
            time.sleep(1)
    with listening(archive, bundle, folder):
        wait_for(lambda: list((folder / "queue" / "objects").glob("*.dcm")))
    with listening(archive, bundle, folder):
        archive.start()
        wait_for(lambda: reports(archive))
        wait_for(lambda: not list((folder / "queue" / "objects").iterdir()))
    with listening(archive, bundle, folder):
        time.sleep(2)
    assert len(reports(archive)) == 1
    assert len(archive.sop_uids()) == len(set(archive.sop_uids())) == len(images) + 2


@pytest.fixture
def boxes(tmp_path):
    """A CT and its SEG as bytes, by SOP Instance UID."""
    images = dicom_slices()
    write_slices(images, tmp_path / "ct")
    seg = write_seg(images, {"Tumor": box_tumor()}, tmp_path / "roi.dcm")
    return images, {one.sop_uid: one.path.read_bytes() for one in objects_below([tmp_path / "ct"])}, seg


def filled(tmp_path, boxes, limits=NOW):
    inbox = Inbox(tmp_path / "in", limits)
    _, contents, seg = boxes
    for content in (*contents.values(), seg.read_bytes()):
        assert inbox.keep(content) == TAKEN
    return inbox


def test_a_case_is_ready_when_all_that_its_roi_names_is_there(tmp_path, boxes):
    inbox = Inbox(tmp_path / "in", NOW)
    _, contents, seg = boxes
    first, *rest = contents.values()
    assert inbox.keep(seg.read_bytes()) == TAKEN
    assert inbox.ready() == []
    for content in rest:
        inbox.keep(content)
    assert inbox.ready() == []
    inbox.keep(first)
    assert [one.roi_uid for one in inbox.ready()] == [pydicom.dcmread(seg).SOPInstanceUID]


def without_frames(seg, path):
    """The SEG with its series, but text where its frames are described."""
    made = pydicom.dcmread(seg)
    made[0x52009230] = pydicom.DataElement(0x52009230, "LT", "damaged")
    made.save_as(path)
    return path.read_bytes()


def test_a_damaged_roi_is_refused_with_its_reason_and_taken_when_it_comes_whole(tmp_path, boxes, caplog):
    inbox = Inbox(tmp_path / "in", NOW)
    uid = pydicom.dcmread(boxes[2]).SOPInstanceUID
    for content in (*boxes[1].values(), without_frames(boxes[2], tmp_path / "damaged.dcm")):
        assert inbox.keep(content) == TAKEN
    assert inbox.ready() == []
    assert [(one.state, one.reason[:4]) for one in inbox.cases()] == [("refused", "roi:")]
    assert [one.args[0] for one in caplog.records if one.levelname == "WARNING"] == [uid]
    assert inbox.keep(boxes[2].read_bytes()) == TAKEN
    assert [(one.roi_uid, one.reason) for one in inbox.ready()] == [(uid, "")]


def test_an_roi_damaged_on_the_disk_ends_neither_the_listener_nor_its_other_cases(tmp_path, boxes, caplog):
    made = listener(tmp_path, free_port(), lambda case, folder: folder.mkdir(parents=True))
    other = write_seg(boxes[0], {"Tumor": box_tumor()}, tmp_path / "other.dcm")
    for content in (*boxes[1].values(), boxes[2].read_bytes(), other.read_bytes()):
        assert made.inbox.keep(content) == TAKEN
    first = made.inbox.cases()[0]
    first.roi.write_bytes(without_frames(boxes[2], tmp_path / "damaged.dcm"))
    images_of_roi.cache_clear()  # as after a new start
    made.step()
    assert [one.state for one in made.inbox.cases()] == ["refused", "answered"]
    assert [one.args[0] for one in caplog.records if one.levelname == "WARNING"] == [first.series_uid]
    caplog.clear()
    made.step()
    assert caplog.records == []


def test_an_roi_that_comes_again_waits_for_what_it_names_now(tmp_path, boxes):
    inbox = filled(tmp_path, boxes)
    assert len(inbox.ready()) == 1
    seg = pydicom.dcmread(boxes[2])
    named = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    more = copy.deepcopy(named[0])
    more.ReferencedSOPInstanceUID = "1.2.9"
    named.append(more)
    seg.save_as(tmp_path / "more.dcm")
    assert inbox.keep((tmp_path / "more.dcm").read_bytes()) == TAKEN
    assert inbox.ready() == []


@pytest.mark.parametrize("n_series", [0, 2])
def test_an_roi_of_no_or_two_series_is_named_in_the_log(tmp_path, boxes, caplog, n_series):
    seg = pydicom.dcmread(boxes[2])
    named = [copy.deepcopy(seg.ReferencedSeriesSequence[0]) for _ in range(n_series)]
    for number, item in enumerate(named):
        item.SeriesInstanceUID = f"1.2.{number}"
    seg.ReferencedSeriesSequence = named
    seg.save_as(tmp_path / "odd.dcm")
    inbox = Inbox(tmp_path / "in", NOW)
    assert inbox.keep((tmp_path / "odd.dcm").read_bytes()) == TAKEN
    reason = f"the ROI names {n_series} series"
    assert [(one.state, one.reason) for one in inbox.cases()] == [("refused", reason)]
    assert [one.args for one in caplog.records] == [(seg.SOPInstanceUID, reason)]


def test_a_case_waits_until_nothing_more_comes(tmp_path, boxes):
    inbox = filled(tmp_path, boxes, Limits(quiet_s=3600))
    assert inbox.ready() == []
    for path in (tmp_path / "in").rglob("*.dcm"):
        os.utime(path, (time.time() - 4000,) * 2)
    assert len(inbox.ready()) == 1


def test_a_refused_case_is_tried_again_when_more_images_come(tmp_path, boxes):
    inbox = filled(tmp_path, boxes)
    (case,) = inbox.ready()
    inbox.refused(case, "a gap")
    assert inbox.ready() == []
    more = boxes[0][0]
    more.SOPInstanceUID = more.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    write_slices([more], tmp_path / "more")
    assert inbox.keep(next((tmp_path / "more").iterdir()).read_bytes()) == TAKEN
    assert len(inbox.ready()) == 1


def test_an_answered_case_stays_answered_when_its_roi_comes_again(tmp_path, boxes):
    inbox = filled(tmp_path, boxes)
    inbox.answered(inbox.ready()[0])
    inbox.keep(boxes[2].read_bytes())
    assert inbox.ready() == []
    assert [one.state for one in Inbox(tmp_path / "in", NOW).cases()] == ["answered"]


def test_a_case_on_which_the_program_ends_is_given_up(tmp_path, boxes):
    inbox = filled(tmp_path, boxes)
    for _ in range(MOST_TRIES):
        (case,) = Inbox(tmp_path / "in", NOW).ready()  # started again
        assert inbox.trying(case)
    (case,) = inbox.ready()
    assert not inbox.trying(case)
    assert inbox.ready() == []
    assert inbox.cases()[0].reason.startswith("this program ended 3 times")


@pytest.mark.parametrize("limits", [Limits(most_bytes=5000, quiet_s=0), Limits(most_images=2, quiet_s=0)])
def test_more_than_the_limits_is_not_taken(tmp_path, boxes, limits):
    inbox = Inbox(tmp_path / "in", limits)
    said = [inbox.keep(content) for content in boxes[1].values()]
    assert said[0] == TAKEN
    assert said[-1] == FULL
    n_kept = said.count(TAKEN)
    assert len(list((tmp_path / "in").rglob("*.dcm"))) == n_kept
    again = Inbox(tmp_path / "in", limits)  # it counts what is there
    assert again.keep(list(boxes[1].values())[-1]) == FULL
    assert again.keep(next(iter(boxes[1].values()))) == TAKEN  # the same once more needs no more room


def test_other_kinds_of_objects_are_not_taken(tmp_path, boxes):
    inbox = Inbox(tmp_path / "in", NOW)
    assert inbox.keep(b"") == NOT_OURS
    other = boxes[0][0]
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    write_slices([other], tmp_path / "mr")
    assert inbox.keep(next((tmp_path / "mr").iterdir()).read_bytes()) == NOT_OURS


def test_old_series_are_removed_and_named(tmp_path, boxes):
    inbox = filled(tmp_path, boxes)
    assert inbox.sweep() == []
    for path in (tmp_path / "in").rglob("*.dcm"):
        os.utime(path, (time.time() - 25 * 3600,) * 2)
    assert inbox.sweep() == [boxes[0][0].SeriesInstanceUID]
    assert not list((tmp_path / "in").rglob("*.dcm"))
    assert inbox.cases() == []


def test_an_inbox_that_is_none_is_refused(tmp_path):
    (tmp_path / "inbox.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(PacsError, match=r"expected a file inbox\.sqlite that this program wrote"):
        Inbox(tmp_path, NOW)


def listener(tmp_path, port, answer, limits=NOW, answers="ARCHIVE@127.0.0.1:1"):
    line = Line(address=read_node(answers))
    how = Listening(
        folder=tmp_path / "l",
        host="127.0.0.1",
        port=port,
        allowed=("ARCHIVE",),
        answers=line,
        limits=limits,
    )
    return Listener(how, answer)


@contextmanager
def started(made):
    made.start()
    try:
        yield made
    finally:
        made.stop()


def store(port, ae, objects, called="NEPHROSCOPE"):
    line = Line(address=read_node(f"{called}@127.0.0.1:{port}"), our_ae=ae)
    return connect(line).store(objects)


def test_only_who_is_on_the_list_may_send(tmp_path, boxes):
    port, objects = free_port(), objects_below([boxes[2]])
    with started(listener(tmp_path, port, lambda case, folder: None)):
        for ae, called in (("STRANGER", "NEPHROSCOPE"), ("ARCHIVE", "OTHER")):
            with pytest.raises(PacsError, match="it refuses"):
                store(port, ae, objects, called)
        assert set(store(port, "ARCHIVE", objects).values()) == {""}
    assert len(list((tmp_path / "l" / "received").rglob("*.dcm"))) == 1


@pytest.mark.parametrize("side_px", [40, 400])
def test_an_object_larger_than_any_is_not_taken(tmp_path, side_px, caplog):
    """A small one when it has come, a large one before."""
    image = dicom_slices()[0]
    image.Rows = image.Columns = side_px
    image.PixelData = b"\0" * (2 * side_px * side_px)
    write_slices([image], tmp_path / "ct")
    port, limits = free_port(), Limits(most_object_bytes=2000, quiet_s=0)
    with started(listener(tmp_path, port, lambda case, folder: None, limits)):
        (why,) = store(port, "ARCHIVE", objects_below([tmp_path / "ct"])).values()
    assert why
    assert ("was refused" in caplog.text) == (side_px > 40)
    assert not list((tmp_path / "l" / "received").rglob("*.dcm"))


def test_a_refusal_is_kept_with_its_reason(tmp_path, boxes, caplog):
    def refuse(case, folder):
        raise RoiError(where="here", expected="a tumor", found="none", remedy="draw it")

    made = listener(tmp_path, free_port(), refuse)
    for content in (*boxes[1].values(), boxes[2].read_bytes()):
        made.inbox.keep(content)
    made.step()
    assert [one.reason for one in made.inbox.cases()] == ["roi: expected a tumor, found none"]
    assert "Secret" not in caplog.text
    made.step()
    assert made.outbox.all() == []


def left_answer(made, uid, seg):
    """What a kill between the writing of an answer and its noting leaves; gives its folder."""
    folder = made.how.folder / "answers" / uid
    folder.mkdir(parents=True)
    shutil.copy(seg, folder / "sr.dcm")
    (folder / ".sr.dcm.part").write_bytes(b"half")
    return folder


def test_what_a_kill_left_of_an_answer_is_not_sent_with_the_next(tmp_path, boxes):
    """An answer of another version may have had other objects."""

    def answer(case, folder):
        write_slices(boxes[0][:1], folder)

    made = listener(tmp_path, free_port(), answer)
    for content in (*boxes[1].values(), boxes[2].read_bytes()):
        made.inbox.keep(content)
    folder = left_answer(made, made.inbox.cases()[0].roi_uid, boxes[2])
    made._next_sweep = math.inf
    made.step()
    assert [one.object.sop_uid for one in made.outbox.all()] == [boxes[0][0].SOPInstanceUID]
    assert not folder.exists()


@pytest.mark.parametrize("end", ["refused", "given up"])
def test_no_answer_stays_of_a_case_that_is_over(tmp_path, boxes, end):
    def refuse(case, folder):
        left_answer(made, case.roi_uid, boxes[2])
        raise RoiError(where="here", expected="a tumor", found="none", remedy="draw it")

    made = listener(tmp_path, free_port(), refuse)
    for content in (*boxes[1].values(), boxes[2].read_bytes()):
        made.inbox.keep(content)
    (case,) = made.inbox.cases()
    if end == "given up":
        for _ in range(MOST_TRIES):
            assert made.inbox.trying(made.inbox.cases()[0])
        left_answer(made, case.roi_uid, boxes[2])
    made._next_sweep = math.inf
    made.step()
    assert [one.state for one in made.inbox.cases()] == ["refused"]
    assert not list((tmp_path / "l" / "answers").iterdir())


def test_a_sweep_removes_answers_of_cases_that_are_gone_or_over_only(tmp_path, boxes):
    made = listener(tmp_path, free_port(), None, Limits(quiet_s=3600))
    for content in (*boxes[1].values(), boxes[2].read_bytes()):
        made.inbox.keep(content)
    (case,) = made.inbox.cases()
    waits, gone = (left_answer(made, uid, boxes[2]) for uid in (case.roi_uid, "1.2.9"))
    made.step()
    assert (waits.exists(), gone.exists()) == (True, False)
    made.inbox.answered(case)
    made._next_sweep = 0.0
    made.step()
    assert not waits.exists()


def drawn(images):
    """The box tumor as RTSTRUCT of these images."""
    rows, columns = TUMOR[1], TUMOR[2]
    contours = []
    for image in images[TUMOR[0]]:
        x0, y0, z = (float(mm) for mm in image.ImagePositionPatient)
        row_mm, column_mm = (float(mm) for mm in image.PixelSpacing)
        left, right = (x0 + (edge - 0.5) * column_mm for edge in (columns.start, columns.stop))
        top, bottom = (y0 + (edge - 0.5) * row_mm for edge in (rows.start, rows.stop))
        contours.append([(left, top, z), (right, top, z), (right, bottom, z), (left, bottom, z)])
    made = rtstruct({"Tumor": contours}, images[0].SeriesInstanceUID)
    made.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = images[0].FrameOfReferenceUID
    for item in made.StructureSetROISequence:
        item.ReferencedFrameOfReferenceUID = images[0].FrameOfReferenceUID
    made.StudyInstanceUID, made.SeriesInstanceUID = images[0].StudyInstanceUID, generate_uid()
    return made


@pytest.mark.parametrize("kind", ["SEG", "RTSTRUCT"])
def test_an_roi_that_is_no_seg_is_answered_with_one(tmp_path, bundle, boxes, kind):
    """The report refers to a SEG: the one that came, or one that goes along."""
    roi = boxes[2].read_bytes() if kind == "SEG" else save(drawn(boxes[0]), tmp_path / "rt.dcm").read_bytes()
    made = listener(tmp_path, free_port(), answering(bundle, picture=True))
    for content in (*boxes[1].values(), roi):
        assert made.inbox.keep(content) == TAKEN
    made.step()
    assert [one.reason for one in made.inbox.cases()] == [""]
    waiting = made.outbox.waiting()
    kinds = {one.object.sop_class.removeprefix("1.2.840.10008.5.1.4.1.1.") for one in waiting}
    assert kinds == {"7", "88.34"} | ({"66.4"} if kind == "RTSTRUCT" else set())
    assert {one.error for one in waiting} == {"no connection"}
    assert [one.state for one in made.inbox.cases()] == ["answered"]
    assert not list((tmp_path / "l" / "answers").iterdir())


def test_our_own_seg_that_the_pacs_sends_on_is_not_answered(tmp_path, bundle, boxes):
    made = listener(tmp_path, free_port(), answering(bundle, picture=False))
    for content in (*boxes[1].values(), save(drawn(boxes[0]), tmp_path / "rt.dcm").read_bytes()):
        made.inbox.keep(content)
    made.step()
    (seg,) = [one.object for one in made.outbox.waiting() if one.object.sop_class.endswith("66.4")]
    made.inbox.keep(seg.path.read_bytes())
    made.step()
    assert len(made.outbox.all()) == 2
    assert [one.state for one in made.inbox.cases()] == ["answered", "answered"]


def test_a_port_that_is_taken_is_refused(tmp_path):
    port = free_port()
    with started(listener(tmp_path / "a", port, lambda case, folder: None)):
        other = listener(tmp_path / "b", port, lambda case, folder: None)
        with pytest.raises(PacsError, match="a free port"):
            other.start()


def test_a_damaged_bundle_is_refused_before_anything_is_heard(tmp_path, capsys):
    command = ["listen", str(tmp_path), "--answer-to", "ARCHIVE@127.0.0.1:1", "--folder", str(tmp_path / "l")]
    assert run([*command, "--port", str(free_port())]) == 2
    assert not (tmp_path / "l").exists()
    assert "bundle" in capsys.readouterr().err


OPENSSL = shutil.which("openssl")


def certificate(folder, name, *signing):
    """PEM file of a key and its certificate for 127.0.0.1."""
    command = [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt", *signing]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"] if signing else []
    subprocess.run(command, check=True, capture_output=True)
    both = folder / f"{name}.pem"
    both.write_bytes((folder / f"{name}.crt").read_bytes() + (folder / f"{name}.key").read_bytes())
    return both


@pytest.mark.skipif(OPENSSL is None, reason="no openssl: install openssl with apt-get")
def test_over_tls_only_those_with_a_certificate_are_heard(tmp_path, boxes):
    certificate(tmp_path, "authority")
    ca = tmp_path / "authority.crt"
    signed = (
        "-CA",
        ca,
        "-CAkey",
        tmp_path / "authority.key",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    )
    ours, theirs = certificate(tmp_path, "ours", *signed), certificate(tmp_path, "theirs", *signed)
    certificate(tmp_path, "stranger")
    port, objects = free_port(), objects_below([boxes[2]])
    line = Line(address=read_node("ARCHIVE@127.0.0.1:1"), tls_ca=ca, tls_cert=ours)
    how = Listening(
        folder=tmp_path / "l", host="127.0.0.1", port=port, allowed=("ARCHIVE",), answers=line, limits=NOW
    )
    to_us = Line(address=read_node(f"NEPHROSCOPE@127.0.0.1:{port}"), our_ae="ARCHIVE")
    with started(Listener(how, lambda case, folder: None)):
        for refused in (
            to_us,  # no TLS
            replace(to_us, tls_ca=ca),  # no certificate of its own
            replace(to_us, tls_ca=ca, tls_cert=tmp_path / "stranger.pem"),
            replace(to_us, tls_ca=tmp_path / "stranger.crt", tls_cert=theirs),  # does not trust us
        ):
            with pytest.raises(PacsError, match="expected an answer"):
                connect(refused).store(objects)
        assert not list((tmp_path / "l" / "received").rglob("*.dcm"))
        known = replace(to_us, tls_ca=ca, tls_cert=theirs)
        assert set(connect(known).store(objects).values()) == {""}
    assert len(list((tmp_path / "l" / "received").rglob("*.dcm"))) == 1
