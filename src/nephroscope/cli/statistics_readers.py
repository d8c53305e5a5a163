"""`nephroscope statistics` on several readers: `mrmc`, `kappa` and `readers`."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import ConfigError
from nephroscope.cli.command import Command, NamesOption, NumberOption, Outcome, TextOption, table
from nephroscope.cli.readers import TableReaders
from nephroscope.cli.statistics_table import IntervalCommand, TablePath
from nephroscope.records import Estimate, p_is
from nephroscope.records.settings import check_within

if TYPE_CHECKING:
    from nephroscope.statistics.kappa import KappaReport
    from nephroscope.statistics.mrmc import Difference, MrmcReport, TreatmentTest


@dataclass(frozen=True, kw_only=True)
class Mrmc(Command):
    """Compare modalities (treatments) read by several readers on the same cases: Obuchowski-Rockette, Hillis' df.

    One row per reader, treatment and case. Columns are found by their usual names (reader, treatment, case, truth,
    rating), or named by the options.

    Example: nephroscope statistics mrmc ratings.csv --positive 1
    """

    file: TablePath
    """Long table of ratings."""
    reader: TextOption = None
    """Column of readers."""
    treatment: TextOption = None
    """Column of treatments (modalities, unaided and aided)."""
    case: TextOption = None
    """Column of cases."""
    truth: TextOption = None
    """Column of the truth, with two values."""
    rating: TextOption = None
    """Column of ratings (higher means more certainly positive) or of calls (0 and 1)."""
    patient: TextOption = None
    """Column of patients, if patients have several cases."""
    positive: TextOption = None
    """Which value of the truth is positive."""
    figure: Literal["auc", "sensitivity", "specificity", "accuracy"] = "auc"
    """Measure to compare."""
    threshold: NumberOption = None
    """For sensitivity, specificity and accuracy: a case is called positive at this rating or above."""
    covariance: Literal["jackknife", "delong"] = "jackknife"
    """How the covariances over patients are estimated."""
    confidence: float = 0.95
    """Confidence level of the intervals."""

    def run(self) -> Outcome:
        """Analyse."""
        from nephroscope.statistics.mrmc import analyse
        from nephroscope.statistics.tables.columns import read_csv
        from nephroscope.statistics.tables.readers import read_design

        check_within("--confidence", self.confidence, 0.5, 0.999)
        _check_threshold(self.threshold, self.figure)
        design = read_design(read_csv(self.file), vars(self), self.figure, self.threshold)
        if len(design.readers) < 2:
            raise ConfigError(
                where=f"{self.file.name}, readers",
                expected="two readers or more",
                found=f"one: {design.readers[0]}",
                remedy="for one reader use `nephroscope statistics compare`",
            )
        report = analyse(design, self.figure, self.covariance, self.confidence)
        n, warning = len(design.readers), ""
        if n < 5:
            where = "see the fixed-readers analysis and each reader"
            warning = f"{n} readers are too few to generalize to other readers; {where}"
        return Outcome(data=as_plain(report), text=_mrmc_text(report), warning=warning)


@dataclass(frozen=True, kw_only=True)
class Kappa(IntervalCommand):
    """Agreement of two or more readers: Cohen's kappa of each pair, and Fleiss' kappa over all.

    Long table (columns case, reader, call), or one row per case with a column per reader, named with --columns.

    Example: nephroscope statistics kappa calls.csv
    """

    reader: TextOption = None
    """Column of readers, in a long table."""
    case: TextOption = None
    """Column of cases."""
    call: TextOption = None
    """Column of calls, in a long table."""
    columns: NamesOption = ()
    """In a wide table: the columns of the readers."""
    patient: TextOption = None
    """Column of patients, if patients have several cases."""
    weights: Literal["none", "linear", "quadratic"] = "none"
    """Weights for near misses, if the calls have an order (Cohen's kappa only)."""
    order: NamesOption = ()
    """All calls from lowest to highest; not needed for numbers."""

    def run(self) -> Outcome:
        """Compare."""
        from nephroscope.statistics.kappa import compare_readers
        from nephroscope.statistics.tables.columns import read_csv
        from nephroscope.statistics.tables.readers import order_of, read_readings

        if len(set(self.order)) < len(self.order):
            found = " ".join(self.order)
            raise ConfigError(where="--order", expected="every call once", found=found, remedy="correct it")
        readings, patient_of = read_readings(read_csv(self.file), vars(self), self.columns)
        ordered = order_of(readings, self.order, self.weights)
        report = compare_readers(readings, patient_of, self.config, ordered, self.weights)
        return Outcome(data=as_plain(report), text=_kappa_text(report))


READER_STATISTICS: dict[str, type[Command]] = {"mrmc": Mrmc, "kappa": Kappa, "readers": TableReaders}


def _interval_text(estimate: Estimate) -> str:
    """Value and interval, without n and method."""
    if estimate.value is None:
        return "not available"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.4f}"
    return f"{estimate.value:.4f} ({estimate.low:.4f} to {estimate.high:.4f})"


def _test_text(test: "TreatmentTest") -> str:
    """Statistic, degrees of freedom and p."""
    if test.statistic is None or test.p is None:
        return f"no p ({test.method})"
    degrees = [f"{df:.2f}".rstrip("0").rstrip(".") for df in (test.df1, test.df2) if df is not None]
    name = "chi-square" if "chi-square" in test.method else test.method.split()[1].rstrip(",")
    inside = f"({', '.join(degrees)})" if degrees else ""
    return f"{name}{inside} = {test.statistic:.3f}, {p_is(test.p, 4)}"


def _difference_text(found: "Difference") -> str:
    difference, test = _interval_text(found.difference), _test_text(found.test)
    return f"{found.first} minus {found.second}: {difference}, {test}"


def _mrmc_text(report: "MrmcReport") -> str:
    rows = [
        [reader, *(_interval_text(cell) for cell in report.figures if cell.reader == reader)]
        for reader in report.readers
    ]
    head = (
        f"{report.figure}, {len(report.readers)} readers, {len(report.treatments)} treatments, "
        f"{report.n_cases} cases of {report.n_patients} patients ({report.n_positive} positive)"
    )
    lines = [head, table(rows, ("reader", *report.treatments))]
    for analysis in report.analyses.values():
        lines.append(f"{analysis.model} ({report.covariance} covariances):")
        lines += [f"  mean, {name}: {_interval_text(e)}" for name, e in analysis.means.items()]
        lines.append(f"  test of all treatments: {_test_text(analysis.test)}")
        lines += [f"  {_difference_text(found)}" for found in analysis.differences]
    if report.single_readers:
        lines.append("within each reader:")
    lines += [f"  {found.reader}, {_difference_text(found)}" for found in report.single_readers]
    return "\n".join(lines)


def _kappa_text(report: "KappaReport") -> str:
    rows = [
        (
            f"{pair.first}, {pair.second}",
            pair.agreement.n,
            _interval_text(pair.agreement),
            _interval_text(pair.kappa),
        )
        for pair in report.pairs
    ]
    lines = [table(rows, ("readers", "cases", "agreement", f"Cohen's kappa (weights: {report.weights})"))]
    lines.append(f"Fleiss' kappa of {len(report.readers)} readers: {report.fleiss}")
    if report.n_not_sure:
        lines.append(
            f'answers "not sure" left out of every figure: {report.n_not_sure}; --order keeps them as a call'
        )
    if report.n_incomplete:
        lines.append(f"{report.n_incomplete} cases not called by every reader: left out of Fleiss' kappa")
    return "\n".join(lines)


def _check_threshold(threshold: float | None, figure: str) -> None:
    if threshold is None or (math.isfinite(threshold) and figure != "auc"):
        return
    shares = "sensitivity, specificity or accuracy"
    raise ConfigError(
        where="--threshold",
        expected=f"a number, together with --figure {shares}",
        found=f"{threshold:g} with --figure {figure}",
        remedy="correct --threshold or --figure",
    )
