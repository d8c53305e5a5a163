"""The whole way as a person goes it: an empty folder, a study, an import, a drawing, a kill, and an answer."""

import json
import subprocess
import sys

import numpy as np

from nephroscope import read_ct, read_roi
from nephroscope.intake.phantom import write_phantoms
from nephroscope.regions.agreement import compare
from test_drawing_browser import Canvas, begin
from test_workstation_docs import WORDS
from tiny_bundle import make_bundle
from workstation_study import undrawn_study

RAYS = np.linspace(0, 2 * np.pi, 8, endpoint=False)


def outline(mask):
    """Corners (row, column) of a polygon around a mask (R, C)."""
    rows, columns = np.nonzero(mask)
    center = rows.mean(), columns.mean()
    corners = []
    for angle in RAYS:
        step, inside = np.array([np.sin(angle), np.cos(angle)]), 0.0
        while mask[tuple(np.rint(center + step * (inside + 0.5)).astype(int))]:
            inside += 0.5
        corners.append(tuple(center + step * inside))
    return corners


def check_ids(page):
    """Everything that a script could press is in the reference."""
    found = set(page.eval_on_selector_all("[data-testid]", "all => all.map((one) => one.dataset.testid)"))
    assert found - WORDS - {"job"} == set()


def predicted(bundle, ct, roi, case_id):
    """What the command prints, without what differs from call to call."""
    command = [
        sys.executable,
        "-m",
        "nephroscope",
        "predict",
        bundle,
        ct,
        "--roi",
        roi,
        "--case-id",
        case_id,
        "--json",
    ]
    return same(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def same(document):
    """Without what differs; who drew the ROI is known from rois.csv there, and from its file here."""
    differs = ("date", "seconds", "timings", "roi")
    return {name: value for name, value in document.items() if name not in differs}


class Person:
    """Somebody at the browser."""

    def __init__(self, page):
        self.page = page

    def has(self, name):
        self.page.get_by_test_id(name).first.wait_for()
        return self.page.get_by_test_id(name)

    def press(self, name):
        self.page.get_by_test_id(name).first.click()

    def fill(self, name, text):
        self.page.get_by_test_id(name).fill(str(text))

    def counts(self, name, attribute, value):
        return self.page.locator(f"[data-testid='{name}'][data-{attribute}='{value}']").count()

    def makes_a_study(self, server):
        self.page.goto(server.url)
        self.fill("new-subtypes", "PRCC ChRCC")
        self.page.get_by_test_id("new-positive").select_option("ChRCC")
        check_ids(self.page)
        self.press("new-make")

    def imports(self, export):
        self.fill("import-path", export)
        self.fill("import-labels", export / "clinical.csv")
        self.press("import-look")
        self.has("import-found")
        assert self.counts("import-row", "chosen", "yes") == 2
        self.press("import-start")
        self.has("import-done")
        check_ids(self.page)
        self.press("import-patients")
        assert self.has("worklist-row").count() == 2
        check_ids(self.page)

    def opens(self, case):
        self.page.locator(f"[data-testid='worklist-open'][data-case='{case}']").click()
        return self.draws()

    def draws(self):
        self.page.wait_for_selector('[data-testid="viewer-canvas"][data-ready="1"]')
        begin(self.page, "reader-1")
        check_ids(self.page)
        self.page.keyboard.press("p")
        return Canvas(self.page)

    def draws_a_slice(self, canvas, index, mask, number):
        canvas.go_to(index)
        for row, column in outline(mask):
            self.page.mouse.click(*canvas.place(row, column))
        self.page.keyboard.press("Enter")
        canvas.saved(number)

    def signs(self):
        self.press("draw-sign")
        self.press("draw-sign-confirm")
        self.has("draw-signed")

    def asks(self, bundle):
        self.press("case-result")
        self.press("result-bundle-more")
        self.fill("result-bundle-path", bundle)
        self.press("result-bundle-add")
        self.page.locator("[data-testid='result-bundle'] option").first.wait_for(state="attached")
        self.press("result-ask")
        self.has("result-call")
        check_ids(self.page)


def test_the_table_that_was_named_last_is_imported(tmp_path, workstation, page):
    server = workstation(undrawn_study(tmp_path / "study"))
    tables = [tmp_path / "first.csv", tmp_path / "second.csv"]
    for table in tables:
        table.write_text("patient_id,subtype\n")
    (tmp_path / "export").mkdir()
    person = Person(page)
    page.route("**/api/jobs", lambda route: route.abort())
    page.goto(server.url, wait_until="networkidle")
    page.goto(f"{server.origin}/import")
    person.fill("import-path", tmp_path / "export")
    second = server.client().post("/api/folders", {"path": str(tables[1])})[1]["file"]["id"]
    for uploaded_last in (False, True):
        with page.expect_response("**/api/uploads") as sent:
            page.get_by_test_id("import-labels-upload").set_input_files(tables[0])
        first = sent.value.json()["id"]
        if not uploaded_last:
            person.fill("import-labels", tables[1])
        with page.expect_request("**/api/jobs") as asked:
            person.press("import-look")
        assert asked.value.post_data_json["options"]["labels"] == (first if uploaded_last else second)
    page.evaluate("document.querySelector('[data-testid=\"import-start\"]').disabled = false")
    page.get_by_test_id("import-labels-upload").set_input_files(tables[1])
    assert page.get_by_test_id("import-start").is_disabled(), "what is imported is what was looked at"


def undrawn_export(folder):
    """Two SYNTHETIC patients with thin slices; their ROIs lie elsewhere."""
    export = write_phantoms(folder / "export", 2, 3, like="zuo2021").parent
    for case in ("SYNTHETIC-0001", CASE):
        (export / case / "roi_reader1.dcm").rename(folder / f"{case}.dcm")
        (export / case / "roi_reader2.dcm").unlink()
    return export


CASE = "SYNTHETIC-0002"


def test_from_an_empty_folder_to_an_answer(tmp_path, workstation, page):
    export, bundle = undrawn_export(tmp_path), make_bundle(tmp_path / "bundle")
    server, person = workstation(tmp_path / "study"), Person(page)
    person.makes_a_study(server)
    person.imports(export)

    ct = export / CASE / "ct"
    volume = read_ct(ct)
    wanted = read_roi(tmp_path / f"{CASE}.dcm", volume)
    present = np.flatnonzero(wanted.voxels.sum(axis=(1, 2)) > 60)  # smaller ones are hard to click
    indices = np.rint(np.linspace(present[0], present[-1], 5)).astype(int).tolist()
    canvas = person.opens(CASE)
    for number, index in enumerate(indices[:3], start=1):
        person.draws_a_slice(canvas, index, wanted.voxels[index], number)
    address = page.url
    server.kill()  # the power goes
    server = workstation(tmp_path / "study", "--port", server.port)
    page.goto(server.url, wait_until="networkidle")
    page.goto(address)
    canvas = person.draws()
    assert canvas.facts() == [str(index) for index in indices[:3]]
    for number, index in enumerate(indices[3:], start=4):
        person.draws_a_slice(canvas, index, wanted.voxels[index], number)
    page.keyboard.press("i")
    canvas.saved(6)
    assert canvas.facts() == [str(index) for index in range(present[0], present[-1] + 1)]
    person.signs()
    (signed,) = (tmp_path / "study" / "workstation" / "drawn").glob("*.dcm")
    assert compare(read_roi(signed, volume), wanted).dice > 0.85

    person.asks(bundle)
    expected = predicted(bundle, ct, signed, CASE)
    id_ = page.url.rpartition("/")[2]
    assert same(server.client().get(f"/api/cases/{id_}/result")[1]["document"]) == expected
    shown = page.locator("[data-testid='result-probability'][data-subtype='ChRCC']")
    assert float(shown.get_attribute("data-value")) == expected["probabilities"]["ChRCC"]
    assert page.get_by_test_id("result-bar").count() == len(expected["slices"])
    person.press("result-bar")
    assert f"Slice {expected['slices'][0]['slice_index']}," in person.has("result-caption").inner_text()
    loaded = "document.querySelector('[data-testid=\"result-picture\"]').decode().then(() => true)"
    assert page.evaluate(loaded)
    with page.expect_download() as saved:
        person.press("result-dicom")
    assert saved.value.suggested_filename == "answer.zip"
    person.press("frame-jobs")
    page.locator("[data-testid='job'][data-state='done']").nth(1).wait_for()
    check_ids(page)
    assert CASE not in page.title()
