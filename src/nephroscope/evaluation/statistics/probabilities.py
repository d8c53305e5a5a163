"""A CSV of probabilities in; those of one value of the truth, against the other or against all others, out."""

from pathlib import Path

import numpy as np

from nephroscope.errors import ConfigError
from nephroscope.evaluation.statistics.columns import TRUTH, CsvTable
from nephroscope.evaluation.statistics.owners import Asked, complete, notes_on, owners_of, read_rows
from nephroscope.evaluation.statistics.scored import Scored, scored_of


def read_probabilities(path: Path, asked: Asked) -> Scored:
    """Read the table; where the truth has more than two values, the positive one stands against all others.

    Raises:
        CohortError: A column is missing, a cell is none, a row stands twice, or a case contradicts itself.
        ConfigError: Which value is positive is not said, or a column is the probability of another value.
    """
    read = read_rows(path, asked)
    truth = read.need(asked.truth, TRUTH, "--truth")
    values = complete(read, (truth,), asked)[0].classes(truth)
    scored = scored_of(read, asked) if len(values) <= 2 else _against_rest(read, asked, truth, values)
    for name in scored.scores:
        whose = next((v for v in values if f"p_{v}".casefold() == name.casefold()), scored.positive)
        if whose != scored.positive:
            raise ConfigError(
                where=f"{scored.table.name}, column {name}",
                expected=f"the probability of {scored.positive}, the positive value",
                found=f"that of {whose}",
                remedy=f"say --positive {whose}, or name another column with --score",
            )
    return scored


def _against_rest(table: CsvTable, asked: Asked, truth: str, values: list[str]) -> Scored:
    if asked.positive not in values:
        raise ConfigError(
            where=f"{table.name}, column {truth}",
            expected=f"--positive with one of the {len(values)} values: {', '.join(values[:6])}",
            found=repr(asked.positive) if asked.positive else "none said",
            remedy="say which value stands against all others",
        )
    titles = asked.score or (table.need(None, (f"p_{asked.positive}".casefold(),), "--score"),)
    titles = tuple(table.need(title, (), "--score") for title in titles)
    table, left_out = complete(table, (truth, *titles), asked)
    texts = table.texts(truth)
    owners = owners_of(table, asked, texts, (truth, *titles))
    others = ", ".join(value for value in values if value != asked.positive)
    note = f"{asked.positive} against all other values of {truth} together: {others}"
    return Scored(
        table=table,
        scores={title: table.numbers(title) for title in titles},
        is_positive=np.array([text == asked.positive for text in texts]),
        truth=truth,
        positive=asked.positive,
        owners=owners,
        notes=(note, *left_out, *notes_on(table, owners)),
    )
