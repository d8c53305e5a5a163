"""The commands new, check, slices and split."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import tyro

from nephroscope.base.errors import CohortError
from nephroscope.base.tables import names
from nephroscope.base.text import first_few, shell_line
from nephroscope.cli.command import (
    Command,
    NamesOption,
    Outcome,
    StudyCommand,
    StudyPath,
    TextOption,
    findings_as_json,
    table,
    warnings_text,
)
from nephroscope.cli.meanings import counted_findings
from nephroscope.facade.study import Study
from nephroscope.records import Finding, SplitConfig, counted_noun
from nephroscope.records.cohort import WANTED
from nephroscope.records.settings import Settings
from nephroscope.regions.check import CheckedCase

MEASURED = ("case", "phase", "ROI by", "ml", "largest axial mm", "slices", "side", "")


@dataclass(frozen=True, kw_only=True)
class New(Command):
    """Make a study folder with a study.toml that lists every setting.

    Example: nephroscope new my-study --subtypes PRCC ChRCC --positive PRCC
    """

    study: StudyPath
    """New folder."""
    subtypes: tuple[str, ...] = ("PRCC", "ChRCC")
    """Two or more subtypes, in the order in which results list them."""
    positive: TextOption = None
    """Subtype that counts as positive; by default the first."""
    merge: NamesOption = ()
    """One of the subtypes, and then those that count as it: other PRCC ChRCC oncocytoma."""

    def run(self) -> Outcome:
        """Make it."""
        merged = {self.merge[0]: self.merge[1:]} if self.merge else None
        study = Study.create(self.study, self.subtypes, self.positive, merged)
        data = {
            "study": str(self.study),
            "subtypes": study.settings.subtypes,
            "positive": study.settings.positive,
        }
        kinds = f"nephroscope import dicom|nifti|images|kits|idc|phantom {shell_line(self.study)} ..."
        text = f"made {self.study}; next: {kinds}"
        return Outcome(data=data, text=text)


@dataclass(frozen=True, kw_only=True)
class Check(StudyCommand):
    """Read every case and its ROI, list what is doubtful or wrong, and draw each case on check/index.html.

    Example: nephroscope check my-study
    """

    def run(self) -> Outcome:
        """Check it."""
        study = Study(self.study)
        found = study.check()
        refused = [name for name, case in found.items() if _has_refusal(case.findings)]
        doubtful = [
            name for name, case in found.items() if any(f.severity == "warning" for f in case.findings)
        ]
        doubts, contradiction = _patients(study)
        data = {
            "cases": [
                {
                    "case_id": name,
                    **(asdict(case.used) if case.used else {}),
                    "phases": dict(case.phases),
                    "findings": findings_as_json(case.findings),
                    "measures": asdict(case.measures) if case.measures else None,
                }
                for name, case in found.items()
            ],
            "of_the_import": findings_as_json(f for f in study.import_findings if not f.case_id),
            "of_the_study": findings_as_json(doubts),
            "page": str(found.page) if found.page is not None else None,
        }
        lines = [table((_measured(name, case) for name, case in found.items()), MEASURED), ""]
        lines += _phases(found)
        lines += [
            f"{name}: {finding.severity} [{finding.code}]: {finding.message}"
            for name, case in found.items()
            for finding in case.findings
            if finding.severity != "note"
        ]
        lines += [f"{finding.severity} [{finding.code}]: {finding.message}" for finding in doubts]
        lines += ["", *counted_findings((name, f) for name, case in found.items() for f in case.findings)]
        read = counted_noun(len(found), "case")
        lines.append(f"{read} read, {len(doubtful)} with warnings, {len(refused)} refused")
        if found.page is not None:
            lines.append(f"pictures of every case, doubtful ones first: {found.page}")
        lines.append("--json prints every note; docs/reference/findings.md says what to do about each code")
        undrawn = {n for n, case in found.items() if any(f.code == "not-drawn" for f in case.findings)}
        if len(undrawn | set(refused)) == len(found):
            how = (
                "correct what is refused above" if refused else "draw the tumors in `nephroscope workstation`"
            )
            lines.append(f"no case can be cut: {how}, and check again")
        else:
            lines.append(f"next: {shell_line('nephroscope', 'slices', self.study)}")
        bad = bool(refused) or contradiction
        return Outcome(data=data, text="\n".join(lines), exit_code=3 if bad else 0)


def _phases(found: Mapping[str, CheckedCase]) -> list[str]:
    """Which phases each patient has and which are drawn, where one has several."""
    known = list(dict.fromkeys(phase for case in found.values() for phase in case.phases))
    if all(len(case.phases) < 2 for case in found.values()):
        return []
    rows = ((name, *(case.phases.get(phase, "-") for phase in known)) for name, case in found.items())
    return [table(rows, ("phases of", *known)), ""]


def _patients(study: Study) -> tuple[tuple[Finding, ...], bool]:
    """Findings about patients of the study, and whether one of them is a refusal."""
    try:
        return study.check_patients(), False
    except CohortError as error:
        return (Finding(code=error.code, severity="refusal", message=str(error), case_id=""),), True


def _measured(name: str, case: CheckedCase) -> tuple[str, ...]:
    """One case as a row of the table."""
    worst = max((f.severity for f in case.findings), key=("note", "warning", "refusal").index, default="note")
    verdict = {"note": "", "warning": "warning", "refusal": "REFUSED"}[worst]
    codes = {finding.code for finding in case.findings}
    verdict = "excluded by adjudication" if "excluded" in codes else verdict
    verdict = "not drawn yet" if "not-drawn" in codes else verdict
    used = (case.used.phase, case.used.roi) if case.used else ("", "")
    if case.measures is None:
        return (name, *used, "", "", "", "", verdict)
    m = case.measures
    numbers = (m.volume_ml, m.largest_axial_diameter_mm)
    ml, mm = ("" if value is None else f"{value:.1f}" for value in numbers)
    return (name, *used, ml, mm, str(m.n_slices), m.side, verdict)


def _has_refusal(findings: tuple[Finding, ...]) -> bool:
    return any(finding.severity == "refusal" for finding in findings)


@dataclass(frozen=True, kw_only=True)
class Slices(StudyCommand):
    """Cut out the slices that show the tumor, all at one size, in HU; if interrupted, run it again to continue.

    Example: nephroscope slices my-study
    """

    def run(self) -> Outcome:
        """Cut them."""
        store = Study(self.study).cut_slices()
        excluded = [finding for finding in store.refused if finding.code == "excluded"]
        undrawn = [finding.case_id for finding in store.refused if finding.code == "not-drawn"]
        refused = [finding for finding in store.refused if finding.code not in WANTED]
        data: dict[str, Any] = {
            "slices": len(store.hu),
            "cases": store.n_cases,
            "size_px": store.spec.size_px,
            "phases": store.n_by_phase,
            "rois": store.n_by_roi,
            "refused": findings_as_json(refused),
            "excluded": [finding.case_id for finding in excluded],
            "not_drawn": undrawn,
        }
        text = store.summary()
        if excluded:
            names = ", ".join(finding.case_id for finding in excluded)
            text += f"\n{counted_noun(len(excluded), 'case')} excluded by adjudication: {names}"
        if undrawn:
            text += f"\n{counted_noun(len(undrawn), 'case')} not drawn yet: {first_few(undrawn)}"
        warning = "\n".join(f"refused: {finding.message}" for finding in refused)
        return Outcome(data=data, text=text, warning=warning, exit_code=3 if warning else 0)


@dataclass(frozen=True, kw_only=True)
class Status(StudyCommand):
    """Show where a study stands: what is up to date, who is out and why, and the next command.

    Example: nephroscope status my-study
    """

    def run(self) -> Outcome:
        """Show it."""
        from nephroscope.facade.status import study_status

        found = study_status(self.study)
        lines = [table(((part.name, part.state, part.detail) for part in found.parts), ("part", "state", ""))]
        reasons: dict[str, list[str]] = {}
        for one in found.out:
            reasons.setdefault(one.reason, []).append(one.case_id)
        lines += [f"left out, {len(who)}: {reason} ({names(who)})" for reason, who in reasons.items()]
        if found.writing:
            lines.append(f"at work now: {found.writing}")
        lines.append(f"next: {found.next}" if found.next else "next: nothing is left to do")
        bad = any(part.state == "damaged" for part in found.parts)
        return Outcome(data=found, text="\n".join(lines), exit_code=3 if bad else 0)


@dataclass(frozen=True, kw_only=True)
class SplitPatients(StudyCommand):
    """Divide patients into folds and a hold-out, stratified by subtype; writes splits.json.

    Example: nephroscope split my-study --folds 5 --holdout 0.2
    """

    split: SplitConfig = field(default_factory=SplitConfig)

    @classmethod
    def with_settings(cls, settings: Settings | None) -> "SplitPatients":
        """The study's settings as defaults."""
        return cls(study=tyro.MISSING, split=settings.split if settings else SplitConfig())

    def run(self) -> Outcome:
        """Divide them."""
        split = Study(self.study).make_split(self.split)
        data = {
            "protocol": split.protocol,
            "leaky": split.leaky,
            "unit": "LEAKY: image" if split.leaky else "case",
            "folds": split.records(),
            "holdout": len(split.holdout),
            "findings": findings_as_json(split.findings),
        }
        rows = table((fold.values() for fold in split.records()), ("fold", "train", "validation", "test"))
        return Outcome(data=data, text=f"{rows}\n{split.summary()}", warning=warnings_text(split.findings))
