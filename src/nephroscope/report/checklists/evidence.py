"""A page's content in; short statements with a pointer, by name, for the checklists, out: only what the data show."""

from collections import Counter
from collections.abc import Mapping

from nephroscope.records import counted_noun
from nephroscope.report.appraisal import Appraisal
from nephroscope.report.characteristics import characteristics_by_part
from nephroscope.report.checklists.statements import Evidence, external_evidence, result_evidence, sets_of
from nephroscope.report.content import ReportContent
from nephroscope.report.methods import CONSENSUS


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
        **result_evidence(content, appraisal),
        "limitations": Evidence(
            text=f"{n_limits} limitations written from the data",
            where="#limits",
            rest="bias and generalisation in words",
        ),
        **(extra or {}),
    }


def _of_data(content: ReportContent) -> dict[str, Evidence]:
    found = {**_of_inclusion(content), **_of_cases(content)}
    return {name: evidence for name, evidence in found.items() if evidence is not None}


def _of_inclusion(content: ReportContent) -> dict[str, Evidence | None]:
    """Where the cases come from, and who was left out."""
    cases, cohort = content.cohort.cases, content.cohort
    patients = {c.patient_id for c in cases}
    sites = {c.site_id for c in cases}
    left_out = len({e.case_id for e in cohort.exclusions} - set(cohort.by_id))
    eligibility = Evidence(
        text=f"{counted_noun(left_out, 'tumor')} excluded, each with its reason",
        where="#data; figures/flow.svg; tables/left-out.csv",
        rest="the criteria as they were planned",
    )
    return {
        "source": Evidence(
            text=f"{counted_noun(len(cases), 'tumor')} of {counted_noun(len(patients), 'patient')}, "
            f"{counted_noun(len(sites), 'site')}",
            where="#data; tables/who.csv",
            rest="which institutions, when, consecutive or not",
        ),
        "eligibility": eligibility if left_out else None,
        "flow": Evidence(
            text=f"{len(cases) + left_out} tumors reviewed, {left_out} excluded, {len(cases)} included",
            where="#data; figures/flow.svg",
            rest="" if left_out else "who was left out before the tables were made",
        ),
        "multicenter": Evidence(text=f"{len(sites)} sites", where="#data; tables/who.csv")
        if len(sites) > 1
        else None,
    }


def _of_cases(content: ReportContent) -> dict[str, Evidence | None]:
    """What is known of them."""
    cases, cohort = content.cohort.cases, content.cohort
    unknown = {
        "age": sum(c.age_years is None for c in cases),
        "sex": sum(c.sex is None for c in cases),
        "size": sum(c.size_cm is None for c in cases),
        "phase": sum(c.phase == "unknown" for c in cases),
    }
    told = ", ".join(f"{name} {n}" for name, n in unknown.items() if n) or "none"
    phases = ", ".join(f"{n} {phase}" for phase, n in Counter(c.phase for c in cases).most_common())
    acquisition = Evidence(
        text=f"phases: {phases}" + ("; makers and slice spacing" if content.scans else ""),
        where="#methods",
        rest="kV, kernel, contrast agent and timing",
    )
    parts = Evidence(
        text="development beside each test set, with standardised differences",
        where="#split; tables/parts.csv",
    )
    return {
        "missing": Evidence(
            text=f"unknown values by case: {told}; they are counted, left out of tests, and no input of the network",
            where="#data; tables/who.csv",
        ),
        "acquisition": acquisition if content.scans or unknown["phase"] < len(cases) else None,
        "reference": Evidence(
            text=f"subtype of the label table ({', '.join(cohort.subtypes)})",
            where="#methods",
            rest="how pathology was read, and by whom",
        ),
        "characteristics": Evidence(
            text="age, sex, size, phase, site by subtype", where="#data; tables/who.csv"
        ),
        "parts": None if characteristics_by_part(cohort, content.split) is None else parts,
    }


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
    if drawn:
        used = "one region, as no case has a second"
        if two:
            used = CONSENSUS[content.roi_config.consensus]
        found["one region"] = Evidence(
            text=f"of each case: {used}",
            where="#methods",
            rest="whether this is how a clinic would draw it",
        )
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
    patients_in_both = "patients stand in training and test: this is no test" if split.leaky else ""
    internal = [g for g in report.groups if not g.name.startswith("external-test")]
    external = [g for g in report.groups if g.name.startswith("external-test")]
    found = {
        "partitions": Evidence(
            text=f"{counted_noun(len(split.folds), 'fold')}, {counted_noun(len(split.holdout), 'case')} held out, "
            f"seed {split.config.seed}",
            where="#split; tables/split.csv",
        ),
        "disjoint": Evidence(
            text=level, where="#split", rest="justify a division below the patient" if split.leaky else ""
        ),
    }
    if internal:
        found["internal"] = Evidence(text=sets_of(internal), where="#results", rest=patients_in_both)
    if external:
        found["external"] = external_evidence(content, external)
    return found


def _of_model(content: ReportContent) -> dict[str, Evidence]:
    found = {**_of_input(content), **_of_training(content), **_of_output(content)}
    if content.environment:
        found["software"] = Evidence(text="versions as recorded with the run", where="#methods")
    return found


def _of_input(content: ReportContent) -> dict[str, Evidence]:
    train, spec = content.main.train, content.spec
    return {
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
        "one image": Evidence(text="one CT series of each case", where="#methods"),
        "input": Evidence(text="axial slices of the tumor in HU; no clinical value", where="#methods"),
    }


def _of_training(content: ReportContent) -> dict[str, Evidence]:
    train, leaky = content.main.train, content.split.leaky
    weights = "ImageNet weights" if train.pretrained else "random weights"
    balance = "loss weighed by subtype" if train.class_weights else "loss not weighed by subtype"
    return {
        "model": Evidence(text=f"{train.model}, recipe {train.recipe}", where="#methods"),
        "start": Evidence(text=f"{weights}, seed {train.seed}", where="#methods"),
        "training": Evidence(
            text=f"at most {train.epochs} epochs, batches of {train.batch_size}, rate {train.learning_rate:g}, "
            f"augmentation {'on' if train.augmentation else 'off'}",
            where="#methods; report.json",
        ),
        "selection": Evidence(
            text="epoch with the lowest validation loss",
            where="#methods; #learning",
            rest="validation patients also train" if leaky else "",
        ),
        "ensemble": Evidence(
            text="mean over the slices of a case, each answered by the network of its fold"
            if leaky
            else "each case is answered by one network, as the mean over its slices: no ensemble",
            where="#methods",
        ),
        "balance": Evidence(
            text=balance, where="#methods", rest="why it was weighed" if train.class_weights else ""
        ),
    }


def _of_output(content: ReportContent) -> dict[str, Evidence]:
    points = content.main.report.operating_points
    rule = "the likeliest is called"
    if len(content.main.report.subtypes) == 2:
        rule = "threshold " + ", ".join(sorted({f"{p.threshold:.2f} ({p.criterion})" for p in points}))
    return {
        "output": Evidence(text=f"probability of each subtype; {rule}", where="#methods"),
        "threshold": Evidence(
            text=f"probability of each subtype; {rule}",
            where="#methods",
            rest="why this threshold" if any(p.criterion == "fixed" for p in points) else "",
        ),
        "poor input": Evidence(
            text="unreadable images and regions are refused with a reason; a case unlike the training cases is "
            "answered “not sure”",
            where="#methods",
            rest="what the user does then",
        ),
    }
