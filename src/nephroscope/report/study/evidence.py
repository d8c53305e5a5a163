"""What the page of a run answers of the reporting checklists: short statements with a pointer, by name.

A name is missing where the data show nothing.
"""

from collections import Counter
from collections.abc import Sequence

from nephroscope.questions.saliency.checks import weights_verdict
from nephroscope.records import (
    DEVELOPMENT,
    INTERNAL_TEST,
    OUT_OF_FOLD,
    Answer,
    Evaluation,
    EvaluationGroup,
    counted_noun,
)
from nephroscope.report.cohort.characteristics import characteristics_by_part
from nephroscope.report.page.names import CONSENSUS, group_name, with_interval
from nephroscope.report.page.section import Evidence
from nephroscope.report.study.appraisal import Appraisal, RunSource
from nephroscope.report.study.case_cards import MOST
from nephroscope.report.study.content import ReportContent

NO_TEST = "the same patients are in training and test: no figure holds for a new patient"


def evidence_of(source: RunSource, n_limits: int) -> dict[str, Evidence]:
    """Statements by name; ``n_limits`` is the number of limitations on the page."""
    content = source.content
    found = {
        **_of_inclusion(content),
        **_of_cases(content),
        **_of_annotators(content),
        **_of_parts(content),
        **_of_input(content),
        **_of_training(content),
        **_of_output(content),
        **_of_results(content, source.appraisal),
        "limitations": Evidence(
            f"{n_limits} limitations written from the data",
            "#limits",
            "a discussion of bias and generalizability",
        ),
        "software": Evidence("versions as recorded with the run", "#methods")
        if content.environment
        else None,
    }
    for filled in source.above:
        found |= filled.evidence
    return {name: evidence for name, evidence in found.items() if evidence is not None}


def _of_inclusion(content: ReportContent) -> dict[str, Evidence | None]:
    """Where the cases come from, and who was left out."""
    cases, cohort = content.cohort.chosen, content.cohort
    patients = {c.patient_id for c in cases}
    sites = {c.site_id for c in cases}
    left_out = len({e.case_id for e in cohort.exclusions} - set(cohort.by_id))
    eligibility = Evidence(
        f"{counted_noun(left_out, 'tumor')} excluded, each with its reason",
        "#data; figures/flow.svg; tables/left-out.csv",
        "the criteria as they were planned",
    )
    return {
        "source": Evidence(
            f"{counted_noun(len(cases), 'tumor')} of {counted_noun(len(patients), 'patient')}, "
            f"{counted_noun(len(sites), 'site')}",
            "#data; tables/who.csv",
            "which institutions, when, consecutive or not",
        ),
        "eligibility": eligibility if left_out else None,
        "flow": Evidence(
            f"{len(cases) + left_out} tumors reviewed, {left_out} excluded, {len(cases)} included",
            "#data; figures/flow.svg",
            "" if left_out else "who was excluded before the tables of the study were made",
        ),
        "multicenter": Evidence(f"{len(sites)} sites", "#data; tables/who.csv") if len(sites) > 1 else None,
    }


def _of_cases(content: ReportContent) -> dict[str, Evidence | None]:
    """What is known of them."""
    cases, cohort = content.cohort.chosen, content.cohort
    unknown = content.unknown | {"phase": sum(c.phase == "unknown" for c in cases)}
    missing = ", ".join(f"{name} {n}" for name, n in unknown.items() if n) or "none"
    phases = ", ".join(f"{n} {phase}" for phase, n in Counter(c.phase for c in cases).most_common())
    acquisition = Evidence(
        f"phases: {phases}" + ("; manufacturers and slice spacing" if content.scans else ""),
        "#methods",
        "kV, kernel, contrast agent and timing",
    )
    parts = Evidence(
        "development and each test set, with standardized differences", "#split; tables/parts.csv"
    )
    return {
        "missing": Evidence(
            f"unknown values by case: {missing}; counted, left out of tests, and no input of the network",
            "#data; tables/who.csv",
        ),
        "acquisition": acquisition if content.scans or unknown["phase"] < len(cases) else None,
        "reference": Evidence(
            f"subtype of the label table ({', '.join(cohort.subtypes)})",
            "#methods",
            "how pathology was read, and by whom",
        ),
        "characteristics": Evidence("age, sex, size, phase, site by subtype", "#data; tables/who.csv"),
        "parts": None if characteristics_by_part(cohort, content.split) is None else parts,
    }


def _of_annotators(content: ReportContent) -> dict[str, Evidence]:
    cases = content.cohort.chosen
    drawn = sum(c.roi is not None for c in cases)
    two = sum(c.both_readers is not None for c in cases)
    found = {
        "annotation": Evidence(
            f"tumor region drawn in {drawn} of {len(cases)} cases, by two annotators in {two}",
            "#methods",
            "qualification of the annotators, tool, blinding",
        )
    }
    if drawn:
        used = "one region, as no case has a second"
        if two:
            used = CONSENSUS[content.roi_config.consensus]
        found["one region"] = Evidence(
            f"of each case: {used}", "#methods", "whether this is how a clinic would draw it"
        )
    dice = content.roi_agreement
    if dice is not None:
        found["agreement"] = Evidence(
            f"mean Dice of two annotators {dice.value:.3f}, {counted_noun(dice.n, dice.unit)}",
            "../agreement/index.html",
            "intra-annotator agreement",
        )
    return found


def _of_parts(content: ReportContent) -> dict[str, Evidence]:
    split = content.split
    level = "LEAKY: by image, patients are in several parts" if split.leaky else "by patient"
    report = content.main.report
    patients_in_both = "the same patients are in training and test: this is no test" if split.leaky else ""
    internal = [g for g in report.groups if not g.name.startswith("external-test")]
    external = [g for g in report.groups if g.name.startswith("external-test")]
    found = {
        "partitions": Evidence(
            f"{counted_noun(len(split.folds), 'fold')}, {counted_noun(len(split.holdout), 'case')} held out, "
            f"seed {split.config.seed}",
            "#split; tables/split.csv",
        ),
        "disjoint": Evidence(level, "#split", "justify a division below the patient" if split.leaky else ""),
    }
    if internal:
        found["internal"] = Evidence(_test_sets(internal), "#results", patients_in_both)
    if held_out := [g for g in internal if g.name == INTERNAL_TEST]:
        found["held out"] = Evidence(_test_sets(held_out), "#results", patients_in_both)
    if external:
        found["external"] = _external(content, external)
    return found


def _of_input(content: ReportContent) -> dict[str, Evidence]:
    train, spec = content.main.train, content.spec
    return {
        "technology": Evidence(f"deep learning on CT: {train.model}", "#methods", "title and abstract"),
        "preprocessing": Evidence(
            f"window level {spec.window_level_hu:g} width {spec.window_width_hu:g} HU, ROI {spec.roi_mode}, "
            f"{spec.size_px} pixels",
            "#methods",
        ),
        "subset": Evidence(
            f"slices with at least {spec.min_area_mm2:g} mm² of tumor; series by the order of phases",
            "#methods",
        ),
        "one image": Evidence("one CT series of each case", "#methods"),
        "input": Evidence("axial slices of the tumor in HU; no clinical data", "#methods"),
    }


def _of_training(content: ReportContent) -> dict[str, Evidence]:
    train, leaky, n_folds = content.main.train, content.split.leaky, len(content.split.folds)
    weights = "ImageNet weights" if train.pretrained else "random weights"
    balance = "loss weighted by subtype" if train.class_weights else "loss not weighted by subtype"
    if content.main.keeps_prior:
        balance += "; probabilities put back to the prevalence of the training cases"
    return {
        "model": Evidence(f"{train.model}, recipe {train.recipe}", "#methods"),
        "start": Evidence(f"{weights}, seed {train.seed}", "#methods"),
        "training": Evidence(
            f"at most {train.epochs} epochs, batches of {train.batch_size}, rate {train.learning_rate:g}, "
            f"augmentation {'on' if train.augmentation else 'off'}",
            "#methods; report.json",
        ),
        "selection": Evidence(
            "epoch with the lowest validation loss",
            "#methods; #learning",
            "validation patients also train" if leaky else "",
        ),
        "ensemble": Evidence(
            "mean over the slices of a case, each classified by the network of its fold"
            if leaky
            else "each case is classified by one network, as the mean over its slices: no ensemble"
            if n_folds < 2
            else "cross-validated cases are classified by one network each, held-out cases and those of a bundle by "
            f"{content.held_out_by}",
            "#methods",
        ),
        "balance": Evidence(balance, "#methods", "why it was weighted" if train.class_weights else ""),
    }


def _of_output(content: ReportContent) -> dict[str, Evidence]:
    points = content.main.report.operating_points
    rule = "the most probable is called"
    if len(content.main.report.subtypes) == 2:
        rule = "threshold " + ", ".join(sorted({f"{p.threshold:.2f} ({p.criterion})" for p in points}))
    return {
        "output": Evidence(f"probability of each subtype; {rule}", "#methods"),
        "threshold": Evidence(
            f"probability of each subtype; {rule}",
            "#methods",
            "why this threshold" if any(p.criterion == "fixed" for p in points) else "",
        ),
        "poor input": Evidence(
            "unreadable images and regions are refused with a reason; a case unlike the training cases is "
            "answered “not sure”",
            "#methods",
            "what the user does then",
        ),
    }


def _of_results(content: ReportContent, appraisal: Appraisal) -> dict[str, Evidence]:
    """Statements about the results; none for a run that did not converge."""
    report = content.main.report
    if not report.converged:
        return {}
    rest = NO_TEST if report.leaky else ""
    interval = f"{100 * content.evaluation.confidence:g} % intervals over patients"
    measured = "AUC, accuracy, sensitivity, specificity, precision, coverage, confusion matrix"
    measured += "; calibration" if appraisal.groups else ""
    measured += ", net benefit" if any(g.decision for g in appraisal.groups.values()) else ""
    where = "#results; tables/figures.csv"
    found = {
        "metrics": Evidence(measured, "#methods; #results"),
        "uncertainty": Evidence(f"{interval}, method named with each figure", "#methods"),
        "performance": Evidence(_test_sets(report.groups), where, rest),
        "accuracy": Evidence(_accuracy(report), where, rest),
        "events": Evidence(_events(content), "#split; tables/split.csv"),
        "failures": _failures(report.predictions),
    }
    if content.saliency is not None and content.saliency.maps:
        passed = weights_verdict(content.saliency.figures) == "depends"
        found["saliency"] = Evidence(
            f"Grad-CAM. {content.saliency.check}",
            "#cases",
            "" if passed else "the check does not show that the maps explain the model",
        )
    return found | _of_probabilities(appraisal)


def _external(content: ReportContent, groups: Sequence[EvaluationGroup]) -> Evidence:
    """External test sets; a set is external in name only when all its sites also gave cases to development."""
    known = {c.site_id for c in content.cohort.chosen if c.cohort == DEVELOPMENT}
    shared = [g.name for g in groups if content.sites_of(g.name) <= known]
    return Evidence(
        _test_sets(groups),
        "#results; tables/figures.csv",
        "in what way it is external: its sites also gave cases to development" if shared else "",
    )


def _test_sets(groups: Sequence[EvaluationGroup]) -> str:
    """Every test set with its patients and its AUC."""
    return "; ".join(
        f"{group_name(g.name)}, {counted_noun(g.n_patients, 'patient')}: AUC {with_interval(g.case['auc'])}"
        for g in groups
    )


def _of_probabilities(appraisal: Appraisal) -> dict[str, Evidence]:
    """Calibration, subgroups, net benefit and updating, each only where it has a figure."""
    groups = appraisal.groups.values()
    found = {}
    if any("slope" in by and by["slope"].value is not None for g in groups for by in g.calibration.values()):
        found["calibration"] = Evidence(
            "intercept, slope, observed to expected, Brier score"
            + (
                ", curve with band"
                if any(not c.curve.is_empty for g in groups for c in g.curves.values())
                else ""
            ),
            "#calibration; tables/calibration-*.csv",
        )
    subgroups = [s for g in groups for s in g.subgroups]
    known = [s for s in subgroups if "auc" in s.figures and s.figures["auc"].value is not None]
    where = "#subgroups; tables/subgroups-*.csv"
    if known:
        found["subgroups"] = Evidence(
            f"{len(known)} of {counted_noun(len(subgroups), 'subgroup')} have figures, each against all other "
            "cases",
            where,
        )
    sites = [s for s in known if s.attribute == "site"]
    if len(sites) > 1:
        found["sites"] = Evidence(f"{len(sites)} sites, each against all others", where)
    traits = [name for name in ("sex", "age") if any(s.attribute == name for s in known)]
    if traits:
        found["fairness"] = Evidence(
            f"subgroups by {' and '.join(traits)}", where, "other groups, and what was done"
        )
    if any(g.decision is not None for g in groups):
        found["utility"] = Evidence("decision curve", "#calibration; figures/decision-*.svg")
    if appraisal.rescalings and any(name != OUT_OF_FOLD for name in appraisal.groups):
        found["updating"] = Evidence(
            "temperature and Platt scaling, fitted on other patients; all other figures are without it",
            "#calibration; tables/rescaling.csv",
        )
    return found


def _failures(predictions: Sequence[Answer]) -> Evidence:
    known = [p for p in predictions if p.truth is not None]
    wrong = sum(p.call not in (None, p.truth) for p in known)
    unsure = sum(p.call is None for p in known)
    shown = "each" if wrong <= MOST["wrong"] and unsure <= MOST["unsure"] else "the worst"
    return Evidence(
        f"{counted_noun(wrong, 'mistake')} and {unsure} “not sure”, {shown} with slices",
        "#cases; tables/cases.csv",
        "what the mistakes have in common",
    )


def _events(content: ReportContent) -> str:
    report = content.main.report
    counts = []
    for group in report.groups:
        n = Counter(p.truth for p in report.predictions if p.group == group.name)
        counts.append(f"{group_name(group.name)}: " + ", ".join(f"{n[s]} {s}" for s in report.subtypes))
    return "; ".join(counts) + "; training and validation by fold"


def _accuracy(report: Evaluation) -> str:
    names = ("sensitivity", "specificity") if len(report.subtypes) == 2 else ("accuracy",)
    return "; ".join(
        f"{group_name(g.name)}: " + ", ".join(f"{n} {with_interval(g.case[n])}" for n in names)
        for g in report.groups
    )
