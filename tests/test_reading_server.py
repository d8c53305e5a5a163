"""The reader study over HTTP: who may ask for what, and that nothing reaches a reader who should not have it."""

import itertools
import json
import re
import shutil

import pytest

from small_study import make_study
from tiny_bundle import make_bundle
from workstation_browser import Server

CASES = [f"c{number:02}" for number in range(6)]
PLAN = {"title": "Two readers", "cases": CASES, "readers": ["R1", "R2"], "seed": 7, "training": ["c08"]}
AIDED = PLAN | {
    "arms": ["unaided", "aided"],
    "design": "sequential",
    "model": {"kind": "bundle", "name": "bundle"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study with a bundle that did not see its cases."""
    root = tmp_path_factory.mktemp("reading") / "study"
    make_study(root)
    make_bundle(root / "bundle")
    return root


@pytest.fixture
def study(made, tmp_path):
    return shutil.copytree(made, tmp_path / "study")


@pytest.fixture(scope="module")
def server(made):
    """One server for the tests that leave files and process alone."""
    started = Server(shutil.copytree(made, made.parent / "served"))
    yield started
    started.kill()


FEW = AIDED | {"cases": CASES[:3]}


seeds = itertools.count(100)


def lock(client, plan=PLAN, seed=None):
    """A study like this plan; without a seed it gets one of its own."""
    status, kept = client.post("/api/reading", plan | {"seed": seed or next(seeds)})
    assert status == 201, kept
    shown = client.get(f"/api/reading/{kept['id']}")[1]
    return kept["id"], {one["reader"]: one["code"] for one in shown["invited"]}


def signed_in(server, study, code):
    client = server.client()
    status, seat = client.post(f"/api/read/{study}/sign-in", {"code": code})
    assert status == 200, seat
    return client, seat


def answer(client, study, seat, call="PRCC", confidence=4, active_ms=1200.0):
    """Open the case and answer it; gives what comes next."""
    sitting = client.post(f"/api/read/{study}/open", {"number": seat["number"]})[1]["sitting"]
    spent = {"active_ms": active_ms, "idle_ms": 0, "hidden_ms": 0, "paused_ms": 0}
    beat = {"number": seat["number"], "sitting": sitting, "spent": spent}
    assert client.post(f"/api/read/{study}/time", beat) == (200, {"kept": True})
    given = beat | {"request": f"r{seat['number']}", "call": call, "confidence": confidence}
    status, then = client.post(f"/api/read/{study}/answer", given)
    assert status == 200, then
    return then


def read_all(client, study, seat, calls=("PRCC", 4)):
    while seat["state"] == "reading":
        seat = answer(client, study, seat, *calls)
    return seat


def code_of(error):
    return error["error"]["code"]


def test_from_a_plan_to_the_table_of_calls(study, workstation, tmp_path, capsys):
    from nephroscope.cli import run

    server = workstation(study)
    organizer = server.client()
    checked = organizer.post("/api/reading/check", AIDED)[1]
    assert organizer.get("/api/reading")[1]["studies"] == [], "a check keeps nothing"
    id_, codes = lock(organizer, AIDED, AIDED["seed"])
    assert organizer.get("/api/reading")[1]["studies"][0]["digest"] == checked["digest"]
    assert code_of(organizer.get(f"/api/reading/{id_}/result")[1]) == "reading-not-finished"
    assert code_of(organizer.post(f"/api/reading/{id_}", PLAN)[1]) == "reading-protocol-locked"
    for reader, calls in (("R1", ("ChRCC", 1)), ("R2", (None, 3))):
        client, seat = signed_in(server, id_, codes[reader])
        assert read_all(client, id_, seat, calls)["state"] == "done"
    result = organizer.get(f"/api/reading/{id_}/result")[1]
    assert result["complete"] is True
    assert result["figures"]["scale"].startswith("1 (certainly not PRCC)")
    assert [one["n_cases"] for one in result["figures"]["readers"]] == [6] * 4
    assert [(one["name"], one["n_cases"]) for one in result["figures"]["models"]] == [("bundle", 6)]
    assert {one["model_is"] for one in result["by_model"]} == {"right", "wrong"}
    assert [change["counts"][0][0] for change in result["changes"]] == [3, 0]
    status, table = organizer.get(f"/api/reading/{id_}/calls.csv")
    lines = table.decode().splitlines()
    assert (status, lines[0]) == (200, "case_id,reader,call,confidence,seconds,aided,scale")
    assert len(lines) == 25
    assert "c08" not in table.decode(), "practice is never exported"
    assert {line.split(",")[4] for line in lines[1:] if line.endswith("no,1-5")} == {"1.200"}
    kept = organizer.post(f"/api/reading/{id_}/calls")[1]["file"]
    assert (study / kept).read_bytes() == table
    server.kill()
    assert run(["readers", str(study), str(study / kept), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "reader-contradicts" not in {finding["code"] for finding in found["findings"]}
    same = [one["figures"]["accuracy"] for one in result["figures"]["readers"]]
    assert [one["figures"]["accuracy"] for one in found["readers"]] == same


def test_a_reader_signs_in_with_an_own_code_and_opens_nothing_else(server):
    organizer = server.client()
    id_, codes = lock(organizer)
    other, other_codes = lock(organizer)
    stranger = server.client()
    assert code_of(stranger.get(f"/api/read/{id_}")[1]) == "reading-sign-in"
    for wrong in ("", "AAAA", codes["R1"][:-1], other_codes["R1"]):
        status, error = stranger.post(f"/api/read/{id_}/sign-in", {"code": wrong})
        assert (status, code_of(error)) == (403, "reading-sign-in")
    one, seat = signed_in(server, id_, codes["R1"].lower().replace("-", " "))
    assert seat["reader"] == "R1"
    assert one.post(f"/api/read/{id_}/sign-in", {"code": codes["R2"]})[0] == 403
    forbidden = [
        *(
            "/",
            "/api/cases",
            "/api/cases?subtype=1",
            "/api/reading",
            "/api/reading/choices?subtype=1",
            "/jobs",
        ),
        *(f"/api/reading/{id_}", f"/api/reading/{id_}/result", f"/api/reading/{id_}/calls.csv", "/reading"),
        *(f"/read/{other}", f"/api/read/{other}", f"/api/read/{id_}x", f"/reading/{id_}/result"),
    ]
    for path in forbidden:
        assert one.get(path)[0] == 403, path
    assert one.post("/api/reading", PLAN | {"seed": 9})[0] == 403
    assert one.get(f"/read/{id_}")[0] == 200
    assert organizer.get("/api/reading")[0] == 200
    assert one.post(f"/api/read/{id_}/sign-out")[0] == 200
    for path in (f"/api/read/{id_}", "/api/session", "/"):
        assert one.get(path)[0] == 403, "a signed-out browser is not let in"


def test_the_model_is_seen_in_the_aided_case_alone(server):
    id_, codes = lock(server.client(), FEW)
    client, seat = signed_in(server, id_, codes["R1"])
    for at in range(4):
        for path in ("aid", "aid/picture"):
            status, _content = client.get(f"/api/read/{id_}/{path}")
            assert status == (200 if seat["arm"] == "aided" else 409), (at, path)
        seat = answer(client, id_, seat)
    read_all(client, id_, seat)
    assert client.get(f"/api/read/{id_}/aid")[0] == 409


def test_between_the_arms_of_a_crossover_nothing_is_shown(server):
    id_, codes = lock(server.client(), FEW | {"design": "crossover"})
    for code in codes.values():
        client, seat = signed_in(server, id_, code)
        seat = read_all(client, id_, seat)
        assert (seat["state"], seat["code"], seat["number"]) == ("washout", "", None)
        assert code_of(client.post(f"/api/read/{id_}/open", {"number": 4})[1]) == "reading-washout"
        for path in ("aid", "aid/picture"):
            status, error = client.get(f"/api/read/{id_}/{path}")
            assert (status, code_of(error) in ("reading-washout", "reading-not-this-case")) == (409, True)


def test_nothing_that_reaches_a_reader_says_what_it_must_not(server):
    organizer = server.client()
    id_, codes = lock(organizer, FEW)
    other_client, other = signed_in(server, id_, codes["R2"])
    other_codes = set()
    while other["state"] == "reading":
        other_codes.add(other["code"])
        other = answer(other_client, id_, other, "ChRCC", 2, active_ms=7654.0)
    client, seat = signed_in(server, id_, codes["R1"])
    heard, said = {"unaided": [], "aided": []}, []
    client._ask = _listening(client._ask, said)
    while seat["state"] == "reading":
        said.clear()
        client.get(f"/api/read/{id_}")
        client.get("/api/session")
        client.get(f"/api/read/{id_}/aid")
        client.get(f"/api/read/{id_}/aid/picture")
        _look_at_images(client, id_, seat["code"])
        for path in (f"/api/read/{id_}/open", f"/api/read/{id_}/time", f"/api/read/{id_}/answer"):
            client.post(path, {"number": 99, "sitting": 1})
        heard[seat["arm"]] += said
        seat = answer(client, id_, seat, "PRCC", 5)
    texts = {arm: [text for text in found if text.startswith(b"{")] for arm, found in heard.items()}
    pictures = [text for found in heard.values() for text in found if text.startswith(PNG)]
    assert (len(texts["unaided"]), len(texts["aided"]), len(pictures)) == (56, 52, 4)
    for picture in pictures:
        assert set(_chunks(picture)) == {b"IHDR", b"IDAT", b"IEND"}
    for text in texts["unaided"] + texts["aided"]:
        for word in [*CASES, "c08", *other_codes, "R2", codes["R2"], "7654", "bundle", "nifti"]:
            assert not re.search(rb"(?<![A-Za-z0-9])" + word.encode() + rb"(?![A-Za-z0-9])", text), word
    for text in texts["unaided"]:
        assert b"probabilit" not in text
        assert _places_of_subtypes(json.loads(text)) <= {"subtypes", "positive"}, text


def _look_at_images(client, id_, code):
    """Every address of the images, with another reader's and a wrong code too."""
    images = f"/api/read/{id_}/images/{code}"
    status, listed = client.get(f"{images}/series")
    assert (status, listed["case_id"], [one["name"] for one in listed["series"]]) == (200, code, ["0"])
    view = client.get(f"{images}/0")[1]
    assert [row[3] for row in view["affine"]] == [0, 0, 0, 1], "the place in the scanner is not told"
    assert client.get(f"{images}/outline")[1]["slices"][0]["index"] == 1
    n_slices = view["shape"][0]
    for path in ("0/slice/axial/0", f"0/slices/axial/0-{n_slices - 1}"):
        status, content = client.get(f"{images}/{path}")
        assert (status, type(content)) == (200, bytes)
    for path in ("1", "0/slice/axial/99", "0/slice/oblique/0"):
        assert client.get(f"{images}/{path}")[0] in (404, 409)
    assert client.get(f"/api/read/{id_}/images/XXXX/series")[0] == 409


PNG = b"\x89PNG"


def _chunks(png):
    """Names of the chunks of a PNG file."""
    at = 8
    while at < len(png):
        yield png[at + 4 : at + 8]
        at += 12 + int.from_bytes(png[at : at + 4], "big")


def _listening(ask, said):
    """The same requests, and what the browser hears is kept."""

    def asking(request):
        status, content = ask(request)
        said.append(content if isinstance(content, bytes) else json.dumps(content).encode())
        return status, content

    return asking


def _places_of_subtypes(content, place=""):
    """Names of the fields that hold a subtype."""
    if isinstance(content, dict):
        return set().union(*(_places_of_subtypes(value, name) for name, value in content.items()), set())
    if isinstance(content, list):
        return set().union(*(_places_of_subtypes(value, place) for value in content), set())
    return {place} if content in ("PRCC", "ChRCC") else set()


def test_closing_gives_the_result_of_those_who_answered(server):
    organizer = server.client()
    id_, codes = lock(organizer)
    client, seat = signed_in(server, id_, codes["R1"])
    read_all(client, id_, seat)
    assert (
        organizer.post(f"/api/reading/{id_}/close", {"why": "R2 fell ill"})[1]["closed_why"] == "R2 fell ill"
    )
    _late, seat = signed_in(server, id_, codes["R2"])
    assert seat["state"] == "closed"
    result = organizer.get(f"/api/reading/{id_}/result")[1]
    assert (result["complete"], result["closed_why"]) == (False, "R2 fell ill")
    assert [one["name"] for one in result["figures"]["readers"]] == ["R1"]


def test_a_study_that_was_closed_before_the_first_answer_has_no_result(server):
    organizer = server.client()
    id_, _ = lock(organizer)
    organizer.post(f"/api/reading/{id_}/close", {"why": ""})
    for path in ("result", "calls.csv"):
        status, error = organizer.get(f"/api/reading/{id_}/{path}")
        assert (status, code_of(error)) == (409, "reading-not-finished")


def test_a_changed_protocol_is_refused_everywhere(study, workstation):
    server = workstation(study)
    organizer = server.client()
    id_, codes = lock(organizer)
    client, _ = signed_in(server, id_, codes["R1"])
    (path,) = (study / "workstation" / "reading").glob("*/protocol.json")
    path.write_text(path.read_text().replace('"R2"', '"R3"'))
    for asked in (client.get(f"/api/read/{id_}"), organizer.get(f"/api/reading/{id_}")):
        assert (asked[0], code_of(asked[1])) == (409, "reading-protocol-locked")


def test_a_bundle_that_saw_a_case_or_its_patient_is_refused(study, workstation):
    from nephroscope.clinic.bundle import slices_digest
    from nephroscope.study.snapshot import cut_slices, take_snapshot
    from tiny_bundle import TRAINING

    store = cut_slices(take_snapshot(study))
    seen = slices_digest(store.hu[store.rows_by_case["c03"]])
    make_bundle(study / "seen", spec=store.spec, training=TRAINING | {"slices_digests": [seen]})
    client = workstation(study).client()
    plan = AIDED | {"model": {"kind": "bundle", "name": "seen"}}
    status, error = client.post("/api/reading", plan)
    assert (status, code_of(error)) == (422, "reading-model")
    assert "c03 (seen in training)" in error["error"]["found"]
    assert client.post("/api/reading", plan | {"cases": ["c00", "c01"]})[0] == 201
