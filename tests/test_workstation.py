"""The workstation as a whole: its start, the list of patients, and a second start."""

import contextlib
import json
import signal
import sys
import threading

from nephroscope.base.version import install_line
from nephroscope.workstation import database
from nephroscope.workstation.place import Place
from small_study import make_study


def test_list_of_patients_in_a_browser(tmp_path, workstation, page):
    make_study(tmp_path / "study", 3)
    server = workstation(tmp_path / "study")
    page.goto(server.url)
    page.get_by_test_id("worklist-row").first.wait_for()
    assert "token" not in page.url
    assert page.get_by_test_id("worklist-row").count() == 3
    page.get_by_test_id("worklist-search").fill("c01")
    assert page.get_by_test_id("worklist-count").inner_text() == "1 of 3"


def test_subtype_only_when_asked_for(tmp_path, workstation):
    make_study(tmp_path / "study", 2)
    client = workstation(tmp_path / "study").client()
    (first, _) = client.get("/api/cases")[1]["cases"]
    assert (first["case_id"], first["subtype"], first["rois"]) == (
        "c00",
        "",
        [{"author": "reader-1", "state": "imported"}],
    )
    assert client.get("/api/cases?subtype=1")[1]["cases"][0]["subtype"] == "PRCC"


def test_second_start_names_the_first(tmp_path, workstation, capsys):
    from nephroscope.cli import run

    server = workstation(tmp_path / "new")
    assert run(["workstation", str(tmp_path / "new"), "--no-browser"]) == 2
    assert f"http://127.0.0.1:{server.port}/" in capsys.readouterr().err
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(20) == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["workstation"]


def test_without_the_extra_the_command_says_what_to_install(tmp_path, monkeypatch, capsys):
    from nephroscope.cli import run

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "nephroscope.workstation.server", raising=False)
    assert run(["workstation", str(tmp_path / "new"), "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["remedy"]) == (
        "environment",
        install_line("workstation"),
    )
    assert not (tmp_path / "new").exists()


def test_other_folders_are_refused(tmp_path, capsys):
    from nephroscope.cli import run

    (tmp_path / "letter.txt").write_text("x")
    assert run(["workstation", str(tmp_path), "--json", "--no-browser"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "study"
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_files_of_the_system_do_not_make_a_folder_full(tmp_path, workstation):
    root = tmp_path / "new"
    root.mkdir()
    for name in (".DS_Store", "desktop.ini", "Thumbs.db", ".hidden"):
        (root / name).write_bytes(b"x")
    client = workstation(root).client()
    assert client.get("/api/session")[1]["mode"] == "empty"
    (root / "letter.txt").write_text("x", encoding="utf-8")  # copied there meanwhile
    assert client.get("/api/session")[1]["mode"] == "empty"
    asked = {"subtypes": ["PRCC", "ChRCC"], "positive": "PRCC"}
    status, answer = client.post("/api/study", asked)
    assert (status, answer["error"]["code"]) == (422, "study")
    assert not (root / "study.toml").exists()
    (root / "letter.txt").unlink()
    assert client.post("/api/study", asked)[1]["mode"] == "study"


def test_identifiers_of_many_are_kept_by_one_write_and_found_by_the_next_start(tmp_path, monkeypatch):
    writes = []

    def counted(path):
        writes.append(path)
        return database.changing(path)

    first = Place(tmp_path)
    monkeypatch.setattr("nephroscope.workstation.place.changing", counted)
    keys = [(f"/data/{number}",) for number in range(300)]
    made = first.ids_of("path", keys)
    assert (len(writes), len(set(made))) == (1, 300)
    assert [first.id_of("path", *key) for key in keys] == made
    assert len(writes) == 1
    assert first.ids_of("path", [keys[0], ("/data/new",)])[0] == made[0]
    again = Place(tmp_path)
    assert [again.key_of("path", id_) for id_ in made] == keys
    assert again.ids_of("path", keys) == made


def place_of_readers(folder):
    """A place with a reader study "study" of the reader R1."""
    place = Place(folder)
    with place.database() as db:
        row = ("study", "folder", "digest", "title", 1.0, 1.0)
        columns = "INSERT INTO reading_studies (id, folder, digest, title, locked_at, latest)"
        db.execute(columns + " VALUES (?, ?, ?, ?, ?, ?)", row)
        db.execute("INSERT INTO reading_readers VALUES ('study', 'R1', 'secret')")
    return place


def test_a_reader_who_leaves_is_never_anybody(tmp_path):
    place = place_of_readers(tmp_path)
    session = place.open_session(1)
    assert place.reader_of(session) is None
    place.make_reader(session, "study", "R1")
    assert place.reader_of(session) == ("study", "R1")
    assert place.knows_session(session, 1)  # a request is let in, and then the reader leaves
    place.close_session(session)
    assert place.reader_of(session) == ("study", "R1")
    assert not place.knows_session(session, 1)
    again = Place(tmp_path)
    assert (again.knows_session(session, 1), again.reader_of(session)) == (False, ("study", "R1"))


def test_who_signs_in_while_somebody_asks_is_a_reader_at_once(tmp_path, monkeypatch):
    place = place_of_readers(tmp_path)
    session, asking, go_on = place.open_session(1), threading.Event(), threading.Event()
    connect = Place.database

    @contextlib.contextmanager
    def slowly(self):
        with connect(self) as db:
            yield db
        if threading.current_thread() is asker:
            asking.set()
            go_on.wait(0.5)

    monkeypatch.setattr(Place, "database", slowly)
    asker = threading.Thread(target=place.reader_of, args=(session,))
    asker.start()
    assert asking.wait(10)
    place.make_reader(session, "study", "R1")
    go_on.set()
    asker.join()
    assert place.reader_of(session) == ("study", "R1")
