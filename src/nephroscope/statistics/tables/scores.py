"""A table of scores: its columns of scores and truth, and the AUC of each with every interval its rows allow."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from nephroscope.base.errors import ConfigError
from nephroscope.records import Estimate, EvaluationConfig
from nephroscope.statistics.auc import auc_covariance, redrawn_aucs
from nephroscope.statistics.estimates import Rows, estimate_all
from nephroscope.statistics.intervals import (
    NOTHING,
    ONE_PATIENT,
    WIDENED,
    Patients,
    hanley_mcneil,
    logit_limits,
    normal_quantile,
    percent,
    percentile_interval,
)
from nephroscope.statistics.metrics import Bools, Floats
from nephroscope.statistics.resampling import patients_words
from nephroscope.statistics.tables.columns import MISSING, TRUTH, CsvTable, number_of
from nephroscope.statistics.tables.rows import (
    Owners,
    ReadOptions,
    drop_missing,
    notes_on,
    owners_of,
    read_rows,
)

Part = tuple[Floats, Bools, Patients]  # scores, which rows are positive, and patients
SCORE = re.compile(
    r"(score|probability|probabilitie|prob|proba|prediction|predicted|pred|p|confidence|rating|model"
    r"|y_(score|prob|proba|pred|hat))s?([_ .-].+)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Scored:
    """Scores of the rows of a table, (n,) each, with truth and patients; ``notes`` are for the user."""

    table: CsvTable
    scores: dict[str, Floats]
    is_positive: Bools
    truth: str
    positive: str
    owners: Owners
    notes: tuple[str, ...]


def read_scored(path: Path, options: ReadOptions) -> Scored:
    """Read the table and find its columns; see `scored_of`."""
    return scored_of(read_rows(path, options), options)


def scored_of(table: CsvTable, options: ReadOptions) -> Scored:
    """Find the columns of a table.

    Raises:
        CohortError: A column is missing, a cell is wrong, a row occurs twice, or a case contradicts itself.
        ConfigError: The positive value, or the rows to keep, are not named or do not exist.
    """
    truth = table.need(options.truth, TRUTH, "--truth")
    titles = _score_columns(table, options, truth)
    table, left_out = drop_missing(table, (truth, *titles), options)
    is_positive, positive = table.positives(
        truth, options.positive or _positive_of(table, truth, options.score)
    )
    if not options.score:
        titles = _of_positive(table, truth, titles, positive)
    return _scored(table, options, (truth, titles), (is_positive, positive), left_out)


def _scored(
    table: CsvTable,
    options: ReadOptions,
    columns: tuple[str, Sequence[str]],
    positives: tuple[Bools, str],
    notes: Sequence[str],
) -> Scored:
    """The columns of truth and of scores, which rows are positive by which value, and notes so far."""
    truth, titles = columns
    sign = -1.0 if options.lower_is_positive else 1.0
    owners = owners_of(table, options, table.texts(truth), (truth, *titles))
    return Scored(
        table=table,
        scores={title: sign * table.numbers(title) for title in titles},
        is_positive=positives[0],
        truth=truth,
        positive=positives[1],
        owners=owners,
        notes=(*notes, *notes_on(table, owners)),
    )


def _score_columns(table: CsvTable, options: ReadOptions, truth: str) -> list[str]:
    if options.score:
        titles = [table.need(title, (), "--score") for title in options.score]
        if len(set(titles)) < len(titles) or truth in titles:
            raise ConfigError(
                where="--score",
                expected=f"every column once, and not the truth, {truth}",
                found=", ".join(options.score),
                remedy="correct it",
            )
        return titles
    titles = [title for title in table.header if SCORE.fullmatch(title) and title != truth]
    if not titles:
        expected = "a column of scores, such as score, probability or p_SUBTYPE"
        raise table.refusal(expected, table.titles, "name the column with --score")
    return [title for title in titles if _is_score(table, title, truth)] or titles


def _is_score(table: CsvTable, title: str, truth: str) -> bool:
    """False for a column of calls: words of the truth, or no numbers at all."""
    at, of_truth = table.header.index(title), table.header.index(truth)
    cells = {row[at] for _, row in table.rows if row[at] not in MISSING}
    return not cells <= {row[of_truth] for _, row in table.rows} and not all(
        math.isnan(number_of(cell)) for cell in cells
    )


def _positive_of(table: CsvTable, truth: str, score: Sequence[str]) -> str | None:
    """The value of truth of which the only score is the probability, p_VALUE."""
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
    place = f"column {title}"
    if len(values) != 2:
        found = f"{len(values)}: {', '.join(values[:6])}"
        raise scored.table.refusal("two values that split the patients", found, "correct --group", place)
    if shared:
        raise scored.table.refusal(
            "every patient in one of the two sets",
            f"{len(shared)} in both",
            "compare two columns of scores instead: that test is paired",
            place,
        )
    one, two = (_part(scored, score, texts == value) for value in values)
    return (values[0], one), (values[1], two)


def _part(scored: Scored, score: str, mask: Bools) -> Part:
    ids = [scored.owners.ids[i] for i in np.flatnonzero(mask).tolist()]
    y = scored.is_positive[mask]
    patients = replace(Patients.of(ids, y.astype(np.intp)), n_folds=scored.owners.patients.n_folds)
    return scored.scores[score][mask], y, patients


def read_probabilities(path: Path, options: ReadOptions) -> Scored:
    """Read the table; where the truth has more than two values, the positive one is compared with all others.

    Raises:
        CohortError: A column is missing, a cell is wrong, a row occurs twice, or a case contradicts itself.
        ConfigError: The positive value is not named, or a column is the probability of another value.
    """
    read = read_rows(path, options)
    truth = read.need(options.truth, TRUTH, "--truth")
    values = drop_missing(read, (truth,), options)[0].classes(truth)
    scored = scored_of(read, options) if len(values) <= 2 else _against_rest(read, options, truth, values)
    for name in scored.scores:
        whose = next((v for v in values if f"p_{v}".casefold() == name.casefold()), scored.positive)
        if whose != scored.positive:
            raise ConfigError(
                where=f"{scored.table.name}, column {name}",
                expected=f"the probability of {scored.positive}, the positive value",
                found=f"that of {whose}",
                remedy=f"use --positive {whose}, or name another column with --score",
            )
    return scored


def _against_rest(table: CsvTable, options: ReadOptions, truth: str, values: list[str]) -> Scored:
    if options.positive not in values:
        raise ConfigError(
            where=f"{table.name}, column {truth}",
            expected=f"--positive with one of the {len(values)} values: {', '.join(values[:6])}",
            found=repr(options.positive) if options.positive else "none",
            remedy="name the value to compare with all others",
        )
    titles = options.score or (table.need(None, (f"p_{options.positive}".casefold(),), "--score"),)
    titles = tuple(table.need(title, (), "--score") for title in titles)
    table, left_out = drop_missing(table, (truth, *titles), options)
    is_positive = np.array([text == options.positive for text in table.texts(truth)])
    others = ", ".join(value for value in values if value != options.positive)
    note = f"{options.positive} against all other values of {truth} together: {others}"
    return _scored(table, options, (truth, titles), (is_positive, options.positive), [note, *left_out])


@dataclass(frozen=True, kw_only=True)
class AucFigures:
    """An AUC and its intervals.

    Attributes:
        auc: The headline, computed as in `evaluate`.
        intervals: By name: delong (plain, as pROC prints it) and delong_logit; obuchowski, obuchowski_logit and
            patient_bootstrap where rows share patients. All of these take the answers as those of one fixed model.
        se: Standard errors by name: delong and hanley_mcneil, or obuchowski.
        headline: Name of the headline among the intervals: cross_validated where several folds answered, newcombe
            where the variance is zero or a class has fewer than five patients, widened for ratings of few levels,
            obuchowski_logit_t where rows share patients, else delong_logit.
    """

    auc: Estimate
    intervals: dict[str, Estimate]
    se: dict[str, float | None]
    headline: str


def auc_figures(
    scores: Floats,
    is_positive: Bools,
    patients: Patients,
    unit: Literal["image", "case"],
    config: EvaluationConfig,
) -> AucFigures:
    """The AUC of scores (n,) that mean positive where high; both classes are there.

    Source:
        DeLong 1988; Obuchowski 1997; Newcombe 2006 where their variance is zero.
    """
    own = is_positive.astype(np.intp)
    rows = Rows(
        unit=unit,
        truth=own,
        called=own,
        p=np.stack([-scores, scores], axis=1),
        patients=patients,
    )
    headline = estimate_all(rows, {}, {"auc": [(scores, is_positive)]}, config)["auc"]
    _, covariance, method = auc_covariance(scores[None], is_positive, patients)
    variance = None if covariance is None else float(covariance[0, 0])
    clustered = patients.n < is_positive.size
    name = "obuchowski" if clustered else "delong"
    plain, logit = _around(headline, variance, method, config.confidence)
    intervals = {name: plain, f"{name}_logit": logit}
    se = {name: None if variance is None else max(variance, 0.0) ** 0.5}
    if not clustered:
        m = int(own.sum())
        se["hanley_mcneil"] = hanley_mcneil(headline.value or 0.0, m, own.size - m) ** 0.5
    else:
        intervals["patient_bootstrap"] = _redrawn(headline, scores, is_positive, patients, config)
    chosen = _headline(headline, clustered, patients.n_folds)
    return AucFigures(auc=headline, intervals=intervals | {chosen: headline}, se=se, headline=chosen)


def _headline(headline: Estimate, clustered: bool, n_folds: int) -> str:
    """Name of the interval that `estimate_all` chose."""
    if n_folds > 1:
        return "cross_validated"
    if headline.method.startswith("Newcombe"):
        return "newcombe"
    if WIDENED in headline.method:
        return "widened"
    return "obuchowski_logit_t" if clustered else "delong_logit"


def _redrawn(
    headline: Estimate, scores: Floats, is_positive: Bools, patients: Patients, config: EvaluationConfig
) -> Estimate:
    """Percentiles of the AUC over redrawn patients with all their rows."""
    if min(patients.count(is_positive), patients.count(~is_positive)) < 2:
        return replace(headline, low=None, high=None, method=ONE_PATIENT)
    (drawn,) = redrawn_aucs([scores], is_positive, patients, config)
    interval = percentile_interval(drawn, patients_words(patients), config.confidence)
    return replace(headline, **interval._asdict())


def _around(
    headline: Estimate, variance: float | None, method: str, confidence: float
) -> tuple[Estimate, Estimate]:
    """Interval of the variance on the scale of the AUC, cut at 0 and 1 as pROC cuts it, and on the logit scale."""
    value = headline.value or 0.0
    if variance is None or variance < NOTHING or not 0 < value < 1:
        why = method if variance is None else f"no interval: the variance of {method} is zero"
        bare = replace(headline, low=None, high=None, method=why)
        return bare, bare
    half = normal_quantile(confidence) * variance**0.5
    low, high = logit_limits(value, variance, confidence)
    plain = replace(
        headline,
        low=max(0.0, value - half),
        high=min(1.0, value + half),
        method=f"{method}, plain, {percent(confidence)}",
    )
    on_logit = f"{method}, on the logit scale, {percent(confidence)}"
    return plain, replace(headline, low=low, high=high, method=on_logit)
