"""A page's content in; short statements with a pointer, by name, for the checklists, out: only what the data show."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nephroscope.records import Estimate, EvaluationGroup
from nephroscope.report.appraisal import Appraisal
from nephroscope.report.content import ReportContent
from nephroscope.report.tables import group_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A statement and where it is shown; ``rest`` names what it leaves to the authors, empty when nothing."""

    text: str
    where: str
    rest: str = ""


def evidence_of(
    content: ReportContent, appraisal: Appraisal, n_limits: int, extra: Mapping[str, Evidence] | None = None
) -> dict[str, Evidence]:
    """Statements by name; a name is missing where the data show nothing.

    Args:
        content: Of the page.
        appraisal: Of its probabilities.
        n_limits: How many limitations the page lists.
        extra: From sections that other commands fill, such as ``comparison`` and ``readers``.
    """
    return {
        **_of_data(content),
        **_of_readers(content),
        **_of_parts(content),
        **_of_model(content),
        **_of_results(content, appraisal),
        "limitations": Evidence(
            text=f"{n_limits} limitations written from the data",
            where="#limits",
            rest="bias and generalisation in words",
        ),
        **(extra or {}),
    }


def _of_data(content: ReportContent) -> dict[str, Evidence]:
    cases, cohort = content.cohort.cases, content.cohort
    patients = {c.patient_id for c in cases}
    sites = {c.site_id for c in cases}
    left_out = len({e.case_id for e in cohort.exclusions} - set(cohort.by_id))
    unknown = {
        "age": sum(c.age_years is None for c in cases),
        "sex": sum(c.sex is None for c in cases),
        "size": sum(c.size_cm is None for c in cases),
        "phase": sum(c.phase == "unknown" for c in cases),
    }
    told = ", ".join(f"{name} {n}" for name, n in unknown.items() if n) or "none"
    phases = ", ".join(f"{n} {phase}" for phase, n in Counter(c.phase for c in cases).most_common())
    found = {
        "source": Evidence(
            text=f"{len(cases)} tumors of {len(patients)} patients, {len(sites)} site(s)",
            where="#data; tables/who.csv",
            rest="which institutions, when, consecutive or not",
        ),
        "eligibility": Evidence(
            text=f"{left_out} tumors excluded, each with its reason"
            if left_out
            else "no tumor was excluded on import",
            where="#data; figures/flow.svg; tables/left-out.csv",
            rest="the criteria as they were planned",
        ),
        "missing": Evidence(
            text=f"unknown values by case: {told}; they are counted, left out of tests, and no input of the network",
            where="tables/who.csv",
        ),
        "acquisition": Evidence(
            text=f"phases: {phases}; makers and slice spacing where series.csv has them",
            where="#methods",
            rest="kV, kernel, contrast agent and timing",
        ),
        "reference": Evidence(
            text=f"subtype of the label table ({', '.join(cohort.subtypes)})",
            where="#methods",
            rest="how pathology was read, and by whom",
        ),
        "flow": Evidence(
            text=f"{len(cases) + left_out} tumors reviewed, {left_out} excluded, {len(cases)} included",
            where="#data; figures/flow.svg",
        ),
        "characteristics": Evidence(
            text="age, sex, size, phase, site by subtype, and by part where there are several",
            where="tables/who.csv",
        ),
        "multicenter": Evidence(text=f"{len(sites)} sites", where="tables/who.csv")
        if len(sites) > 1
        else None,
    }
    return {name: evidence for name, evidence in found.items() if evidence is not None}


def _of_readers(content: ReportContent) -> dict[str, Evidence]:
    cases = content.cohort.cases
    drawn = sum(c.roi is not None for c in cases)
    two = sum(c.roi_reader2 is not None for c in cases)
    found = {
        "annotation": Evidence(
            text=f"tumor region drawn in {drawn} of {len(cases)} cases, by two readers in {two}",
            where="#methods",
            rest="qualification of the readers, tool, blinding",
        )
    }
    dice = content.roi_agreement.get("pooled", {}).get("dice")
    if dice and dice.get("value") is not None:
        found["agreement"] = Evidence(
            text=f"mean Dice of two readers {dice['value']:.3f}, {dice['n']} {dice['unit']}s",
            where="../agreement/index.html",
            rest="agreement of one reader with themselves",
        )
    return found


def _of_parts(content: ReportContent) -> dict[str, Evidence]:
    split = content.split
    level = "LEAKY: by image, patients stand in several parts" if split.leaky else "by patient"
    report = content.main.report
    internal = [g for g in report.groups if not g.name.startswith("external-test")]
    external = [g for g in report.groups if g.name.startswith("external-test")]
    found = {
        "partitions": Evidence(
            text=f"{len(split.folds)} fold(s), {len(split.holdout)} cases held out, seed {split.config.seed}",
            where="#split; tables/split.csv",
        ),
        "disjoint": Evidence(
            text=level, where="#split", rest="justify a division below the patient" if split.leaky else ""
        ),
    }
    if internal:
        found["internal"] = Evidence(text=_sets(internal), where="#results")
    if external:
        found["external"] = Evidence(text=_sets(external), where="#results; tables/figures.csv")
    return found


def _of_model(content: ReportContent) -> dict[str, Evidence]:
    train, spec = content.main.train, content.spec
    weights = "ImageNet weights" if train.pretrained else "random weights"
    balance = "loss weighed by subtype" if train.class_weights else "loss not weighed by subtype"
    found = {
        "technology": Evidence(
            text=f"deep learning on CT: {train.model}", where="#methods", rest="title and abstract"
        ),
        "preprocessing": Evidence(
            text=f"window level {spec.window_level_hu:g} width {spec.window_width_hu:g} HU, ROI {spec.roi_mode}, "
            f"{spec.size_px} pixels",
            where="#methods",
        ),
        "subset": Evidence(
            text=f"slices with at least {spec.min_area_mm2:g} mm² of tumor; series by the order of phases",
            where="#methods",
        ),
        "model": Evidence(text=f"{train.model}, recipe {train.recipe}", where="#methods"),
        "start": Evidence(text=f"{weights}, seed {train.seed}", where="#methods"),
        "training": Evidence(
            text=f"at most {train.epochs} epochs, batches of {train.batch_size}, rate {train.learning_rate:g}, "
            f"augmentation {'on' if train.augmentation else 'off'}",
            where="#methods; report.json",
        ),
        "selection": Evidence(text="epoch with the lowest validation loss", where="#methods; #learning"),
        "ensemble": Evidence(
            text="none: each case is answered by one network, as the mean over its slices", where="#methods"
        ),
        "balance": Evidence(text=balance, where="#methods"),
        "one image": Evidence(text="one CT series of each case", where="#methods"),
        "input": Evidence(text="axial slices of the tumor in HU; no clinical value", where="#methods"),
        "output": Evidence(
            text="probability of each subtype; threshold "
            + ", ".join(
                sorted({f"{p.threshold:.2f} ({p.criterion})" for p in content.main.report.operating_points})
            ),
            where="#methods",
        ),
        "poor input": Evidence(
            text="unreadable images and regions are refused with a reason; outside the training range the answer is "
            "“not sure”",
            where="#methods; tables/findings.csv",
        ),
        "weights": Evidence(
            text="`nephroscope export` writes network, preprocessing, threshold and reference answers",
            where="model-card.md",
            rest="where it is to be had",
        ),
    }
    if content.environment:
        found["software"] = Evidence(text="versions as recorded with the run", where="#methods")
    return found


def _of_results(content: ReportContent, appraisal: Appraisal) -> dict[str, Evidence]:
    report = content.main.report
    if not report.converged:
        return {}
    config = content.evaluation
    wrong = sum(p.truth is not None and p.forced_call != p.truth for p in report.predictions)
    interval = f"{100 * config.confidence:g} % intervals over patients"
    found = {
        "metrics": Evidence(
            text="AUC, accuracy, sensitivity, specificity, precision, coverage; calibration, net benefit",
            where="#methods",
        ),
        "uncertainty": Evidence(text=f"{interval}, method named with each figure", where="#methods"),
        "performance": Evidence(text=_sets(report.groups), where="#results; tables/figures.csv"),
        "failures": Evidence(
            text=f"{wrong} cases called wrong, each with its slices",
            where="#cases; tables/cases.csv",
            rest="what the mistakes have in common",
        ),
    }
    if content.saliency is not None and content.saliency.maps:
        found["saliency"] = Evidence(text=f"Grad-CAM. {content.saliency.check}", where="#cases")
    if appraisal.groups:
        n = sum(len(g.subgroups) for g in appraisal.groups.values())
        shown = Evidence(
            text=f"{n} subgroups, each against all other cases", where="#subgroups; tables/subgroups-*.csv"
        )
        found |= {
            "calibration": Evidence(
                text="intercept, slope, observed to expected, Brier score, curve with band",
                where="#calibration; tables/calibration-*.csv",
            ),
            "coverage": Evidence(
                text="risk against coverage when “not sure” is allowed", where="#calibration"
            ),
            "subgroups": shown,
            "fairness": Evidence(
                text="subgroups by sex and age", where="#subgroups", rest="other groups, and what was done"
            ),
        }
        if any(g.decision is not None for g in appraisal.groups.values()):
            found["utility"] = Evidence(text="decision curve", where="#calibration; figures/decision-*.svg")
        if appraisal.rescalings:
            found["updating"] = Evidence(
                text="temperature and Platt scaling, fitted on other patients", where="#calibration"
            )
    return found


def _sets(groups: Sequence[EvaluationGroup]) -> str:
    return "; ".join(
        f"{group_name(g.name)}, {g.n_patients} patients: AUC {_short(g.case['auc'])}" for g in groups
    )


def _short(e: Estimate) -> str:
    if e.value is None:
        return "not available"
    return f"{e.value:.2f}" + (f" ({e.low:.2f} to {e.high:.2f})" if e.low is not None else "")
