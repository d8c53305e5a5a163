"""A CSV of scores in; scores, truth and patients out, with everything a reader should be told about them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nephroscope.errors import CohortError, ConfigError
from nephroscope.evaluation.intervals import Patients
from nephroscope.evaluation.metrics import Bools, Floats
from nephroscope.evaluation.statistics.columns import MISSING, TRUTH, CsvTable
from nephroscope.evaluation.statistics.owners import Asked, Owners, complete, notes_on, owners_of, read_rows

Part = tuple[Floats, Bools, Patients]  # scores, which are positive, and whose each row is
SCORE = re.compile(
    r"(score|probability|probabilitie|prob|proba|prediction|predicted|pred|p|confidence|rating|model"
    r"|y_(score|prob|proba|pred|hat))s?([_ .-].+)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Scored:
    """Scores of the rows of a table, (n,) each, with truth and owners; ``notes`` are for the reader."""

    table: CsvTable
    scores: dict[str, Floats]
    is_positive: Bools
    truth: str
    positive: str
    owners: Owners
    notes: tuple[str, ...]


def read_scored(path: Path, asked: Asked) -> Scored:
    """Read the table and find its columns; see `scored_of`."""
    return scored_of(read_rows(path, asked), asked)


def scored_of(table: CsvTable, asked: Asked) -> Scored:
    """Find the columns of a table.

    Raises:
        CohortError: A column is missing, a cell is none, a row stands twice, or a case contradicts itself.
        ConfigError: Which value is positive, or which rows to keep, is not said or not there.
    """
    truth = table.need(asked.truth, TRUTH, "--truth")
    titles = _score_columns(table, asked, truth)
    table, left_out = complete(table, (truth, *titles), asked)
    is_positive, positive = table.positives(truth, asked.positive or _positive_of(table, truth, asked.score))
    if not asked.score:
        titles = _of_positive(table, truth, titles, positive)
    sign = -1.0 if asked.lower_is_positive else 1.0
    scores = {title: sign * table.numbers(title) for title in titles}
    owners = owners_of(table, asked, table.texts(truth), (truth, *titles))
    return Scored(
        table=table,
        scores=scores,
        is_positive=is_positive,
        truth=truth,
        positive=positive,
        owners=owners,
        notes=(*left_out, *notes_on(table, owners)),
    )


def _score_columns(table: CsvTable, asked: Asked, truth: str) -> list[str]:
    if asked.score:
        titles = [table.need(title, (), "--score") for title in asked.score]
        if len(set(titles)) < len(titles) or truth in titles:
            raise ConfigError(
                where="--score",
                expected=f"every column once, and not the truth, {truth}",
                found=", ".join(asked.score),
                remedy="correct it",
            )
        return titles
    titles = [title for title in table.header if SCORE.fullmatch(title) and title != truth]
    if not titles:
        raise CohortError(
            where=table.name,
            expected="a column of scores, such as score, probability or p_SUBTYPE",
            found=table.titles,
            remedy="name the column with --score",
        )
    return [title for title in titles if _is_score(table, title, truth)] or titles


def _is_score(table: CsvTable, title: str, truth: str) -> bool:
    """False for a column of calls: words of the truth, or no numbers at all."""
    at, of_truth = table.header.index(title), table.header.index(truth)
    cells = {row[at] for _, row in table.rows if row[at] not in MISSING}
    return not cells <= {row[of_truth] for _, row in table.rows} and any(map(_is_number, cells))


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _positive_of(table: CsvTable, truth: str, score: Sequence[str]) -> str | None:
    """The value of truth that the one score asked for is the probability of, p_VALUE."""
    if len(score) != 1:
        return None
    return next(
        (v for v in sorted(set(table.texts(truth))) if f"p_{v}".casefold() == score[0].casefold()), None
    )


def _of_positive(table: CsvTable, truth: str, titles: list[str], positive: str) -> list[str]:
    """The columns without p_VALUE of the other class, where the positive has its own."""
    own = f"p_{positive}".casefold()
    others = {f"p_{value}".casefold() for value in set(table.texts(truth))} - {own}
    if own not in {title.casefold() for title in titles}:
        return titles
    return [title for title in titles if title.casefold() not in others]


def split_by(scored: Scored, column: str, score: str) -> tuple[tuple[str, Part], tuple[str, Part]]:
    """The two sets of patients that a column of two values makes, each as scores, classes and owners.

    Raises:
        CohortError: The column has not two values, a patient is in both sets, or a set lacks a class.
    """
    title = scored.table.need(column, (), "--group")
    texts = np.array(scored.table.texts(title))
    values = sorted(set(texts.tolist()))
    shared = set.intersection(
        *({scored.owners.ids[i] for i in np.flatnonzero(texts == v).tolist()} for v in values)
    )
    where = f"{scored.table.name}, column {title}"
    if len(values) != 2:
        found = f"{len(values)}: {', '.join(values[:6])}"
        raise CohortError(
            where=where, expected="two values that split the patients", found=found, remedy="correct --group"
        )
    if shared:
        raise CohortError(
            where=where,
            expected="every patient in one of the two sets",
            found=f"{len(shared)} in both",
            remedy="compare two columns of scores instead: that test is paired",
        )
    one, two = (_part(scored, score, texts == value) for value in values)
    return (values[0], one), (values[1], two)


def _part(scored: Scored, score: str, mask: Bools) -> Part:
    ids = [scored.owners.ids[i] for i in np.flatnonzero(mask).tolist()]
    y = scored.is_positive[mask]
    return scored.scores[score][mask], y, Patients.of(ids, y.astype(np.intp))
