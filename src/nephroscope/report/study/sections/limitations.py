"""Section Limitations: what the data themselves say against the result, most serious first."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nephroscope.base.documents import read_document
from nephroscope.base.errors import StudyError
from nephroscope.base.text import first_few
from nephroscope.learning.run_files import load_run
from nephroscope.questions.compare.document import FILE, FOLDER
from nephroscope.questions.compare.document import FORMAT as COMPARISON
from nephroscope.questions.evaluation.operating_points import FEW_CASES
from nephroscope.records import DEVELOPMENT, OUT_OF_FOLD, ChosenCase, Cohort, Estimate, counted_noun, p_is
from nephroscope.report.page.names import group_name
from nephroscope.report.page.section import Bullets, Filled, Heading, Section
from nephroscope.report.study.appraisal import RAW, Appraisal, RunSource
from nephroscope.report.study.content import ReportContent

AT_THE_TOP = 3  # limitations shown there
FEW, VERY_FEW = 50, 20  # patients of a subtype
FEW_EVENTS = 10  # patients of a subtype in a subgroup
WIDE_AUC = 0.2  # width of an interval
DIFFER = 0.2  # of shares between subtypes
IMBALANCE = 2.0  # ratio of the subtypes' patients
UNKNOWN = 0.1  # share of cases without a clinical value
THICK_MM = 3.0


def _fill(source: RunSource) -> Filled:
    own = limitations(source.content, source.appraisal)
    found = (*own, *(text for filled in source.above for text in filled.limitations))
    serious = [*_of_protocol(source.content), *(text for one in source.above for text in one.most_serious)]
    first = list(dict.fromkeys([*serious, *found]))[:AT_THE_TOP]
    heading = f"The {len(first)} limitations that matter most, of {len(found)}"
    return Filled(
        blocks=[Bullets(found)], limitations=found, top=[Heading(heading, marked=False), Bullets(first)]
    )


LIMITATIONS = Section(id="limits", title="Limitations", navigation="Limitations", fill=_fill)


def limitations(content: ReportContent, appraisal: Appraisal | None = None) -> list[str]:
    """Sentences, each with its figure; only those that the data call for."""
    found = appraisal or Appraisal()
    return [
        *_of_protocol(content),
        *filter(None, [best_of_several(content)]),
        *_of_size(content),
        *_of_precision(content),
        *_of_choices(content, found),
        *_of_calibration(found),
        *_of_subgroups(found, 1 - content.evaluation.confidence),
        *_of_confounders(content),
        *_of_sources(content),
        *_of_regions(content),
        *_of_doubted_regions(content, found),
        *_of_scope(content),
    ]


def _of_protocol(content: ReportContent) -> Iterator[str]:
    if content.split.leaky:
        yield (
            "The split is LEAKY: the same patients are used in training and testing. "
            "No figure here holds for a new patient."
        )
    n = sum(c.synthetic for c in content.cohort.chosen)
    if n:
        which = (
            "The cases are"
            if n == len(content.cohort.chosen)
            else f"{n} of {len(content.cohort.chosen)} cases are"
        )
        yield f"{which} SYNTHETIC phantoms. The figures show that the software works, not that the method does."
    failed = sorted(fold for fold, good in content.main.converged.items() if not good)
    if failed:
        yield (
            f"Training did not converge in fold{'s' if len(failed) > 1 else ''} {', '.join(map(str, failed))} of "
            f"{len(content.main.converged)}: "
            "there the network never beat chance on its own training slices."
        )
    if any(f.code == "labels-shuffled" for f in content.findings):
        yield "The labels of this study were shuffled on purpose: no figure here is about the tumors."


def _of_size(content: ReportContent) -> Iterator[str]:
    patients = {
        s: len({c.patient_id for c in content.cohort.chosen if c.subtype == s})
        for s in content.cohort.subtypes
    }
    shares = ", ".join(f"{n} of {s}" for s, n in patients.items())
    fewest, most = min(patients.values()), max(patients.values())
    if fewest < FEW:
        yield (
            f"Few patients ({shares}): the intervals are wide, and differences smaller than the intervals mean "
            "little."
        )
    yield from _of_small_sets(content)
    if fewest and most >= IMBALANCE * fewest:
        yield (
            f"The subtypes are unbalanced ({shares}, {most / fewest:.1f} to 1): accuracy and precision "
            "hold only for this mix of subtypes."
        )
    if len(content.split.folds) > 1:
        yield (
            f"The probabilities pooled here come from {len(content.split.folds)} different networks, "
            "each tested on its own fold. Their intervals allow for that and are wider than those of one network "
            "on as many patients. How their mean, which a bundle holds, does on new patients is shown by a held-out "
            "or external set."
        )


def _of_small_sets(content: ReportContent) -> Iterator[str]:
    """Test sets in which a patient bootstrap cannot be trusted."""
    small = []
    for group in content.main.report.groups:
        members = [p for p in content.main.report.predictions if p.group == group.name]
        counts = {
            s: len({p.patient_id for p in members if p.truth == s}) for s in content.main.report.subtypes
        }
        if min(counts.values()) < VERY_FEW:
            shares = ", ".join(f"{n} {s}" for s, n in counts.items())
            small.append(f"{group_name(group.name)}: {shares}")
    if small:
        yield (
            f"With fewer than {VERY_FEW} patients of a subtype ({'; '.join(small)}), a patient bootstrap is itself "
            f"too narrow: a {100 * content.evaluation.confidence:g} % interval of ICI, E50 or E90, or band of the "
            "proportion of wrong answers, contains the true value less often than it should."
        )


def _of_precision(content: ReportContent) -> Iterator[str]:
    for group in content.main.report.groups:
        auc = group.case["auc"]
        if auc.value is None or auc.low is None or auc.high is None:
            continue
        if auc.low <= 0.5:
            yield (
                f"In the {group_name(group.name)} the interval of the AUC includes 0.5 ({auc.low:.2f} to "
                f"{auc.high:.2f}, n = {auc.n}): the data do not show that the network separates the subtypes."
            )
        elif auc.high - auc.low > WIDE_AUC:
            yield (
                f"In the {group_name(group.name)} the interval of the AUC is {auc.high - auc.low:.2f} wide "
                f"({auc.low:.2f} to {auc.high:.2f}, n = {auc.n})."
            )


def _of_choices(content: ReportContent, appraisal: Appraisal) -> Iterator[str]:
    """What was chosen on few cases: thresholds, and rescalings of the probabilities."""
    for finding in content.findings:
        if finding.code == "threshold-few":
            yield f"{finding.message[:1].upper()}{finding.message[1:]}."
    others = any(group.name != OUT_OF_FOLD for group in content.main.report.groups)
    if appraisal.rescalings and others and len(content.split.folds) > 1 and not content.split.leaky:
        yield (
            "Held-out cases were classified by the mean of the networks, whose probabilities lie nearer to the "
            "middle than those of one network. Thresholds for a sensitivity and rescalings were chosen on "
            "out-of-fold answers of single networks, so on held-out cases they do not reach what was asked for."
        )
    fewest = min((fit.fewest for fit in appraisal.rescalings), default=FEW_CASES)
    if fewest < FEW_CASES:
        yield (
            f"Temperature and Platt scaling were fitted on as few as {counted_noun(fewest, 'case')} of a subtype: "
            "the rescaled probabilities are uncertain beyond their intervals."
        )


def _of_calibration(appraisal: Appraisal) -> Iterator[str]:
    """Intercept and slope with intervals that exclude the ideal values, 0 and 1."""
    for group in appraisal.groups.values():
        for subtype, figures in _as_it_is(group.calibration).items():
            where = f"In the {group_name(group.name)} the probabilities"
            where += f" of {subtype}" if subtype != RAW else ""
            off = [
                f"{name} {e.value:.2f} ({e.low:.2f} to {e.high:.2f})"
                for name, ideal in (("intercept", 0.0), ("slope", 1.0))
                if (e := figures.get(name)) and _excludes(e, ideal)
            ]
            if off:
                yield f"{where} are not calibrated, so they must not be read as frequencies: {', '.join(off)}."


def _of_subgroups(appraisal: Appraisal, alpha: float) -> Iterator[str]:
    """Subgroups with few patients, and those whose gap has a corrected p below ``alpha``."""
    for group in appraisal.groups.values():
        few = [
            f"{s.attribute} {s.value} ({min(s.n_by_subtype.values(), default=0)})"
            for s in group.subgroups
            if min(s.n_by_subtype.values(), default=0) < FEW_EVENTS
        ]
        where = f"In the {group_name(group.name)}"
        if few and not group.has_subgroups:
            yield f"{where} no subgroup has enough patients of each subtype for a figure."
        elif few:
            rest = f" and {len(few) - 6} more" if len(few) > 6 else ""
            yield (
                f"{where} {len(few)} of {len(group.subgroups)} subgroups have fewer than {FEW_EVENTS} "
                f"patients of a subtype: {', '.join(few[:6])}{rest}. Their figures are very uncertain."
            )
        for s in group.subgroups:
            if s.p_holm is None or s.p_holm >= alpha:
                continue
            gap = s.gaps["auc"]
            yield (
                f"{where} {s.attribute} {s.value} differs from all other cases: AUC {gap.value:+.2f} "
                f"({p_is(s.p_holm)} by Holm)."
            )


def _of_confounders(content: ReportContent) -> Iterator[str]:
    """Traits by which subtypes differ, so that a network might learn them in place of the tumor."""
    scans = content.scans
    traits: tuple[tuple[str, Callable[[ChosenCase], str | None]], ...] = (
        ("sex", lambda c: {"M": "men", "F": "women"}.get(c.clinical.sex or "")),
        ("contrast phase", lambda c: c.phase),
        ("site", lambda c: c.site_id),
        ("vendor", lambda c: scans[c.case_id].manufacturer or None if c.case_id in scans else None),
    )
    for name, read in traits:
        shares = {}
        for subtype in content.cohort.subtypes:
            values = [v for c in content.cohort.chosen if c.subtype == subtype and (v := read(c)) is not None]
            shares[subtype] = {v: n / len(values) for v, n in Counter(values).items()}
        for value in sorted({v for share in shares.values() for v in share}):
            found = {s: share.get(value, 0.0) for s, share in shares.items() if share}
            if len(found) > 1 and max(found.values()) - min(found.values()) > DIFFER:
                texts = ", ".join(f"{100 * x:.0f} % of {s}" for s, x in found.items())
                yield (
                    f"Subtypes differ in {name} ({value}: {texts}); part of the result may be due to this "
                    "difference."
                )
                break


def _of_sources(content: ReportContent) -> Iterator[str]:
    cases = content.cohort.chosen
    coarse = sum(c.source != "HU" for c in cases)
    if coarse:
        yield f"{coarse} of {len(cases)} cases come from 8-bit images, in which attenuation is cut off at the window."
    if len({c.site_id for c in cases}) == 1:
        yield "All cases come from one site."
    phases = Counter(c.phase for c in cases)
    if len(phases) == 1 and not phases["unknown"]:
        yield f"All cases are of one contrast phase ({cases[0].phase}); nothing is known about other phases."
    elif phases["unknown"]:
        yield f"The contrast phase of {phases['unknown']} of {len(cases)} cases is not known."
    scans = [content.scans[c.case_id] for c in cases if c.case_id in content.scans]
    makers = {scan.manufacturer for scan in scans if scan.manufacturer}
    if len(makers) == 1 and len(scans) == len(cases):
        yield f"All CTs come from scanners of one manufacturer ({makers.pop()})."
    thick = sum(scan.spacing_mm is not None and scan.spacing_mm > THICK_MM for scan in scans)
    if thick:
        yield f"{thick} of {len(scans)} CTs have a slice spacing of more than {THICK_MM:g} mm."
    yield from _of_clinical_data(content)
    yield from _of_external_tests(content)


def _of_external_tests(content: ReportContent) -> Iterator[str]:
    """None at all, or one that shares every site with development."""
    groups = [g for g in content.main.report.groups if g.name.startswith("external-test")]
    if not groups:
        yield "There is no external test set."
    known = {c.site_id for c in content.cohort.chosen if c.cohort == DEVELOPMENT}
    for group in groups:
        if content.sites_of(group.name) <= known:
            yield (
                f"Every site of the {group_name(group.name)} also gave cases to development: it does not "
                "test the model at a new hospital."
            )


def _of_clinical_data(content: ReportContent) -> Iterator[str]:
    n_cases = len(content.cohort.chosen)
    many = [f"{name} of {n}" for name, n in content.unknown.items() if n > UNKNOWN * n_cases]
    if many:
        yield f"Clinical data are missing ({', '.join(many)} of {n_cases} cases): baselines and subgroups lack them."


def _of_regions(content: ReportContent) -> Iterator[str]:
    cases = [c for c in content.cohort.chosen if c.roi is not None]
    two = sum(c.both_readers is not None for c in cases)
    if cases and two < len(cases):
        n = len(cases) - two
        yield (
            f"{n} of {len(cases)} tumor regions were drawn by one annotator, so it is not known how much the result "
            "depends on who drew them."
        )
    elif cases and content.roi_agreement is None:
        yield "Two annotators drew every region, but their agreement was not measured (`nephroscope agreement`)."
    resampled = {f.case_id for f in content.findings if f.code == "roi-resampled"}
    if resampled:
        yield f"{len(resampled)} of {len(cases)} regions were drawn on another grid than their CT and resampled."


def _of_doubted_regions(content: ReportContent, appraisal: Appraisal) -> Iterator[str]:
    """Test cases whose ROI `check` doubts, and the AUC without them."""
    if content.roi_warnings is None:
        if any(c.roi is not None for c in content.cohort.chosen):
            yield "Doubts about the tumor regions are not known: `nephroscope check` was not run on these cases."
        return
    codes: dict[str, list[str]] = {}
    for finding in content.roi_warnings:
        codes.setdefault(finding.case_id or "", []).append(finding.code)
    for name, group in appraisal.groups.items():
        if group.undoubted is None:
            continue
        cases = [p.case_id for p in content.main.report.predictions if p.group == name]
        doubted = [case for case in cases if case in codes]
        kinds = Counter(code for case in doubted for code in set(codes[case]))
        listed = ", ".join(f"{code} {n}" for code, n in kinds.most_common())
        yield (
            f"`check` doubts the tumor region of {len(doubted)} of {counted_noun(len(cases), 'case')} of the "
            f"{group_name(name)} ({listed}): {first_few(doubted, 10)}. AUC without them: {group.undoubted}."
        )


def _of_scope(content: ReportContent) -> Iterator[str]:
    yield (
        f"Only {' and '.join(content.cohort.subtypes)} were studied. Any other tumor would be given one of these "
        "names, or “not sure”."
    )


def _as_it_is(calibration: Mapping[str, Mapping[str, Estimate]]) -> dict[str, Mapping[str, Estimate]]:
    """The figures that are not rescaled: one set with two subtypes, one of each subtype with more."""
    return {RAW: calibration[RAW]} if RAW in calibration else dict(calibration)


def _excludes(e: Estimate, ideal: float) -> bool:
    return e.value is not None and e.low is not None and e.high is not None and not e.low <= ideal <= e.high


def best_of_several(content: ReportContent) -> str:
    """That the run may have been chosen from several by its results on these cases; empty if there are no others."""
    if content.study is None:
        return ""
    cohort, leaky = content.cohort, content.split.leaky
    runs = {content.main.report.run, *_runs(content.study / "runs", cohort, leaky)}
    capacity = set(_runs(content.study / "capacity" / "runs", cohort, leaky))
    compared = _compared(content.study / FOLDER / FILE, cohort) - runs
    if len(runs) + len(capacity) + len(compared) < 2:
        return ""
    parts = [counted_noun(len(runs), "run")]
    if compared:
        parts.append(f"{counted_noun(len(compared), 'other candidate')} of `nephroscope compare`")
    if capacity:
        parts.append(f"{counted_noun(len(capacity), 'training')} of `nephroscope capacity`")
    n = len(runs) + len(capacity) + len(compared)
    among = "" if len(parts) == 1 else f" ({', '.join(parts)})"
    return (
        f"This run was, or may have been, chosen from {n} models that were tested on the same "
        f"cases{among}. The best of several models is partly best by luck, so its AUC is too optimistic "
        "by an unknown amount, which no interval here covers. Only cases that played no part in any "
        "choice can show by how much."
    )


def _runs(folder: Path, cohort: Cohort, leaky: bool) -> Iterator[str]:
    """Names of the complete runs on the same cases, under a split of the same kind."""
    for path in sorted(folder.glob("*/run.json")):
        try:
            made = load_run(path.parent)
        except StudyError:
            continue  # a damaged run cannot have been chosen
        if made.digests.cohort == cohort.label_digest and made.leaky == leaky:
            yield path.parent.name


def _compared(path: Path, cohort: Cohort) -> set[str]:
    """Names of the candidates of the last comparison, when it was of the same cases."""
    made = read_document(path, _Compared, COMPARISON) if path.is_file() else _Compared()
    same = made.made_from.get("cohort.csv") == cohort.digest
    return {row.name for row in made.candidates if same}


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    name: str


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """What is needed of comparison.json, of whatever format."""

    made_from: Mapping[str, str] = field(default_factory=dict)
    candidates: tuple[_Candidate, ...] = ()
