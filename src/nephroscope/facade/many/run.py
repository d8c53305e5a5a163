"""Predict every case of a table: in several processes or on Ray, each case once, whatever ends this program."""

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from nephroscope.base.cluster import map_on_ray
from nephroscope.base.documents import as_plain
from nephroscope.base.errors import BundleError, ConfigError, StudyError
from nephroscope.base.files import make_folder, save_json
from nephroscope.base.lock import LOCK, writing
from nephroscope.base.machine import memory_of_machine, usable_cores
from nephroscope.base.parallel import Unfinished, Workers
from nephroscope.base.progress import counting
from nephroscope.clinic.bundle_file import BundleFile, read_bundle_file
from nephroscope.facade.many.case_table import CaseTable, CaseToPredict, found_in, read_cases
from nephroscope.facade.many.ledger import LEDGER, BegunWith, CaseResult, Ledger, Refusal, State
from nephroscope.facade.many.results import ManyAnswers, ResultsTable
from nephroscope.facade.many.worker import (
    ANSWERS,
    DRAWN,
    ObjectKind,
    Opening,
    answer_path,
    digest_of_bundle,
    drawn_path,
    object_path,
    work,
    work_on_ray,
)

if TYPE_CHECKING:
    from nephroscope.segmenters.tool import Tool

KINDS: tuple[ObjectKind, ...] = ("sr", "seg", "sc")
BYTES_OF_A_PROCESS = 2 << 30  # with a CT of 512 x 512 x 1,000
TIME_LIMIT_S = 600.0


@dataclass(frozen=True, kw_only=True)
class ManyCases:
    """A table of cases, and how it is to be predicted.

    Attributes:
        table: CSV with case_id, image, and what else `nephroscope.facade.many.case_table.COLUMNS` names.
        out: Folder of the results: new, empty, or of the same table and bundle.
        jobs: Processes; None: one per core, as far as memory allows. Results do not depend on it.
        ray: Address of a Ray cluster; every machine must see bundle, table, images and results under the same paths.
        objects: DICOM objects to write for each case.
        time_limit_s: For one case.
        retry: Try cases again that were refused.
        segmenter: Program that draws cases without an ROI, which this bundle needs; None: they are listed.
    """

    table: Path
    out: Path
    jobs: int | None = None
    ray: str | None = None
    objects: tuple[str, ...] = ()
    time_limit_s: float = TIME_LIMIT_S
    retry: bool = False
    segmenter: "Tool | None" = None

    def __post_init__(self) -> None:
        for name, given in (("--jobs", self.jobs), ("--time-limit-s", self.time_limit_s)):
            if given is not None and not 0 < given < float("inf"):
                raise ConfigError(
                    where=name, expected="a number above 0", found=f"{given:g}", remedy="correct it"
                )
        wrong = [kind for kind in self.objects if kind not in KINDS]
        if wrong:
            raise ConfigError(
                where="--objects", expected=f"some of {', '.join(KINDS)}", found=wrong[0], remedy="correct it"
            )


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What a run would do; nothing is written.

    Attributes:
        to_predict: Cases that would be predicted.
        answered, refused: Ended before, and left as they are.
        without_roi: That the bundle needs.
        no_image, no_roi: Among those to predict, cases whose files are not there; they would be refused.
        unread: Titles of columns of the table that are not looked at.
        doubts: What to know of how the table was opened.
    """

    to_predict: int
    answered: int
    refused: int
    without_roi: tuple[str, ...]
    no_image: tuple[str, ...]
    no_roi: tuple[str, ...]
    processes: int
    unread: tuple[str, ...]
    doubts: tuple[str, ...]


def predict_table(bundle: Path, asked: ManyCases) -> ManyAnswers:
    """Predict the cases of a table that have no answer yet.

    Raises:
        CohortError: The table is none, or cells of it are wrong.
        BundleError: The bundle is damaged.
        StudyError: The results were begun with another bundle, other objects or other rows, or another command writes
            there.
        ConfigError: There is no such cluster.
        OSError: There is no room for the results.
    """
    started = time.monotonic()
    table, about, begun = _read(bundle, asked)
    out = asked.out.resolve()
    _check_folder(out)
    make_folder(out / ANSWERS)
    with writing(out, "predict --table"):
        _remove_unfinished(out)
        ledger = Ledger(out)
        _same(ledger.begun_with(begun), begun)
        _check_program(ledger, asked, keep=True)
        ledger.put(table.cases, begun.bundle_digest)
        unread, doubts, needs_roi = table.unread, table.doubts, about.slices.roi_mode != "full"
        del table  # a table of 100,000 rows is large
        _take_again(ledger, out, asked)
        written = ResultsTable(ledger, out, about.subtypes)
        run = _Run(ledger, out, asked, written)
        try:
            if needs_roi and asked.segmenter is None:
                run.list_undrawn()
            n = run.predict(_opening(bundle, begun, asked))
        finally:
            written.write()
        counts = ledger.count()
        return ManyAnswers(
            folder=asked.out,
            subtypes=about.subtypes,
            cases=sum(counts.values()),
            answered=counts.get("answered", 0),
            not_sure=sum(row.result is not None and _is_not_sure(row.result) for row in ledger.rows()),
            refused=counts.get("refused", 0),
            not_drawn=counts.get("not-drawn", 0),
            waiting=counts.get("waiting", 0),
            computed=n,
            seconds=round(time.monotonic() - started, 2),
            unread=unread,
            doubts=doubts,
        )


def plan_table(bundle: Path, asked: ManyCases) -> DryRun:
    """What `predict_table` would do.

    Raises:
        NephroscopeError: As `predict_table`, as far as it is known before.
    """
    table, about, begun = _read(bundle, asked)
    _check_folder(asked.out)
    states: dict[str, State] = {}
    if (asked.out / LEDGER).exists():
        ledger = Ledger(asked.out)
        _same(ledger.begun_with(begun), begun)
        _check_program(ledger, asked, keep=False)
        states = ledger.states(table.cases)
    ended = {"answered", *(() if asked.retry else ("refused",))}
    rest = [case for case in table.cases if states.get(case.case_id) not in ended]
    needs_roi = about.slices.roi_mode != "full"
    find = found_in(asked.table.resolve().parent)
    needs_roi = needs_roi and asked.segmenter is None
    to_predict = [case for case in rest if case.roi is not None or not needs_roi]
    counted = list(states.values())
    return DryRun(
        to_predict=len(to_predict),
        answered=counted.count("answered"),
        refused=0 if asked.retry else counted.count("refused"),
        without_roi=tuple(case.case_id for case in rest if case.roi is None and needs_roi),
        no_image=tuple(case.case_id for case in to_predict if not find(case.image).exists()),
        no_roi=tuple(case.case_id for case in to_predict if case.roi and not find(case.roi).exists()),
        processes=_processes(asked, len(to_predict)),
        unread=table.unread,
        doubts=table.doubts,
    )


def _read(bundle: Path, asked: ManyCases) -> tuple[CaseTable, BundleFile, BegunWith]:
    about, _ = read_bundle_file(bundle)
    table = read_cases(asked.table)
    begun = BegunWith(
        bundle_digest=digest_of_bundle(bundle),
        bundle=f"{about.model} of {about.made or 'unknown date'}",
        objects=tuple(kind for kind in KINDS if kind in asked.objects),
    )
    return table, about, begun


def _check_folder(out: Path) -> None:
    """Refuse a folder of something else."""
    if out.is_dir() and not (out / LEDGER).exists():
        foreign = next(
            (path for path in out.iterdir() if path.name not in (LOCK, f"{LOCK}.json", ANSWERS)), None
        )
        if foreign is not None:
            raise StudyError(
                where="--out",
                expected="a new or empty folder, or one of results of a table",
                found="a folder that holds something else",
                remedy="choose another folder",
            )


def _same(begun: BegunWith, asked: BegunWith) -> None:
    """Refuse to mix answers that were made otherwise."""
    if begun.bundle_digest != asked.bundle_digest:
        raise BundleError(
            where="--out",
            expected=f"the bundle with which these results were begun: {begun.bundle}, {begun.bundle_digest}",
            found=f"another one: {asked.bundle}, {asked.bundle_digest}",
            remedy="give that bundle, or use another folder for --out",
        )
    if begun.objects != asked.objects:
        raise ConfigError(
            where="--objects",
            expected=f"what these results were begun with: {' '.join(begun.objects) or 'none'}",
            found=" ".join(asked.objects) or "none",
            remedy="give the same, or use another folder for --out",
        )


def _check_program(ledger: Ledger, asked: ManyCases, keep: bool) -> None:
    """Refuse ROIs of two programs, or of two versions of its weights, among the results."""
    tool = asked.segmenter
    if tool is None:
        return
    words = (
        f"{tool.given} ({tool.name}@{tool.version}{f', weights {tool.weights[:16]}' if tool.weights else ''})"
    )
    begun = ledger.drawn_with(words, keep)
    if begun != words:
        raise ConfigError(
            where="--draw-with",
            expected=f"the program that drew ROIs of these results: {begun}",
            found=words,
            remedy="give the same, or use another folder for --out",
        )


def _remove_unfinished(out: Path) -> None:
    """Remove files that a kill left half-written; they have names of their own."""
    for folder in (out, out / ANSWERS, out / DRAWN, *(out / kind for kind in KINDS)):
        for path in folder.glob(".*.tmp"):
            with contextlib.suppress(OSError):  # Windows: a process of that run ends just now
                path.unlink()


def _take_again(ledger: Ledger, out: Path, asked: ManyCases) -> None:
    """Cases to be tried again: where that is asked for, and where files of an answer are gone."""
    here = {kind: {path.name for path in (out / kind).glob("*")} for kind in (ANSWERS, *KINDS)}
    gone = [
        row.case.case_id
        for row in ledger.rows()
        if row.state == "answered"
        and not (
            f"{row.case.file_name}.json" in here[ANSWERS]
            and all(f"{row.case.file_name}.dcm" in here[kind] for kind in asked.objects)
        )
    ]
    refused = ledger.names("refused") if asked.retry else []
    undrawn = ledger.names("not-drawn") if asked.segmenter is not None else []
    ledger.wait_again([*gone, *refused, *undrawn])


def _opening(bundle: Path, begun: BegunWith, asked: ManyCases) -> Opening:
    threads = 1 if asked.ray else max(1, usable_cores() // _processes(asked))
    return Opening(
        bundle=bundle.resolve(),
        bundle_digest=begun.bundle_digest,
        table_folder=asked.table.resolve().parent,
        out=asked.out.resolve(),
        objects=cast(tuple[ObjectKind, ...], begun.objects),
        threads=threads,
        segmenter=asked.segmenter and replace(asked.segmenter, limit_s=asked.time_limit_s),
    )


def _processes(asked: ManyCases, n_cases: int | None = None) -> int:
    cores, memory = usable_cores(), memory_of_machine()
    fitting = max(1, memory // BYTES_OF_A_PROCESS) if memory else cores
    wanted = asked.jobs or min(cores, fitting)
    return wanted if n_cases is None else max(1, min(wanted, n_cases))


def _is_not_sure(result: CaseResult) -> bool:
    return result.state == "answered" and result.call is None


class _Run:
    """The cases that wait, one after the other into the ledger."""

    def __init__(self, ledger: Ledger, out: Path, asked: ManyCases, written: ResultsTable) -> None:
        self._ledger, self._out, self._asked, self._written = ledger, out, asked, written

    def list_undrawn(self) -> None:
        """End the cases without an ROI, which this bundle needs."""
        for name, case in self._ledger.undrawn():
            refusal = Refusal(
                code="not-drawn",
                where=f"case {name}",
                expected="an ROI of the tumor, because this bundle classifies only the part of the CT around it",
                found="none in the table",
                remedy="draw it, put its file into the column roi, and run this again",
            )
            self._end(case, CaseResult(case_id=name, state="not-drawn", probabilities={}, refusal=refusal))

    def predict(self, opening: Opening) -> int:
        """Predict those that wait; gives their number."""
        names = self._ledger.names("waiting")
        ended: list[CaseToPredict] = []
        with counting("predict", "case", len(names)) as step:
            for case, found in self._results(map(self._ledger.begin, names), opening, self._asked):
                if isinstance(found, Unfinished) and found.why == "ended":
                    ended.append(case)
                    continue
                self._end(case, self._result(case, found))
                step()
            alone = replace(self._asked, jobs=1)  # perhaps memory ran out
            for case, found in self._results(ended, opening, alone):
                self._end(case, self._result(case, found))
                step()
        return len(names)

    def _results(
        self, items: Iterable[CaseToPredict], opening: Opening, asked: ManyCases
    ) -> Iterator[tuple[CaseToPredict, CaseResult | Unfinished]]:
        # A program that draws has the same limit for itself, and is ended by the process that waits for it.
        limit_s = asked.time_limit_s * (1 if asked.segmenter is None else 2)
        if not asked.ray:
            workers = Workers(work, opening, limit_s, _processes(asked))
            yield from workers.answers(items)
            return
        at_work: dict[str, CaseToPredict] = {}

        def given() -> Iterator[tuple[Opening, float, CaseToPredict]]:
            for case in items:
                at_work[case.case_id] = case
                yield opening, limit_s, case

        for _, (name, found) in map_on_ray(work_on_ray, given(), asked.ray):
            yield at_work.pop(name), found

    def _result(self, case: CaseToPredict, found: CaseResult | Unfinished) -> CaseResult:
        if not isinstance(found, Unfinished):
            return found
        late = found.why == "too long"
        refusal = Refusal(
            code="time-limit" if late else "process-ended",
            where=f"case {case.case_id}",
            expected=f"an answer within {self._asked.time_limit_s:g} s" if late else "an answer",
            found="a process still at work, which was ended"
            if late
            else "that its process ended twice, perhaps because memory ran out",
            remedy="look at its files; then run this again with --retry"
            + (" and a longer --time-limit-s" if late else " on a computer with more memory"),
        )
        return CaseResult(case_id=case.case_id, state="refused", probabilities={}, refusal=refusal)

    def _end(self, case: CaseToPredict, result: CaseResult) -> None:
        """Write the file of a case without an answer, and note what became of it."""
        if result.refusal is not None:
            error = as_plain(result.refusal) | {"message": str(result.refusal)}
            for kind in KINDS:
                object_path(self._out, kind, case.file_name).unlink(missing_ok=True)
            if case.roi is None:
                drawn_path(self._out, case.file_name).unlink(missing_ok=True)
            content = {"case_id": case.case_id, "error": error}
            save_json(answer_path(self._out, case.file_name), content, checksum=False)
        self._ledger.end(result)
        self._written.now_and_then()
