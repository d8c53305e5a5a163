"""Table 2: the test cases one by one; answers of the networks and calls of readers in, rows and paired tests out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nephroscope.questions.readers.answers import CaseLabels, Reader, ReaderAnswer
from nephroscope.questions.readers.comparisons import compare_pair
from nephroscope.questions.readers.figures import figures_of
from nephroscope.questions.replicate.answers import Answers
from nephroscope.questions.replicate.numbers import LEAKY_EPOCH, Reading, by_case, by_image, three_of_each
from nephroscope.questions.replicate.setup import Setup
from nephroscope.records import Estimate

PROTOCOLS = ("paper", "twin")


def known_tests(setup: Setup) -> CaseLabels:
    """Truth of the test cases."""
    return known_cases(setup, setup.tests)


def known_cases(setup: Setup, names: Sequence[str]) -> CaseLabels:
    """Truth of these labelled cases."""
    by_id = setup.cohort.by_id
    return CaseLabels(
        subtypes=setup.cohort.subtypes,
        positive=setup.cohort.positive,
        truth={name: str(by_id[name].subtype) for name in names},
        patient_of={name: by_id[name].patient_id for name in names},
    )


def case_rows(
    setup: Setup, reading: Reading, answers: dict[str, dict[str, Answers]], readers: Sequence[Reader]
) -> list[dict[str, Any]]:
    """One row a test case: origin, truth, each network's three images, vote and mean, each reader's call."""
    votes = {model: _by_protocol(of, reading) for model, of in answers.items()}
    rows = []
    for name in setup.tests:
        case = setup.cohort.by_id[name]
        rows.append(
            {
                "case_id": name,
                "set": case.cohort,
                "truth": case.subtype,
                "n_slices": len(setup.store.rows_by_case[name]),
                "models": {
                    model: {kind: of[kind][name] for kind in PROTOCOLS} for model, of in votes.items()
                },
                "readers": {r.title: r.called.get(name) for r in readers},
            }
        )
    return rows


def _by_protocol(answers: dict[str, Answers], reading: Reading) -> dict[str, dict[str, dict[str, Any]]]:
    """What a network says of each case, under both protocols."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for kind in PROTOCOLS:
        three = by_image(three_of_each(answers[kind], reading), reading)
        vote, mean = (by_case(answers[kind], reading, majority=majority) for majority in (True, False))
        found[kind] = {}
        for place, name in enumerate(vote.case_ids.tolist()):
            images = three.case_ids == name
            right = three.rows.called[images] == three.rows.truth[images]
            found[kind][name] = {
                "images": int(np.count_nonzero(images)),
                "images_right": int(np.count_nonzero(right)),
                "mark": LEAKY_EPOCH if kind == "paper" else "",
                "call": reading.subtypes[int(vote.rows.called[place])],
                "mean_call": reading.subtypes[int(mean.rows.called[place])],
                "mean_p_positive": float(mean.rows.p[place, reading.positive]),
            }
    return found


def reader_results(
    rows: Sequence[dict[str, Any]], readers: Sequence[Reader], known: CaseLabels, reading: Reading
) -> list[dict[str, Any]]:
    """Figures of each reader on the test cases, and its exact McNemar test against every network's vote."""
    found = []
    for reader in readers:
        scored = figures_of(reader, known, reading.config)
        tests = []
        for model in rows[0]["models"]:
            for kind in PROTOCOLS:
                calls = {
                    row["case_id"]: ReaderAnswer(call=row["models"][model][kind]["call"], confidence=None)
                    for row in rows
                }
                program = Reader(name=f"{model}, {kind}", aided=False, answers=calls, model=True)
                pair = compare_pair(program, reader, known, reading.config)
                if pair.calls is not None:
                    test = pair.calls
                    counts = [test.both, test.only_one, test.only_two, test.neither]
                    tests.append(
                        {"model": model, "protocol": kind, "n": test.n, "counts": counts, "p": test.p}
                        | {"method": test.method}
                    )
        found.append(
            {"name": reader.title, "figures": dict(scored.figures), "counts": dict(scored.counts)}
            | {"against": tests}
        )
    return found


def mean_of_readers(results: Sequence[dict[str, Any]]) -> Estimate | None:
    """The mean accuracy of two readers or more, as the paper prints it; its interval is the work of MRMC analysis."""
    known = [r["figures"]["accuracy"] for r in results]
    if len(known) < 2 or any(e.value is None for e in known):
        return None
    value = float(np.mean([e.value for e in known]))
    why = f"mean of {len(known)} readers, no interval: `nephroscope readers` takes readers and cases together"
    return Estimate(value=value, low=None, high=None, n=min(e.n for e in known), unit="case", method=why)


def on_tests(readers: Sequence[Reader], known: CaseLabels) -> list[Reader]:
    """The readers with their calls of test cases alone; one without any is left out."""
    kept = []
    for reader in readers:
        own = {case: answer for case, answer in reader.answers.items() if case in known.truth}
        if own:
            kept.append(Reader(name=reader.name, aided=reader.aided, answers=own, source=reader.source))
    return kept
