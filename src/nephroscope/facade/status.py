"""Where a study stands: who is in it and who is out, what is out of date, and the next command."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from nephroscope.base.documents import read_document
from nephroscope.base.errors import NephroscopeError
from nephroscope.base.html import Record, ShownAsTable
from nephroscope.base.lock import who_writes
from nephroscope.base.text import counted_noun, shell_line
from nephroscope.records import Exclusion
from nephroscope.study.artifact import changed_inputs, out_of_date
from nephroscope.study.findings import load_findings
from nephroscope.study.journal import LOG
from nephroscope.study.snapshot import Snapshot, take_snapshot

State = Literal["none", "up to date", "out of date", "interrupted", "damaged"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a study, such as ``slices`` or ``run NAME``; ``detail`` says what it holds or what changed."""

    name: str
    state: State
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class StudyStatus(ShownAsTable):
    """Where a study stands.

    Attributes:
        cases, patients: Number in cohort.csv.
        out: Who was left out by an import, could not be cut, or has no subtype; with the reason.
        writing: The command that writes into the study now; empty when none does.
        next: The command to run next; empty when nothing is left to do.
    """

    study: str
    cases: int
    patients: int
    parts: tuple[Part, ...]
    out: tuple[Exclusion, ...]
    writing: str
    next: str

    def records(self) -> list[Record]:
        """A row per part: name, state, detail."""
        return [asdict(part) for part in self.parts]

    def summary(self) -> str:
        """Number of cases and patients, and what comes next."""
        counts = f"{counted_noun(self.cases, 'case')} of {counted_noun(self.patients, 'patient')}"
        return f"{counts}; {len(self.out)} out; next: {self.next or 'nothing'}"


def study_status(root: Path) -> StudyStatus:
    """Look at every part of a study; nothing is written and no image is read.

    Raises:
        ConfigError: A setting of study.toml is not allowed.
        StudyError: There is no study.
    """
    try:
        snapshot = take_snapshot(root)
    except NephroscopeError as error:
        if error.where.startswith("study.toml") or not (root / "study.toml").is_file():
            raise
        state: State = "damaged" if (root / "cohort.csv").exists() else "none"
        parts: tuple[Part, ...] = (
            Part(name="cohort", state=state, detail="" if state == "none" else str(error)),
        )
        out: tuple[Exclusion, ...] = ()
        cases = patients = 0
    else:
        parts = tuple(_parts(snapshot))
        out = tuple(_out(snapshot, parts))
        cases = len(snapshot.cohort.cases)
        patients = len({case.patient_id for case in snapshot.cohort.cases})
    return StudyStatus(
        study=str(root),
        cases=cases,
        patients=patients,
        parts=parts,
        out=out,
        writing=who_writes(root),
        next=_next(root, parts, cases > 0),
    )


def _parts(snapshot: Snapshot) -> Iterator[Part]:
    root, slices_folder = snapshot.folder.root, snapshot.folder.slices
    yield Part(name="cohort", state="up to date", detail=snapshot.cohort.summary())
    if (drawn := _drawn(snapshot)) is not None:
        yield drawn
    yield _part("findings.json", lambda: counted_noun(len(load_findings(root)), "finding"))
    if (slices_folder / "spec.json").exists():
        slices = _part("slices", lambda: snapshot.slices.summary())
    elif (slices_folder / LOG).exists():
        slices = Part(name="slices", state="interrupted", detail="`nephroscope slices` goes on")
    else:
        slices = Part(name="slices", state="none")
    yield slices
    if slices.state != "up to date":  # what follows depends on them
        return
    if snapshot.folder.splits.exists():
        yield _part("split", lambda: snapshot.split.summary())
    else:
        yield Part(name="split", state="none")
    yield from _runs(snapshot)
    yield from _segmenters(snapshot)
    yield from _results(snapshot)


def _drawn(snapshot: Snapshot) -> Part | None:
    """How many ROIs people drew, and what became of those that models proposed; None where no model did."""
    states = Counter(roi.state for case in snapshot.cohort.cases for roi in case.rois)
    if not set(states) - {"drawn"}:
        return None
    waiting = "; a person accepts or corrects them" if states["proposed"] else ""
    words = [
        f"{states[state]} {state}"
        for state in ("drawn", "proposed", "accepted", "corrected")
        if states[state]
    ]
    return Part(name="rois", state="up to date", detail=", ".join(words) + waiting)


def _part(name: str, look: Callable[[], str]) -> Part:
    """A part that is there: ``look`` gives its detail, or refuses it."""
    try:
        return Part(name=name, state="up to date", detail=look())
    except NephroscopeError as error:
        old = error.found.startswith("out of date")
        return Part(name=name, state="out of date" if old else "damaged", detail=str(error))


def _runs(snapshot: Snapshot) -> Iterator[Part]:
    from nephroscope.learning.run_files import load_run, open_run

    for folder in snapshot.folder.runs():
        name = f"run {folder.name}"
        if not (folder / "run.json").exists():
            begun = _part(name, partial(_begun, folder, snapshot))
            yield replace(begun, state="interrupted") if begun.state == "up to date" else begun
            continue

        def look(folder: Path = folder) -> str:
            open_run(snapshot, folder.name)
            return f"{load_run(folder).model}, complete"

        yield _part(name, look)


def _segmenters(snapshot: Snapshot) -> Iterator[Part]:
    """Runs of networks that draw; what comes next does not depend on them."""
    from nephroscope.learning.drawn_run import open_drawing_run
    from nephroscope.learning.run_files import run_config

    for folder in snapshot.folder.segmenters.runs():
        name = f"segmenter {folder.name}"
        if not (folder / "run.json").exists():
            begun = _part(name, partial(_begun, folder, snapshot, "--task", "segment"))
            yield replace(begun, state="interrupted") if begun.state == "up to date" else begun
            continue

        def look(folder: Path = folder) -> str:
            run = open_drawing_run(snapshot, folder.name)
            return f"{run_config(folder).model}, draws {' and '.join(run.labels)}, complete"

        yield _part(name, look)


def _begun(folder: Path, snapshot: Snapshot, *task: str) -> str:
    """How an interrupted run goes on, refused where it cannot."""
    from nephroscope.learning.run_files import load_run_split, started_run

    then = started_run(folder).digests
    now = {"cohort.csv": snapshot.cohort.label_digest, "the slices": snapshot.slices.digest}
    kept = {"cohort.csv": then.get("cohort", ""), "the slices": then.get("slices", "")}
    if changed := " and ".join(changed_inputs(kept, now)):
        since, command = "it was started and interrupted", "nephroscope train"
        raise out_of_date(f"run {folder.name}", changed, since, command)
    load_run_split(folder, snapshot.cohort)
    return shell_line(*task, "--resume", "--name", folder.name)


def _results(snapshot: Snapshot) -> Iterator[Part]:
    from nephroscope.questions.compare.document import FILE, FOLDER, load_comparison

    root = snapshot.folder.root
    if (root / FOLDER / FILE).exists():

        def look() -> str:
            found = load_comparison(root)
            if found is not None and found.stale:
                raise out_of_date("comparison", found.stale, "it was made", "nephroscope compare")
            return found.summary() if found is not None else ""

        yield _part("comparison", look)
    if not (snapshot.folder.report / "report.json").exists():
        yield Part(name="report", state="none")
        return
    yield _part("report", lambda: _report(snapshot))


@dataclass(frozen=True, kw_only=True)
class _ReportFile:
    run: str
    run_digest: str
    cohort_digest: str


def _report(snapshot: Snapshot) -> str:
    from nephroscope.learning.run_files import load_run

    made = read_document(snapshot.folder.report / "report.json", _ReportFile, 1)
    now = {
        "run": load_run(snapshot.folder.complete_run(made.run)).digest,
        "cohort": snapshot.cohort.digest,
    }
    changed = changed_inputs({"run": made.run_digest, "cohort": made.cohort_digest}, now)
    if changed:
        raise out_of_date("report", " and ".join(changed), "it was written", "nephroscope report")
    return f"of run {made.run}"


def _out(snapshot: Snapshot, parts: Iterable[Part]) -> Iterator[Exclusion]:
    """Who is out, each once for each reason."""
    yield from snapshot.cohort.exclusions
    if any(part.name == "slices" and part.state == "up to date" for part in parts):
        for finding in snapshot.slices.refused:
            reason = (
                "not drawn yet" if finding.code == "not-drawn" else f"could not be cut: {finding.message}"
            )
            yield Exclusion(case_id=finding.case_id, reason=reason)
    for case in snapshot.cohort.cases:
        if case.subtype is None:
            yield Exclusion(case_id=case.case_id, reason="has no subtype in cohort.csv")


def _next(root: Path, parts: Sequence[Part], has_cases: bool) -> str:
    """The first step whose result is not there, or is not up to date."""
    state = {part.name: part.state for part in parts}
    if state["cohort"] == "damaged":
        return shell_line("nephroscope", "check", root)  # which says what is wrong
    if state["cohort"] == "none" or not has_cases:
        return f"nephroscope import dicom|nifti|images|kits|idc|phantom {shell_line(root)} ..."
    for name in ("slices", "split"):
        if state.get(name) != "up to date":
            return shell_line("nephroscope", name, root)
    runs = [part for part in parts if part.name.startswith("run ")]
    if not any(part.state == "up to date" for part in runs):
        left = [part for part in runs if part.state == "interrupted"]
        more = ["--resume", "--name", left[-1].name.removeprefix("run ")] if left else []
        return shell_line("nephroscope", "train", root, *more)
    if state.get("comparison", "up to date") != "up to date":
        return shell_line("nephroscope", "compare", root)
    if state.get("report") != "up to date":
        return shell_line("nephroscope", "report", root)
    return ""
