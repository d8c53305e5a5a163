"""`nephroscope readers`: radiologists against the models of a study; and the same on a plain table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from nephroscope.base.documents import as_plain
from nephroscope.base.errors import ConfigError
from nephroscope.cli.command import Command, NamesOption, NumberOption, Outcome, StudyPath, TextOption, table
from nephroscope.cli.statistics_table import IntervalCommand, TablePath
from nephroscope.records import Estimate, counted_noun
from nephroscope.records.settings import check_within

if TYPE_CHECKING:
    from nephroscope.questions.readers.call_table import CallOptions
    from nephroscope.questions.readers.comparisons import MeanOfReaders
    from nephroscope.questions.readers.figures import ReaderFigures
    from nephroscope.questions.readers.reader_study import ReaderResults, ReaderStudy

RunNames = Annotated[tuple[str, ...], tyro.conf.arg(name="run", metavar="NAME ...", help_behavior_hint="")]
Mapped = Annotated[tuple[str, ...], tyro.conf.arg(metavar="OURS=YOURS ...", help_behavior_hint="")]
SHOWN = ("accuracy", "sensitivity", "specificity")


@dataclass(frozen=True, kw_only=True)
class Readers(Command):
    """Compare radiologists with the models: each reader, their mean, paired tests, multi-reader analysis, kappa.

    Columns: case_id, reader, and call (a subtype, or not sure) or confidence (from 1, certainly not the positive
    subtype, to 5, certainly the positive subtype); also seconds, aided (yes, no) and kind (model, for rows of a
    program). Writes the folder readers/ of the study.

    Example: nephroscope readers my-study calls.csv --run mobilenet_v2
    """

    study: StudyPath
    """Study folder."""
    file: TablePath
    """Table of calls, one row per reader and case."""
    run_names: RunNames = ()
    """Complete runs to compare with; all of them if none is named."""
    scale: str = "auto"
    """Confidence scale: LOW-HIGH such as 1-7, or auto: the first of 1-5, -2-2, 0-1, 0-100 that fits."""
    models: NamesOption = ()
    """Names in the column reader that are programs."""
    columns: Mapped = ()
    """Columns with unusual titles, such as call=Befund."""
    margin: NumberOption = None
    """Loss of AUC against the readers that would not matter in a model; by default that of study.toml."""

    def run(self) -> Outcome:
        """Compare."""
        from nephroscope.facade.study import Study
        from nephroscope.questions.readers.write import FOLDER

        options = _options(self.scale, self.models, self.columns, self.margin)
        found = Study(self.study).readers(self.file, self.run_names, options)
        return _outcome(found, f"wrote {self.study / FOLDER}")


@dataclass(frozen=True, kw_only=True)
class TableReaders(IntervalCommand):
    """Compare readers with models from one table that also contains the truth; no study is needed.

    Columns as for `nephroscope readers`, and truth; patient_id where a patient has several cases.

    Example: nephroscope statistics readers calls.csv --positive PRCC --models mobilenet_v2
    """

    positive: TextOption = None
    """The subtype that sensitivity and confidence refer to."""
    models: NamesOption = ()
    """Names in the column reader that are programs."""
    scale: str = "auto"
    """Confidence scale: LOW-HIGH such as 1-7, or auto."""
    columns: Mapped = ()
    """Columns with unusual titles, such as call=Befund."""
    margin: NumberOption = None
    """Loss of AUC against the readers that would not matter in a model."""

    def run(self) -> Outcome:
        """Compare."""
        from nephroscope.questions.readers.call_table import labels_from_table, read_calls
        from nephroscope.questions.readers.reader_study import study_readers

        options = _options(self.scale, self.models, self.columns, self.margin)
        labels, meaning_of = labels_from_table(self.file, self.positive, options)
        table = read_calls(self.file, labels, meaning_of, options)
        return _outcome(study_readers(table, (), labels, self.config))


def _options(
    scale: str, models: tuple[str, ...], columns: tuple[str, ...], margin: float | None
) -> "CallOptions":
    from nephroscope.questions.readers.call_table import COLUMNS, CallOptions

    known = [column.name for column in COLUMNS]
    named: dict[str, str] = {}
    for pair in columns:
        ours, equals, yours = pair.partition("=")
        if ours not in known or not equals or not yours:
            raise ConfigError(
                where="--columns",
                expected=f"OURS=YOURS with one of {', '.join(known)}",
                found=repr(pair),
                remedy="correct it, for example call=Befund",
            )
        named[ours] = yours
    if margin is not None:
        check_within("--margin", margin, 0.0001, 0.5)
    return CallOptions(columns=named, scale=scale, models=models, margin=margin)


def _outcome(found: "ReaderStudy", wrote: str = "") -> Outcome:
    findings = "\n".join(f"{f.severity}: {f.message}" for f in found.findings)
    text = "\n".join(line for line in (_text(found), wrote) if line)
    return Outcome(data=as_plain(found), text=text, warning=findings)


def _text(found: "ReaderStudy") -> str:
    synthetic = "SYNTHETIC; " if found.synthetic else ""
    lines = [
        f"{synthetic}{counted_noun(found.n_cases, 'case')} of {counted_noun(found.n_patients, 'patient')}; "
        f"positive: {found.positive}; correct/counted (interval); intervals: {_methods(found)}"
    ]
    if found.scale:
        lines.append(f"confidence: {found.scale}")
    several = len(found.parts) > 1
    for part in found.parts:
        if several:
            patients = counted_noun(part.n_patients, "patient")
            lines.append(f"\n{part.test_set}: {counted_noun(part.n_cases, 'case')} of {patients}")
        lines += _part_lines(part, found.sentences_of(part))
    return "\n".join(lines)


def _methods(found: "ReaderStudy") -> str:
    """Names of the intervals of accuracy, once each, with who has them where there are several."""
    by_method: dict[str, list[str]] = {}
    for one in (*found.readers, *found.models):
        method = one.figures["accuracy"].method
        if one.figures["accuracy"].value is not None and not method.startswith("no interval"):
            short = (
                "patient bootstrap" if method.startswith("patient bootstrap") else method.rpartition(",")[0]
            )
            by_method.setdefault(short, []).append("models" if one.model else "readers")
    if len(by_method) == 1:
        return next(iter(by_method))
    return (
        "; ".join(f"{' and '.join(dict.fromkeys(who))}: {name}" for name, who in by_method.items()) or "none"
    )


def _part_lines(part: "ReaderResults", sentences: Sequence[str]) -> list[str]:
    header = ("", "cases", "called", *SHOWN, "AUC", "seconds, median (quartiles)")
    rows = [_row(one) for one in (*part.readers, *part.models)]
    lines = [table([*rows, *_mean_rows(part)], header), *_agreement_lines(part), *sentences]
    if part.n_tests > 1:
        lines.append(
            f"{part.n_tests} tests; a difference is judged by the p corrected for all tests of its question (Holm)."
        )
    return lines


def _row(one: "ReaderFigures") -> list[str]:
    title = one.name + (", aided" if one.aided else "") + (" (model)" if one.model else "")
    shares = [f"{one.counts[name][0]}/{one.counts[name][1]} {_bounds(one.figures[name])}" for name in SHOWN]
    time = one.time
    seconds = f"{time.median_s:g} ({time.lower_quartile_s:g} to {time.upper_quartile_s:g})" if time else ""
    called = str(one.counts["coverage"][0])
    return [title, str(one.n_cases), called, *shares, _value(one.figures["auc"]), seconds]


def _mean_rows(found: "ReaderResults") -> Iterable[list[str]]:
    for aided in (False, True):
        means: dict[str, MeanOfReaders] = {mean.figure: mean for mean in found.means if mean.aided is aided}
        if any(mean.mean.value is not None for mean in means.values()):
            n = means["accuracy"]
            rated = means["auc"].n_cases
            cases = f"{n.n_cases} (AUC {rated})" if rated not in (0, n.n_cases) else str(n.n_cases)
            title = f"mean of {n.n_readers} readers{', aided' if aided else ''}"
            values = [_value(means[name].mean) for name in (*SHOWN, "auc")]
            yield [title, cases, "", *values, ""]


def _agreement_lines(found: "ReaderResults") -> Iterable[str]:
    for title, kappa in (("", found.agreement), (", aided", found.agreement_aided)):
        if kappa is None:
            continue
        for pair in kappa.pairs:
            value, agreed = pair.kappa, pair.agreement
            cohen = _value(value) if value.value is not None else f"not available ({value.method})"
            share = f"{100 * (agreed.value or 0):.0f} % ({counted_noun(agreed.n, 'case')})"
            yield f"{pair.first} and {pair.second}{title}: Cohen's kappa {cohen}, same call in {share}"
        if len(kappa.readers) > 2:
            yield f"{len(kappa.readers)} readers{title}: Fleiss' kappa {kappa.fleiss}"


def _value(estimate: Estimate) -> str:
    return "" if estimate.value is None else estimate.interval()


def _bounds(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"({estimate.low:.3f} to {estimate.high:.3f})"
