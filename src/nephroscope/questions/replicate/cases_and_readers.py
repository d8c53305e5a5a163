"""Table 2 of a replication: the test cases one by one, and radiologists' calls of them next to the networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nephroscope.base.documents import read_document
from nephroscope.base.errors import CohortError
from nephroscope.intake.labels.pathology import load_pathology, name_of_subtype
from nephroscope.questions.readers.answers import CaseLabels, Reader, ReaderAnswer
from nephroscope.questions.readers.call_table import read_calls
from nephroscope.questions.readers.comparisons import compare_pair
from nephroscope.questions.readers.figures import figures_of
from nephroscope.questions.readers.write import changed_since, reader_file
from nephroscope.questions.replicate.answers import Answers
from nephroscope.questions.replicate.numbers import LEAKY_EPOCH, Reading, by_case, by_image, three_of_each
from nephroscope.questions.replicate.replication import (
    AgainstNetwork,
    CaseAnswer,
    CaseAnswers,
    CaseRow,
    ReaderResult,
)
from nephroscope.questions.replicate.setup import Setup
from nephroscope.records import Estimate
from nephroscope.statistics.intervals import Interval
from nephroscope.study.snapshot import Snapshot

BothAnswers = Mapping[str, Answers]  # by protocol: paper, twin


def known_cases(setup: Setup, names: Sequence[str]) -> CaseLabels:
    """Truth of these labeled cases."""
    by_id = setup.cohort.by_id
    return CaseLabels(
        subtypes=setup.cohort.subtypes,
        positive=setup.cohort.positive,
        truth={name: str(by_id[name].subtype) for name in names},
        patient_of={name: by_id[name].patient_id for name in names},
    )


def read_test_calls(setup: Setup, path: Path) -> list[Reader]:
    """Radiologists' calls of the test cases; calls of other cases are left out.

    Raises:
        CohortError: The table is wrong, or holds no call of a test case.
    """
    root, subtypes = setup.snapshot.folder.root, setup.cohort.subtypes
    pathology = load_pathology(root)
    labeled = known_cases(setup, [c.case_id for c in setup.cohort.cases if c.subtype])
    found = []
    for reader in read_calls(path, labeled, lambda text: name_of_subtype(text, subtypes, pathology)).readers:
        own = {case: answer for case, answer in reader.answers.items() if case in setup.tests}
        if own:
            found.append(Reader(name=reader.name, aided=reader.aided, answers=own, source=reader.source))
    if not found:
        raise CohortError(
            where=path.name,
            expected=f"calls of test cases: {', '.join(setup.tests[:5])}{' ...' * (len(setup.tests) > 5)}",
            found="only calls of development cases",
            remedy="add the readers' calls of the test cases, or leave --readers out",
        )
    return found


def case_rows(
    setup: Setup, reading: Reading, answers: Mapping[str, BothAnswers], readers: Sequence[Reader]
) -> tuple[CaseRow, ...]:
    """One row per test case: origin, truth, each network's three images, vote and mean, each reader's call."""
    of_models = {
        model: (_case_answers(both["paper"], reading, LEAKY_EPOCH), _case_answers(both["twin"], reading, ""))
        for model, both in answers.items()
    }
    return tuple(
        CaseRow(
            case_id=name,
            set=setup.cohort.by_id[name].cohort,
            truth=str(setup.cohort.by_id[name].subtype),
            n_slices=len(setup.store.rows_by_case[name]),
            models={
                model: CaseAnswers(paper=paper[name], twin=twin[name])
                for model, (paper, twin) in of_models.items()
            },
            readers={r.title: r.called.get(name) for r in readers},
        )
        for name in setup.tests
    )


def _case_answers(answers: Answers, reading: Reading, mark: str) -> dict[str, CaseAnswer]:
    """What a network says of each case."""
    three = by_image(three_of_each(answers, reading), reading)
    vote, mean = (by_case(answers, reading, majority=majority) for majority in (True, False))
    found = {}
    for place, name in enumerate(vote.case_ids.tolist()):
        images = three.case_ids == name
        right = three.rows.called[images] == three.rows.truth[images]
        found[name] = CaseAnswer(
            images=int(np.count_nonzero(images)),
            images_right=int(np.count_nonzero(right)),
            mark=mark,
            call=reading.subtypes[int(vote.rows.called[place])],
            mean_call=reading.subtypes[int(mean.rows.called[place])],
            mean_p_positive=float(mean.rows.p[place, reading.positive]),
        )
    return found


def reader_results(
    rows: Sequence[CaseRow], readers: Sequence[Reader], known: CaseLabels, reading: Reading
) -> tuple[ReaderResult, ...]:
    """Figures of each reader on the test cases, and its McNemar test against every network's vote."""
    found = []
    for reader in readers:
        scored = figures_of(reader, known, reading.config)
        tests = []
        for model in rows[0].models:
            for protocol in ("paper", "twin"):
                calls = {
                    row.case_id: ReaderAnswer(call=getattr(row.models[model], protocol).call, confidence=None)
                    for row in rows
                }
                network = Reader(name=f"{model}, {protocol}", aided=False, answers=calls, model=True)
                test = compare_pair(network, reader, known, reading.config).calls
                if test is not None:
                    tests.append(
                        AgainstNetwork(
                            model=model,
                            protocol=protocol,
                            n=test.n,
                            counts=(test.both, test.only_one, test.only_two, test.neither),
                            p=test.p,
                            method=test.method,
                        )
                    )
        found.append(
            ReaderResult(
                name=reader.title,
                figures=dict(scored.figures),
                counts=dict(scored.counts),
                against=tuple(tests),
            )
        )
    return tuple(found)


def mean_of_readers(results: Sequence[ReaderResult]) -> Estimate | None:
    """The mean accuracy of two or more readers, as the paper prints it; without an interval."""
    known = [r.figures["accuracy"] for r in results]
    if len(known) < 2 or any(e.value is None for e in known):
        return None
    value = float(np.mean([e.value for e in known]))
    why = f"mean of {len(known)} readers, no interval: `nephroscope readers` analyzes readers and cases together"
    return Interval(None, None, why).around(value, min(e.n for e in known))


def readers_note(snapshot: Snapshot, given: bool) -> str:
    """Where readers' calls of the test cases would come from, when none were given; else empty."""
    if given:
        return ""
    scored = scored_readers(snapshot)
    what = f"{scored} Give" if scored else "No readers' calls were given: give"
    return f"{what} their table with --readers FILE to compare them with the networks on the test cases."


@dataclass(frozen=True, kw_only=True)
class _Name:
    name: str


@dataclass(frozen=True, kw_only=True)
class _Scored:
    """What is needed of readers.json."""

    readers: tuple[_Name, ...] = ()


def scored_readers(snapshot: Snapshot) -> str:
    """What readers/readers.json holds, in a sentence; it has figures, and not the single calls needed here."""
    path = reader_file(snapshot.folder.root).path
    if not path.is_file():
        return ""
    changed = changed_since(snapshot.folder, snapshot.cohort.label_digest, snapshot.settings.evaluation)
    if changed:
        older = f"The study's readers/readers.json is older than its {', '.join(changed)}"
        return f"{older}: run `nephroscope readers` again."
    readers = read_document(path, _Scored, 1).readers
    names = ", ".join(dict.fromkeys(reader.name for reader in readers))
    return f"The study has scored readers ({names}), see readers/readers.json."
