"""Statistics of scores and calls: `nephroscope statistics auc`, `compare` and `mcnemar`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import ConfigError
from nephroscope.cli.command import Command, NamesOption, NumberOption, Outcome, Switch, TextOption, table
from nephroscope.cli.statistics_table import (
    ScoreCommand,
    TableCommand,
    answer,
    figures_table,
    limits_text,
    note_lines,
    number_text,
    p_text,
)

if TYPE_CHECKING:
    from nephroscope.statistics.auc import PairedTest
    from nephroscope.statistics.mcnemar import McNemarTest
    from nephroscope.statistics.tables.scores import Scored
    from nephroscope.statistics.tables.several import SeveralClasses


@dataclass(frozen=True, kw_only=True)
class DirectedScoreCommand(ScoreCommand):
    """Statistics of scores with a direction."""

    lower_is_positive: Switch = False
    """Low scores mean positive; this is never guessed."""


@dataclass(frozen=True, kw_only=True)
class Auc(DirectedScoreCommand):
    """AUC of each column of scores: DeLong, or Obuchowski and bootstrap where patients have several rows.

    Example: nephroscope statistics auc predictions.csv --positive ChRCC

    Example: nephroscope statistics auc aSAH.csv --truth outcome --positive Poor --score s100b ndka
    """

    def run(self) -> Outcome:
        """Compute it."""
        from nephroscope.statistics.metrics import roc_points
        from nephroscope.statistics.tables.scores import auc_figures, read_scored
        from nephroscope.statistics.tables.several import read_several

        several = read_several(self.file, self.read_options)
        if several is not None:
            return self._several(several)
        scored = read_scored(self.file, self.read_options)
        owners, listed, notes = scored.owners, [], [*scored.notes]
        rows: list[dict[str, object]] = []
        for name, scores in scored.scores.items():
            found = auc_figures(scores, scored.is_positive, owners.patients, owners.unit, self.config)
            fpr, tpr = roc_points(scores, scored.is_positive)
            rows.append(
                {
                    "score": name,
                    "auc": found.auc,
                    "headline": found.headline,
                    "intervals": found.intervals,
                    "se": found.se,
                    "roc": {"fpr": fpr.tolist(), "tpr": tpr.tolist()},
                }
            )
            for key, estimate in sorted(found.intervals.items(), key=lambda item: item[0] != found.headline):
                mark = "headline" if key == found.headline else ""
                se = number_text(found.se.get(key))
                listed.append([name, *limits_text(estimate), se, mark, estimate.method])
            if found.auc.value is not None and found.auc.value < 0.5:
                how = "omit" if self.lower_is_positive else "if low scores mean positive, use"
                notes.append(
                    f"{name}: AUC below 0.5: {scored.positive} has lower scores than the other class; scores were "
                    f"not reversed; {how} --lower-is-positive"
                )
        head = ["score", "AUC", "interval", "SE", "", "method"]
        return answer(scored, rows, [table(listed, head)], notes)

    def _several(self, several: "SeveralClasses") -> Outcome:
        """The mean over the classes, and each class against all others."""
        found = several.figures(self.config)
        rows = [{"score": name, "auc": estimate} for name, estimate in found.items()]
        text = figures_table(found, "area", "AUC")
        return answer(several.scored, rows, [text], several.scored.notes)


@dataclass(frozen=True, kw_only=True)
class NamedTest:
    """A test of two AUCs with the names of the two; ``score`` where it is one score in two groups of patients."""

    one: str
    two: str
    test: "PairedTest"
    score: str = ""
    p_holm: float | None = None

    def for_json(self, corrected: bool) -> dict[str, object]:
        """The test, its two names and, where there are several tests, the corrected p."""
        score = {"score": self.score} if self.score else {}
        holm = {"p_holm": self.p_holm} if corrected else {}
        return {**score, "one": self.one, "two": self.two, **as_plain(self.test), **holm}


@dataclass(frozen=True, kw_only=True)
class CompareAucs(DirectedScoreCommand):
    """Test whether scores of the same rows differ in AUC: by exchange of ranks, DeLong or Obuchowski.

    Example: nephroscope statistics compare aSAH.csv --truth outcome --positive Poor --score s100b wfns

    Example: nephroscope statistics compare aSAH.csv --truth outcome --positive Poor --score s100b --group gender
    """

    margin: NumberOption = None
    """Also test whether the first of each pair is at most so much worse than the second, or differs by less."""
    group: TextOption = None
    """Column with two values that divides patients into two groups, to compare one score between them (unpaired)."""

    def run(self) -> Outcome:
        """Compare them."""
        from nephroscope.statistics.auc import compare_all
        from nephroscope.statistics.margin import against_margin
        from nephroscope.statistics.mcnemar import holm
        from nephroscope.statistics.tables.scores import read_scored

        scored = read_scored(self.file, self.read_options)
        if self.group is not None:
            return self._unpaired(scored, self.group)
        names = list(scored.scores)
        if len(names) < 2:
            raise ConfigError(
                where="--score",
                expected="two or more columns to compare",
                found=", ".join(names),
                remedy="name another column with --score, or split the rows with --group",
            )
        found, overall = compare_all(
            list(scored.scores.values()), scored.is_positive, scored.owners.patients, self.config
        )
        corrected = holm([test.p for test in found.values()])
        tests = [
            NamedTest(one=names[i], two=names[j], test=test, p_holm=p)
            for ((i, j), test), p in zip(found.items(), corrected, strict=True)
        ]
        lines = [_tests_table(tests, len(tests) > 1)]
        if len(names) > 2:
            p = f"p {p_text(overall.p)}" if overall.p is not None else "no p"
            value = f"chi-squared {overall.chi2:.2f} on {overall.df}, " if overall.chi2 is not None else ""
            lines.append(f"all {len(names)} at once: {value}{p} ({overall.method})")
        pairs = [test.for_json(len(tests) > 1) for test in tests]
        if self.margin is not None:
            against = [against_margin(t.test, self.margin, (t.one, t.two)) for t in tests]
            pairs = [pair | {"margin": as_plain(one)} for pair, one in zip(pairs, against, strict=True)]
            lines += [one.words for one in against]
        more = {"paired": True, "pairs": pairs, "overall": overall if len(names) > 2 else None}
        return answer(scored, pairs, lines, scored.notes, more)

    def _unpaired(self, scored: "Scored", column: str) -> Outcome:
        from nephroscope.statistics.auc import compare_unpaired
        from nephroscope.statistics.tables.scores import split_by

        tests = []
        for name in scored.scores:
            (value_one, one), (value_two, two) = split_by(scored, column, name)
            test = compare_unpaired(one, two, self.config)
            tests.append(NamedTest(one=value_one, two=value_two, test=test, score=name))
        pairs = [test.for_json(corrected=False) for test in tests]
        more = {"paired": False, "group": column, "pairs": pairs}
        return answer(scored, pairs, [_tests_table(tests, corrected=False)], scored.notes, more)


def _tests_table(tests: Sequence[NamedTest], corrected: bool) -> str:
    rows = []
    for named in tests:
        test = named.test
        rows.append(
            [
                f"{named.score}: {named.one}, {named.two}" if named.score else f"{named.one}, {named.two}",
                *map(number_text, test.aucs),
                *limits_text(test.difference),
                limits_text(test.bootstrap)[1],
                number_text(test.se),
                "" if test.z is None else f"{test.z:.3f}",
                p_text(test.p),
                *([p_text(named.p_holm)] if corrected else []),
                test.method,
            ]
        )
    head = ["pair", "first", "second", "difference", "interval", "bootstrap", "SE", "z", "p"]
    return table(rows, [*head, *(["p (Holm)"] if corrected else []), "method"])


@dataclass(frozen=True, kw_only=True)
class McNemar(TableCommand):
    """Test whether two columns of calls are correct equally often on the same cases: McNemar, difference.

    Example: nephroscope statistics mcnemar calls.csv --truth subtype --call reader_1 model
    """

    call: NamesOption = ()
    """Two columns of calls, with the values of the truth; by default the only two named call_A, reader_A ..."""

    def run(self) -> Outcome:
        """Compare them."""
        from nephroscope.statistics.tables.calls import compare_calls

        found = compare_calls(self.file, self.call, self.read_options, self.config)
        one, two = found.columns
        rows = [_mcnemar_row(name, test) for name, test in found.tests.items()]
        head = ["on", "n", one, two, "difference", "interval", f"only {one}", f"only {two}", "p", "mid-p"]
        tests = {name: as_plain(test) | {"n": test.n} for name, test in found.tests.items()}
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
        accuracy = found.tests["all"]
        methods = f"p: {accuracy.method}; difference {one} minus {two}: {accuracy.difference.method}"
        first = {f"share_{k}" if k in ("one", "two") else k: value for k, value in tests["all"].items()}
        return Outcome(
            data=data | first, text="\n".join([table(rows, head), methods, *note_lines(found.notes)])
        )


def _mcnemar_row(name: str, test: "McNemarTest") -> list[str]:
    return [
        name,
        str(test.n),
        number_text(test.one.value),
        number_text(test.two.value),
        *limits_text(test.difference),
        str(test.only_one),
        str(test.only_two),
        p_text(test.p),
        p_text(test.mid_p),
    ]


TEST_STATISTICS: dict[str, type[Command]] = {"auc": Auc, "compare": CompareAucs, "mcnemar": McNemar}
