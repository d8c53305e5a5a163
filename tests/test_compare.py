"""The comparison: one table on the same folds, tests whose answer is known, words that never say equal."""

import csv
import json
import logging
import shutil
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import t as student

from nephroscope import Study
from nephroscope.base.errors import ConfigError, StudyError
from nephroscope.base.files import file_digest
from nephroscope.cli import run
from nephroscope.learning.engine import fits as rooms
from nephroscope.learning.engine.divisions import present_division
from nephroscope.learning.engine.engine import Engine
from nephroscope.learning.engine.predictions import Predictions
from nephroscope.learning.engine.study_data import study_data
from nephroscope.learning.engine.trained_runs import HELD_OUT, find_runs
from nephroscope.learning.engine.workers import Workers
from nephroscope.questions.compare import comparison
from nephroscope.questions.compare.comparison import ComparePlan, load_comparison
from nephroscope.questions.compare.document import FORMAT
from nephroscope.questions.compare.measures import TestSet, brier, figures_of, mean_of_folds
from nephroscope.questions.compare.network_stack import NAME as STACK
from nephroscope.questions.compare.network_stack import stack_with_networks
from nephroscope.questions.compare.pairs import compare_pairs, primary, summary
from nephroscope.questions.compare.table import calibration_of, fitted_factor, scaled, temper
from nephroscope.questions.evaluation.operating_points import few_chosen_on
from nephroscope.records import EvaluationConfig, SplitConfig
from nephroscope.report.page.section import figures_in, tables_in
from nephroscope.report.study.sections.comparison import filled_comparison
from nephroscope.report.study.sections.control import control_table
from nephroscope.statistics.calibration import calibrate
from nephroscope.statistics.mcnemar import holm
from nephroscope.statistics.metrics import auc
from nephroscope.study.cohort_table import save_cohort
from one_series import changed
from small_study import content_of
from some_learners import GUESSES, KNOWS, MISSING, NOISY, REFUSES, REMARKS
from test_study import CONFIG, draw_anew, make_study

KNOWN = (KNOWS, NOISY, GUESSES, MISSING, REFUSES)
QUICK = ComparePlan(known=KNOWN, permutations=0)
CONFIG_200 = EvaluationConfig(resamples=200)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """24 cases, two folds, a network trained on them; and what looks like runs on other folds and by image."""
    study = make_study(tmp_path_factory.mktemp("compare") / "study", 24)
    study.cut_slices()
    study.make_split(SplitConfig(folds=2))
    study.change("training", **asdict(replace(CONFIG, epochs=4)))
    study.train()
    runs = study.folder.root / "runs"
    for name in ("leaky", "elsewhere"):
        shutil.copytree(runs / CONFIG.model, runs / name)
    content = content_of(runs / "leaky" / "run.json")
    (runs / "leaky" / "run.json").write_text(json.dumps(content | {"leaky": True, "protocol": "image"}))
    other = content_of(runs / "elsewhere" / "split.json")
    first = other["folds"][0]
    first["train"], first["validation"] = first["train"] + first["validation"], []
    (runs / "elsewhere" / "split.json").write_text(json.dumps(other))
    for name in ("config.json", "run.json"):  # as if it had been trained on them
        held = content_of(runs / "elsewhere" / name)
        held["digests"]["split"] = file_digest(runs / "elsewhere" / "split.json")
        (runs / "elsewhere" / name).write_text(json.dumps(held))
    study.compare(QUICK, [CONFIG.model])
    return study


@pytest.fixture
def study(made, tmp_path):
    shutil.copytree(made.folder.root, tmp_path / "study")
    return Study(tmp_path / "study")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("run.json", '{"format": 1}', "the model, digests and folds of a trained run"),
        ("split.json", None, "expected the file split.json, found none"),
        ("fold-0/model.onnx", None, "expected the file fold-0/model.onnx, found none"),
        ("config.json", "{}", "config.json: expected a JSON object with a format number"),
    ],
)
def test_a_damaged_run_is_told_and_not_ranked(study, name, content, told):
    path = study.folder.run(CONFIG.model) / name
    path.unlink() if content is None else path.write_text(content)
    rows = study.compare(QUICK).content["not_compared"]
    (row,) = [row for row in rows if row["name"] == CONFIG.model]
    assert row["reason"].startswith(f"run {CONFIG.model}")
    assert told in row["reason"]


def test_one_table_on_the_same_cases(made):
    content = load_comparison(made.folder.root).content
    rows = {row["name"]: row for row in content["candidates"]}
    names = {"knows", "noisy", "guesses"}
    assert names <= rows.keys()
    assert all(row["auc"]["n"] == row["brier"]["n"] == 24 for row in rows.values())
    aucs = [row["auc"]["value"] for row in content["candidates"]]
    assert aucs == sorted(aucs, reverse=True)
    assert rows["knows"]["rank"] == 1
    assert rows["knows"]["auc"]["value"] == 1.0
    assert rows["guesses"]["auc"]["value"] < 0.8
    why = {row["name"]: row["reason"] for row in content["not_compared"]}
    assert why["absent"] == "made to be missing"
    assert "expected more, found less" in why["refuses"]
    assert "other folds than splits.json" in why["elsewhere"]
    n = len(rows)
    assert len(content["pairwise"]) == n * (n - 1) / 2
    json.dumps(content, allow_nan=False)


def test_the_answers_that_were_ranked_are_kept(made):
    """predictions.csv holds one row for each candidate and case, and gives the AUC of the table again."""
    with (made.folder.root / "comparison" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["name"] == "noisy"]
    assert len(rows) == len({row["case_id"] for row in rows}) == 24
    scores = np.array([float(row["p_PRCC"]) for row in rows])
    content = load_comparison(made.folder.root).content
    told = next(row for row in content["candidates"] if row["name"] == "noisy")
    assert auc(scores, np.array([row["truth"] == "PRCC" for row in rows])) == told["auc"]["value"]
    right = [row["call"] == row["truth"] for row in rows]
    assert np.mean(right) == told["accuracy"]["value"]


def test_leaky_run_stands_apart(made):
    content = load_comparison(made.folder.root).content
    assert [row["name"] for row in content["leaky"]] == ["leaky"]
    assert "LEAKY" in content["leaky"][0]["reason"]
    assert "leaky" not in {row["name"] for row in content["candidates"]}


def test_network_is_asked_by_the_fold_that_did_not_see_the_patient(made):
    """Its test answers are those of evaluate; its validation answers are of the fold's own validation part."""
    converged = [
        r for r in find_runs(made.snapshot, None, made.folder.root / "comparison/runs") if r.predictions
    ]
    if not converged:
        assert "did not converge" in {
            r["reason"] for r in load_comparison(made.folder.root).content["not_compared"]
        }
        pytest.fail("the tiny network must learn bright discs from dark ones")
    answers, split = converged[0].predictions, made.split()
    evaluated = {p.case_id: p for p in made.run(converged[0].name).evaluate().predictions}
    for fold in split.folds:
        assert answers.validation[fold.index].keys() == fold.validation
        assert {case for case, own in answers.fold.items() if own == fold.index} == fold.test
    for case, p in answers.p.items():
        assert p == pytest.approx(tuple(evaluated[case].probabilities.values()))
    assert STACK in {row["name"] for row in load_comparison(made.folder.root).content["candidates"]}


def test_second_call_costs_nothing_and_says_the_same(study, monkeypatch):
    before = study.compare(QUICK).content

    def no_fit(job):
        if job.key.startswith("refuses"):  # what was refused is asked again
            return rooms.FitResult(refused="fold: expected more, found less; add cases")
        raise AssertionError(job.key)

    monkeypatch.setattr(rooms, "run_fit", no_fit)
    assert study.compare(QUICK).content == before


def test_what_changed_since_is_told(study):
    study.compare(QUICK)
    assert load_comparison(study.folder.root).stale == ""
    cohort = study.cohort
    save_cohort(
        replace(cohort, cases=tuple(changed(case, age_years=60.0) for case in cohort.cases)),
        study.folder.root,
    )
    assert "cohort.csv changed since" in load_comparison(study.folder.root).stale
    assert load_comparison(study.folder.root / "runs") is None
    path = study.folder.root / "comparison" / "comparison.json"
    path.write_text(f'{{"format": {FORMAT}}}')
    with pytest.raises(StudyError, match="expected a value, found none: the field is missing; run `nephrosc"):
        load_comparison(study.folder.root)


def test_slices_cut_anew_from_another_roi_make_fits_and_figures_anew(study):
    before = study.compare(QUICK).content
    assert load_comparison(study.folder.root).stale == ""
    for case in study.cohort.cases:
        draw_anew(study, case.case_id)
    study.cut_slices()
    study.make_split()
    assert load_comparison(study.folder.root).stale.startswith("slices changed since")
    after = Study(study.folder.root).compare(QUICK).content
    was, now = (
        next(c["brier"]["value"] for c in one["candidates"] if c["name"] == "knows")
        for one in (before, after)
    )
    assert was != now
    left_out = next(run for run in after["not_compared"] if run["name"] == CONFIG.model)
    assert "out of date: the slices changed since it was trained" in left_out["reason"]


def test_a_comparison_of_an_older_format_is_out_of_date(study):
    """As readers and the report meet it: nothing of it is shown, and the remedy is named."""
    path = study.folder.root / "comparison" / "comparison.json"
    content = content_of(path)
    assert content["format"] == FORMAT
    path.write_text(json.dumps(content | {"format": FORMAT - 1, "version": "0.0.9"}))
    stale = load_comparison(study.folder.root).stale
    assert stale.startswith(f"it is of format {FORMAT - 1}, made by nephroscope 0.0.9, and this one writes")
    assert stale.endswith("run `nephroscope compare` again")
    section = section_of(study)
    assert section.data is None
    assert stale in section.blocks[0].text
    path.write_text(json.dumps(content | {"format": FORMAT + 1}))
    with pytest.raises(StudyError, match=f"found format {FORMAT + 1}; it was written by a newer"):
        load_comparison(study.folder.root)


def test_what_will_run_is_told_before_it_starts(study, caplog):
    caplog.set_level(logging.INFO)
    plan = ComparePlan(known=(KNOWS, NOISY), permutations=4)
    study.compare(plan)
    _, first, *rest = [r.message for r in caplog.records if r.name.endswith("compare.comparison")]
    assert first == "compare: 24 cases; fits to make, on one core (more by --jobs):"
    assert rest[0].startswith(
        "  knows: 8 of 12 fits, as 4 before "
    )  # 2 folds, 2 validation parts, 4 x 2 shuffled
    assert "to do less: --candidates" in rest[-1]
    caplog.clear()
    study.compare(plan)
    lines = [r.message for r in caplog.records if r.name.endswith("compare.comparison")]
    assert lines[1:] == ["compare: 24 cases; every fit of knows, noisy is kept"]


def test_a_damaged_kept_answer_is_made_again(study):
    before = study.compare(replace(QUICK, runs=None)).content
    kept = list((study.folder.root / "comparison").glob("runs/*.json"))
    assert kept
    for path in kept:
        path.write_text('{"form')
    assert study.compare(replace(QUICK, runs=None)).content == before


def test_folds_by_image_are_refused(study):
    study.make_split(SplitConfig(folds=2, protocol="image"))
    with pytest.raises(StudyError, match="expected folds by patient, found LEAKY folds by image"):
        study.compare(QUICK)


def test_held_out_cases_are_a_set_of_their_own(study):
    study.make_split(SplitConfig(folds=2, holdout=0.25))
    content = study.compare(ComparePlan(known=(KNOWS, REMARKS), permutations=0)).content
    told = {row["name"]: row["remarks"] for row in content["candidates"]}
    assert told["remarks"] == ["24 cases, all of them SYNTHETIC discs"]
    notes = tables_in(section_of(study).blocks)["comparison"].notes
    assert "remarks: 24 cases, all of them SYNTHETIC discs" in notes
    assert list(content["groups"]) == ["out-of-fold", "internal-test"]
    assert [g["n_cases"] for g in content["groups"].values()] == [18, 6]
    assert content["candidates"] == content["groups"]["out-of-fold"]["candidates"]
    path = study.folder.root / "comparison" / "comparison.json"
    assert load_comparison(study.folder.root).stale == ""
    kept = content_of(path)
    for held_out in HELD_OUT:
        kept["made_from"].pop(held_out)  # as when one network answered each held-out case
    path.write_text(json.dumps(kept))
    assert load_comparison(study.folder.root).stale.startswith("answers of held-out cases changed since")


def test_thresholds_come_from_the_validation_part(study):
    study.change("evaluation", criterion="youden")
    study.compare(ComparePlan(known=(NOISY,), permutations=0))
    kept = {path.name for path in (study.folder.root / "comparison/folds/noisy").glob("r0*")}
    assert {f"r0-f{i}-validation.json" for i in range(2)} <= kept


def test_the_stack_has_thresholds_where_its_members_have(study):
    study.change("evaluation", criterion="youden")
    snapshot = study.snapshot
    (network,) = [
        r.predictions
        for r in find_runs(snapshot, (CONFIG.model,), study.folder.root / "kept")
        if r.predictions
    ]
    flat = replace(network, name="flat", kind="baseline", p=dict.fromkeys(network.p, (0.5, 0.5)))
    stack = stack_with_networks(snapshot, present_division(snapshot, 0), [network, flat])
    assert stack.thresholds.keys() == {0, 1}
    assert set(stack.thresholds.values()) != {0.5}
    assert "networks after their epoch was chosen on that same part" in stack.description


@pytest.mark.parametrize(
    ("options", "expected"),
    [([], None), (["--jobs", "1"], Workers(jobs=1)), (["--ray", "auto"], Workers(ray="auto"))],
)
def test_who_trains_is_left_to_cores_and_memory_unless_it_is_said(study, monkeypatch, options, expected):
    asked = []

    def train(snapshot, config, workers):
        asked.append(workers)
        raise StudyError(where="here", expected="a", found="b", remedy="c")

    monkeypatch.setattr(comparison, "train_new_run", train)
    assert run(["compare", str(study.folder.root), "--train", "mobilenet_v2", *options]) == 2
    assert asked == [expected]


def test_a_network_answers_held_out_cases_as_evaluate_does(study):
    study.make_split(SplitConfig(folds=2, holdout=0.25))
    study.change("evaluation", criterion="youden")
    study.train(CONFIG, "held")
    content = study.compare(ComparePlan(known=(), permutations=0, runs=("held",))).content
    for group in study.run("held").evaluate().groups:
        (row,) = content["groups"][group.name]["candidates"]
        for name in ("auc", "sensitivity", "specificity", "accuracy"):
            assert row[name] == pytest.approx(asdict(group.case[name]))


def test_repeats_and_seeds_are_told_apart(study):
    plan = ComparePlan(known=(KNOWS, NOISY, GUESSES), repeats=3, seeds=3, permutations=0)
    rows = {row["name"]: row for row in study.compare(plan).content["repeated"]}
    assert rows["knows"]["sd_over_splits"] == rows["knows"]["sd_over_seeds"] == 0
    assert rows["noisy"]["sd_over_seeds"] > 0
    assert len(rows["noisy"]["auc_by_repeat"]) == rows["noisy"]["repeats"] == 3
    assert [rows["noisy"][f"sd_over_splits_{key}"] for key in ("n", "unit")] == [3, "division"]
    assert [rows["noisy"][f"sd_over_seeds_{key}"] for key in ("n", "unit")] == [3, "seed"]
    auc = rows["guesses"]["auc"]
    assert auc["value"] == pytest.approx(np.mean(rows["guesses"]["auc_by_repeat"]))
    assert auc["low"] < auc["value"] < auc["high"]
    assert auc["method"].startswith("mean over 3 divisions; patient bootstrap")
    study.make_split(SplitConfig(folds=1, holdout=0.4))
    with pytest.raises(ConfigError, match="--repeats: expected a split with two folds or more"):
        study.compare(plan)


def test_networks_are_trained_again_only_where_asked(study, monkeypatch, caplog):
    from nephroscope.learning.engine import networks

    made = []

    def copied(folder, snapshot, config):
        made.append((folder.name, config.seed))
        shutil.copytree(study.folder.root / "runs" / CONFIG.model, folder)
        named = content_of(folder / "run.json") | {"name": folder.name}
        (folder / "run.json").write_text(json.dumps(named))

    monkeypatch.setattr(networks, "train_in", copied)
    caplog.set_level(logging.INFO)
    plan = ComparePlan(known=(KNOWS,), repeats=2, seeds=2, permutations=4, control_networks=True)
    content = study.compare(plan, [CONFIG.model]).content
    assert "5 trainings, where they are not kept yet" in caplog.text
    kinds = [name.split("-")[0] for name, _ in made]
    assert kinds == ["r1", "r0", "shuffled", "shuffled", "shuffled"]
    assert [seed for _, seed in made] == [0, 1, 0, 0, 0]
    rows = {row["name"]: row for row in content["repeated"]}
    assert rows[CONFIG.model]["repeats"] == rows[CONFIG.model]["seeds"] == 2
    assert {row["name"]: row["permutations"] for row in content["control"]} == {"knows": 4, CONFIG.model: 3}
    made.clear()
    assert study.compare(plan, [CONFIG.model]).content == content
    assert made == []
    study.compare(QUICK)
    assert made == []


def test_a_run_with_the_name_of_a_baseline_is_refused(study):
    runs = study.folder.root / "runs"
    (runs / CONFIG.model).rename(runs / "knows")
    with pytest.raises(StudyError, match="run knows: expected a name that no baseline has"):
        study.compare(QUICK)


def test_numbers_and_names_are_checked(study):
    for wrong, text in (
        ({"repeats": 0}, "--repeats: expected a number from 1 to 1000, found 0"),
        ({"seeds": 0}, "--seeds: expected a number from 1"),
        ({"permutations": 1}, "--permutations: expected a number from 2"),
        ({"seed": -1}, "--seed: expected a number from 0"),
    ):
        with pytest.raises(ConfigError, match=text):
            ComparePlan(**wrong)
    with pytest.raises(ConfigError, match=r"baselines: expected one of .*, found 'magic'"):
        study.compare(ComparePlan(candidates=("magic",)))
    with pytest.raises(ConfigError, match=r"--train: expected networks: mobilenet_v2, .*found 'vgg'"):
        study.compare(QUICK, ["vgg"])
    with pytest.raises(StudyError, match="run nobody: expected a complete run"):
        study.compare(replace(QUICK, runs=("nobody",)))
    with pytest.raises(StudyError, match="expected a baseline for which the study has the data"):
        study.compare(ComparePlan(known=(MISSING,), runs=()))


def test_command_prints_one_object_and_a_table(study, capsys, monkeypatch):
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    words = [
        "compare",
        str(study.folder.root),
        "--candidates",
        "attenuation",
        "clinical",
        "--permutations",
        "2",
    ]
    assert run([*words, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert {"candidates", "pairwise", "words", "not_compared", "control", "shortcuts"} <= content.keys()
    for row in content["candidates"]:
        assert row["auc"].keys() == {"value", "low", "high", "n", "unit", "method"}
    assert run(words) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{content['answer']}\n")
    assert list(content)[:2] == ["format", "answer"]
    assert content["answer"] == content["words"][0] == content["primary"]["words"]
    assert text.count(content["answer"]) == 1
    assert all(row["name"] in text for row in content["candidates"])
    assert "McNemar" not in text
    assert run([*words, "--details"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{content['answer']}\n")
    assert "McNemar" in text
    pair = content["pairwise"][0]
    assert f"{pair['one']}, {pair['two']}  " in text
    assert "calibration, ideal at slope 1" in text
    assert all(row["words"] in text for row in content["control"])
    assert run(["compare", str(study.folder.root), "--jobs", "0"]) == 2


# figures and tests whose answer is known


def answers(name, p, kind="baseline"):
    rows = {f"c{i:03}": (float(x), 1 - float(x)) for i, x in enumerate(p)}
    return Predictions(name=name, kind=kind, description="", p=rows, fold=dict.fromkeys(rows, 0))


def cases_of(truth, patients=None):
    truth = np.asarray(truth, dtype=np.intp)
    cases = tuple(f"c{i:03}" for i in range(truth.size))
    return TestSet(
        name="out-of-fold",
        cases=cases,
        truth=truth,
        subtypes=("PRCC", "ChRCC"),
        positive=0,
        patient_ids=cases if patients is None else tuple(patients),
    )


def test_figures_by_hand():
    """Four cases: AUC 3/4, sensitivity 1/2, specificity 1, Brier (0.01 + 0.36 + 0.04 + 0.2025) / 4."""
    found = figures_of(answers("a", [0.9, 0.4, 0.2, 0.45]), cases_of([0, 0, 1, 1]), CONFIG_200)
    assert found["auc"].value == 0.75
    assert found["sensitivity"].value == 0.5
    assert found["specificity"].value == 1
    assert found["brier"].value == pytest.approx((0.01 + 0.36 + 0.04 + 0.2025) / 4)
    assert found["brier"].low < found["brier"].value < found["brier"].high


def test_brier_has_the_interval_of_calibrate():
    rng = np.random.default_rng(4)
    truth, p = (rng.random(74) > 0.3).astype(int), rng.random(74)
    tests = cases_of(truth, [f"p{i // 2}" for i in range(74)])
    for own in (p, (truth == 0).astype(float), np.full(74, 0.5)):
        found = brier(np.stack([own, 1 - own], axis=1), tests, CONFIG_200)
        other = calibrate(own, truth == 0, tests.patients, CONFIG_200)["brier"]
        for name in ("value", "low", "high"):
            assert getattr(found, name) == pytest.approx(getattr(other, name), abs=1e-12)
        assert found.n == other.n
    found = brier(np.stack([p, 1 - p], axis=1), tests, CONFIG_200)
    off = ((p - (truth == 0)) ** 2).reshape(37, 2).mean(axis=1)  # of each patient, who has two cases
    half = student.ppf(0.975, 36) * off.std(ddof=1) / 37**0.5 / (off.mean() * (1 - off.mean()))
    logit = np.log(off.mean() / (1 - off.mean()))
    by_hand = 1 / (1 + np.exp(-(logit + np.array([-half, half]))))
    assert (found.low, found.high) == pytest.approx(tuple(by_hand))


def test_brier_interval_covers_at_an_uneven_prevalence():
    """30 % positive, 74 patients, 250 cohorts: about 95 % of the intervals hold the truth; within class, 73 %."""
    rng, covered = np.random.default_rng(8), 0
    expected = 0.3 * 0.8**2 + 0.7 * 0.2**2  # everybody is given 0.2
    for _ in range(250):
        tests = cases_of((rng.random(74) > 0.3).astype(int))
        p = np.full(74, 0.2)
        found = brier(np.stack([p, 1 - p], axis=1), tests, CONFIG_200)
        covered += found.low <= expected <= found.high
    assert 0.89 <= covered / 250 <= 0.98


def test_mean_of_folds_by_hand():
    """Two folds that each part their cases, at other levels: pooled 3/4, mean of folds 1; a one-class fold is out."""
    tests = cases_of([0, 1, 0, 1, 0])
    said = answers("a", [0.9, 0.6, 0.4, 0.2, 0.1])
    said = replace(said, fold=dict(zip(tests.cases, [0, 0, 1, 1, 2], strict=True)))
    found = mean_of_folds(said, tests)
    assert (found.value, found.n) == (1.0, 4)
    assert found.method.startswith("mean of the AUCs within 2 of 3 folds")
    alone = mean_of_folds(answers("a", [0.9, 0.6, 0.4, 0.2, 0.1]), tests)
    assert alone.value is None
    assert "one fit answered all" in alone.method


def test_following_the_training_prior_is_below_chance_pooled_and_at_chance_within_folds():
    """Each fit says the share of its training part: 4 of 6 positive in one fold, 2 of 6 in the other."""
    truth = [0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1]
    tests = cases_of(truth)
    said = answers("prior", [2 / 6] * 6 + [4 / 6] * 6)
    said = replace(said, fold=dict(zip(tests.cases, [0] * 6 + [1] * 6, strict=True)))
    figures = figures_of(said, tests, CONFIG_200)
    assert figures["auc"].value < 0.4
    assert figures["auc_by_fold"].value == 0.5


def test_holm_by_hand():
    """Holm 1979: 0.01 x 4, then 0.02 x 3, then 0.03 x 2, and never less than the one before."""
    assert holm([0.03, 0.01, None, 0.02, 0.5]) == pytest.approx([0.06, 0.04, None, 0.06, 0.5])


def three(seed=1, n=120):
    rng = np.random.default_rng(seed)
    truth = np.repeat([0, 1], n // 2)
    signal = np.where(truth == 0, 0.3, -0.3)
    clip = lambda x: np.clip(0.5 + x, 0, 1)  # noqa: E731
    return cases_of(truth), [
        answers("good", clip(signal + rng.normal(0, 0.3, n))),
        answers("alike", clip(signal + rng.normal(0, 0.3, n)), "network"),
        answers("chance", clip(rng.normal(0, 0.3, n))),
    ]


def test_what_the_data_support_and_what_they_do_not():
    tests, ranked = three()
    pairs = {(pair.one, pair.two): pair for pair in compare_pairs(ranked, tests, CONFIG_200)}
    assert pairs["good", "chance"].supported
    assert pairs["good", "chance"].words.startswith(
        "The data show that good is better than chance (difference"
    )
    same = pairs["good", "alike"]
    assert not same.supported
    assert same.words.startswith("The data do not show that good is better than alike (difference of AUC")
    assert same.words.endswith("corrected for 3 pairs, 120 patients).")
    assert all(pair.p_holm >= pair.p for pair in pairs.values())
    lines = summary(ranked, list(pairs.values()), tests)
    told = " ".join([*lines, *(pair.words for pair in pairs.values())])
    assert "equal" not in told
    assert "this does not mean that there is none" in told


def test_two_with_the_same_auc_share_the_first_place():
    tests, (good, alike, _) = three()
    twin = replace(good, name="twin")
    lines = " ".join(
        summary([good, twin, alike], compare_pairs([good, twin, alike], tests, CONFIG_200), tests)
    )
    assert "good, twin share the highest AUC here; they are not shown to be better than alike" in lines
    lines = " ".join(summary([good, twin], compare_pairs([good, twin], tests, CONFIG_200), tests))
    assert "good, twin share the highest AUC here (120 patients)." in lines


def test_the_answer_comes_first_with_its_p_alone_and_corrected():
    tests, ranked = three()
    pairs = compare_pairs(ranked, tests, CONFIG_200)
    found, pair = primary(ranked, pairs), pairs[0]
    assert (found.network, found.baseline, found.p) == ("alike", "good", pair.p)
    assert found.difference.value == -pair.difference.value
    assert found.difference.low == -pair.difference.high < found.difference.high
    assert found.verdict == "not shown"
    first = summary(ranked, pairs, tests)[0]
    assert first.startswith(
        "The best network is not shown to beat the best baseline. Best network: alike; best baseline: good; d"
    )
    assert f"p = {pair.p:.2f}, {pair.p_holm:.2f} corrected for 3 pairs, 120 patients" in first
    assert "picked after seeing these results" in first
    baselines = [ranked[0], ranked[2]]
    alone = compare_pairs(baselines, tests, CONFIG_200)
    assert primary(baselines, alone) is None
    assert "not answered: no network was ranked" in summary(baselines, alone, tests)[0]
    network = [replace(ranked[0], kind="network")]
    assert summary(network, [], tests)[0].endswith("is not answered: no baseline was ranked.")


@pytest.mark.parametrize(
    ("kinds", "verdict", "told"),
    [
        (
            ("network", "baseline"),
            "network",
            "A network is shown to beat the best baseline. Best network: good;",
        ),
        (
            ("baseline", "network"),
            "baseline",
            "the best baseline is shown to beat it. Best network: chance;",
        ),
    ],
)
def test_the_answer_says_who_is_shown_to_be_better(kinds, verdict, told):
    tests, (good, _, chance) = three()
    ranked = [replace(a, kind=kind) for a, kind in zip((good, chance), kinds, strict=True)]
    pairs = compare_pairs(ranked, tests, CONFIG_200)
    found = primary(ranked, pairs)
    assert found.verdict == verdict
    assert (found.difference.low > 0) == (verdict == "network")
    assert told in summary(ranked, pairs, tests)[0]


def overconfident(factor=5.0, n=400, seed=3):
    """Two folds and their validation parts: log odds ``factor`` times what they should be."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1.5, n)
    truth = (rng.random(n) > 1 / (1 + np.exp(-x))).astype(int)  # 0 is positive
    fold, validated = np.arange(n) % 2, np.arange(n) % 4 > 1
    tests = cases_of(truth[~validated])
    rows = {f"c{i:03}": (p, 1 - p) for i, p in enumerate((1 / (1 + np.exp(-factor * x))).tolist())}
    names = list(rows)
    asked = [i for i in range(n) if not validated[i]]
    tests = replace(tests, cases=tuple(names[i] for i in asked), patient_ids=tuple(names[i] for i in asked))
    said = Predictions(
        name="too sure",
        kind="baseline",
        description="",
        p={names[i]: rows[names[i]] for i in asked},
        fold={names[i]: int(fold[i]) for i in asked},
        validation={
            k: {names[i]: rows[names[i]] for i in range(n) if validated[i] and fold[i] == k} for k in (0, 1)
        },
    )
    labels = dict(zip(names, truth.tolist(), strict=True))
    return said, tests, SimpleNamespace(labels=labels)


def test_a_temperature_chosen_inside_mends_the_slope_and_leaves_the_auc_of_a_fold():
    said, tests, division = overconfident()
    inside = temper(said, division)
    found = calibration_of(said, tests, inside, CONFIG_200)
    assert found.slope.value == pytest.approx(0.2, abs=0.06)  # 1 / 5
    assert found.slope.high < 0.5
    assert found.inside.slope.low < 1 < found.inside.slope.high
    assert found.inside.slope.value == pytest.approx(1, abs=0.25)
    assert found.inside.brier.value < figures_of(said, tests, CONFIG_200)["brier"].value - 0.02
    assert mean_of_folds(inside, tests).value == mean_of_folds(said, tests).value
    assert found.slope.n == 200
    own = calibrate(tests.probabilities(said)[:, 0], tests.truth == 0, tests.patients, CONFIG_200)["slope"]
    assert found.slope.value == own.value


def test_the_temperature_of_a_fold_sees_its_validation_part_alone():
    said, _, division = overconfident()
    other = SimpleNamespace(labels=division.labels | {case: 1 - division.labels[case] for case in said.p})
    assert temper(said, other).p == temper(said, division).p
    assert temper(replace(said, validation={}), division) is None
    assert (
        "no temperature was chosen" in calibration_of(said, overconfident()[1], None, CONFIG_200).inside_told
    )
    held = replace(said, fold=dict.fromkeys(said.fold, -1))
    assert temper(held, division).p != said.p


def test_a_temperature_stays_finite_on_few_and_on_none():
    p = np.array([[0.99, 0.01], [0.6, 0.4], [0.1, 0.9]])
    factor = fitted_factor(p, np.array([0, 0, 1]))
    assert 0.05 < factor < 20
    assert fitted_factor(p[:0], np.zeros(0, dtype=np.intp)) == 1
    assert np.allclose(scaled(p, 1.0), p)
    three = scaled(np.array([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]]), 2.0)
    assert np.allclose(three.sum(axis=1), 1)
    assert three[0] == pytest.approx(np.array([49, 4, 1]) / 54)


def test_under_chance_few_pairs_are_called_different():
    """100 times two candidates that know nothing: about 5 in 100 differ at 0.05."""
    found = 0
    rng = np.random.default_rng(0)
    tests = cases_of(np.repeat([0, 1], 30))
    for _ in range(100):
        pair = compare_pairs([answers(name, rng.random(60)) for name in "ab"], tests, CONFIG_200)[0]
        found += pair.supported
    assert found <= 12


def test_two_tumors_of_a_patient_are_not_two_patients():
    """Each patient twice: the interval is about that of the patients, not 0.7 of it; McNemar goes by patient."""
    tests, (good, _, chance) = three(n=60)
    twice = cases_of(np.tile(tests.truth, 2), np.tile(tests.patient_ids, 2))
    doubled = [answers(a.name, np.tile([p[0] for p in a.p.values()], 2)) for a in (good, chance)]
    once = compare_pairs([good, chance], tests, CONFIG_200)[0]
    both = compare_pairs(doubled, twice, CONFIG_200)[0]
    width = (both.difference.high - both.difference.low) / (once.difference.high - once.difference.low)
    assert 0.9 < width < 1.1
    assert both.difference.n == 60
    assert "by patient" in both.accuracy.test
    assert both.accuracy.p < 1e-4
    assert once.accuracy.p < 1e-4


def test_faultless_against_chance_is_tested_though_delong_has_no_variance():
    tests = cases_of(np.repeat([0, 1], 12))
    perfect, constant = answers("perfect", np.repeat([0.9, 0.1], 12)), answers("constant", np.full(24, 0.5))
    pair = compare_pairs([perfect, constant], tests, CONFIG_200)[0]
    assert pair.p < 0.05
    assert "exchanged within patients" in pair.test
    p = np.random.default_rng(4).random(24)
    alike = compare_pairs([answers("one", p), answers("two", p[::-1].copy())], tests, CONFIG_200)[0]
    assert alike.p > 0.05


def test_a_pair_named_beforehand_is_not_corrected():
    """Of three candidates the corrected p is up to three times its own: only the pair named before has that alone."""
    tests, (good, fair, chance) = three(n=60)
    pairs = compare_pairs([good, fair, chance], tests, CONFIG_200)
    pair = next(pair for pair in pairs if {pair.one, pair.two} == {"good", "chance"})
    one = primary([good, fair, chance], pairs, (good.name, chance.name))
    other = primary([good, fair, chance], pairs, (chance.name, good.name))
    assert (one.named, one.p, one.p_holm, one.verdict) == (True, pair.p, pair.p, "network")
    assert (other.verdict, other.difference.value) == ("baseline", -one.difference.value)
    with pytest.raises(ConfigError, match="two names"):
        ComparePlan(primary=("attenuation",))


def test_a_main_pair_or_margin_of_the_command_is_refused_by_the_name_of_the_option(study, capsys):
    for options in (["--primary", "attenuation"], ["--margin", "0.9"]):
        assert run(["compare", str(study.folder.root), *options, "--json"]) == 2
        assert json.loads(capsys.readouterr().out)["error"]["where"] == options[0]


def test_some_candidates_are_compared_without_the_main_pair_of_the_settings(study):
    """The pair is left out, with a note; one that is asked for is still refused."""
    some = ComparePlan(known=KNOWN, candidates=("attenuation",), permutations=0)
    study.change("comparison", primary=[CONFIG.model, "knows"])
    document = study.compare(some).found
    assert [(f.code, f.severity) for f in document.findings if "pair" in f.code] == [
        ("main-pair-left-out", "note")
    ]
    asked = document.first.primary
    assert (asked.named, asked.network, asked.baseline) == (False, CONFIG.model, "attenuation")
    assert load_comparison(study.folder.root).stale == ""
    without = study.compare(replace(QUICK, runs=())).found
    assert [f.code for f in without.findings if "pair" in f.code] == ["main-pair-left-out"]
    whole = study.compare(QUICK).found
    assert whole.first.primary.named
    assert "main-pair-left-out" not in [f.code for f in whole.findings]
    with pytest.raises(ConfigError, match="--primary: expected two of"):
        study.compare(replace(some, primary=("noisy", "knows")))


def test_a_misspelled_main_pair_is_refused_before_anything_is_trained_or_fitted(study, monkeypatch):
    def never(*_, **__):
        raise AssertionError("trained or fitted")

    monkeypatch.setattr("nephroscope.questions.compare.comparison.train_new_run", never)
    monkeypatch.setattr("nephroscope.learning.engine.engine.Engine.predict", never)
    for primary_pair in ((CONFIG.model, "knowz"), ("mobilenet_v3", "knows"), ("resnet18-x", "knows")):
        plan = ComparePlan(known=KNOWN, permutations=0, primary=primary_pair)
        with pytest.raises(ConfigError, match="--primary: expected two of"):
            study.compare(plan, ["resnet18"])
    study.change("comparison", primary=["knows", "guessez"])
    with pytest.raises(ConfigError, match=r"comparison.primary: .*'guessez'"):
        study.compare(ComparePlan(known=KNOWN, candidates=("attenuation",), permutations=0))
    with pytest.raises(ConfigError, match=r"comparison.primary: .*'guessez'"):
        study.compare(QUICK)


def test_the_main_pair_and_a_margin_are_taken_from_the_settings(study):
    study.change("comparison", primary=["noisy", "guesses"], margin=0.2)
    document = study.compare(QUICK).found
    asked = document.first.primary
    assert (asked.named, asked.network, asked.baseline) == (True, "noisy", "guesses")
    assert asked.p == asked.p_holm
    test = asked.against_margin
    assert test.margin == 0.2
    assert test.noninferior == (asked.difference.low > -0.2)
    methods = dict(filled_comparison(load_comparison(study.folder.root), "x").methods)["Comparison"]
    assert "noisy against guesses was named" in methods
    assert "0.2 was stated beforehand" in methods
    own = study.compare(replace(QUICK, primary=("knows", "guesses"), margin=0.0)).found.first.primary
    assert (own.network, own.against_margin) == ("knows", None)
    study.change("comparison", margin=0.1)
    assert "[comparison]" in load_comparison(study.folder.root).stale
    with pytest.raises(ConfigError, match=r"comparison.margin: expected a number from 0.0001 to 0.5"):
        study.change("comparison", margin=0.6)


def test_choices_on_few_validation_cases_are_doubted(study):
    """24 cases in two folds: two or so validation cases of each subtype."""
    study.change("evaluation", criterion="youden")
    found = study.compare(ComparePlan(known=(KNOWS, NOISY), permutations=0)).found
    assert [f.code for f in found.findings] == ["threshold-few", "temperature-few", "stack-few"]
    fold = study.snapshot.split.folds[0]
    labels = {case.case_id: case.subtype for case in study.snapshot.cohort.cases}
    fewest = min(
        sum(labels[name] == "PRCC" for name in fold.validation) for fold in study.snapshot.split.folds
    )
    assert all(f"as few as {fewest} PRCC" in f.message for f in found.findings)
    assert 0 < len(fold.validation) < 10
    evaluated = study.run(CONFIG.model).evaluate()
    assert [f.code for f in evaluated.findings] == ["threshold-few"]
    assert (
        content_of(study.run(CONFIG.model).folder / "evaluation.json")["findings"][0]["code"]
        == "threshold-few"
    )
    study.change("evaluation", criterion="fixed")
    assert study.run(CONFIG.model).evaluate().findings == ()
    many = SimpleNamespace(folds=[SimpleNamespace(validation=frozenset(map(str, range(20))))])
    even = {str(i): "PRCC" if i % 2 else "ChRCC" for i in range(20)}
    assert few_chosen_on(many, even, ("PRCC", "ChRCC")) == ""
    assert few_chosen_on(many, even | {"0": "PRCC"}, ("PRCC", "ChRCC")).endswith("as few as 11 PRCC, 9 ChRCC")


def test_networks_and_baselines_say_from_how_many_patients_they_learned(made):
    snapshot, found = made.snapshot, load_comparison(made.folder.root).found
    folds, owner = snapshot.split.folds, snapshot.cohort.by_id

    def patients(part):
        return len({owner[case].patient_id for case in part})

    sizes = [patients(f.train) for f in folds]
    both = [patients(f.train | f.validation) for f in folds]
    learned = {row.name: (row.kind, row.learned_from) for row in found.first.candidates}
    assert learned[CONFIG.model] == ("network", (min(sizes), max(sizes)))
    assert learned["knows"] == ("baseline", (min(both), max(both)))
    assert max(sizes) < min(both)
    asked = found.first.primary
    assert asked.same_patients is not None
    for name, n in ((CONFIG.model, max(sizes)), (asked.baseline, max(both))):
        assert f"{name} learned from {n} patients" in asked.words
    assert found.first.answer == asked.words
    filled = filled_comparison(load_comparison(made.folder.root), CONFIG.model)
    assert any(
        f"networks learned from {max(sizes)} patients, baselines" in text for text in filled.limitations
    )


def test_the_same_patients_are_the_training_part_alone(made):
    """The baseline is fitted by hand on the training part; its answers to the test part are those compared."""
    snapshot = made.snapshot
    engine = Engine(snapshot=snapshot, folder=made.folder.root / "again", workers=Workers())
    division = present_division(snapshot, 0)
    (found,) = engine.predict([(KNOWS, division)], "folds", True)
    asked = load_comparison(made.folder.root).found.first.primary
    assert found.same_patients.keys() == found.p.keys()
    tests = TestSet.of("t", tuple(found.p), division.labels, snapshot.cohort)
    for fold in snapshot.split.folds:
        learn = sorted(fold.train)
        labels = np.array([division.labels[case] for case in learn])
        by_hand = KNOWS.fit(study_data(snapshot), learn, labels, division.seed).probabilities(
            sorted(fold.test)
        )
        for case, row in zip(sorted(fold.test), by_hand, strict=True):
            assert found.same_patients[case] == pytest.approx(row.tolist())
        assert not set(found.validation[fold.index]) & set(fold.test)
    assert asked.same_patients.auc.n == len(tests.cases)


def test_answers_of_folds_have_their_larger_variance():
    """The same answers by one fit and by five folds: wider intervals, larger p, and every text says so."""
    tests, (good, _, chance) = three(n=60)
    spread = {case: i % 5 for i, case in enumerate(tests.cases)}
    folds = [replace(one, fold=spread) for one in (good, chance)]
    once, pair = (compare_pairs(both, tests, CONFIG_200)[0] for both in ([good, chance], folds))
    assert pair.difference.high - pair.difference.low == pytest.approx(
        1.5 * (once.difference.high - once.difference.low)
    )
    assert pair.p > once.p
    assert pair.accuracy.p > once.accuracy.p
    assert "5 folds" in pair.test
    single, several = (figures_of(one, tests, CONFIG_200) for one in (chance, folds[1]))
    for name in ("auc", "accuracy", "sensitivity", "brier"):
        assert several[name].value == single[name].value
        assert several[name].low < single[name].low
        assert "5 folds" in several[name].method


def test_three_subtypes_go_by_the_mean_over_subtypes():
    rng = np.random.default_rng(2)
    truth = np.repeat([0, 1, 2], 20)
    tests = replace(cases_of(truth), subtypes=("A", "B", "C"))

    def soft(strength):
        p = np.exp(strength * np.eye(3)[truth] + rng.normal(size=(60, 3)))
        return p / p.sum(axis=1, keepdims=True)

    def named(name, p):
        rows = {case: tuple(row) for case, row in zip(tests.cases, p.tolist(), strict=True)}
        return Predictions(name=name, kind="baseline", description="", p=rows, fold=dict.fromkeys(rows, 0))

    pair = compare_pairs([named("strong", soft(3.0)), named("none", soft(0.0))], tests, CONFIG_200)[0]
    assert pair.supported
    assert pair.test == "ranks exchanged within patients at random"
    figures = figures_of(named("strong", soft(3.0)), tests, CONFIG_200)
    assert {"auc", "sensitivity_A", "auc_B", "brier"} <= figures.keys()


# the part of the report page


def section_of(study):
    return filled_comparison(load_comparison(study.folder.root), "a run")


def test_section_of_the_page(made, study):
    section = section_of(made)
    tables = tables_in(section.blocks)
    assert tables["comparison"].rows[0][:3] == ("knows", "1", "baseline")
    assert {"pairs", "not-compared"} <= tables.keys()
    drawn = figures_in(section.top)["comparison"]()
    assert "guesses" in [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    assert section.data["control"] == []
    assert "leaky" in {row[0] for row in tables["not-compared"].rows}
    study.compare(ComparePlan(known=(KNOWS, GUESSES), permutations=2, repeats=2))
    more = section_of(study)
    rows = control_table(load_comparison(study.folder.root).found.control, 24).rows
    assert {row[0] for row in rows} == {"knows", "guesses"}
    assert "repeats" in tables_in(more.blocks)
    study.change("evaluation", resamples=300)
    assert (
        "[evaluation] changed since it was made; run `nephroscope compare` again"
        in section_of(study).blocks[0].text
    )
    assert load_comparison(study.folder.root / "runs") is None


def test_a_class_of_one_patient_names_no_winner_of_three_subtypes():
    """The lone patient is redrawn as itself every time: a spread of others alone would make up a p of 1e-27."""
    truth = np.array([0] * 20 + [1] * 20 + [2])
    p = np.full((41, 3), 0.2)
    p[np.arange(41), truth] = 0.6
    wrong = p.copy()
    wrong[40] = (0.6, 0.3, 0.1)
    tests = replace(cases_of(truth), subtypes=("PRCC", "ChRCC", "ccRCC"))
    ranked = [
        replace(
            answers(name, truth), kind=kind, p=dict(zip(tests.cases, map(tuple, rows.tolist()), strict=True))
        )
        for name, kind, rows in (("net", "network", p), ("base", "baseline", wrong))
    ]
    (pair,) = compare_pairs(ranked, tests, CONFIG_200)
    assert (pair.p, pair.difference.low, pair.supported) == (None, None, False)
    assert pair.difference.method == "no interval: a class has one patient"
    assert primary(ranked, [pair]).verdict == "not shown"


def test_a_lower_network_that_beats_the_best_baseline_is_named_in_the_answer():
    """One that ranks the cases nearly as the baseline does is told apart from it by a smaller difference."""
    rng = np.random.default_rng(5)
    truth = np.repeat([0, 1], 40)
    base = np.where(truth == 0, 0.1, -0.1) + rng.normal(0, 0.17, 80)
    near = base + np.where(truth == 0, 0.035, -0.035)
    best = np.where(truth == 0, 0.13, -0.13) + rng.normal(0, 0.15, 80)
    ranked = [
        answers(name, np.clip(0.5 + x, 0, 1), kind)
        for name, x, kind in (
            ("best", best, "network"),
            ("near", near, "network"),
            ("base", base, "baseline"),
        )
    ]
    tests = cases_of(truth)
    ranked.sort(key=lambda a: -auc(np.array([p[0] for p in a.p.values()]), truth == 0))
    pairs = compare_pairs(ranked, tests, CONFIG_200)
    assert [a.name for a in ranked] == ["best", "near", "base"]
    found = primary(ranked, pairs)
    assert (found.network, found.verdict) == ("best", "not shown")
    assert "near, with a lower AUC, is shown to beat it." in found.words
