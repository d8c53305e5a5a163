"""Image and clinical facts in one regression: what it learns, what it leaves alone, and whether a part adds."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from nephroscope.base.documents import as_plain, from_plain
from nephroscope.base.errors import ConfigError, StudyError
from nephroscope.clinic.score import Scorer
from nephroscope.federated.group import plan_of
from nephroscope.learning import score_run
from nephroscope.learning.baselines.fusion import fit_fusion
from nephroscope.learning.engine.divisions import Division
from nephroscope.learning.engine.predictions import Predictions
from nephroscope.learning.fuse_run import check_fusable, facts_model, facts_words, fold_models, fused
from nephroscope.learning.learners import fusion as learner
from nephroscope.learning.networks.networks import network_row
from nephroscope.learning.networks.table import encoder_of
from nephroscope.questions.compare import comparison
from nephroscope.questions.compare.fusion import fusion_tables
from nephroscope.questions.compare.measures import TestSet
from nephroscope.questions.compare.plan import ComparePlan
from nephroscope.questions.compare.results import FusionTable
from nephroscope.questions.evaluation.sets import set_figures
from nephroscope.records import (
    Answer,
    ClinicalFacts,
    EvaluationConfig,
    Fold,
    SlicePrediction,
    Split,
    SplitConfig,
    TrainConfig,
)
from nephroscope.records.settings import Settings
from nephroscope.report.study.sections.facts import added_table, decision_lines, subset_table
from nephroscope.statistics.added_value import added_value
from small_study import make_cohort, make_study
from test_sets import facts as run_facts

N = 60
CONFIG = EvaluationConfig(resamples=200)


def told(seed=0, age_years=12.0, unknown=0.0):
    """Labels (n,), an image's probabilities (n, 2) with an SD of signal, and facts whose age differs by subtype."""
    rng = np.random.default_rng(seed)
    labels = np.arange(N) % 2
    logit = rng.normal(size=N) + 1.0 - 2.0 * labels
    p = 1 / (1 + np.exp(-logit))
    ages = 60 + 10 * rng.normal(size=N) + age_years * labels
    facts = [
        ClinicalFacts()
        if rng.random() < unknown
        else ClinicalFacts(age_years=float(age), sex="M" if rng.random() < 0.5 else "F")
        for age in ages
    ]
    return labels, np.column_stack([p, 1 - p]), facts


def names(n=N):
    return [f"p{i}" for i in range(n)]


def test_useful_facts_get_weight_and_useless_ones_hardly_any():
    labels, p, facts = told(age_years=15)
    model = fit_fusion(p[None], facts, labels, names()).model
    age, sex = model.terms
    assert (age.name, sex.name) == ("age_years", "sex")
    assert age.weights[1] - age.weights[0] > 0.8
    assert abs(sex.weights[1] - sex.weights[0]) < 0.8
    assert age.unknown == (0.0, 0.0)
    assert 0.8 < model.image_weight < 2.2  # of logits that are half as sure as they may be


def test_training_and_clinic_compute_the_same():
    labels, p, facts = told(unknown=0.2)
    fusion = fit_fusion(p[None], facts, labels, names())
    together = fusion.probabilities(p[None], facts)
    alone = [fusion.model.probabilities(tuple(row), one) for row, one in zip(p, facts, strict=True)]
    assert np.allclose(together, alone)
    without = [i for i, one in enumerate(facts) if one == ClinicalFacts()]
    assert len(without) > 3
    assert np.array_equal(together[without], p[without])


def test_a_fact_that_no_case_has_is_left_out():
    labels, p, _ = told()
    assert fit_fusion(p[None], [ClinicalFacts(sex="F")] * N, labels, names()).model.terms == ()


def test_a_patient_with_two_tumors_counts_once():
    labels, p, facts = told()
    once = fit_fusion(p[None], facts, labels, names()).model
    twice = [*range(N), *range(10)]
    again = fit_fusion(p[None, twice], [facts[i] for i in twice], labels[twice], [f"p{i}" for i in twice])
    assert again.model.n_patients == once.n_patients == N
    assert again.model.offsets == pytest.approx(once.offsets, abs=0.01)


def test_the_likelihood_ratio_finds_what_is_there_and_little_else():
    rng, owner = np.random.default_rng(1), np.arange(40)
    y = owner % 2 == 1
    found = []
    for repeat in range(60):
        image = (rng.normal(size=40) + 1.2 * y)[:, None]
        found.append(added_value(image, rng.normal(size=(40, 3)), y, owner, seed=repeat).p)
    assert sum(p < 0.05 for p in found) <= 6
    facts = rng.normal(size=(40, 3))
    facts[:, 0] += 2.0 * y
    assert added_value(image, facts, y, owner).p < 0.01
    assert added_value(facts, -image, y, owner, out_of_fold=5).p == 1.0  # a score that falls with the outcome
    assert added_value(image, np.ones((40, 1)), y, owner).p is None
    assert added_value(image, facts, np.ones(40, bool), owner).p is None


@pytest.fixture(scope="module")
def asked():
    """A cohort with facts, its folds, a network's answers, and what `fusion_tables` makes of them."""
    _, p, facts = told(age_years=15, unknown=0.1)
    cohort = make_cohort(N)
    cases = tuple(replace(case, clinical=one) for case, one in zip(cohort.cases, facts, strict=True))
    cohort = replace(cohort, cases=cases)
    ids = [case.case_id for case in cases]
    test = [frozenset(c for i, c in enumerate(ids) if i // 2 % 4 == k) for k in range(4)]
    folds = tuple(
        Fold(index=k, train=frozenset(ids) - test[k], validation=frozenset(), test=test[k]) for k in range(4)
    )
    split = Split(protocol="patient", folds=folds, patient_of={c.case_id: c.patient_id for c in cases})
    division = Division(name="r0", split=split, cohort=cohort, seed=0)
    answers = Predictions(
        name="net",
        kind="network",
        description="",
        p={name: tuple(row) for name, row in zip(ids, p.tolist(), strict=True)},
        fold={name: i // 2 % 4 for i, name in enumerate(ids)},
    )
    tests = TestSet.of("out-of-fold", ids, division.labels, cohort)
    snapshot = SimpleNamespace(cohort=cohort, settings=SimpleNamespace(evaluation=CONFIG))
    return snapshot, division, answers, tests


def test_every_subset_has_a_row_and_every_step_a_test(asked):
    snapshot, division, answers, tests = asked
    (found,) = fusion_tables(snapshot, division, [answers], {"out-of-fold": tests})
    assert [row.parts for row in found.rows] == [("image",), ("facts",), ("image", "facts")]
    areas = [row.auc.value for row in found.rows]
    assert areas[2] > areas[0]
    assert found.n_without_facts > 0
    by = {(one.added, one.to): one for one in found.added}
    assert set(by) == {("facts", ("image",)), ("image", ("facts",))}
    assert by["facts", ("image",)].p < 0.05
    assert by["facts", ("image",)].df == 3  # age, sex, and a gap that both share
    assert by["facts", ("image",)].difference.value == pytest.approx(areas[2] - areas[0])
    assert found.rows[2].slope.value is not None
    assert len(found.rows[2].decision.net_benefit) == len(found.rows[2].decision.thresholds) == 19
    assert from_plain(as_plain(found), FusionTable, "x") == found
    assert len(subset_table(found).rows) == 3
    assert len(added_table(found).rows) == 2
    assert len(decision_lines(found, ("SYNTHETIC",)).axes[0].get_lines()) == 4


def test_radiomics_makes_seven_subsets(asked):
    snapshot, division, answers, tests = asked
    other = replace(answers, name="radiomics", kind="baseline")
    (found,) = fusion_tables(snapshot, division, [answers, other], {"out-of-fold": tests})
    assert len(found.rows) == 7
    assert len(found.added) == 9


def test_without_facts_there_is_no_table(asked):
    snapshot, division, answers, tests = asked
    bare = tuple(replace(case, clinical=ClinicalFacts()) for case in snapshot.cohort.cases)
    blind = SimpleNamespace(cohort=replace(snapshot.cohort, cases=bare), settings=snapshot.settings)
    assert fusion_tables(blind, division, [answers], {"out-of-fold": tests}) == ()


def test_fusion_is_compared_where_it_is_named_only():
    assert "fusion" not in [one.name for one in ComparePlan().baselines]
    assert [one.name for one in ComparePlan(candidates=("fusion",)).baselines] == ["fusion"]


class Told:
    """A learner that says what it was told, for the members of `fusion`."""

    def __init__(self, name, p):
        self.name, self.p = name, p

    def missing(self, data):
        return ""

    def fit(self, data, case_ids, labels, seed):
        return SimpleNamespace(probabilities=lambda ids: np.array([self.p[name] for name in ids]))


def test_the_learner_combines_its_members_and_the_facts(asked, monkeypatch):
    snapshot, division, answers, _ = asked
    monkeypatch.setattr(learner, "learners_named", lambda names: [Told(names[0], answers.p)])
    data = SimpleNamespace(cohort=snapshot.cohort)
    assert learner.LEARNER.missing(data) == ""
    assert learner.LEARNER.remarks(data) == ("members: frozen, clinical facts",)
    ids = [case.case_id for case in snapshot.cohort.cases]
    labels = np.array([division.labels[name] for name in ids])
    p = learner.LEARNER.fit(data, ids, labels, 0).probabilities(ids)
    assert np.allclose(p.sum(axis=1), 1)
    alone = np.array([answers.p[name] for name in ids])
    assert (p.argmax(axis=1) == labels).mean() > (alone.argmax(axis=1) == labels).mean()
    bare = tuple(replace(case, clinical=ClinicalFacts()) for case in snapshot.cohort.cases)
    blind = SimpleNamespace(cohort=replace(snapshot.cohort, cases=bare))
    assert learner.LEARNER.missing(blind) == learner.NO_FACTS


def answers_of(snapshot, p, fold):
    """Answers of one slice each, as the networks of the folds alone give them."""
    by_id = snapshot.cohort.by_id
    return [
        Answer(
            case_id=name,
            patient_id=by_id[name].patient_id,
            probabilities=dict(zip(("PRCC", "ChRCC"), row, strict=True)),
            slices=(SlicePrediction(slice_index=0, probabilities=tuple(row), area_mm2=100.0),),
            forced_call="PRCC",
            call=None,
            reason="",
            truth=by_id[name].subtype,
            group="out-of-fold",
            fold=fold[name],
        )
        for name, row in p.items()
    ]


def test_a_bundle_gets_facts_where_enough_are_known(asked):
    snapshot, _, answers, _ = asked
    said = answers_of(snapshot, answers.p, answers.fold)
    run = SimpleNamespace(snapshot=snapshot)
    report = SimpleNamespace(predictions=said, subtypes=("PRCC", "ChRCC"), leaky=False, run="net")
    model = facts_model(run, report)
    assert [term.name for term in model.terms] == ["age_years", "sex"]
    assert "% men" in facts_words(model)
    for fewer in ({"predictions": said[:18]}, {"leaky": True}):
        with pytest.raises(StudyError, match="--facts"):
            facts_model(run, SimpleNamespace(**{**vars(report), **fewer}))


def test_a_fold_is_answered_by_what_other_folds_learned(asked):
    snapshot, _, answers, _ = asked
    said = answers_of(snapshot, answers.p, answers.fold)
    by_id, subtypes = snapshot.cohort.by_id, ("PRCC", "ChRCC")
    first = {one.case_id: one.probabilities for one in fused(said, subtypes, by_id) if one.fold == 0}
    other = {"PRCC": "ChRCC", "ChRCC": "PRCC"}
    wrong = [replace(one, truth=other[one.truth]) if one.fold == 0 else one for one in said]
    again = {one.case_id: one.probabilities for one in fused(wrong, subtypes, by_id) if one.fold == 0}
    assert first == again
    assert len(first) == sum(
        answers.fold[c] == 0 and by_id[c].clinical != ClinicalFacts() for c in answers.fold
    )
    models = fold_models(said, subtypes, by_id, [0, 1, 2, 3, -1])
    assert models[-1].n_patients == N
    assert models[0].n_patients == N - sum(fold == 0 for fold in answers.fold.values())


def test_a_run_of_fusion_answers_with_facts(asked, monkeypatch):
    snapshot, _, answers, _ = asked
    said = answers_of(snapshot, answers.p, answers.fold)
    scorer = Scorer(
        network=None,
        subtypes=("PRCC", "ChRCC"),
        positive="PRCC",
        point=score_run.FIXED,
        not_sure_margin=0.0,
        domain=None,
        spec=None,
        model_digest="",
    )
    folds = [SimpleNamespace(index=k) for k in range(4)]
    study = SimpleNamespace(cohort=snapshot.cohort, split=SimpleNamespace(folds=folds))
    run = SimpleNamespace(folder=None, snapshot=study)
    monkeypatch.setattr(score_run, "_score_images", lambda run: (said, [], dict.fromkeys(range(4), scorer)))
    monkeypatch.setattr(score_run, "run_config", lambda folder: SimpleNamespace(model="fusion"))
    found, _ = score_run.score_run(run)
    expected = {one.case_id: one.probabilities for one in fused(said, scorer.subtypes, snapshot.cohort.by_id)}
    for one in found:
        assert one.probabilities == pytest.approx(expected.get(one.case_id, one.of_image))
        assert one.of_image == dict(zip(scorer.subtypes, answers.p[one.case_id], strict=True))
        assert ("no-clinical-facts" in {f.code for f in one.findings}) == (one.case_id not in expected)
        assert one.truth == snapshot.cohort.by_id[one.case_id].subtype
    figures = set_figures(run_facts(), found, CONFIG)
    assert figures.n_patients == {"PRCC": N / 2, "ChRCC": N / 2}
    assert sum(figures.n_with_facts.values()) == len(expected)
    assert figures.least_with_facts != figures.least
    monkeypatch.setattr(score_run, "run_config", lambda folder: SimpleNamespace(model="mobilenet_v2"))
    assert score_run.score_run(run)[0] == said


def test_fusion_is_refused_before_training_where_nothing_can_be_fused(asked):
    snapshot, division, _, _ = asked
    study = SimpleNamespace(cohort=snapshot.cohort, split=division.split)
    check_fusable(study)
    bare = tuple(replace(case, clinical=ClinicalFacts()) for case in snapshot.cohort.cases)
    one_fold = replace(division.split, folds=division.split.folds[:1])
    for change in ({"cohort": replace(snapshot.cohort, cases=bare)}, {"split": one_fold}):
        with pytest.raises(StudyError, match="--model fusion"):
            check_fusable(SimpleNamespace(**{**vars(study), **change}))


def test_fusion_is_built_on_a_network():
    assert encoder_of("fusion") == "mobilenet_v2"
    assert network_row("fusion").name == "mobilenet_v2"
    with pytest.raises(ConfigError, match="fusion"):
        network_row("efficientnet_b9")


def test_networks_with_facts_are_not_trained_where_only_the_network_would_be():
    learner = SimpleNamespace(config=SimpleNamespace(model="fusion"))
    with pytest.raises(ConfigError, match="mobilenet_v2"):
        comparison._refuse_fused_again({"fusion": learner})
    settings = Settings(subtypes=("PRCC", "ChRCC"), positive="PRCC", training=TrainConfig(model="fusion"))
    more = {"proximal": 0.0, "local_norm": True}
    with pytest.raises(ConfigError, match=r"training\.model: .*mobilenet_v2"):
        plan_of(settings, name="g", id="0" * 32, key="k", made="", rounds=2, quorum=1, days=0.0, **more)


@pytest.mark.parametrize("model", ["fusion", "phases", "unet-kidney"])
def test_a_training_that_is_refused_leaves_the_folds_as_they_were(model, tmp_path):
    study = make_study(tmp_path / "study")
    study.cut_slices()
    study.make_split(folds=5)
    kept = {name: (tmp_path / "study" / name).read_bytes() for name in ("splits.json", "study.toml")}
    train = study.train_segmenter if model.startswith("unet") else study.train
    with pytest.raises((StudyError, ConfigError)):
        train(model=model, split=SplitConfig(folds=2))
    assert {name: (tmp_path / "study" / name).read_bytes() for name in kept} == kept
    assert not any((tmp_path / "study" / where / model).exists() for where in ("runs", "segmenters"))
