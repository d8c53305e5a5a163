"""A reader study in; readers.json and its tables as CSV out."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from nephroscope.base.files import digest_of, save_json
from nephroscope.base.tables import save_table
from nephroscope.questions.readers.figures import Pair
from nephroscope.questions.readers.reader_study import ReaderPart, ReaderStudy
from nephroscope.records import Estimate, EvaluationConfig
from nephroscope.study.folder import StudyFolder

LABELS, SPLIT, SETTINGS, COMPARED = "cohort", "splits.json", "[evaluation]", "comparison/predictions.csv"
RUN = "run "


def made_from(
    folder: StudyFolder, label_digest: str, config: EvaluationConfig, runs: Iterable[str], compared: bool
) -> dict[str, str]:
    """Digests by what they are of; an empty one stands for a file that is not there.

    Args:
        folder: Of the study.
        label_digest: Of the cohort.
        config: As the figures were made.
        runs: Names of the runs that answered.
        compared: True where baselines of the last comparison were looked for.
    """
    files = {SPLIT: folder.splits} | {f"{RUN}{name}": folder.run(name) / "run.json" for name in runs}
    if compared:
        files[COMPARED] = folder.root / COMPARED
    digests = {name: _digest_of_file(path) for name, path in files.items()}
    return {LABELS: label_digest, SETTINGS: digest_of(asdict(config))} | digests


def changed_since(
    folder: StudyFolder, label_digest: str, config: EvaluationConfig, made: Mapping[str, str]
) -> list[str]:
    """What is no longer as it was, by name; what an older file did not hold counts as changed."""
    runs = [name.removeprefix(RUN) for name in made if name.startswith(RUN)]
    now = made_from(folder, label_digest, config, runs, COMPARED in made)
    changed = [name for name, digest in now.items() if made.get(name) != digest]
    return ["labels" if name == LABELS else name for name in changed]


def _digest_of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""


FOLDER = "readers"
FIGURES = ("coverage", "accuracy", "sensitivity", "specificity", "precision", "auc")
READER_HEADER = (
    *("test_set", "name", "aided", "model", "figure", "value", "low", "high", "right", "n", "method"),
    *("median_s", "lower_quartile_s", "upper_quartile_s", "told"),
)
PAIR_HEADER = (
    *(
        "test_set",
        "first",
        "second",
        "n_called",
        "both_right",
        "only_first_right",
        "only_second_right",
        "neither_right",
    ),
    *("accuracy_difference", "accuracy_low", "accuracy_high", "mcnemar_p", "mcnemar_p_holm"),
    *("calls_method", "n_rated", "auc_difference", "auc_low", "auc_high", "auc_p", "auc_p_holm"),
    *("auc_method", "in_words"),
)
MEAN_HEADER = (
    "test_set",
    "first",
    "second",
    "figure",
    "value",
    "low",
    "high",
    "p",
    "p_holm",
    "n_readers",
    "n_cases",
    "method",
    "in_words",
)
KAPPA_HEADER = ("test_set", "readers", "aided", "figure", "value", "low", "high", "n", "method")


def save_reader_study(folder: Path, study: ReaderStudy, made_from: Mapping[str, str]) -> Path:
    """Write readers.json, readers.csv, pairs.csv, means.csv and agreement.csv; gives the path of readers.json.

    Args:
        folder: Of the study, ``readers``.
        study: What was found.
        made_from: Digests of what it depends on, so that a later step can tell whether it is stale.
    """
    mark = "SYNTHETIC" if study.synthetic else ""
    tables: dict[str, tuple[tuple[str, ...], Callable[[ReaderPart], Iterable[list[str]]]]] = {
        "readers.csv": (READER_HEADER, _reader_rows),
        "pairs.csv": (PAIR_HEADER, _pair_rows),
        "means.csv": (MEAN_HEADER, _mean_rows),
        "agreement.csv": (KAPPA_HEADER, _kappa_rows),
    }
    for name, (header, rows_of) in tables.items():
        rows = [[part.test_set, *row, mark] for part in study.parts for row in rows_of(part)]
        save_table(folder / name, (*header, "mark"), rows)
    save_json(folder / "readers.json", study.as_dict() | {"made_from": dict(made_from)})
    return folder / "readers.json"


def number(value: float | None) -> str:
    """A number as it stands in a table; empty for none."""
    return "" if value is None else f"{value:.6g}"


def _limits(estimate: Estimate) -> list[str]:
    return [number(v) for v in (estimate.value, estimate.low, estimate.high)]


def _reader_rows(part: ReaderPart) -> Iterable[list[str]]:
    for one in (*part.readers, *part.models):
        who = [one.name, "yes" if one.aided else "no", "yes" if one.model else "no"]
        time = one.time
        seconds = (time.median_s, time.lower_quartile_s, time.upper_quartile_s) if time else (None,) * 3
        for name in FIGURES:
            estimate = one.figures[name]
            right = str(one.counts[name][0]) if name in one.counts else ""
            rest = [right, str(estimate.n), estimate.method, *map(number, seconds), one.told]
            yield [*who, name, *_limits(estimate), *rest]


def _pair_rows(part: ReaderPart) -> Iterable[list[str]]:
    return map(_pair_row, (*part.against_models, *part.aided))


def _pair_row(pair: Pair) -> list[str]:
    calls, areas = pair.calls, pair.areas
    of_calls = [""] * 10
    if calls is not None:
        counts = (calls.both, calls.only_one, calls.only_two, calls.neither)
        p = [number(calls.p), number(pair.calls_p_holm), calls.method]
        of_calls = [*map(str, counts), *_limits(calls.difference), *p]
    of_areas = [""] * 6
    if areas is not None:
        p = [number(areas.p), number(pair.areas_p_holm), areas.method]
        of_areas = [*_limits(areas.difference), *p]
    who = [pair.first, pair.second, str(pair.n_called)]
    return [*who, *of_calls, str(pair.n_rated), *of_areas, " ".join(pair.sentences)]


def _mean_rows(part: ReaderPart) -> Iterable[list[str]]:
    for mean in part.means:
        first = f"mean of {mean.n_readers} readers{', aided' if mean.aided else ''}"
        n = [str(mean.n_readers), str(mean.n_cases)]
        yield [first, "", mean.figure, *_limits(mean.mean), "", "", *n, mean.mean.method, ""]
    for found in (*part.mean_against_models, *part.mean_aided):
        pair = found.found
        p = [number(pair.test.p), number(found.p_holm)]
        n = [str(found.n_readers), str(found.n_cases)]
        who = [pair.first, pair.second, found.figure]
        yield [*who, *_limits(pair.difference), *p, *n, pair.difference.method, found.sentence]


def _kappa_rows(part: ReaderPart) -> Iterable[list[str]]:
    for aided, found in (("no", part.agreement), ("yes", part.agreement_aided)):
        if found is None:
            continue
        for pair in found.pairs:
            who = f"{pair.first}, {pair.second}"
            for name, estimate in (("agreement", pair.found.agreement), ("Cohen's kappa", pair.found.kappa)):
                yield [who, aided, name, *_limits(estimate), str(estimate.n), estimate.method]
        every = f"{len(found.readers)} readers"
        yield [
            every,
            aided,
            "Fleiss' kappa",
            *_limits(found.fleiss),
            str(found.fleiss.n),
            found.fleiss.method,
        ]
