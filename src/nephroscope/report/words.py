"""The sentences of the page, written from the data: the result, the methods, the limitations."""

from collections import Counter
from collections.abc import Callable, Iterator

from nephroscope.evaluation.evaluate import LEAKY
from nephroscope.records import Case, Estimate, OperatingPoint
from nephroscope.report.content import ReportContent
from nephroscope.report.tables import group_name, percent

RESEARCH_USE = "Research use only. Not a medical device; not for decisions about a patient."


def key_result(content: ReportContent) -> str:
    """The first test set's AUC and accuracy by case, in one sentence each, with interval, n, unit and method."""
    report = content.main.report
    group = report.groups[0]
    subtypes = " and ".join(report.subtypes) if len(report.subtypes) == 2 else ", ".join(report.subtypes)
    if not report.converged:
        return f"{report.model} did not converge: it never beat chance on its own training set. No figure is given."
    auc, accuracy, coverage = (group.case[name] for name in ("auc", "accuracy", "coverage"))
    first = "could not be told apart, as " + auc.method.removeprefix("undefined: ")
    if auc.value is not None:
        kind = "an AUC of" if len(report.subtypes) == 2 else "a mean one-against-rest AUC of"
        first = f"were told apart with {kind} {_said(auc, '{:.2f}'.format, content)}"
    sentence = f"In the {group_name(group.name)} of {group.n_patients} patients, {subtypes} {first}."
    if accuracy.value is not None and coverage.value is not None:
        right = round(accuracy.value * accuracy.n)
        called = round(coverage.value * coverage.n)
        sentence += f" {right} of {accuracy.n} cases were called right: {_said(accuracy, percent, content)}."
        sentence += f" Allowed to answer “not sure”, it gave a call for {called} of {coverage.n}."
    return sentence


def methods(content: ReportContent) -> list[tuple[str, str]]:
    """(heading, text) of each method, filled from the configuration that was used."""
    return [
        ("Regions and slices", _slices_text(content)),
        ("Split", _split_text(content)),
        ("Network and training", _training_text(content)),
        ("From slices to a case", _call_text(content)),
        ("Figures and intervals", _interval_text(content)),
    ]


def limitations(content: ReportContent) -> list[str]:
    """What the data themselves say against the result, most serious first."""
    checks: tuple[Callable[[ReportContent], Iterator[str]], ...] = (
        _of_protocol,
        _of_size,
        _of_confounders,
        _of_sources,
        _of_scope,
    )
    return [text for check in checks for text in check(content)]


def _said(estimate: Estimate, form: Callable[[float], str], content: ReportContent) -> str:
    level = f"{100 * content.evaluation.confidence:g} %"
    interval = ""
    if estimate.low is not None and estimate.high is not None:
        interval = f"{level} interval {form(estimate.low)} to {form(estimate.high)}, "
    method = estimate.method.removesuffix(f", {level}").removeprefix(f"{LEAKY}; ")
    return f"{form(estimate.value or 0.0)} ({interval}{estimate.n} {estimate.unit}s; {method})"


def _slices_text(content: ReportContent) -> str:
    spec = content.spec
    seen = {
        "crop": f"a square box around the tumor with {spec.margin_mm:g} mm on each side",
        "mask": f"a square box around the tumor with {spec.margin_mm:g} mm on each side, outside it air",
        "full": "the whole slice",
    }[spec.roi_mode]
    return (
        f"Every axial slice in which the tumor covers at least {spec.min_area_mm2:g} mm² was cut to {seen}, "
        f"one scale per case, {spec.size_px} x {spec.size_px} pixels. Intensities are Hounsfield units behind "
        f"a window of level {spec.window_level_hu:g} and width {spec.window_width_hu:g} HU."
    )


def _split_text(content: ReportContent) -> str:
    split, config = content.split, content.split.config
    if split.leaky:
        return (
            f"LEAKY: slices were dealt at random into {len(split.folds)} fold(s) without regard to the patient, as "
            "in the paper, so slices of one patient train and test the network. The figures show that illusion; they "
            "say nothing about a new patient."
        )
    folds = (
        f"{len(split.folds)} folds, each patient tested once by a network that never saw them"
        if len(split.folds) > 1
        else "one training with a held-out test set"
    )
    return (
        f"By patient and stratified by subtype: {folds}. Within a fold, {percent(config.validation)} of the "
        f"remaining patients decided when to stop. Seed {config.seed}."
    )


def _training_text(content: ReportContent) -> str:
    train = content.main.train
    start = "ImageNet weights" if train.pretrained else "random weights"
    patience = (
        f"stopped after {train.patience} epochs without a better validation loss"
        if train.patience
        else "no stop"
    )
    augmentation = "with" if train.augmentation else "without"
    return (
        f"{train.model}, recipe {train.recipe}, from {start}: at most {train.epochs} epochs ({patience}), batches of "
        f"{train.batch_size}, learning rate {train.learning_rate:g}, {augmentation} augmentation of the training "
        f"slices, seed {train.seed}. The weights of the epoch with the lowest validation loss were kept."
    )


def _call_text(content: ReportContent) -> str:
    report, config = content.main.report, content.evaluation
    points = dict.fromkeys(_point_text(p) for p in report.operating_points)
    if len(report.subtypes) == 2:
        rule = (
            f"{report.positive} is called at or above the threshold {'; '.join(points)}. Nearer to it than "
            f"{config.not_sure_margin:.2f}, or with a doubt about the images, the answer is “not sure”"
        )
    else:
        rule = (
            "The likeliest subtype is called. When the next is nearer than "
            f"{config.not_sure_margin:.2f}, or with a doubt about the images, the answer is “not sure”"
        )
    return (
        f"A case has the mean probability of all its slices. {rule}; accuracy, sensitivity, specificity and "
        "precision count the call that would have been forced. Majority of three: what at least two of three slices "
        f"drawn at random say (seed {config.seed}), as in the paper."
    )


def _point_text(point: OperatingPoint) -> str:
    how = "before any data" if point.criterion == "fixed" else f"by {point.criterion} on {point.chosen_on}"
    return f"{point.threshold:.2f} (chosen {how})"


def _interval_text(content: ReportContent) -> str:
    config = content.evaluation
    return (
        f"{100 * config.confidence:g} % intervals. Where every case is another patient: Wilson for shares, DeLong on "
        "the logit scale for the AUC (Newcombe's method 5 when the classes do not overlap). By image, and where a "
        f"patient has two tumors: {config.resamples} bootstrap resamples of patients within their subtype, a "
        "patient's slices staying together; Wilson on patients where every resample agrees. Intervals cover chance "
        "in who was tested, not in training."
    )


def _of_protocol(content: ReportContent) -> Iterator[str]:
    if content.split.leaky:
        yield "The split is LEAKY: the same patients train and test. No figure here holds for a new patient."
    if content.cohort.synthetic:
        yield "The cases are SYNTHETIC phantoms. The figures show that the software works, not that the method does."
    failed = sorted(fold for fold, good in content.main.converged.items() if not good)
    if failed:
        yield f"Training did not converge in fold(s) {', '.join(map(str, failed))}."


def _of_size(content: ReportContent) -> Iterator[str]:
    patients = {
        s: len({c.patient_id for c in content.cohort.cases if c.subtype == s})
        for s in content.cohort.subtypes
    }
    said = ", ".join(f"{n} of {s}" for s, n in patients.items())
    if min(patients.values()) < 50:
        yield f"Few patients ({said}): the intervals are wide, and differences inside them mean nothing."
    if min(patients.values()) < 20:
        yield (
            "With fewer than 20 patients of a subtype, a patient bootstrap is itself too narrow: a 95 % "
            "interval of a figure by image holds the truth less often than that."
        )
    if len(content.split.folds) > 1:
        yield (
            f"Probabilities of {len(content.split.folds)} networks are pooled; each was tested on its own fold, and "
            "the networks are not alike."
        )


def _of_confounders(content: ReportContent) -> Iterator[str]:
    """Traits by which subtypes differ, so that a network might learn them in place of the tumor."""
    traits: tuple[tuple[str, Callable[[Case], str | None]], ...] = (
        ("sex", lambda c: {"M": "men", "F": "women"}.get(c.sex or "")),
        ("contrast phase", lambda c: c.phase),
        ("site", lambda c: c.site_id),
    )
    for name, read in traits:
        shares = {}
        for subtype in content.cohort.subtypes:
            values = [v for c in content.cohort.cases if c.subtype == subtype and (v := read(c)) is not None]
            shares[subtype] = {v: n / len(values) for v, n in Counter(values).items()}
        for value in sorted({v for share in shares.values() for v in share}):
            found = {s: share.get(value, 0.0) for s, share in shares.items() if share}
            if len(found) > 1 and max(found.values()) - min(found.values()) > 0.2:
                said = ", ".join(f"{100 * x:.0f} % of {s}" for s, x in found.items())
                yield f"Subtypes differ in {name} ({value}: {said}); part of the result may be that difference."
                break


def _of_sources(content: ReportContent) -> Iterator[str]:
    cases = content.cohort.cases
    coarse = sum(c.source != "HU" for c in cases)
    if coarse:
        yield f"{coarse} of {len(cases)} cases come from 8-bit images, whose attenuation is cut off at the window."
    if len({c.site_id for c in cases}) == 1:
        yield "All cases come from one site."
    if not any(g.name.startswith("external-test") for g in content.main.report.groups):
        yield "There is no external test set."


def _of_scope(content: ReportContent) -> Iterator[str]:
    yield (
        f"Only {', '.join(content.cohort.subtypes)} were studied. Any other tumor would be given one of these names, "
        "or “not sure”."
    )
