"""The tables of the page as plain rows: exclusions, findings, split, figures; records for all tables."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from nephroscope.records import Estimate, EvaluationGroup, Finding, counted_noun
from nephroscope.report.content import ReportContent

NAMES = {
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "auc": "AUC",
    "coverage": "Coverage (share with a call)",
    "accuracy_when_sure": "Accuracy when sure",
}
MOST_REASONS = 30
SEXES = {"M": "men", "F": "women", "O": "other"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure, and in small print what it counts."""

    text: str
    small: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A caption, a header and rows; the first cell of a row names it. ``notes`` stand below."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    notes: tuple[str, ...] = field(default=())


def exclusion_table(content: ReportContent) -> Table:
    """Who was left out and why, on import and at later steps."""
    counts = Counter((e.reason, e.subtype or "not stated") for e in content.cohort.exclusions)
    counts += Counter((f"{f.code}: {f.message}", "") for f in content.findings if f.severity == "refusal")
    ordered = counts.most_common()
    rows = [(reason, subtype, str(n)) for (reason, subtype), n in ordered[:MOST_REASONS]]
    rest = ordered[MOST_REASONS:]
    if rest:
        rows.append((f"and {len(rest)} more reasons, see exclusions.csv", "", str(sum(n for _, n in rest))))
    return Table(caption="Who was left out", header=("Reason", "Subtype", "Cases"), rows=tuple(rows))


def finding_table(content: ReportContent) -> Table:
    """Notes and warnings about the data, gathered by kind, warnings first; the first message stands for all."""
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in content.findings:
        if finding.severity != "refusal":
            kinds.setdefault((finding.severity, finding.code), []).append(finding)
    rows = []
    for (severity, code), found in sorted(
        kinds.items(), key=lambda kind: (kind[0][0] != "warning", kind[0][1])
    ):
        cases = list(dict.fromkeys(f.case_id for f in found if f.case_id))
        named = ", ".join(cases[:8]) + (f" and {len(cases) - 8} more" if len(cases) > 8 else "")
        others = len({f.message for f in found}) - 1
        message = found[0].message + (f" (and {others} of the same kind)" if others else "")
        rows.append((severity, code, message, named or "all"))
    header = ("Severity", "Finding", "What was found", "Cases")
    return Table(caption="Findings in the data", header=header, rows=tuple(rows))


def split_table(content: ReportContent) -> Table:
    """Patients / cases / slices in each part of each fold, by subtype."""
    rows = []
    for fold in content.split.folds:
        parts = [("train", fold.train), ("validation", fold.validation), ("test", fold.test)]
        for part, names in parts:
            cells = [_part(content, names, subtype) for subtype in content.cohort.subtypes]
            rows.append(
                (f"{fold.index}" if part == "train" else "", part, *cells, _part(content, names, None))
            )
    if content.split.holdout and len(content.split.folds) > 1:
        names = content.split.holdout
        cells = [_part(content, names, subtype) for subtype in content.cohort.subtypes]
        rows.append(("all", "hold-out", *cells, _part(content, names, None)))
    note = "No patient stands in two parts of a fold." if not content.split.leaky else "LEAKY:"
    if content.split.leaky:
        note += (
            " slices of one patient stand in several parts of a fold; the same patients are counted in each."
        )
    header = ("Fold", "Part", *content.cohort.subtypes, "all")
    return Table(
        caption="Patients / cases / slices in each part", header=header, rows=tuple(rows), notes=(note,)
    )


def figure_table(content: ReportContent, group: EvaluationGroup) -> Table:
    """Every estimate: by case, by majority of three, by image; the methods are lettered below."""
    letters = Letters()
    last = ("coverage", "accuracy_when_sure")
    names = [n for n in group.case if n.startswith("auc") and n != "auc_macro"]
    doubled = ("sensitivity", "specificity", "precision") if len(content.main.report.subtypes) > 2 else ()
    names += [n for n in group.case if not n.startswith("auc") and n not in last + doubled] + list(last)
    rows = tuple(
        (
            figure_name(n, content),
            *(letters.cell(part.get(n)) for part in (group.case, group.majority, group.image)),
        )
        for n in names
    )
    header = ("", "By case", "By case, majority of 3 slices", "By image")
    caption = f"Figures, {group_name(group.name)}"
    return Table(caption=caption, header=header, rows=rows, notes=letters.notes)


def run_table(content: ReportContent) -> Table:
    """All runs side by side, by case, first test set."""
    letters = Letters()
    names = ("auc", "accuracy", "sensitivity", "specificity")
    rows = tuple(
        (run.report.run, run.report.model, *(letters.cell(run.report.groups[0].case[n]) for n in names))
        for run in content.runs
    )
    header = ("Run", "Model", *(figure_name(name, content) for name in names))
    return Table(caption="All runs, by case", header=header, rows=rows, notes=letters.notes)


class Letters:
    """Gives every method a letter, so that a table names each once below."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """The methods with their letters."""
        return tuple(f"{letter}: {method}" for method, letter in self.of.items())

    def cell(self, estimate: Estimate | None) -> str | Cell:
        """An estimate, with the letter of its method; empty for None."""
        if estimate is None:
            return ""
        letter = self.of.setdefault(estimate.method, "abcdefghijklmnopqrstuvwxyz"[len(self.of) % 26])
        n = f"n = {counted_noun(estimate.n, estimate.unit)} · {letter}"
        if estimate.value is None:
            return Cell("not available", n)
        if estimate.low is None or estimate.high is None:
            return Cell(f"{estimate.value:.3f}", f"no interval · {n}")
        return Cell(f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})", n)


def figure_name(name: str, content: ReportContent) -> str:
    """Name of a figure in words: ``sensitivity_PRCC`` -> ``Sensitivity (PRCC)``."""
    subtypes = content.main.report.subtypes
    if name == "auc" and len(subtypes) > 2:
        return "AUC, mean over subtypes"
    if name in ("sensitivity", "specificity", "precision"):
        return f"{NAMES[name]} ({content.main.report.positive})"
    kind, _, subtype = name.partition("_")
    return NAMES[name] if name in NAMES else f"{NAMES[kind]} ({subtype} against the rest)"


def group_name(name: str) -> str:
    """Name of a test set in words."""
    words = {"out-of-fold": "cross-validation", "internal-test": "internal test set", "": "test cases"}
    if name.startswith("external-test:"):
        return f"external test set {name.partition(':')[2]}"
    return words.get(name, name)


def group_title(name: str) -> str:
    """Name of a test set at the start of a line; the name that its owner gave keeps its letters."""
    words = group_name(name)
    return words[:1].upper() + words[1:]


def sites_of(content: ReportContent, group: str) -> set[str]:
    """The sites of a test set's cases."""
    by_id = content.cohort.by_id
    return {by_id[p.case_id].site_id for p in content.main.report.predictions if p.group == group}


def percent(value: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * value:.1f} %"


def _part(content: ReportContent, names: Iterable[str], subtype: str | None) -> str:
    """Patients / cases / slices of a part; under the image protocol its names are slices."""
    by_id, leaky = content.cohort.by_id, content.split.leaky
    owners = Counter(name.rpartition("#")[0] if leaky else name for name in names)
    cases = [by_id[i] for i in owners if i in by_id and subtype in (None, by_id[i].subtype)]
    n_slices = sum(owners[c.case_id] if leaky else content.slice_counts.get(c.case_id, 0) for c in cases)
    return f"{len({c.patient_id for c in cases})} / {len(cases)} / {n_slices}"
