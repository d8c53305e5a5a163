"""Statistics of scores and calls: `nephroscope statistics auc`, `compare` and `mcnemar`."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nephroscope.base.errors import ConfigError
from nephroscope.cli.command import Command, Outcome, table
from nephroscope.cli.statistics_table import (
    ScoreCommand,
    TableCommand,
    limits_text,
    number_text,
    p_text,
    told,
)
from nephroscope.records import Estimate, counted_noun

if TYPE_CHECKING:
    from nephroscope.statistics.auc import PairedTest
    from nephroscope.statistics.mcnemar import McNemarTest
    from nephroscope.statistics.tables.scores import Scored


@dataclass(frozen=True, kw_only=True)
class Auc(ScoreCommand):
    """AUC of each column of scores, by DeLong, or by Obuchowski and patient bootstrap where rows share patients.

    Example: nephroscope statistics auc predictions.csv --positive ChRCC

    Example: nephroscope statistics auc aSAH.csv --truth outcome --positive Poor --score s100b ndka
    """

    def run(self) -> Outcome:
        """Compute it."""
        from nephroscope.statistics.metrics import roc_points
        from nephroscope.statistics.tables.scores import auc_figures, read_scored

        scored = read_scored(self.file, self.asked)
        owners, rows, listed = scored.owners, [], []
        notes = [*scored.notes]
        for name, scores in scored.scores.items():
            found = auc_figures(scores, scored.is_positive, owners.patients, owners.unit, self.config)
            fpr, tpr = roc_points(scores, scored.is_positive)
            figures = {key: asdict(value) for key, value in found.intervals.items()}
            rows.append(
                {
                    "score": name,
                    "auc": asdict(found.auc),
                    "headline": found.headline,
                    "intervals": figures,
                    "se": found.se,
                    "roc": {"fpr": fpr.tolist(), "tpr": tpr.tolist()},
                }
            )
            first = dict(sorted(found.intervals.items(), key=lambda item: item[0] != found.headline))
            for key, estimate in first.items():
                mark = "headline" if key == found.headline else ""
                se = found.se.get(key)
                listed.append([name, *limits_text(estimate), number_text(se), mark, estimate.method])
            if (found.auc.value or 0.0) < 0.5:
                say = "drop" if self.lower_is_positive else "if low scores mean positive, say"
                notes.append(
                    f"{name}: below 0.5: it ranks {scored.positive} below the other class; nothing was flipped; "
                    f"{say} --lower-is-positive"
                )
        head = ["score", "AUC", "interval", "SE", "", "method"]
        data = _facts(scored, notes) | {"scores": rows} | rows[0]
        return Outcome(data=data, text="\n".join([_head(scored), table(listed, head), *told(notes)]))


@dataclass(frozen=True, kw_only=True)
class CompareAucs(ScoreCommand):
    """Whether scores of the same rows have the same AUC: DeLong, or Obuchowski where rows share patients.

    Example: nephroscope statistics compare aSAH.csv --truth outcome --positive Poor --score s100b wfns

    Example: nephroscope statistics compare aSAH.csv --truth outcome --positive Poor --score s100b --group gender
    """

    group: str | None = None
    """Column of two values that splits the patients: an unpaired test of one score between the two."""

    def run(self) -> Outcome:
        """Compare them."""
        from nephroscope.statistics.auc import compare_all
        from nephroscope.statistics.mcnemar import holm
        from nephroscope.statistics.tables.scores import read_scored

        scored = read_scored(self.file, self.asked)
        if self.group is not None:
            return self._unpaired(scored, self.group)
        if len(scored.scores) < 2:
            raise ConfigError(
                where="--score",
                expected="two or more columns to compare",
                found=", ".join(scored.scores),
                remedy="name another column with --score, or split the rows with --group",
            )
        names = list(scored.scores)
        tests, overall = compare_all(
            list(scored.scores.values()), scored.is_positive, scored.owners.patients, self.config
        )
        pairs = [_pair(names[i], names[j], test) for (i, j), test in tests.items()]
        if len(pairs) > 1:
            corrected = holm([pair["p"] for pair in pairs])
            pairs = [pair | {"p_holm": p} for pair, p in zip(pairs, corrected, strict=True)]
        data = _facts(scored, scored.notes) | {
            "paired": True,
            "pairs": pairs,
            "overall": asdict(overall) if len(names) > 2 else None,
        }
        lines = [_head(scored), _pairs_text(pairs)]
        if len(names) > 2:
            p = f"p {p_text(overall.p)}" if overall.p is not None else "no p"
            value = f"chi-squared {overall.chi2:.2f} on {overall.df}, " if overall.chi2 is not None else ""
            lines.append(f"all {len(names)} at once: {value}{p} ({overall.method})")
        return Outcome(data=data | pairs[0], text="\n".join([*lines, *told(scored.notes)]))

    def _unpaired(self, scored: "Scored", column: str) -> Outcome:
        from nephroscope.statistics.auc import compare_unpaired
        from nephroscope.statistics.tables.scores import split_by

        pairs = []
        for name in scored.scores:
            (value_one, one), (value_two, two) = split_by(scored, column, name)
            pairs.append(
                {"score": name} | _pair(value_one, value_two, compare_unpaired(one, two, self.config))
            )
        data = _facts(scored, scored.notes) | {"paired": False, "group": column, "pairs": pairs}
        text = "\n".join([_head(scored), _pairs_text(pairs), *told(scored.notes)])
        return Outcome(data=data | pairs[0], text=text)


@dataclass(frozen=True, kw_only=True)
class McNemar(TableCommand):
    """Whether two columns of calls are right equally often on the same cases: exact McNemar, and the difference.

    Example: nephroscope statistics mcnemar calls.csv --truth subtype --call reader_1 model
    """

    call: tuple[str, ...] = ()
    """Two columns of calls, in the words of the truth; by default the only two named call_A, reader_A ..."""

    def run(self) -> Outcome:
        """Compare them."""
        from nephroscope.statistics.tables.calls import compare_calls

        found = compare_calls(self.file, self.call, self.asked, self.config)
        one, two = found.columns
        rows = [_mcnemar_row(name, test) for name, test in found.tests.items()]
        head = ["on", "n", one, two, "difference", "interval", f"only {one}", f"only {two}", "p", "mid-p"]
        tests = {name: asdict(test) | {"n": test.n} for name, test in found.tests.items()}
        data = {
            "file": self.file.name,
            "truth": found.truth,
            "one": one,
            "two": two,
            "rows": found.n_rows,
            "patients": found.n_patients,
            "clustered": found.n_patients < found.n_rows,
            "notes": list(found.notes),
            "tests": tests,
        }
        every = found.tests["all"]
        methods = f"p: {every.method}; difference {one} minus {two}: {every.difference.method}"
        text = "\n".join([table(rows, head), methods, *told(found.notes)])
        lead = tests["all"]
        return Outcome(
            data=data | {f"share_{k}" if k in ("one", "two") else k: v for k, v in lead.items()}, text=text
        )


TEST_STATISTICS: dict[str, type[Command]] = {"auc": Auc, "compare": CompareAucs, "mcnemar": McNemar}


def _facts(scored: "Scored", notes: Iterable[str]) -> dict[str, Any]:
    return {
        "file": scored.table.name,
        "rows": scored.is_positive.size,
        "positive_rows": int(scored.is_positive.sum()),
        "patients": scored.owners.patients.n,
        "patient_column": scored.owners.column,
        "clustered": scored.owners.clustered,
        "truth": scored.truth,
        "positive": scored.positive,
        "notes": list(notes),
    }


def _head(scored: "Scored") -> str:
    n, positive = scored.is_positive.size, int(scored.is_positive.sum())
    return (
        f"{scored.table.name}: {counted_noun(n, 'row')} of "
        f"{counted_noun(scored.owners.patients.n, 'patient')}; {scored.truth} is "
        f"{scored.positive} (positive) in {counted_noun(positive, 'row')}, another in {n - positive}"
    )


def _pair(one: str, two: str, test: "PairedTest") -> dict[str, Any]:
    return {"one": one, "two": two} | asdict(test)


def _pairs_text(pairs: Sequence[dict[str, Any]]) -> str:
    rows = []
    for pair in pairs:
        aucs = [number_text(value) for value in pair["aucs"]]
        difference, beside = Estimate(**pair["difference"]), Estimate(**pair["bootstrap"])
        name = (
            f"{pair['score']}: {pair['one']}, {pair['two']}"
            if "score" in pair
            else f"{pair['one']}, {pair['two']}"
        )
        statistic = "" if pair["z"] is None else f"{pair['z']:.3f}"
        adjusted = [p_text(pair["p_holm"])] if "p_holm" in pair else []
        limits = [*limits_text(difference), limits_text(beside)[1]]
        rows.append(
            [
                name,
                *aucs,
                *limits,
                number_text(pair["se"]),
                statistic,
                p_text(pair["p"]),
                *adjusted,
                pair["method"],
            ]
        )
    head = ["pair", "first", "second", "difference", "interval", "bootstrap", "SE", "z", "p"]
    more = ["p (Holm)"] if "p_holm" in pairs[0] else []
    return table(rows, [*head, *more, "method"])


def _mcnemar_row(name: str, test: "McNemarTest") -> list[str]:
    shares = [number_text(share.value) for share in (test.one, test.two)]
    counts = [str(test.only_one), str(test.only_two)]
    return [
        name,
        str(test.n),
        *shares,
        *limits_text(test.difference),
        *counts,
        p_text(test.p),
        p_text(test.mid_p),
    ]
