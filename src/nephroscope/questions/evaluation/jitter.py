"""How a run answers when its ROIs are drawn a little otherwise: who gets another call, and by how much p moves.

Every case is read again from its CT, its ROI is made 2 mm larger, smaller and shifted, and the network that did not
see the patient answers again. jitter.json of the run keeps it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nephroscope.base.errors import NephroscopeError, StudyError
from nephroscope.base.progress import track
from nephroscope.clinic.call import forced_call
from nephroscope.clinic.cut import cut_slices
from nephroscope.clinic.score import Scorer
from nephroscope.learning.networks.table import fuses, phases_of
from nephroscope.learning.run_files import CompleteRun, load_run, run_config
from nephroscope.learning.score_run import ALL_FOLDS, exported_scorer, fold_scorer, fusions
from nephroscope.records import (
    Estimate,
    Evaluation,
    EvaluationConfig,
    Finding,
    RoiMask,
    counted_noun,
    warning,
)
from nephroscope.regions.jitter import BY_MM, NAMES, jittered
from nephroscope.statistics.estimates import estimate_all, rows_of_cases
from nephroscope.statistics.metrics import Proportion
from nephroscope.study.artifact import Artifact

FORMAT, FILE = 1, "jitter.json"


@dataclass(frozen=True, kw_only=True)
class JitteredCase:
    """A case answered with other ROIs: probability of the positive subtype, and the call, by what was done to it."""

    case_id: str
    group: str
    p: float
    call: str
    p_by: dict[str, float]
    call_by: dict[str, str]

    @property
    def flips(self) -> tuple[str, ...]:
        """What gave another call."""
        return tuple(name for name, call in self.call_by.items() if call != self.call)


@dataclass(frozen=True, kw_only=True)
class JitterGroup:
    """One test set.

    Attributes:
        flips: ``any``: share of cases whose call changes for at least one ROI, and the share for each way.
        moved: Of the probability over cases and ways: median and largest absolute change.
    """

    name: str
    flips: dict[str, Estimate]
    moved: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class JitterDocument:
    """jitter.json: all test sets and cases; ``findings`` are cases that could not be answered."""

    by_mm: float
    groups: tuple[JitterGroup, ...]
    cases: tuple[JitteredCase, ...]
    findings: tuple[Finding, ...]


def jitter_file(run: CompleteRun) -> Artifact[JitterDocument]:
    """jitter.json of a run, out of date when run, slices or ROIs changed."""
    made_from = {"run": load_run(run.folder).digest, "slices": run.snapshot.slices.digest}
    made_from["cohort.csv"] = run.snapshot.cohort.digest
    return Artifact(path=run.folder / FILE, kind=JitterDocument, number=FORMAT, made_from=made_from)


def jitter_run(run: CompleteRun, report: Evaluation) -> JitterDocument:
    """Answer every test case of a run again with other ROIs; writes jitter.json.

    Raises:
        StudyError: The network sees whole slices or several phases, or the split is by image.
    """
    spec = run.snapshot.slices.spec
    phases = phases_of(run_config(run.folder).model, spec.phases)
    if spec.roi_mode == "full" or phases or report.leaky:
        why = "whole slices, which no ROI changes" if spec.roi_mode == "full" else "several phases"
        raise StudyError(
            where=f"run {report.run}, --jitter",
            expected="a network that sees what lies around an ROI on one phase, on folds by patient",
            found="folds by image (LEAKY)" if report.leaky else f"a network of {why}",
            remedy="leave --jitter out",
        )
    folds = {fold.index: fold for fold in run.snapshot.split.folds}
    cases, findings = list[JitteredCase](), list[Finding]()
    by_fold: dict[int, list[str]] = {}
    for answer in report.predictions:
        if answer.truth is not None:
            by_fold.setdefault(answer.fold, []).append(answer.case_id)
    known = {p.case_id: p for p in report.predictions}
    fused = fuses(run_config(run.folder).model)
    models = fusions(run, report.predictions) if fused else {}
    for index, names in track(list(by_fold.items()), "ROIs drawn otherwise", "fold", len(by_fold)):
        scorer = fold_scorer(run, folds[index]) if index in folds else exported_scorer(run)
        scorer = replace(scorer, facts=models.get(index if index in folds else ALL_FOLDS))
        for name in names:
            try:
                found = _case(run, scorer, name)
            except (NephroscopeError, OSError) as error:
                told = str(error) if isinstance(error, NephroscopeError) else str(error.strerror)
                findings.append(warning("jitter-not-answered", told, case_id=name))
                continue
            cases.append(replace(found, group=known[name].group))
    document = JitterDocument(
        by_mm=BY_MM,
        groups=tuple(
            _group(group, cases, report, run.snapshot.settings.evaluation)
            for group in dict.fromkeys(one.group for one in cases)
        ),
        cases=tuple(cases),
        findings=tuple(findings),
    )
    jitter_file(run).save(document)
    return document


def _case(run: CompleteRun, scorer: Scorer, case_id: str) -> JitteredCase:
    case = next(one for one in run.snapshot.cases_to_read if one.case_id == case_id)
    volume, roi = run.snapshot.read_case(case)
    at = scorer.subtypes.index(scorer.positive)

    def answered(mask: RoiMask) -> tuple[float, str]:
        hu = np.stack([part.hu for part in cut_slices(volume, mask, scorer.spec)])
        p = tuple(scorer.network.probabilities(hu).mean(axis=0).tolist())
        p = scorer.facts.probabilities(p, case.clinical) if scorer.facts else p
        return p[at], forced_call(p, scorer.subtypes, scorer.positive, scorer.point)

    p, call = answered(roi)
    others = {}
    for name, mask in jittered(roi):
        others[name] = answered(mask)
    return JitteredCase(
        case_id=case_id,
        group="",
        p=p,
        call=call,
        p_by={name: one[0] for name, one in others.items()},
        call_by={name: one[1] for name, one in others.items()},
    )


def _group(
    name: str, cases: Sequence[JitteredCase], report: Evaluation, config: EvaluationConfig
) -> JitterGroup:
    own = {one.case_id: one for one in cases if one.group == name}
    answers = [p for p in report.predictions if p.case_id in own]
    ordered = [own[p.case_id] for p in answers]
    rows = rows_of_cases(answers, report.subtypes)
    asked = np.array([bool(one.call_by) for one in ordered])
    any_flip = np.array([bool(one.flips) for one in ordered])
    shares = {"any": Proportion(hits=any_flip, counted=asked, empty="no ROI could be changed")}
    for way in NAMES:
        hits = np.array([way in one.flips for one in ordered])
        counted = np.array([way in one.call_by for one in ordered])
        shares[way] = Proportion(hits=hits, counted=counted, empty="no ROI could be changed so")
    moved = [abs(p - one.p) for one in ordered for p in one.p_by.values()]
    return JitterGroup(
        name=name,
        flips=estimate_all(rows, shares, {}, config),
        moved={"median": float(np.median(moved)), "largest": max(moved)} if moved else {},
    )


def jitter_words(group: JitterGroup) -> str:
    """What a test set shows, in a sentence."""
    share = group.flips["any"]
    if share.value is None:
        return f"{group.name}: {share.method}."
    n = round(share.value * share.n)
    return (
        f"Drawn {BY_MM:g} mm otherwise, the ROI changes the call of {n} of {counted_noun(share.n, 'case')} for at "
        f"least one of {len(NAMES)} ways, a share of {share.interval('.2f')}; the probability moves by "
        f"{group.moved['median']:.2f} in the median and by {group.moved['largest']:.2f} at most."
    )


def load_jitter(run: CompleteRun) -> JitterDocument | None:
    """What jitter.json says of a run; None where there is none or something changed since."""
    return jitter_file(run).load()
