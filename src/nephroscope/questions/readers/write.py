"""readers.json of a reader study and its tables as CSV, written and read; and whether they are out of date."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from nephroscope.base.documents import read_object
from nephroscope.base.errors import StudyError
from nephroscope.base.files import digest_of
from nephroscope.base.tables import save_table
from nephroscope.learning.engine.trained_runs import HELD_OUT
from nephroscope.questions.readers.comparisons import Pair
from nephroscope.questions.readers.reader_study import FORMAT, ReaderResults, ReaderStudy
from nephroscope.records import Estimate, EvaluationConfig
from nephroscope.study.artifact import Artifact, inputs_kept_in
from nephroscope.study.folder import StudyFolder
from nephroscope.study.split import FORMAT as SPLIT_FORMAT

LABELS, SPLIT, SETTINGS, COMPARED = "cohort", "splits.json", "[evaluation]", "comparison/predictions.csv"
RUN = "run "
AGAIN = "run `nephroscope readers` again"


def digests_of(
    folder: StudyFolder, label_digest: str, config: EvaluationConfig, runs: Iterable[str], compared: bool
) -> dict[str, str]:
    """Digests of everything that the figures depend on; empty for a file that does not exist.

    Args:
        folder: Of the study.
        label_digest: Of the cohort.
        config: With which the figures were computed.
        runs: Names of the runs that answered.
        compared: True where the baselines of the last comparison were used if there were any.
    """
    runs = tuple(runs)
    files = {SPLIT: folder.splits} | {f"{RUN}{name}": folder.run(name) / "run.json" for name in runs}
    if compared:
        files[COMPARED] = folder.root / COMPARED
    digests = {name: _digest_of_file(path) for name, path in files.items()}
    splits = [folder.run(name) / "split.json" for name in runs]
    digests |= HELD_OUT if splits and any(map(_holds_out, [folder.splits, *splits])) else {}
    return {LABELS: label_digest, SETTINGS: digest_of(asdict(config))} | digests


def reader_file(root: Path, inputs: Mapping[str, str] | None = None) -> Artifact[ReaderStudy]:
    """readers.json of the study at ``root``; ``inputs`` are digests as they are now, from `digests_of`."""
    path = root / FOLDER / "readers.json"
    return Artifact(path=path, kind=ReaderStudy, number=FORMAT, made_from=inputs or {})


def changed_since(folder: StudyFolder, label_digest: str, config: EvaluationConfig) -> list[str]:
    """Names of what changed since readers.json was written.

    Raises:
        StudyError: There is no such file, or it is damaged or of a newer format.
    """
    made = inputs_kept_in(reader_file(folder.root).path, FORMAT)
    runs = [name.removeprefix(RUN) for name in made if name.startswith(RUN)]
    now = digests_of(folder, label_digest, config, runs, COMPARED in made)
    return ["labels" if name == LABELS else name for name in reader_file(folder.root, now).stale(AGAIN)]


def _holds_out(path: Path) -> bool:
    """Whether the folds in a file leave out cases, which all networks answer; a damaged file does not say."""
    try:
        held = read_object(path, SPLIT_FORMAT)
    except StudyError:
        return False
    folds = held.get("folds")
    return bool(held.get("holdout")) and isinstance(folds, list) and len(folds) > 1


def _digest_of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""


FOLDER = "readers"
FIGURES = ("coverage", "accuracy", "sensitivity", "specificity", "precision", "auc")
READER_HEADER = (
    *("test_set", "name", "aided", "model", "figure", "value", "low", "high", "right", "n", "method"),
    *("median_s", "lower_quartile_s", "upper_quartile_s", "told"),
)
PAIR_HEADER = (
    *("test_set", "first", "second", "n_called"),
    *("both_right", "only_first_right", "only_second_right", "neither_right"),
    *("accuracy_difference", "accuracy_low", "accuracy_high", "mcnemar_p", "mcnemar_p_holm"),
    *("calls_method", "n_rated", "auc_difference", "auc_low", "auc_high", "auc_p", "auc_p_holm"),
    *("auc_method", "in_words"),
)
MEAN_HEADER = (
    *("test_set", "first", "second", "figure", "value", "low", "high", "p", "p_holm"),
    *("n_readers", "n_cases", "method", "in_words"),
)
KAPPA_HEADER = ("test_set", "readers", "aided", "figure", "value", "low", "high", "n", "method")


def save_reader_study(root: Path, study: ReaderStudy, digests: Mapping[str, str]) -> None:
    """Write readers.csv, pairs.csv, means.csv, agreement.csv and, last, readers.json into readers/ of a study.

    Args:
        root: Of the study.
        study: The results.
        digests: Of what it depends on, from `digests_of`, so that a later step knows whether it is out of date.
    """
    file = reader_file(root, digests)
    mark = "SYNTHETIC" if study.synthetic else ""
    tables: dict[str, tuple[tuple[str, ...], Callable[[ReaderResults], Iterable[list[str]]]]] = {
        "readers.csv": (READER_HEADER, _reader_rows),
        "pairs.csv": (PAIR_HEADER, _pair_rows),
        "means.csv": (MEAN_HEADER, _mean_rows),
        "agreement.csv": (KAPPA_HEADER, _kappa_rows),
    }
    for name, (header, rows_of) in tables.items():
        rows = [[part.test_set, *row, mark] for part in study.parts for row in rows_of(part)]
        save_table(file.path.with_name(name), (*header, "mark"), rows)
    file.save(study)


def _number(value: float | None) -> str:
    """A number as it is written in a table; empty for none."""
    return "" if value is None else f"{value:.6g}"


def _limits(estimate: Estimate) -> list[str]:
    return [_number(v) for v in (estimate.value, estimate.low, estimate.high)]


def _reader_rows(part: ReaderResults) -> Iterable[list[str]]:
    for one in (*part.readers, *part.models):
        who = [one.name, "yes" if one.aided else "no", "yes" if one.model else "no"]
        time = one.time
        seconds = (time.median_s, time.lower_quartile_s, time.upper_quartile_s) if time else (None,) * 3
        for name in FIGURES:
            estimate = one.figures[name]
            right = str(one.counts[name][0]) if name in one.counts else ""
            rest = [right, str(estimate.n), estimate.method, *map(_number, seconds), one.told]
            yield [*who, name, *_limits(estimate), *rest]


def _pair_rows(part: ReaderResults) -> Iterable[list[str]]:
    return map(_pair_row, (*part.against_models, *part.aided))


def _pair_row(pair: Pair) -> list[str]:
    calls, areas = pair.calls, pair.areas
    of_calls = [""] * 10
    if calls is not None:
        counts = (calls.both, calls.only_one, calls.only_two, calls.neither)
        p = [_number(calls.p), _number(pair.calls_p_holm), calls.method]
        of_calls = [*map(str, counts), *_limits(calls.difference), *p]
    of_areas = [""] * 6
    if areas is not None:
        p = [_number(areas.p), _number(pair.areas_p_holm), areas.method]
        of_areas = [*_limits(areas.difference), *p]
    who = [pair.first, pair.second, str(pair.n_called)]
    return [*who, *of_calls, str(pair.n_rated), *of_areas, " ".join(pair.sentences)]


def _mean_rows(part: ReaderResults) -> Iterable[list[str]]:
    for mean in part.means:
        first = f"mean of {mean.n_readers} readers{', aided' if mean.aided else ''}"
        n = [str(mean.n_readers), str(mean.n_cases)]
        yield [first, "", mean.figure, *_limits(mean.mean), "", "", *n, mean.mean.method, ""]
    for found in (*part.mean_against_models, *part.mean_aided):
        pair = found.found
        p = [_number(pair.test.p), _number(found.p_holm)]
        n = [str(found.n_readers), str(found.n_cases)]
        who = [pair.first, pair.second, found.figure]
        yield [*who, *_limits(pair.difference), *p, *n, pair.difference.method, found.sentence]


def _kappa_rows(part: ReaderResults) -> Iterable[list[str]]:
    for aided, found in (("no", part.agreement), ("yes", part.agreement_aided)):
        if found is None:
            continue
        for pair in found.pairs:
            who = f"{pair.first}, {pair.second}"
            for name, estimate in (("agreement", pair.agreement), ("Cohen's kappa", pair.kappa)):
                yield [who, aided, name, *_limits(estimate), str(estimate.n), estimate.method]
        fleiss = found.fleiss
        who = f"{len(found.readers)} readers"
        yield [who, aided, "Fleiss' kappa", *_limits(fleiss), str(fleiss.n), fleiss.method]
