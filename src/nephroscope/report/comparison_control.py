"""The control of a comparison in; its part of the page, and how numbers without an interval stand in cells, out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from nephroscope.records import Estimate, counted_noun, p_words
from nephroscope.report.tables import Cell, Letters, Table

Content = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ComparisonPart:
    """One section of the page: words, tables and figures by name, and the figure ready to stand on it.

    ``more`` are words, and ``folded`` names of tables, that the page folds away.
    """

    words: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    folded: frozenset[str] = frozenset()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    html: str = ""
    limitations: tuple[str, ...] = ()
    methods: tuple[tuple[str, str], ...] = ()


def control_part(content: Content) -> ComparisonPart:
    """The same candidates with labels shuffled between patients."""
    letters = Letters()
    rows = [
        (
            row["name"],
            str(row["permutations"]),
            str(len(row["refused"])),
            letters.cell(Estimate(**row["auc"])),
            _counted(row.get("auc_by_fold"), row.get("auc_by_fold_n"), "permutation"),
            "-"
            if row["lowest"] is None
            else Cell(f"{row['lowest']:.2f} to {row['highest']:.2f}", _n(row["permutations"], "permutation")),
            _counted(row["observed"], content["n_cases"], "case"),
            _permutation_p(row),
        )
        for row in content["control"]
    ]
    header = (
        *("Candidate", "Permutations", "Refused", "Mean AUC, labels shuffled", "Same, mean of folds"),
        *("Range", "AUC, true labels", "Permutation p"),
    )
    notes = (*letters.notes, *refused_notes(content["control"]))
    table = Table(
        caption="With labels shuffled between patients", header=header, rows=tuple(rows), notes=notes
    )
    said = tuple(row["words"] for row in content["control"])
    method = (
        "Labels were permuted between patients, folds were dealt by the same rules, and every baseline was fitted "
        "and asked as with the true labels. Alarm: a mean AUC of 0.60 or more, or above 0.5 by a one-sided t test "
        "over permutations at 0.05, shared by all candidates (Bonferroni). Pooled over few folds, an AUC with "
        "nothing to learn lies somewhat below 0.5, so that small leaks can hide; the mean of folds lies at 0.5."
    )
    warnings = tuple(text for text in said if text.startswith("WARNING"))
    return ComparisonPart(
        words=(*warnings, *_no_alarm(content["control"])),
        more=tuple(text for text in said if text not in warnings),
        tables={"control": table},
        limitations=warnings,
        methods=(("Shuffled labels", method),),
    )


def _no_alarm(rows: Sequence[Content]) -> tuple[str, ...]:
    """How many candidates gave no alarm, and how much the control would have missed."""
    quiet = [row["noticed_above"] for row in rows if row["alarm"] is False]
    if not quiet:
        return ()
    return (
        f"No alarm for {len(quiet)} of {counted_noun(len(rows), 'candidate')}. That is no proof: with these "
        f"permutations a mean AUC of up to {max(quiet):.2f} would have gone unnoticed.",
    )


def _permutation_p(row: Content) -> str | Cell:
    if row["p"] is None or row["p"] != row.get("p_floor"):
        return p_cell(row["p"])
    return Cell(f"<= {p_words(row['p'])}", f"the least that {row['permutations']} permutations can give")


def refused_notes(rows: Sequence[Content]) -> list[str]:
    """Fits that were refused, with the reason."""
    return [f"{row['name']}, refused: {why}" for row in rows for why in dict.fromkeys(row["refused"])]


def p_cell(p: float | None) -> str:
    """A p-value, or a dash."""
    return "-" if p is None else p_words(p)


def spread_cell(row: Content, name: str) -> str | Cell:
    """A standard deviation over repeats: no interval, as these are too few; their number beside it."""
    return _counted(row[name], row.get(f"{name}_n"), row.get(f"{name}_unit", "repeat"))


def _counted(value: float | None, n: int | None, unit: str) -> str | Cell:
    """A number that has no interval, with what it was counted on."""
    if value is None:
        return "-"
    return f"{value:.3f}" if n is None else Cell(f"{value:.3f}", _n(n, unit))


def _n(n: int, unit: str) -> str:
    return f"n = {counted_noun(n, unit)}"
