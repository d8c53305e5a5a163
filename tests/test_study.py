import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from nephroscope import Study
from nephroscope.base.errors import CohortError, ConfigError, StudyError
from nephroscope.learning.run_files import run_config
from nephroscope.records import Finding, SliceSpec, SplitConfig, TrainConfig
from nephroscope.records.settings import Settings
from nephroscope.study.cohort_table import save_cohort
from nephroscope.study.folder import settings_as_toml
from nephroscope.study.slices import open_store
from one_series import changed
from small_study import content_of, make_study

CONFIG = TrainConfig(model="shufflenet_v2_x1_0", epochs=1, batch_size=8, precision="fp32")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    study = make_study(tmp_path_factory.mktemp("made") / "study")
    study.cut_slices()
    study.make_split(SplitConfig(folds=2))
    study.train(CONFIG)
    return study


@pytest.fixture
def study(trained, tmp_path):
    """A copy elsewhere: whatever passes here passes for a study that was moved."""
    shutil.copytree(trained.folder.root, tmp_path / "moved")
    return Study(tmp_path / "moved")


def test_study_toml_spells_out_every_default():
    settings = Settings(subtypes=("a", "b"), positive="a")
    text = settings_as_toml(settings)
    for line in ('roi_mode = "crop"', "folds = 5", 'model = "mobilenet_v2"', "not_sure_margin = 0.1"):
        assert line in text


def test_study_toml_tells_every_setting(tmp_path):
    """A comment on each line, in the words of the record's docstring; changing a setting keeps it."""
    study = Study.create(tmp_path / "s", ["PRCC", "ChRCC"])
    lines = study.folder.toml.read_text().splitlines()
    settings = [line for line in lines if " = " in line and not line.startswith("#")][
        3:
    ]  # the first three are ours
    assert len(settings) > 30
    assert [line for line in settings if " # " not in line] == []
    assert "margin_mm = 10.0 # Added on each side of the box." in lines
    assert (
        "window_width_hu = 400.0 # Applied to HU just before the network; slices are stored in HU." in lines
    )
    study.change("slices", margin_mm=15.0)
    assert "margin_mm = 15.0 # Added on each side of the box." in study.folder.toml.read_text()


def test_moved_study_is_the_same_study(study):
    report = study.run().evaluate()
    assert report.groups[0].case["accuracy"].n == 10
    assert study.cut_slices().digest == study.slices().digest


def test_settings_are_refused_by_name(tmp_path):
    root = tmp_path / "s"
    Study.create(root, ["A", "B"])
    original = (root / "study.toml").read_text()
    for old, new, message in (
        ("format = 2", "format = 3", "expected format = 2, found format = 3"),
        ("folds = 5", "folds = 0", "split.folds: expected a number from 1 to 100, found 0"),
        ("folds = 5", 'folds = "five"', "split.folds: expected a int such as 5, found 'five'"),
        ("folds = 5", "fold = 5", "split.fold: expected one of protocol, folds"),
        ('positive = "A"', 'positive = "C"', "positive: expected one of A, B, found 'C'"),
        ('["A", "B"]', '["A"]', "at least two different subtypes, found 'A'"),
        ('["A", "B"]', '"A"', "expected a list such as"),
        ("[split]", "[splits]", "study.toml, splits: expected one of format"),
        ("format = 2", "format =", "expected valid TOML"),
        ("window_width_hu = 400.0", "window_width_hu = 30.0", "a level not above the width"),
        ('roi_mode = "crop"', 'roi_mode = "box"', "expected one of full, crop, mask, found 'box'"),
        ("augmentation = true", "augmentation = 1", "expected a bool such as True"),
    ):
        (root / "study.toml").write_text(original.replace(old, new, 1))
        with pytest.raises((ConfigError, StudyError), match=message):
            Study(root)


def test_change_keeps_comments_and_refuses_before_writing(tmp_path):
    root = tmp_path / "s"
    study = Study.create(root, ["A", "B"])
    text = (root / "study.toml").read_text()
    (root / "study.toml").write_text(text + "# mine\n")
    study.change("slices", margin_mm=15.0)
    assert Study(root).settings.slices == SliceSpec(margin_mm=15.0)
    assert (root / "study.toml").read_text().endswith("# mine\n")
    before = (root / "study.toml").read_text()
    with pytest.raises(ConfigError, match=r"slices.margin_mm"):
        study.change("slices", margin_mm=-1.0)
    assert (root / "study.toml").read_text() == before


def test_folder_is_not_overwritten(tmp_path):
    Study.create(tmp_path / "s", ["A", "B"])
    with pytest.raises(StudyError, match="expected a new or empty folder, found a study"):
        Study.create(tmp_path / "s", ["A", "B"])
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "thesis.doc").touch()
    with pytest.raises(StudyError, match="found other files"):
        Study.create(tmp_path / "o", ["A", "B"])
    with pytest.raises(StudyError, match=r"expected a study \(a folder with study.toml\)"):
        Study(tmp_path / "o")


def test_steps_out_of_order_say_what_to_run(tmp_path):
    study = Study.create(tmp_path / "s", ["A", "B"])
    with pytest.raises(StudyError, match="run `nephroscope import` first"):
        study.cut_slices()
    study = make_study(tmp_path / "t")
    with pytest.raises(StudyError, match="run `nephroscope slices`"):
        study.train()
    with pytest.raises(StudyError, match="complete runs: none"):
        study.run().evaluate()
    with pytest.raises(StudyError, match=r"expected an interrupted run, found none \(0 complete\)"):
        study.train(resume=True)


def test_changed_cohort_makes_later_steps_stale(study):
    cohort = study.cohort
    cases = (changed(cohort.cases[0], tumor_label=2), *cohort.cases[1:])
    save_cohort(replace(cohort, cases=cases), study.folder.root)
    with pytest.raises(
        StudyError,
        match=r"out of date: cohort.csv, series.csv, .* changed since the slices were cut; run `nephro",
    ):
        study.train()


def test_changed_settings_make_slices_stale(study):
    study.change("slices", margin_mm=5.0)
    with pytest.raises(StudyError, match="changed since"):
        study.run().evaluate()


def draw_anew(study, case_id):
    """The ROI of a case in the same file, one row of voxels smaller."""
    import nibabel

    path = study.cohort.by_id[case_id].roi.path
    image = nibabel.load(path)
    mask = np.asarray(image.dataobj).astype(np.uint8)
    mask[np.nonzero(mask.any(axis=(1, 2)))[0][0]] = 0
    nibabel.save(nibabel.Nifti1Image(mask, image.affine), path)


def test_an_roi_drawn_anew_in_its_file_makes_slices_and_then_runs_stale(study):
    for case_id in ("c02", "c04"):
        draw_anew(study, case_id)
    with pytest.raises(
        StudyError, match="the ROI file of case c02 and of 1 more changed since the slices were cut"
    ):
        study.slices()
    before = open_store(study.folder.slices)
    after = study.cut_slices()
    assert (after.source == before.source, after.digest == before.digest) == (True, False)
    assert study.slices().digest == after.digest
    with pytest.raises(
        StudyError, match=r"run shufflenet_v2_x1_0: .* the slices changed since it was trained"
    ):
        study.run().evaluate()


def test_the_same_roi_saved_again_or_lost_changes_nothing(study):
    digest = study.slices().digest
    roi = study.cohort.by_id["c03"].roi.path
    os.utime(roi, (1, 1))
    assert study.slices().digest == digest
    assert study.cut_slices().digest == digest
    roi.unlink()
    assert study.slices().digest == digest


def test_slices_of_an_earlier_version_open_as_they_were(study):
    path = study.folder.slices / "spec.json"
    content = content_of(path)
    del content["content"], content["drawn"]
    path.write_text(json.dumps(content))
    store = study.slices()
    assert store.digest == store.source


def test_changed_labels_make_split_and_run_stale_but_not_slices(study):
    cohort = study.cohort
    cases = (replace(cohort.cases[0], subtype="ChRCC"), *cohort.cases[1:])
    save_cohort(replace(cohort, cases=cases), study.folder.root)
    study.slices()
    with pytest.raises(
        StudyError, match=r"splits.json: .* cohort.csv changed since the patients were divided"
    ):
        study.split()
    with pytest.raises(StudyError, match=r"run shufflenet_v2_x1_0: .* changed since"):
        study.run().evaluate()


def test_changed_age_makes_nothing_stale(study):
    cohort = study.cohort
    cases = (changed(cohort.cases[0], age_years=51.0), *cohort.cases[1:])
    save_cohort(replace(cohort, cases=cases), study.folder.root)
    study.run().evaluate()


def test_an_import_can_be_repeated_when_patients_have_been_added(study):
    root = study.folder.root
    before = (root / "cohort.csv").read_bytes()
    for _ in range(2):
        study.import_nifti(root / "volumes", root / "labels.csv")
        assert (root / "cohort.csv").read_bytes() == before
    (note,) = [f.message for f in study.import_findings if f.code == "case-known"]
    assert note.startswith("10 cases are already in cohort.csv and stay as they are (c00, c01")
    for end in (".nii.gz", "_seg.nii.gz"):
        (root / "volumes" / f"c99{end}").write_bytes((root / "volumes" / f"c01{end}").read_bytes())
    with (root / "labels.csv").open("a") as table:
        table.write("c99,PRCC\n")
    assert len(study.import_nifti(root / "volumes", root / "labels.csv").cases) == 11


def test_runs_are_numbered_and_never_overwritten(study):
    assert study.train(CONFIG).name == "shufflenet_v2_x1_0-2"
    with pytest.raises(StudyError, match="expected a new run, found a complete one"):
        study.train(CONFIG, name="shufflenet_v2_x1_0")
    with pytest.raises(ConfigError, match="expected a plain name without folders"):
        study.train(CONFIG, name="../out")
    assert study.train(CONFIG, name="shufflenet_v2_x1_0", resume=True).name == "shufflenet_v2_x1_0"


def test_findings_stay_with_the_study(study):
    study.note(Finding(code="x", severity="note", message="m", case_id="c01"))
    assert Study(study.folder.root).import_findings[-1].message == "m"
    codes = ["x", "hu-implausible", "roi-measures"]  # there is no air around these discs
    assert [finding.code for finding in study.check()["c01"].findings] == codes


def test_check_names_what_is_missing(study):
    (study.folder.root / "volumes" / "c03.nii.gz").unlink()
    (study.folder.root / "volumes" / "c04_seg.nii.gz").write_bytes(b"nothing")
    found = study.check()
    refused = [n for n, case in found.items() if any(f.severity == "refusal" for f in case.findings)]
    assert refused == ["c03", "c04"]
    store = study.cut_slices()
    assert len(store.rows_by_case) == 8


def test_damaged_json_is_refused(study):
    (study.folder.root / "splits.json").write_text("[]")
    with pytest.raises(StudyError, match=r"splits.json: expected a JSON object with a format number"):
        study.split()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("run.json", '{"format": 1}', "run.json: expected the model, digests and folds of a trained run"),
        ("run.json", "[]", "run.json: expected a JSON object with a format number"),
        ("run.json", '{"format": 99}', "found format 99; it was written by a newer nephroscope"),
        ("split.json", None, "expected the file split.json, found none; train again"),
        ("split.json", '{"format": 1}', "split.json, protocol: expected a value, found none"),
        ("fold-0/model.onnx", None, "expected the file fold-0/model.onnx, found none; remove run.json"),
        ("fold-0/model.onnx", "x", "fold-0/model.onnx: expected the file as the training wrote it"),
    ],
)
def test_a_damaged_run_is_named_with_its_remedy(study, tmp_path, name, content, told):
    """Whoever reads the run: told alike by evaluate and report, and by readers, which go on without it."""
    (run,) = study.folder.runs()
    whole = (run / "run.json").read_text()
    (run / "run.json").write_text(json.dumps(content_of(run / "run.json") | {"converged": True}))
    path = next(run.glob(name.replace("fold-0", "fold-*")))
    told = told.replace("fold-0", path.parent.name)
    path.unlink() if content is None else path.write_text(content)
    for verb in (lambda: study.run().evaluate(), lambda: study.run().report()):
        with pytest.raises(StudyError) as refused:
            verb()
        assert told in str(refused.value)
        assert str(refused.value).startswith(f"run {run.name}")
    calls = tmp_path / "calls.csv"
    case = study.cohort.cases[0]
    calls.write_text(f"case,reader,call\n{case.case_id},r,{case.subtype}\n")
    with pytest.raises(StudyError):
        study.readers(calls, [run.name])
    found = study.readers(calls)
    assert found.models == ()
    assert any(f.code == "model-left-out" and told in f.message for f in found.findings)
    if name == "run.json":
        path.unlink()
        study.train(name=run.name, resume=True)
        held = content_of(path) | {"finished": ""}
        kept = json.loads(whole) | {"finished": ""}
        assert held == {name: value for name, value in kept.items() if name != "checksum"}, (
            "the remedy writes it again"
        )


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.json", '{"format": 1}', "config.json, training: expected a value, found none"),
        (
            "config.json",
            '{"format": 1, "training": {"model": "resnet34"}, "digests": {}}',
            "config.json, training.recipe: expected a value, found none",
        ),
        ("split.json", None, ": expected the file split.json, found none; train again"),
        ("split.json", '{"format": 1}', "split.json, protocol: expected a value, found none"),
    ],
)
def test_resuming_a_damaged_run_names_it(study, name, content, told):
    (run,) = study.folder.runs()
    (run / "run.json").unlink()
    (run / name).unlink() if content is None else (run / name).write_text(content)
    with pytest.raises(StudyError) as refused:
        study.train(resume=True)
    assert str(refused.value).startswith(f"run {run.name}")
    assert told in str(refused.value)


def test_run_that_diverged_is_reported_in_words_not_numbers(study):
    """Its losses are null in metrics.jsonl, it has no best epoch, and no figure is a number."""
    (run,) = study.folder.runs()
    for path in [run / "run.json", *run.glob("fold-*/fold.json")]:
        content = content_of(path)
        content |= {"converged": False, "best": None}
        new = {"best": None, "converged": False, "files": None}
        content["folds"] = [fold | new for fold in content.get("folds", [])]
        path.write_text(json.dumps(content))
    for path in run.glob("fold-*/metrics.jsonl"):
        line = content_of(path)
        path.write_text(json.dumps(line | {"train_loss": None, "validation_loss": None}) + "\n")
    page = study.run().report()
    assert "did not converge" in page.read_text(encoding="utf-8")
    report = study.run().evaluate()
    assert all(estimate.value is None for estimate in report.groups[0].case.values())
    with pytest.raises(StudyError, match="a fold with a finite validation loss"):
        study.run().export(study.folder.root / "bundle")


def test_a_run_that_was_stopped_before_it_began_is_started_again(tmp_path, trained):
    shutil.copytree(trained.folder.root, tmp_path / "study")
    study = Study(tmp_path / "study")
    folder = study.folder.run("mine")
    folder.mkdir()
    (folder / "environment.json").write_text("{")  # killed before config.json
    assert study.train(CONFIG, "mine").name == "mine"
    (folder / "config.json").unlink()
    (folder / "run.json").unlink()
    with pytest.raises(StudyError, match=r"found one without config\.json"):
        study.train(CONFIG, "mine")
    longer = study.train(more_epochs=1)
    assert longer.record.folds[0].index == 0
    assert run_config(longer.folder).epochs == CONFIG.epochs + 1


def test_a_phantom_import_that_was_stopped_goes_on(tmp_path, monkeypatch):
    """The export is whole, the tables are not written: the same command imports it, another one is refused."""
    study = Study.create(tmp_path / "s", ["PRCC", "ChRCC"])

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nephroscope.facade.imports.save_cohort", killed)
        with pytest.raises(KeyboardInterrupt):
            study.import_phantom(2, seed=3)
    with pytest.raises(CohortError):
        study.import_phantom(3, seed=3)
    assert len(study.import_phantom(2, seed=3).cases) == 2
    with pytest.raises(CohortError):
        study.import_phantom(2, seed=3)
