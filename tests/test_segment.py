"""Tumors drawn by another program: what it is given, what is taken from it, and everything that is refused."""

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nephroscope import Bundle, Study
from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.base.files import file_digest
from nephroscope.cli import run
from nephroscope.facade.prediction import FilesToPredict, predict_files
from nephroscope.facade.segment import SegmentedCase, SegmentedCases, segment_image
from nephroscope.imaging.masks.origin import origin_beside
from nephroscope.imaging.read import read_ct, read_roi
from nephroscope.records import CTVolume, RoiMask, VolumeGeometry
from nephroscope.regions.check import check_position
from nephroscope.segmenters import kits19_unet, process
from nephroscope.segmenters.draw import draw_tumor, refuse_misplaced
from nephroscope.segmenters.output import Says, _sorted
from nephroscope.segmenters.presets import PRESETS
from nephroscope.segmenters.refusal import SegmenterError
from nephroscope.segmenters.tool import author_of, named_labels, tool_of
from nephroscope.segmenters.watch import Watch
from nephroscope.workstation.drawing.draw import Operation, operate
from nephroscope.workstation.drawing.people import choose_reader
from nephroscope.workstation.drawing.rois import Rois
from nephroscope.workstation.drawing.sign import sign
from nephroscope.workstation.images.volumes import on_series
from nephroscope.workstation.place import Place
from phantoms import box_affine, box_hu, box_tumor, box_volume, write_nifti
from tiny_bundle import make_bundle

PROGRAM = Path(__file__).with_name("drawing_program.py")
UNIX = pytest.mark.skipif(os.name == "nt", reason="links and sessions as on Unix")


def command(folder, does, *more):
    """The program in a folder with blanks, as a user writes it on the command line."""
    path = folder / "a program" / "draw it.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(PROGRAM.read_text(encoding="utf-8"), encoding="utf-8")
    return " ".join(['"' + sys.executable + '"', f'"{path}"', "{image} {output}", does, *map(str, more)])


def drawn(folder, does, *more, limit_s=30.0, watches=(), **kwargs):
    return draw_tumor(
        box_volume(), tool_of(command(folder, does, *more), limit_s=limit_s, **kwargs), "c", watches
    )


def test_what_a_program_draws_is_a_proposal_with_its_author(tmp_path):
    proposal = drawn(tmp_path, "well")
    assert np.array_equal(proposal.roi.voxels, box_tumor())
    name, version = proposal.author.removeprefix("model:").split("@")
    assert name == "draw-it"
    assert len(version) == 8
    named = drawn(tmp_path, "named")
    assert named.author == "model:Net-of-Tests@2.1"
    assert np.array_equal(named.roi.voxels, box_tumor())
    assert (named.says.weights, named.says.labels) == ("ab" * 32, {7: "tumor", 3: "kidney"})


@pytest.mark.parametrize(
    ("does", "code"),
    [
        ("crash", "segmenter-failed"),
        ("nothing", "segmenter-no-output"),
        ("several", "segmenter-several-files"),
        ("empty", "segmenter-empty"),
        ("grid", "segmenter-other-grid"),
        ("flipped", "segmenter-flipped"),
        ("labels", "segmenter-labels"),
        ("nan", "segmenter-damaged"),
        ("fractions", "segmenter-damaged"),
        ("input", "segmenter-wrote-elsewhere"),
        ("removes", "segmenter-wrote-elsewhere"),
        ("directory", "segmenter-no-output"),
        pytest.param("swapped", "segmenter-damaged", marks=UNIX),
        pytest.param("hard-link", "segmenter-labels", marks=UNIX),
        pytest.param("link", "segmenter-damaged", marks=UNIX),
    ],
)
def test_everything_else_is_refused_by_name(tmp_path, does, code):
    with pytest.raises(SegmenterError) as refused:
        drawn(tmp_path, does)
    assert refused.value.code == code
    assert refused.value.where.startswith("case c, drawn by draw it")


@pytest.mark.parametrize(
    "said",
    [
        '{"labels": {"kidney": 1, "tumor"',
        "[1, 2]",
        "[" * 100_000,
        json.dumps({"labels": {"tumor": 2, "kidney": 1}, "more": "y" * 2**20}),
        '{"labels": {"tumor": "2", "kidney": "1"}}',
        '{"labels": {"tumor": 2.0}}',
        '{"labels": {"tumor": true}}',
        '{"labels": ["background", "kidney", "tumor"]}',
    ],
)
def test_a_label_map_whose_values_are_not_named_as_they_should_be_is_refused(tmp_path, said):
    """Taken without the names, its value 1, a kidney, would be the tumor."""
    path = tmp_path / "said.json"
    path.write_text(said, encoding="utf-8")
    with pytest.raises(SegmenterError) as refused:
        drawn(tmp_path, "says", path)
    assert refused.value.code == "segmenter-damaged"


def test_a_json_of_windows_begins_with_a_mark(tmp_path):
    said = tmp_path / "said.json"
    said.write_bytes(b"\xef\xbb\xbf" + b'{"tool": "net", "version": "1", "labels": {"tumor": 1}}')
    assert drawn(tmp_path, "says", said).author == "model:net@1"
    (tmp_path / "roi.json").write_bytes(said.read_bytes())
    (tmp_path / "roi.nii.gz").write_bytes(b"")
    assert origin_beside(tmp_path / "roi.nii.gz").state == "proposed"


def test_what_nobody_can_see_is_no_part_of_an_author():
    assert author_of("net\u202ework\0", "1\n2") == "model:net-work@1-2"


def test_a_drawing_on_the_other_side_than_the_table_says_is_doubted(tmp_path):
    given = tool_of(command(tmp_path, "well"))
    kidney = np.roll(box_tumor(), 2, 1)
    far = np.zeros_like(kidney)
    far[:, :2, :2] = True
    organs = {"kidney": kidney | far, "kidney_left": kidney, "kidney_right": far}
    found = {
        side: {one.code for one in draw_tumor(box_volume(), given, "c", (), organs, side).roi.findings}
        for side in ("left", "right", "unknown")
    }
    assert [side for side, codes in found.items() if "roi-side-differs" in codes] == ["right"]


@pytest.mark.parametrize("does", ["stdin", "floats", "twice"])
def test_ways_that_harm_nobody_are_taken(tmp_path, does):
    assert np.array_equal(drawn(tmp_path, does).roi.voxels, box_tumor())


def test_what_a_program_printed_is_not_repeated(tmp_path):
    """It may name a patient; the kind of its error is said."""
    with pytest.raises(SegmenterError) as refused:
        drawn(tmp_path, "name")
    assert "DOE" not in str(refused.value)
    assert refused.value.found == "3; it ended with ValueError"


def test_a_program_that_never_stops_printing_is_cut_short(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "MOST_LOG_BYTES", 2**20)
    monkeypatch.setattr(process, "LOOK_S", 0.02)
    cut = []
    monkeypatch.setattr(
        os, "truncate", lambda path, size, real=os.truncate: (cut.append(path), real(path, size))
    )
    with pytest.raises(SegmenterError) as refused:
        drawn(tmp_path, "chatty", limit_s=1.0)
    assert refused.value.code == "segmenter-time"
    assert cut
    monkeypatch.setattr(process, "LEAST_FREE", 2**62)
    with pytest.raises(SegmenterError, match="room on the disk"):
        drawn(tmp_path, "chatty")


def test_a_mask_that_lies_outside_the_body_is_refused():
    air = np.zeros(box_hu().shape, bool)
    air[:, :3] = True
    volume = box_volume()
    roi = RoiMask(voxels=air, geometry=volume.geometry, case_id="c")
    with pytest.raises(SegmenterError) as refused:
        refuse_misplaced(check_position(volume, roi, {})[0], volume, roi, "c")
    assert refused.value.code == "segmenter-misplaced"


def alive(mark):
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found += [folder.name] if mark in (folder / "cmdline").read_text() else []
            except OSError:
                continue
    return found


@UNIX
def test_a_program_that_never_ends_is_ended_with_all_that_it_started(tmp_path):
    seconds = "61.25"  # names the child, which has left the group of its parent
    with pytest.raises(SegmenterError) as refused:
        drawn(tmp_path, "sleep", seconds, limit_s=1.5)
    assert refused.value.code == "segmenter-time"
    if sys.platform == "linux":
        assert alive(f"time.sleep({seconds})") == []


def test_what_is_watched_must_stay_as_it_is(tmp_path):
    (tmp_path / "study").mkdir()
    table = tmp_path / "study" / "cohort.csv"
    table.write_text("case_id\n")
    with pytest.raises(SegmenterError, match=r"cohort\.csv") as refused:
        drawn(tmp_path, "elsewhere", table.with_name("new-cohort.csv"), watches=[Watch([table.parent])])
    assert refused.value.code == "segmenter-wrote-elsewhere"
    again = Watch([table.parent])
    table.write_text("case_id\n")  # written again, but the same
    assert again.changed() == []
    table.write_text("other\n")
    assert again.changed() == ["cohort.csv"]
    assert again.changed() == [], "what was said once is how it is now"


def test_names_of_values_in_any_of_the_usual_forms():
    assert named_labels({"background": 0, "kidney": 1, "tumor": 2}) == {1: "kidney", 2: "tumor"}
    assert named_labels({"0": "background", "1": "kidney", "2": "tumor"}) == {1: "kidney", 2: "tumor"}
    regions = {"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2}
    assert named_labels(regions) == {1: "kidney", 2: "tumor", 3: "masses"}
    assert named_labels({"\N{SUPERSCRIPT TWO}": "tumor", "9" * 5000: "cyst"}) == {}, "no numbers"


def test_another_tumor_label_is_another_program(tmp_path):
    given = command(tmp_path, "well")
    assert tool_of(given, tumor_label=2).given != tool_of(given).given
    weights = tmp_path / "w.onnx"
    weights.write_bytes(b"1")
    assert len({tool_of("kits19-unet", str(weights), tumor_label=n).given for n in (0, 1, 2)}) == 3


def test_of_several_tumors_a_user_says_which(tmp_path):
    """Otherwise the one that a program numbers first would be all that is left of them."""
    tool, says = (
        tool_of(command(tmp_path, "well")),
        Says(labels={1: "tumor left", 2: "tumor right", 3: "cyst"}),
    )
    labels = np.zeros((1, 2, 2), np.uint8)
    labels[0, 0] = 2
    assert _sorted(labels, says.labels, tool, says, "w").tumor.sum() == 2
    labels[0, 1] = 1, 3
    with pytest.raises(SegmenterError, match="1 tumor left, 2 tumor right") as refused:
        _sorted(labels, says.labels, tool, says, "w")
    assert refused.value.code == "segmenter-labels"
    assert _sorted(labels, says.labels, replace(tool, tumor_label=2), says, "w").tumor.sum() == 2


def test_the_value_that_a_user_calls_the_tumor_needs_no_name(tmp_path):
    """Value 7 is the tumor in the JSON of the program, and 3 a kidney."""
    labels = np.zeros((2, 2, 2), np.uint8)
    labels[0], labels[1, 0] = 3, 7
    tool = tool_of(command(tmp_path, "well"), tumor_label=7)
    found = _sorted(labels, {3: "kidney"}, tool, Says(labels={}), "here")
    assert np.array_equal(found.tumor, labels == 7)
    labels[1, 1] = 9
    with pytest.raises(SegmenterError) as refused:
        _sorted(labels, {3: "kidney"}, tool, Says(labels={}), "here")
    assert refused.value.code == "segmenter-labels"


def test_a_command_needs_both_places_and_a_preset_its_weights(tmp_path):
    for given in (
        "draw {image}",
        "draw {output}",
        "draw {image} {output} {else}",
        "unknown-preset",
        '"{image} {output}',
        f"{'x' * 300} {{image}}",
    ):
        with pytest.raises(ConfigError):
            tool_of(given)
    with pytest.raises(ConfigError, match="5597155"):
        tool_of("kits19-unet")
    weights = tmp_path / "w.onnx"
    weights.write_bytes(b"1")
    with pytest.raises(ConfigError, match="digest"):
        tool_of("kits19-unet", str(weights), sha256="00")
    assert author_of("a:b c", "") == "model:a-b-c@unknown"


@UNIX
def test_the_python_of_an_environment_is_started_as_it_is_named(tmp_path):
    """It is a link: what it points to would not see the packages of the environment."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    assert tool_of(f"{python} {PROGRAM} {{image}} {{output}}").command[0] == str(python)


def test_presets_say_what_a_user_must_know(capsys):
    for name, preset in PRESETS.items():
        assert run(["segment", "nowhere", "--with", name, "--dry-run", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert [word for word in said["words"] if not word.isdigit()] == [
            word for word in preset.command if word != "{folds}"
        ]
        assert all(said[key] for key in ("license", "weights", "cannot"))
        assert "{" not in said["command"], "a person can run it"


def test_a_dry_run_prints_a_command_with_its_image_and_model(tmp_path, capsys):
    image, model = tmp_path / "ct.nii.gz", tmp_path / "m"
    image.write_bytes(b"")
    assert (
        run(["segment", str(image), "--with", "monai-bundle", "--model", str(model), "--dry-run", "--json"])
        == 0
    )
    line = shlex.split(json.loads(capsys.readouterr().out)["command"])
    assert line[line.index("--config_file") + 1] == f"{model}/configs/inference.json"
    assert line[line.index("--datalist") + 1] == f"['{image}']"
    assert run(["segment", str(image), "--with", "totalsegmentator", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["command"].startswith("TOTALSEG_WEIGHTS_PATH=MODEL Total")


def test_an_nnunet_folder_is_used_with_the_folds_that_it_has(tmp_path):
    def folder(name, *folds, **dataset):
        for fold in folds:
            (tmp_path / name / fold).mkdir(parents=True)
        (tmp_path / name / "dataset.json").write_text(json.dumps({"labels": {"tumor": 1}, **dataset}))
        return str(tmp_path / name)

    words = tool_of("nnunet", folder("a", "fold_0", "fold_all", channel_names={"0": "CT"})).command
    assert words[-3:] == ("-f", "0", "all")
    for at, (more, folds) in enumerate(
        [
            ({"channel_names": {"0": "CT", "1": "PET"}}, "fold_0"),
            ({"file_ending": ".mha"}, "fold_0"),
            ({}, "x"),
        ]
    ):
        with pytest.raises(ConfigError):
            tool_of("nnunet", folder(f"wrong-{at}", folds, **more))


def test_windows_that_overlap_give_the_mean_of_their_scores():
    """A network that gives back its image: so must windows, or voxels between others would weigh more."""

    class Echo:
        def get_inputs(self):
            return [type("Input", (), {"name": "input"})]

        def run(self, _, given):
            return [np.concatenate([given["input"] * scale for scale in (1, 2, 3)], 1)]

    image = np.random.default_rng(0).normal(size=(20, 130, 150)).astype(np.float32)
    scores = kits19_unet.windows(image, Echo())
    assert scores == pytest.approx(np.stack([image, 2 * image, 3 * image]), rel=1e-5, abs=1e-5)


@pytest.fixture
def root(tmp_path):
    """A study of three cases whose tumors nobody drew."""
    (tmp_path / "volumes").mkdir()
    study = Study.create(tmp_path / "study", ["PRCC", "ChRCC"])
    study.change("slices", size_px=32, margin_mm=4.0)
    lines = ["case_id,subtype"]
    for number, subtype in enumerate(("PRCC", "ChRCC", "PRCC")):
        hu = box_hu()
        hu[:, 8, 8] += number
        write_nifti(hu, tmp_path / "volumes" / f"c{number}.nii.gz", box_affine())
        lines.append(f"c{number},{subtype}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    study.import_nifti(tmp_path / "volumes", tmp_path / "labels.csv", keep_incomplete=True)
    return tmp_path / "study"


def volume_of(root, number):
    return root.parent / "volumes" / f"c{number}.nii.gz"


def segment(capsys, root, code, *words):
    capsys.readouterr()
    assert run(["segment", str(root), *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_proposals_of_a_study_are_used_when_a_person_accepts_them(root, tmp_path, capsys):
    with_named = ("--with", command(tmp_path, "named"))
    first = segment(capsys, root, 0, *with_named, "--cases", "c0")["cases"]
    said = segment(capsys, root, 0, *with_named)["cases"]
    author = "model:Net-of-Tests@2.1"
    assert [(c["case"], c["state"], c["author"], c["refused"]) for c in said] == [
        (f"c{number}", "proposed", author, None) for number in range(3)
    ]
    assert [c["again"] for c in said] == [False, True, True], "no case is drawn twice"
    assert said[0]["path"] == first[0]["path"]
    study = Study(root)
    assert [roi.state for case in study.cohort.cases for roi in case.rois] == ["proposed"] * 3
    checked = study.check()
    refused = [f.code for case in checked.values() for f in case.findings if f.severity == "refusal"]
    assert refused == ["roi-proposed"] * 3
    with pytest.raises(CohortError, match="3 cases, all refused"):
        study.cut_slices()
    words = ["rois", "accept", str(root), "c0", "--by", author]
    assert run([*words, "--reader", "Dr Who"]) == 2
    assert run([*words, "--reader", "reader-2"]) == 0
    assert run(["rois", "accept", str(root), "c2", "--by", author]) == 0
    store = Study(root).cut_slices()
    assert sorted(store.rows_by_case) == ["c0", "c2"]
    assert Study(root).cohort.by_id["c0"].used.roi == f"{author} (accepted by reader-2)"
    assert Study(root).cohort.by_id["c2"].used.roi == f"{author} (accepted)"
    parts = {part.name: part.detail for part in Study(root).status().parts}
    assert parts["rois"].startswith("1 proposed, 2 accepted")
    written = Study(root).write_roi("c0", tmp_path / "c0.nii.gz")
    found = predict_files(
        make_bundle(tmp_path / "bundle"), FilesToPredict(image=volume_of(root, 0), roi=written)
    )
    assert (found.roi.author, found.roi.state, found.roi.by) == (author, "accepted", "reader-2")
    assert "roi-proposed" not in {one.code for one in found.findings}
    proposed = Path(first[0]["path"])  # what rois.csv says of it stands in no file
    found = predict_files(tmp_path / "bundle", FilesToPredict(image=volume_of(root, 0), roi=proposed))
    assert (found.roi.author, found.roi.state, found.call) == (author, "proposed", None)
    assert [one.severity for one in found.findings if one.code == "roi-proposed"] == ["warning"]
    answer = Bundle(tmp_path / "bundle").predict(volume_of(root, 0), proposed)
    assert [one.severity for one in answer.findings if one.code == "roi-proposed"] == ["warning"]
    in_memory = read_ct(volume_of(root, 0))
    answer = Bundle(tmp_path / "bundle").predict(in_memory, read_roi(proposed, in_memory))
    assert "roi-proposed" in {one.code for one in answer.findings}
    assert segment(capsys, root, 0, *with_named)["cases"][0]["state"] == "accepted"
    Study(root).change("roi", use_proposed=True)
    assert sorted(Study(root).cut_slices().rows_by_case) == ["c0", "c1", "c2"]
    assert Study(root).cohort.by_id["c1"].used.roi == f"{author} (proposed)"
    table = (root / "rois.csv").read_text().splitlines()
    assert [line.split(",")[-2:] for line in table] == [
        ["state", "accepted_by"], ["accepted", "reader-2"], ["proposed", ""], ["accepted", ""],
    ]  # fmt: skip


def test_a_reader_begins_with_a_proposal_and_signs_it(root, tmp_path, capsys):
    segment(capsys, root, 0, "--with", command(tmp_path, "named"), "--cases", "c0")
    place = Place(root)
    rois = Rois(place, "session")
    with place.changing() as db:
        choose_reader(db, "session", "reader-1", "")
    case = place.case("c0")
    mine = rois.begin(on_series(case, case.series[0].name), False)
    assert {(one.author, one.state) for one in rois.listed("c0")} == {
        ("model:Net-of-Tests@2.1", "proposed"), ("reader-1", "draft"),
    }  # fmt: skip
    operate(rois, mine.id, Operation(number=1, operation="proposal"))
    assert sign(rois, mine.id, 1).n_voxels == box_tumor().sum()
    signed = next(one for one in rois.listed("c0") if one.author == "reader-1")
    assert (signed.state, signed.made_from) == ("signed", "the proposal of model:Net-of-Tests@2.1, as it was")
    used = Study(root).cohort.by_id["c0"]
    assert (used.authors(), used.roi.state) == (("reader-1",), "accepted")
    assert used.used.roi == "reader-1 (model:Net-of-Tests@2.1 as proposed)"
    said = read_roi(used.roi.path, read_ct(volume_of(root, 0))).origin
    assert replace(said, evidence="rois.csv") == used.roi.origin
    again = rois.begin(on_series(case, case.series[0].name), True)
    operate(rois, again.id, Operation(number=1, operation="clear", slice=int(np.argwhere(box_tumor())[0, 0])))
    sign(rois, again.id, 1)
    used = Study(root).cohort.by_id["c0"]
    assert used.used.roi == "reader-1 (corrected model:Net-of-Tests@2.1)"
    assert used.roi.origin.words == "drawn by model:Net-of-Tests@2.1, corrected by reader-1"


def test_one_bad_case_does_not_stop_the_others(root, tmp_path, capsys):
    wrong = tmp_path / "sometimes.py"
    text = PROGRAM.read_text(encoding="utf-8")
    wrong.write_text(
        text.replace("    drawn = (hu", "    does = 'crash' if hu[8, 8, 0] == 41 else does\n    drawn = (hu")
    )
    given = f'"{sys.executable}" "{wrong}" {{image}} {{output}} well'
    said = segment(capsys, root, 3, "--with", given)["cases"]
    assert [c["state"] for c in said] == ["proposed", "refused", "proposed"]
    assert said[1]["code"] == "segmenter-failed"
    assert "found 7; what it printed is about a GPU" in said[1]["refused"]


def test_a_program_that_often_draws_where_no_tumor_can_be_is_doubted_as_a_whole():
    def case(number, code=""):
        refused = "why" if code else None
        return SegmentedCase(
            case=f"c{number}", state="refused" if code else "proposed", author="", refused=refused, code=code
        )

    def of(n_misplaced, n_good, *others):
        codes = ["segmenter-misplaced"] * n_misplaced + [""] * n_good + [*others]
        made = SegmentedCases(case(number, code) for number, code in enumerate(codes))
        return [one.code for one in made.findings]

    assert of(2, 6) == of(2, 6, *["segmenter-time"] * 9) == ["segmenter-often-misplaced"]
    assert of(2, 7) == of(1, 1) == of(0, 3) == of(0, 0) == []


KILLED = """
import sys
from nephroscope.cli import run
sys.exit(run(sys.argv[1:]))
"""


@UNIX
@pytest.mark.parametrize("after", ["begun", "written"])
def test_a_run_that_is_killed_leaves_nothing_and_goes_on(root, tmp_path, capsys, after):
    """Killed while the program draws, and when its files are there but not yet in the table."""
    seconds, mark = "47.5" if after == "begun" else "0", tmp_path / "mark"
    given = command(tmp_path, "slow" if after == "begun" else "well", mark, seconds)
    words = ["segment", str(root), "--with", given, "--json"]
    script = KILLED
    if after == "written":
        script = script.replace("sys.exit", "import os; from nephroscope.facade import segment\n"
            "segment._list = lambda *_: os.kill(os.getpid(), 9)\nsys.exit")  # fmt: skip
    before = (root / "rois.csv").read_text()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    killed = subprocess.Popen(
        [sys.executable, "-c", script, *words],
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.DEVNULL,
    )
    while after == "begun" and not mark.exists() and killed.poll() is None:
        time.sleep(0.05)
    if after == "begun":
        killed.kill()
    assert killed.wait() == -9
    until = time.monotonic() + 20
    while (alive(f"time.sleep({seconds})") or any(scratch.iterdir())) and time.monotonic() < until:
        time.sleep(0.05)
    assert alive(f"time.sleep({seconds})") == []
    assert not any(scratch.iterdir()), "the CT does not stay in a temporary folder"
    assert (root / "rois.csv").read_text() == before
    said = segment(capsys, root, 0, "--with", command(tmp_path, "well"))["cases"]
    assert [c["state"] for c in said] == ["proposed"] * 3
    assert not [path for path in root.rglob("*.tmp") if path.is_file()]


def test_one_image_is_drawn_to_a_file(root, tmp_path, capsys):
    out = tmp_path / "drawn.nii.gz"
    image = root.parent / "volumes" / "c1.nii.gz"
    before = image.read_bytes()
    said = segment(capsys, image, 0, "--with", command(tmp_path, "well"), "--out", str(out))["cases"]
    assert (said[0]["case"], said[0]["state"]) == ("c1", "proposed")
    assert np.array_equal(read_roi(out, read_ct(image)).voxels, box_tumor())
    assert image.read_bytes() == before
    assert json.loads(out.with_name("drawn.json").read_text())["sha256"] == file_digest(out)
    kept = out.read_bytes()
    for taken in (out, image):  # it may be corrected by now; and never the CT itself
        with pytest.raises(ConfigError, match="existing"):
            segment_image(image, tool_of(command(tmp_path, "well")), taken)
    assert (out.read_bytes(), image.read_bytes()) == (kept, before)


def test_the_preset_for_onnx_draws_with_any_network_of_its_shape(tmp_path):
    """Kidney where HU are above 60, tumor above 150: the network of the test scales what it is given."""
    weights = tmp_path / "made.onnx"
    onnx_network(weights)
    hu = np.full((24, 40, 40), -200, np.int16)
    hu[4:20, 5:30, 5:30], hu[8:16, 12:24, 12:24] = 100, 280
    affine = np.diag([1.2, 1.2, 1.6, 1.0])[:, [2, 1, 0, 3]]
    geometry = VolumeGeometry(shape=hu.shape, affine=affine)
    labels = kits19_unet.segment(hu, geometry.spacing_mm, kits19_unet.load_network(weights))
    assert np.array_equal(labels, (hu > 60) * 1 + (hu > 150) * 1)
    coarse = kits19_unet.resized(hu.astype(np.float32), (12, 20, 20))
    assert coarse[[0, -1]][:, [0, -1]][:, :, [0, -1]].tolist() == [[[-200.0] * 2] * 2] * 2
    volume = CTVolume(hu=hu, geometry=geometry, series_uid="1.2")
    proposal = draw_tumor(volume, tool_of("kits19-unet", str(weights)), "c", organs={})
    assert np.array_equal(proposal.roi.voxels, hu > 150)
    assert np.array_equal(proposal.organs["kidney"], (hu > 60) & (hu <= 150))
    assert proposal.author == f"model:kits19-unet@{file_digest(weights)[:8]}"


def onnx_network(path):
    """Scores 0, (x - a) and 2 (x - b) - ...: argmax says background, kidney or tumor by HU alone."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kidney, tumor = ((at - kits19_unet.MEAN_HU) / kits19_unet.DEVIATION_HU for at in (60, 150))
    weight = np.array([0, 1, 2], np.float32).reshape(3, 1, 1, 1, 1)
    bias = np.array([0, -kidney, -kidney - tumor], np.float32)
    node = helper.make_node("Conv", ["input", "weight", "bias"], ["output"])
    shapes = [[1, n, 128, 128, 128] for n in (1, 3)]
    graph = helper.make_graph(
        [node],
        "made",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shapes[0])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shapes[1])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))
