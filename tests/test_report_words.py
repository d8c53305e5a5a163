"""Methods and limitations are written from the records: change the record, and the sentence changes."""

from dataclasses import replace

import pytest

from nephroscope.learning.training.batches import ROTATION_DEG
from nephroscope.records import Estimate, Exclusion, Finding, Split, SplitConfig, TrainConfig
from nephroscope.report.study.appraisal import RunSource, appraise
from nephroscope.report.study.content import Environment, Scan
from nephroscope.report.study.evidence import evidence_of
from nephroscope.report.study.sections.limitations import limitations
from nephroscope.report.study.sections.methods import methods
from one_series import changed
from test_report import CONFIG, make_content

SAME_SITE = "All cases come from one site."


def with_cases(content, **changes):
    """Every case changed; a list gives each case its own value."""
    cases = content.cohort.cases
    new = tuple(
        changed(c, **{k: v[i] if isinstance(v, list) else v for k, v in changes.items()})
        for i, c in enumerate(cases)
    )
    return replace(content, cohort=replace(content.cohort, cases=new))


def with_training(content, **changes):
    run = replace(content.main, train=replace(content.main.train, **changes))
    return replace(content, runs=(run,))


def told(content, heading):
    return dict(methods(content, appraise(content)))[heading]


def test_training_is_told_from_its_configuration():
    content = make_content()
    text = told(content, "Training and augmentation")
    assert "AdamW with weight decay 0.0001, learning rate 0.001" in text
    assert f"rotation by up to {ROTATION_DEG:g}°" in text
    plain = with_training(
        content, augmentation=False, weight_decay=0.0, schedule="constant", warmup=0.0, class_weights=False
    )
    text = told(plain, "Training and augmentation")
    assert text.startswith(
        "Adam, learning rate 0.001, constant, batches of 24 slices; cross-entropy not weighted"
    )
    assert "No augmentation." in text
    assert "from ImageNet weights" in told(with_training(content, pretrained=True), "Network")
    assert "the head of Zuo et al. 2021" in told(with_training(content, recipe="zuo2021"), "Network")


def test_methods_and_checklists_say_at_which_prevalence_the_probabilities_are():
    content = make_content()
    assert content.main.train.class_weights
    older = told(content, "Training and augmentation")
    assert "as if all subtypes were equally frequent" in older
    kept = replace(content, runs=(replace(content.main, keeps_prior=True),))
    assert "put back to the share of each subtype among the training cases" in told(
        kept, "Training and augmentation"
    )
    balance = evidence_of(RunSource(content=kept, appraisal=appraise(kept)), 0)["balance"]
    assert "put back to the prevalence of the training cases" in balance.text


def test_the_choice_of_weights_counts_the_epochs_that_were():
    content = make_content()
    assert "At most 30 epochs (stopped after 10 epochs" in told(content, "Choice of the weights")
    assert "3 epochs were trained." in told(content, "Choice of the weights")
    assert "no early stop" in told(with_training(content, patience=0), "Choice of the weights")
    leaky = make_content(protocol="image")
    assert "the validation slices come from patients who are also in training" in told(
        leaky, "Choice of the weights"
    )
    assert "LEAKY" in told(leaky, "Split")


def test_population_imaging_and_regions():
    content = make_content()
    text = told(content, "Study population")
    assert text.startswith("12 tumors of 12 patients were included (6 PRCC, 6 ChRCC)")
    assert "1 tumor was excluded: subtype outside the study (1)" in text
    none = with_cases(content, phase=["nephrographic"] * 8 + ["excretory"] * 4)
    none = replace(
        none, scans={"case-0": Scan(manufacturer="GE", spacing_mm=5.0), "case-1": Scan(manufacturer="GE")}
    )
    text = told(none, "Imaging")
    assert "8 nephrographic, 4 excretory" in text
    assert "Vendors: 2 GE. Slice spacing (between positions of slices): median 5 mm, 5 to 5 mm, 1 CT." in text
    assert "Vendors" not in told(content, "Imaging")
    two = with_cases(content, roi="roi.nii", roi_reader2=["two.nii"] * 3 + [None] * 9)
    assert "3 have a second annotator's, and the first annotator's region was used" in told(
        two, "Regions of interest"
    )
    measured = replace(
        two, roi_agreement=Estimate(value=0.9, low=None, high=None, n=3, unit="case", method="none")
    )
    assert "Mean Dice of both annotators: 0.900, 3 cases" in told(measured, "Regions of interest")


def test_software_versions_are_those_of_the_run():
    content = make_content()
    assert told(content, "Software") == "nephroscope 0.1.0."
    run_with = Environment(nephroscope="0.0.9", torch="2.1", device="cpu", threads=2, precision="float32")
    text = told(replace(content, environment=run_with), "Software")
    assert (
        text
        == "nephroscope 0.0.9, PyTorch 2.1; trained on cpu, 2 threads, float32; evaluated with nephroscope 0.1.0."
    )


def test_only_what_was_computed_is_told():
    named = [
        name for name, _ in methods(make_content(converged=False), appraise(make_content(converged=False)))
    ]
    assert "Calibration" not in named
    one_fold = make_content()
    assert appraise(one_fold).why_not_rescaled.startswith(
        "out-of-fold cases of every subtype, from other patients"
    )
    assert "temperature" not in told(one_fold, "Calibration")
    content = two_folds(one_fold)
    assert "temperature scaling and Platt scaling" in told(content, "Calibration")
    assert "80.0 %, 90.0 %, 95.0 %" in told(content, "Operating points")


def two_folds(content):
    """The same predictions, dealt into two folds."""
    report = content.main.report
    halves = [replace(p, fold=i // 2 % 2) for i, p in enumerate(report.predictions)]
    report = replace(report, predictions=tuple(halves), operating_points=report.operating_points * 2)
    return replace(content, runs=(replace(content.main, report=report),))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"phase": "nephrographic"}, "All cases are of one contrast phase (nephrographic)"),
        ({"phase": ["unknown"] * 5 + ["excretory"] * 7}, "The contrast phase of 5 of 12 cases is not known."),
        ({"age_years": [None] * 3 + [50.0] * 9}, "Clinical data are missing (age of 3 of 12 cases)"),
        ({"source": "8-bit L40 W400"}, "12 of 12 cases come from 8-bit images"),
        ({"synthetic": [True] * 2 + [False] * 10}, "2 of 12 cases are SYNTHETIC phantoms."),
        ({"roi": "a.nii"}, "12 of 12 tumor regions were drawn by one annotator"),
        (
            {"roi": "a.nii", "roi_reader2": "b.nii"},
            "Two annotators drew every region, but their agreement was not",
        ),
        ({"site_id": ["a", "b"] * 6}, "Subtypes differ in site (a: 100 % of PRCC, 0 % of ChRCC)"),
    ],
)
def test_each_limitation_has_its_cause(changes, sentence):
    content = make_content()
    assert not any(text.startswith(sentence) for text in limitations(content))
    assert any(text.startswith(sentence) for text in limitations(with_cases(content, **changes)))


def test_a_limitation_goes_when_its_cause_goes():
    content = make_content()
    assert SAME_SITE in limitations(content)
    assert SAME_SITE not in limitations(with_cases(content, site_id=["a", "a", "b"] * 4))


def test_imbalance_scanners_and_resampled_regions():
    content = make_content()
    uneven = with_cases(content, subtype=["PRCC"] * 9 + ["ChRCC"] * 3)
    assert any("unbalanced (9 of PRCC, 3 of ChRCC, 3.0 to 1)" in text for text in limitations(uneven))
    one_maker = {c.case_id: Scan(manufacturer="GE", spacing_mm=5.0) for c in content.cohort.cases}
    text = " ".join(limitations(replace(content, scans=one_maker)))
    assert "All CTs come from scanners of one manufacturer (GE)." in text
    assert "12 of 12 CTs have a slice spacing of more than 3 mm." in text
    resampled = Finding(code="roi-resampled", severity="note", message="x", case_id="case-3")
    found = with_cases(replace(content, findings=(resampled,)), roi="a.nii", roi_reader2="b.nii")
    assert any(text.startswith("1 of 12 regions were drawn on another grid") for text in limitations(found))


def test_intervals_that_hold_chance_and_few_in_subgroups():
    content = make_content()
    text = " ".join(limitations(content, appraise(content)))
    assert "the interval of the AUC includes 0.5" in text or "the interval of the AUC is" in text
    assert "subgroups have fewer than 10 patients of a subtype" in text


def test_shuffled_labels_are_a_limitation():
    shuffled = Finding(code="labels-shuffled", severity="warning", message="x", case_id="")
    text = " ".join(limitations(make_content(findings=(shuffled,))))
    assert "The labels of this study were shuffled on purpose" in text


def test_exclusions_are_grouped_in_the_methods():
    content = make_content()
    many = tuple(Exclusion(case_id=f"x{i}", reason="no CT found") for i in range(3))
    text = told(replace(content, cohort=replace(content.cohort, exclusions=many)), "Study population")
    assert "3 tumors were excluded: no CT found (3)" in text


def test_defaults_used_here_are_the_products():
    """The sentences above name defaults; a changed default must be seen here."""
    assert (TrainConfig().epochs, TrainConfig().patience, CONFIG.confidence) == (30, 10, 0.95)
    assert Split.__dataclass_fields__["config"].default_factory() == SplitConfig()
