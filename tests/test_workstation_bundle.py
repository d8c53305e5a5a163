"""A bundle in the browser: a patient is opened, an ROI comes with it, the model answers, the answer is DICOM."""

import dataclasses
import io
import os
import subprocess
import sys
import zipfile

import pydicom

from nephroscope.base.documents import as_plain
from nephroscope.exchange.read_sr import read_answer
from nephroscope.facade.patient import read_patient
from nephroscope.imaging.dicom.series import SeriesFiles, save_series_files
from nephroscope.records import RoiRef
from nephroscope.workstation.place import Place, mode_of, open_place
from nephroscope.workstation.study.asked import asked_author, chosen, drawn
from phantoms import box_tumor, dicom_slices, write_seg, write_slices
from test_facts import MODEL
from test_workstation_jobs import FINAL, begin, folder_id, wait
from test_workstation_whole import predicted, same
from tiny_bundle import make_bundle
from workstation_study import undrawn_study


def patient(tmp_path, name="P1", seg=True):
    images = dicom_slices(name, uid="1.2.3")
    ct = write_slices(images, tmp_path / "patient" / "ct")
    if seg:
        write_seg(images, {"tumor": box_tumor()}, tmp_path / "patient" / "seg.dcm")
    return ct


def test_a_patient_is_opened_and_predicted(tmp_path, workstation):
    bundle, ct = make_bundle(tmp_path / "bundle", facts=as_plain(MODEL)), patient(tmp_path)
    client = workstation(bundle, "--data", tmp_path / "data").client()
    known = client.get("/api/session")[1]
    assert (known["mode"], known["name"]) == ("bundle", "bundle")
    assert client.get("/api/cases")[1] == {"cases": []}
    job = wait(client, begin(client, "import", folder=folder_id(client, tmp_path / "patient")), *FINAL)
    assert (job["state"], job["result"]["cases"]) == ("done", 1)
    (case,) = client.get("/api/cases")[1]["cases"]
    assert (case["case_id"], case["rois"]) == ("P1", [{"author": "reader-1", "state": "imported"}])
    (known,) = client.get("/api/bundles")[1]["bundles"]
    assert (known["name"], known["model"], known["refused"]) == ("bundle", "tiny", "")
    no_facts = {"bundle": known["id"], "facts": {}}
    status, document = client.post(f"/api/cases/{case['id']}/predict", no_facts)
    assert status == 200
    assert same(document) == predicted(bundle, ct, tmp_path / "patient" / "seg.dcm", "P1")
    assert client.get("/api/cases")[1]["cases"][0]["prediction"]["call"] == document["call"]
    assert known["facts"] == ["age", "sex", "size"]
    shown = client.get(f"/api/cases/{case['id']}/result")[1]["facts"]
    asked = {"bundle": known["id"], "facts": shown | {"age": 70}}
    moved = client.post(f"/api/cases/{case['id']}/predict", asked)[1]["facts"]
    assert ("age", 70, "given with the question") in [(f["name"], f["value"], f["source"]) for f in moved]
    assert ("sex", "F", "cohort.csv") in [(f["name"], f["value"], f["source"]) for f in moved]
    refused = client.post(f"/api/cases/{case['id']}/predict", asked | {"facts": {"age": 300}})
    assert (refused[0], refused[1]["error"]["where"]) == (422, "clinical facts, age")
    document = client.post(f"/api/cases/{case['id']}/predict", {"bundle": known["id"]})[1]
    assert client.get(f"/api/cases/{case['id']}/result")[1]["no_maps"] != ""
    assert client.get(f"/api/cases/{case['id']}/looked")[0] == 404
    packed = zipfile.ZipFile(io.BytesIO(client.get(f"/api/cases/{case['id']}/dicom")[1]))
    packed.extractall(tmp_path / "out")
    kept = read_answer(tmp_path / "out" / "answer-sr.dcm")
    assert kept.probabilities == document["probabilities"]
    assert pydicom.dcmread(tmp_path / "out" / "tumor-seg.dcm").Modality == "SEG"
    assert client.get(f"/api/cases/{case['id']}/picture")[1].startswith(b"\x89PNG")
    assert sorted(path.name for path in bundle.iterdir()) == [
        "README.md",
        "bundle.json",
        "model.onnx",
        "reference.npz",
    ]


def test_an_answer_is_shown_with_the_roi_it_is_about(tmp_path):
    place = Place(undrawn_study(tmp_path / "study"))
    files = {name: tmp_path / f"{name}.nii.gz" for name in ("reader-1", "reader-2", "consensus")}
    for name, file in files.items():
        file.write_bytes(name.encode())
    rois = [RoiRef(author=name, series="nephrographic", path=file) for name, file in files.items()]
    case = dataclasses.replace(place.case("c0"), rois=tuple(rois))
    about = {name: drawn(chosen(place, case, name)) for name in ("", *files)}
    assert about[""] == about["reader-1"]
    asked = {name: asked_author(place, case, state) for name, state in about.items()}
    assert asked == {"": "", "reader-1": "", "reader-2": "reader-2", "consensus": "consensus"}
    files["reader-2"].write_bytes(b"drawn again")
    assert asked_author(place, case, about["reader-2"]) == "reader-2"
    assert asked_author(place, case, "") == ""


def test_without_a_drawing_the_model_is_not_asked(tmp_path, workstation):
    bundle = make_bundle(tmp_path / "bundle")
    patient(tmp_path, seg=False)
    client = workstation(bundle, "--data", tmp_path / "data").client()
    wait(client, begin(client, "import", folder=folder_id(client, tmp_path / "patient")), *FINAL)
    (case,) = client.get("/api/cases")[1]["cases"]
    assert case["rois"] == []
    known = client.get("/api/bundles")[1]["bundles"][0]["id"]
    status, answer = client.post(f"/api/cases/{case['id']}/predict", {"bundle": known})
    assert (status, answer["error"]["code"]) == (422, "roi")
    assert client.get(f"/api/cases/{case['id']}/result")[1]["document"] is None
    assert client.get(f"/api/cases/{case['id']}/dicom")[0] == 404


def test_the_form_for_the_first_patient_is_open_and_stays_open(tmp_path, workstation, page):
    page.goto(workstation(make_bundle(tmp_path / "bundle"), "--data", tmp_path / "data").url)
    page.wait_for_selector('[data-testid="import-path"]')
    page.click('[data-testid="open-patient"]')
    page.fill('[data-testid="import-path"]', str(patient(tmp_path)))
    page.click('[data-testid="import-look"]')
    page.wait_for_selector('[data-testid="import-row"][data-chosen="yes"]')


def test_a_list_of_files_keeps_phase_and_name(tmp_path):
    """Where the CT of a case is a list of files, the answer is that of its folder."""
    ct = patient(tmp_path)
    listed = SeriesFiles(series_uid="1.2.3", files=tuple(sorted(ct.iterdir())), acquisition=None)
    (tmp_path / "series").mkdir()
    save_series_files(tmp_path / "series" / "x.series.json", listed, tmp_path)
    one, two = read_patient(ct, None), read_patient(tmp_path / "series" / "x.series.json", None)
    assert (one.name, one.phase, one.evidence, one.n_series) == (
        two.name,
        two.phase,
        two.evidence,
        two.n_series,
    )
    assert (one.volume.hu == two.volume.hu).all()


def test_patients_of_a_bundle_lie_in_the_users_own_data(tmp_path, monkeypatch):
    bundle = make_bundle(tmp_path / "bundle")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "own"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    place = open_place(bundle)
    assert place.mode == "bundle"
    assert tmp_path in place.root.parents
    assert mode_of(place.root) == "study"
    assert open_place(bundle).root == place.root
    if os.name != "nt":
        assert (place.database_path.stat().st_mode & 0o077) == 0
    assert Place(place.root).mode == "study"


def test_what_a_bundle_needs_is_not_what_training_needs():
    """The pages of a bundle load no torch, no scikit-learn, no matplotlib."""
    code = (
        "import sys; from nephroscope.workstation.server import all_routes; all_routes();"
        "from nephroscope.workstation import result; import nephroscope.facade.prediction;"
        "print(*sorted({'torch', 'sklearn', 'matplotlib', 'scipy', 'pandas', 'highdicom'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
