"""The bundle as one HTML file: its parts here, and the page itself in a real Chromium, where npm and Chromium are."""

import base64
import hashlib
import json
import re
import shutil
import time
from dataclasses import asdict, replace

import numpy as np
import pytest

from nephroscope.base.errors import BundleError, ConfigError
from nephroscope.cli.clinic import Export
from nephroscope.clinic.bundle import open_bundle
from nephroscope.facade.prediction import FilesToPredict, predict_files
from nephroscope.imaging.masks.write import write_nifti
from nephroscope.imaging.read import read_ct, read_roi
from nephroscope.records import Estimate, RoiMask
from nephroscope.web import browser as program_of_the_gate
from nephroscope.web import export, libraries
from nephroscope.web.browser import Tab, browser, find_chromium
from nephroscope.web.export import check_new_page, export_page
from nephroscope.web.gate import check_page, difference, expected_answer
from nephroscope.web.golden import KINDS, golden_cases
from nephroscope.web.golden_files import Scene, dicom_series, seg_file
from nephroscope.web.libraries import Library, find_libraries, pinned_libraries
from nephroscope.web.page import MOST_BYTES, Gate, check_answerable, check_size, make_page
from nephroscope.web.rules import javascript, page_rules
from nephroscope.web.scripts import joined, modules
from tiny_bundle import content_of, make_bundle, write_content


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = make_bundle(tmp_path_factory.mktemp("web") / "bundle")
    shutil.copy(folder / "model.onnx", folder / "embedding.onnx")
    content = content_of(folder)
    more = {
        "sha256": content["sha256"] | {"embedding.onnx": content["sha256"]["model.onnx"]},
        "training": content["training"] | {"synthetic": True},
        "sets": {
            "confidence": 0.9,
            "least": {"PRCC": 0.4, "ChRCC": 0.2},
            "n_patients": {"PRCC": 9, "ChRCC": 12},
        },
        "outside": {
            "recognizes": True,
            "words": "recognized",
            "other": ["ChRCC"],
            "centers": {"PRCC": [0.5, -0.5], "ChRCC": [-0.5, 0.5]},
            "limit": 0.6,
        },
    }
    write_content(folder, content | more)
    return folder


@pytest.fixture(scope="module")
def tarballs():
    try:
        return find_libraries()
    except ConfigError as error:
        pytest.skip(f"the libraries of the page cannot be had here: {error.found}")


@pytest.fixture(scope="module")
def page(bundle, tarballs):
    return make_page(bundle, tarballs)


@pytest.fixture(scope="module")
def tab(page, tmp_path_factory):
    """The page, opened from its file."""
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium")
    path = tmp_path_factory.mktemp("page") / "answer.html"
    path.write_text(page.text(Gate(why="a test")), encoding="utf-8")
    with browser(program) as (opened, _):
        opened.open(path)
        opened.evaluate("nephroscope.opened")
        yield opened


def test_page_gives_what_predict_gives(tab, bundle):
    cases = list(golden_cases(8))
    assert [case.name.split(" ", 1)[1] for case in cases] == list(KINDS)[:8]
    opened = open_bundle(bundle)
    assert check_page(tab, opened, cases, len(cases)) < 1e-5
    codes = [
        one["code"]
        for case in cases
        for one in expected_answer(opened, case).get("answer", {}).get("findings", ())
    ]
    assert "outside-question" in codes


def test_a_page_that_says_something_else_is_refused(tab, bundle):
    opened = open_bundle(bundle)
    other = replace(opened, scorer=replace(opened.scorer, not_sure_margin=0.45))
    with pytest.raises(BundleError) as caught:
        check_page(tab, other, golden_cases(3), 3)
    assert caught.value.where.startswith("export --web, golden case 0")


def test_page_doubts_a_model_that_only_guesses_as_predict_does(tab, bundle):
    auc = Estimate(value=0.5, low=0.25, high=0.875, n=19, unit="case", method="m")
    opened = open_bundle(bundle)
    guessing = replace(opened, about=replace(opened.about, evaluation={"out-of-fold": {"auc": auc}}))
    cases = list(golden_cases(3))
    found = [f["code"] for case in cases for f in expected_answer(guessing, case)["answer"]["findings"]]
    assert found.count("not-better-than-chance") == len(cases)
    had = tab.evaluate("JSON.stringify(PAGE.bundle.evaluation)")
    tab.evaluate(f"PAGE.bundle.evaluation = {json.dumps({'out-of-fold': {'auc': asdict(auc)}})}; 0")
    try:
        check_page(tab, guessing, cases, len(cases))
    finally:
        tab.evaluate(f"PAGE.bundle.evaluation = {had or 'undefined'}; 0")


def test_page_can_open_no_connection(tab):
    tried = "fetch({}).then(() => 'went', () => 'blocked')"
    assert tab.evaluate(tried.format("'http://127.0.0.1:9/'")) == "blocked"
    assert tab.evaluate(tried.format("'data:text/plain,a'")) == "blocked"
    assert (
        tab.evaluate(
            "new Promise((done) => { const i = new Image(); i.onload = i.onerror = (e) => done(e.type);"
            " i.src = 'http://127.0.0.1:9/a.png'; })"
        )
        == "error"
    )
    policy = tab.evaluate("document.querySelector('meta[http-equiv]').content")
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy


def test_page_says_what_it_is(tab, page, bundle):
    assert tab.evaluate("document.getElementById('digest').textContent") == page.about["digest"]
    assert tab.evaluate("PAGE.sha256['model.onnx']") == content_of(bundle)["sha256"]["model.onnx"]
    assert tab.evaluate("document.getElementById('proof').className").split() == ["tag", "unproven"]
    assert tab.evaluate("document.getElementById('marks').textContent") == "SYNTHETIC"
    shown = tab.evaluate("document.getElementById('about').textContent")
    assert all(pin.name in shown and pin.license in shown for pin in pinned_libraries())
    assert "Not a medical device" in tab.evaluate("document.body.innerText")


def test_what_the_page_cannot_read_is_refused_by_name(tab):
    asked = {"files": [], "folder": "series", "roi": None, "side": "unknown", "label": 1, "name": ""}
    scene = Scene(
        hu=np.zeros((3, 8, 8)), tumor=np.zeros((3, 8, 8), bool), affine=np.eye(4)[[2, 1, 0, 3]], uid="1.2.3.4"
    )
    scene.syntax = "1.2.840.10008.1.2.4.90"
    stored = {name: data.replace(b".1.2.4.90", b".1.2.4.50") for name, data in dicom_series(scene).items()}
    files = [{"name": name, "base64": base64.b64encode(data).decode()} for name, data in stored.items()]
    said = tab.evaluate(f"nephroscope.golden({json.dumps(asked | {'files': files})})")["refusal"]
    assert said["code"] == "series"
    assert said["found"].startswith("JPEG Baseline")
    nrrd = {"name": "roi.nrrd", "base64": base64.b64encode(b"NRRD0004\n" * 20).decode()}
    said = tab.evaluate(f"nephroscope.golden({json.dumps(asked | {'files': files, 'roi': nrrd})})")["refusal"]
    assert (said["code"], said["found"].split(",")[0]) == ("roi", "NRRD")


def test_drawn_tumor_is_answered_as_predict_answers_it(tab, bundle, tmp_path):
    folder = _first_series(tmp_path)
    _choose(tab, "#input-files", *sorted(folder.iterdir()))
    _wait(tab, "!document.getElementById('draw').disabled")
    tab.evaluate("document.getElementById('draw').click()")
    box = tab.evaluate(
        "(({x, y, width, height}) => [x + width / 2, y + height / 2])"
        "(document.querySelector('canvas').getBoundingClientRect())"
    )
    for kind, dx in (("mousePressed", 0), ("mouseMoved", 15), ("mouseReleased", 15)):
        tab.ask(
            "Input.dispatchMouseEvent",
            type=kind,
            x=box[0] + dx,
            y=box[1],
            button="left",
            buttons=1,
            clickCount=1,
        )
    tab.evaluate("document.getElementById('ask').click()")
    _wait(tab, "nephroscope.answer() !== null")
    found, drawn = tab.evaluate("nephroscope.answer()"), tab.evaluate("nephroscope.drawn()")
    ct = read_ct(folder)
    voxels = np.zeros(ct.hu.size, bool)
    voxels[drawn] = True
    mask = RoiMask(voxels=voxels.reshape(ct.hu.shape), geometry=ct.geometry, case_id="drawn")
    write_nifti(mask, tmp_path / "roi.nii.gz")
    made = predict_files(bundle, FilesToPredict(image=folder, roi=tmp_path / "roi.nii.gz"))
    assert len(drawn) > 3
    assert (found["call"], found["reason"]) == (made.call, made.reason)
    assert [one["code"] for one in found["findings"]] == [one.code for one in made.findings]
    assert found["probabilities"] == pytest.approx(made.probabilities, abs=1e-5)


def test_nothing_of_another_roi_or_case_is_answered(tab, tmp_path):
    """A refused ROI file leaves no answer of the one before, another label is used, another CT is another case."""
    folder = _first_series(tmp_path)
    volume = read_ct(folder)
    where = np.zeros(volume.hu.shape, bool)
    where[:, where.shape[1] // 2 - 9 : where.shape[1] // 2, where.shape[2] // 2 - 9 : where.shape[2] // 2] = 1
    write_nifti(RoiMask(voxels=where, geometry=volume.geometry, case_id="c"), tmp_path / "roi.nii.gz")
    (tmp_path / "bad.nii.gz").write_bytes((tmp_path / "roi.nii.gz").read_bytes()[:200])
    other = _first_series(tmp_path, "other")
    said = "document.getElementById('{}').{}"
    drawn, result = "nephroscope.drawn().length", said.format("result", "innerText")

    def label(value):
        tab.evaluate(said.format("label", f"value = '{value}'"))
        tab.evaluate(said.format("ask", "click()"))

    _choose(tab, "#input-files", *sorted(folder.iterdir()))
    _wait(tab, "!" + said.format("draw", "disabled"))
    _choose(tab, "#input-roi", tmp_path / "roi.nii.gz")
    _wait(tab, f"{drawn} === {where.sum()} && nephroscope.answer() !== null")
    label(2)
    _wait(tab, "nephroscope.answer() === null && !document.body.hasAttribute('aria-busy')")
    assert (tab.evaluate(drawn), "the tumor label 2" in tab.evaluate(result)) == (0, True)
    label(0.5)
    _wait(tab, f"{result}.includes('the field Label')")
    label("")
    _wait(tab, f"{drawn} === {where.sum()} && nephroscope.answer() !== null")
    _choose(tab, "#input-roi", tmp_path / "bad.nii.gz")
    _wait(tab, f"{drawn} === 0 && !document.body.hasAttribute('aria-busy')")
    tab.evaluate(said.format("ask", "click()"))
    _wait(tab, "nephroscope.answer() === null && !document.body.hasAttribute('aria-busy')")
    _choose(tab, "#input-roi", tmp_path / "roi.nii.gz")
    _wait(tab, f"{drawn} === {where.sum()} && nephroscope.answer() !== null")
    tab.evaluate(said.format("side", "value = 'left'"))
    _choose(tab, "#input-files", *sorted(other.iterdir()))
    _wait(tab, said.format("about-roi", "textContent === 'none yet'"))
    _wait(tab, "!document.body.hasAttribute('aria-busy')")
    assert (tab.evaluate(drawn), tab.evaluate(said.format("side", "value"))) == (0, "unknown")


def _first_series(folder, name="series"):
    """The files of the first golden case."""
    (folder / name).mkdir()
    for file, data in next(iter(golden_cases(1))).files.items():
        (folder / name / file).write_bytes(data)
    return folder / name


def _choose(tab, selector, *paths):
    root = tab.ask("DOM.getDocument")["root"]["nodeId"]
    node = tab.ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
    tab.ask("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])


def _wait(tab, condition):
    end = time.monotonic() + 60
    while not tab.evaluate(condition):
        assert time.monotonic() < end, tab.evaluate("document.getElementById('result').innerText")
        time.sleep(0.05)


def test_without_a_browser_command_and_page_say_so(bundle, tarballs, page, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "find_chromium", lambda: None)
    monkeypatch.setattr(export, "make_page", lambda *_: page)
    made = export_page(bundle, tmp_path / "answer.html")
    assert not made.gate.run
    assert made.n_bytes < MOST_BYTES
    text = made.path.read_text(encoding="utf-8")
    assert made.sha256 == hashlib.sha256(text.encode()).hexdigest()
    marked = json.loads(re.search(r'id="page">(.*?)</script>', text)[1])["gate"]
    assert (marked["run"], marked["why"]) == (False, export.NO_BROWSER)
    command = Export(study=tmp_path, web=tmp_path / "second.html")
    warnings = []
    data, lines = command._page(bundle, warnings)
    assert json.loads(json.dumps(data))["web_gate"]["run"] is False
    assert (len(lines), len(warnings)) == (1, 1)
    with pytest.raises(ConfigError):
        check_new_page(made.path)
    with pytest.raises(ConfigError):
        check_new_page(tmp_path / "answer.pdf")


def test_a_browser_that_does_not_show_the_page_is_refused(tmp_path, monkeypatch):
    """Such as one from a snap, which sees another folder of temporary files."""
    tab = Tab.__new__(Tab)
    monkeypatch.setattr(program_of_the_gate, "SECONDS_TO_START", 0)
    monkeypatch.setattr(Tab, "ask", lambda *_, **__: {})
    monkeypatch.setattr(Tab, "evaluate", lambda *_: "chrome-error:")
    with pytest.raises(ConfigError, match="does not show"):
        tab.open(tmp_path / "page.html")


def test_page_names_no_address_and_is_bounded(page):
    ours = page.before + json.dumps(page.about["sha256"]) + page.after.rpartition("<script type")[2]
    assert not re.search(r"https?://", ours)
    large = replace(page, before=page.before + "x" * MOST_BYTES)
    with pytest.raises(BundleError) as caught:
        check_size(large, 44_000_000, 5)
    assert caught.value.found.endswith("the 5 networks of the bundle alone have 44.0 MB")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"facts": {"age": 1}}, "facts"),
        ({"needs": {"phases": ["nephrographic"], "clinical": []}}, "needs.phases"),
        ({"needs": {"phases": [], "clinical": ["age_years"]}}, "needs.clinical"),
        ({"something_new": [1]}, "something_new"),
    ],
)
def test_bundle_that_needs_more_is_refused_by_name(bundle, tmp_path, change, named):
    other = tmp_path / "bundle"
    shutil.copytree(bundle, other)
    write_content(other, content_of(other) | change)
    with pytest.raises(BundleError) as caught:
        check_answerable(other)
    assert named in caught.value.found


def test_gate_names_what_differs():
    answer = {
        "slices_sha256": "a",
        "probabilities": {"A": 0.4},
        "slices": [],
        **dict.fromkeys(("case_id", "call", "forced_call", "reason", "positive", "threshold"), ""),
        **dict.fromkeys(("not_sure_margin", "side", "series", "findings", "possible"), ""),
    }
    assert difference({"answer": answer}, {"answer": answer}) == ("", 0.0)
    for change in (
        {"slices_sha256": "b"},
        {"probabilities": {"A": 0.4001}},
        {"findings": "x"},
        {"call": "A"},
    ):
        assert difference({"answer": answer}, {"answer": answer | change})[0]
    assert difference({"refusal": {"code": "roi"}}, {"answer": answer})[0]
    assert difference({"refusal": {"code": "roi"}}, {"refusal": {"code": "series"}})[0]


def test_golden_cases_are_many_kinds_and_the_same_each_time(bundle):
    assert len(KINDS) >= 60
    one, two = list(golden_cases(3)), list(golden_cases(3))
    assert [case.files for case in one] == [case.files for case in two]
    assert "answer" in expected_answer(open_bundle(bundle), one[0])


def test_libraries_are_taken_by_hash_only(tmp_path, monkeypatch):
    content = b"a tarball"
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    pin = Library(name="@a/b", version="1.2.3", license="MIT", sha512=digest)
    monkeypatch.setattr(libraries, "pinned_libraries", lambda: (pin,))
    assert (pin.spec, pin.tarball) == ("@a/b@1.2.3", "a-b-1.2.3.tgz")
    with pytest.raises(ConfigError) as caught:
        find_libraries(tmp_path)
    assert caught.value.found == "no a-b-1.2.3.tgz"
    (tmp_path / pin.tarball).write_bytes(b"another")
    with pytest.raises(ConfigError) as caught:
        find_libraries(tmp_path)
    assert "another content" in caught.value.found
    (tmp_path / pin.tarball).write_bytes(content)
    assert find_libraries(tmp_path) == {"@a/b": tmp_path / pin.tarball}
    monkeypatch.setattr(libraries, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(libraries.shutil, "which", lambda _: None)
    assert find_libraries() == {"@a/b": tmp_path / pin.tarball}
    (tmp_path / pin.tarball).unlink()
    with pytest.raises(ConfigError) as caught:
        find_libraries()
    assert caught.value.found == "none"


def test_pinned_libraries_have_licenses_that_may_be_passed_on():
    pins = pinned_libraries()
    assert {pin.name for pin in pins} >= {"onnxruntime-web", "dicom-parser"}
    assert all(len(base64.b64decode(pin.sha512)) == 64 for pin in pins)
    assert not [pin.name for pin in pins if "GPL" in pin.license]


def test_modules_are_joined_in_the_order_of_their_needs():
    texts = {
        "b.js": 'import { one, two as deux } from "./a.js";\nexport function both() {\n  return one + deux;\n}\n',
        "a.js": "export const one = 1;\nexport const [two, three] = [2, 3];\n",
    }
    script = joined(texts)
    assert script.index("const $a =") < script.index("const $b =")
    assert "const {one, two: deux} = $a;" in script.replace("{ ", "{").replace(" }", "}")
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)
    with pytest.raises(ConfigError):
        joined({"a.js": 'import { x } from "./missing.js";\n'})
    assert {"viewer.js", "draw-tools.js", "case.js"} <= set(modules())


def test_rules_are_those_of_the_program():
    rules = page_rules()
    assert rules["check"]["largeMl"] == 2500.0
    assert rules["syntaxes"]["1.2.840.10008.1.2.4.50"].startswith("JPEG Baseline")
    assert javascript(r"(?<![^\W\d_])gtv\w*") == r"(?<!\p{L})gtv[\p{L}\p{N}_]*"
    with pytest.raises(ConfigError):
        javascript(r"\Aabc")


def test_seg_whose_frames_begin_within_a_byte_is_read(tmp_path):
    rng = np.random.default_rng(5)
    shape, affine = (4, 7, 9), np.diag([3.0, 2.0, 2.0, 1.0])[[2, 1, 0, 3]]
    scene = Scene(
        hu=rng.normal(0, 300, shape), tumor=rng.random(shape) > 0.5, affine=affine, uid="1.2.826.0.1.77"
    )
    folder = tmp_path / "ct"
    folder.mkdir()
    for name, data in dicom_series(scene).items():
        (folder / name).write_bytes(data)
    (tmp_path / "roi.dcm").write_bytes(seg_file(scene, {"Tumor": scene.tumor}))
    read = read_roi(tmp_path / "roi.dcm", read_ct(folder))
    assert np.array_equal(read.voxels, scene.tumor)
