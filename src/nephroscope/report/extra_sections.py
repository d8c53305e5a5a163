"""A page's content in; the sections that other commands fill, or what to run where they are empty, out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from matplotlib.figure import Figure

from nephroscope.records import Estimate, counted_noun
from nephroscope.report.checklists.statements import Evidence
from nephroscope.report.comparison_section import ComparisonPart, ComparisonSection, comparison_section
from nephroscope.report.content import ReportContent
from nephroscope.report.readers_section import readers_section
from nephroscope.report.shortcuts import shortcut_section_table, shortcut_words
from nephroscope.report.tables import Table

MOST_SENTENCES = 6
EMPTY = {
    "comparison": (
        "This run was not held against baselines (attenuation, age, sex, size, radiomics, frozen features). Without "
        "them nothing says that a network was needed: run `nephroscope compare {study}`, then `nephroscope "
        "report {study}`."
    ),
    "control": (
        "No control with shuffled labels was run. It asks what the same pipeline scores where there is nothing to "
        "learn, so that a large leak would show: `nephroscope compare {study}` runs it."
    ),
    "shortcuts": "Whether facts beside the tumor (vendor, sex, site) tell the subtype was not looked at.",
    "readers": (
        "No radiologists' calls are known. `nephroscope readers {study} FILE.csv` sets them beside the model."
    ),
}


@dataclass(frozen=True, kw_only=True)
class ExtraSection:
    """One section.

    Attributes:
        html: Ready to stand on the page, escaped; empty where nothing is known.
        empty: What to say then.
        data: For report.json.
        headline: A sentence for the top of the page.
        words: Sentences above the tables.
        more: Further sentences, folded below ``words``.
        tables: By name, for the page and as files.
        folded: Names of the tables that the page folds away.
        figures: By name, as files; those of the page stand in ``html``.
        limitations, methods, evidence: What the section adds to those of the page.
    """

    html: str = ""
    empty: str = ""
    data: Any = None
    headline: str = ""
    words: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    folded: frozenset[str] = frozenset()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    limitations: tuple[str, ...] = ()
    methods: tuple[tuple[str, str], ...] = ()
    evidence: Mapping[str, Evidence] = field(default_factory=dict)


def extra_sections(content: ReportContent) -> dict[str, ExtraSection]:
    """comparison, control, shortcuts and readers, in this order."""
    compared = None if content.study is None else comparison_section(content.study)
    return {
        "comparison": _comparison(content, compared),
        "control": _control(content, compared),
        "shortcuts": _shortcuts(content, compared),
        "readers": _readers(content),
    }


def _nothing(content: ReportContent, name: str) -> ExtraSection:
    return ExtraSection(empty=EMPTY[name].format(study=content.title))


def _comparison(content: ReportContent, found: ComparisonSection | None) -> ExtraSection:
    if found is None:
        return _nothing(content, "comparison")
    if found.data is None:
        return ExtraSection(empty=found.stale)
    names = [row["name"] for row in found.data["candidates"]]
    where = "#comparison; tables/comparison.csv"
    evidence = {"comparison": Evidence(text=f"{len(names)} candidates on the same folds", where=where)}
    for key, wanted in (("clinical", {"clinical"}), ("simple", {"attenuation", "clinical"})):
        told = [name for name in names if name in wanted]
        if told:
            evidence[key] = Evidence(text=f"{', '.join(told)} on the same folds, paired tests", where=where)
    if any("radiomics" in name for name in names):
        text = "features by IBSI, chosen inside the folds, as a candidate"
        evidence["radiomics"] = Evidence(text=text, where="#comparison; #methods")
    if found.data.get("repeated"):
        text = "patients divided again, and fitted with other seeds"
        evidence["repeats"] = Evidence(text=text, where="#comparison; tables/repeats.csv")
    section = _of_part(found.comparison, found.data, evidence)
    run = content.main.report.run
    limits = (*section.limitations, *better_baselines(found.data, run))
    return replace(section, headline=headline(found.data, run), limitations=limits)


def headline(compared: Mapping[str, Any], run: str) -> str:
    """Where the run of the page stands among all candidates; empty where it is none of them."""
    rows = [row for row in compared["candidates"] if row["auc"]["value"] is not None]
    own = next((row for row in rows if row["name"] == run), None)
    others = sorted((row for row in rows if row["name"] != run), key=lambda row: -row["auc"]["value"])
    if own is None or not others:
        return ""
    best, e = others[0], Estimate(**others[0]["auc"])
    interval = "" if e.low is None else f"{e.low:.2f} to {e.high:.2f}, "
    return (
        f"Beside {len(others)} other candidates on the same folds it is number {own['rank']} by AUC; "
        f"{best['name']} ({best['kind']}) reaches {e.value:.2f} ({interval}{counted_noun(e.n, e.unit)})."
    )


def better_baselines(compared: Mapping[str, Any], run: str) -> tuple[str, ...]:
    """A limitation for each baseline of which the data show that it is better than the run."""
    kinds = {row["name"]: row["kind"] for row in compared["candidates"]}
    pairs = compared["groups"][compared["test_set"]]["pairwise"]
    return tuple(
        f"{pair['one']}, a baseline, is better than this network: difference of AUC "
        f"{Estimate(**pair['difference'])}."
        for pair in pairs
        if pair["supported"] and pair["two"] == run and kinds.get(pair["one"]) == "baseline"
    )


def _control(content: ReportContent, found: ComparisonSection | None) -> ExtraSection:
    if found is None or found.control is None:
        return _nothing(content, "control")
    where = "#control; tables/control.csv"
    return _of_part(
        found.control, None, {"control": Evidence(text="control with shuffled labels", where=where)}
    )


def _of_part(part: ComparisonPart, data: Any, evidence: Mapping[str, Evidence]) -> ExtraSection:
    return ExtraSection(
        html=part.html,
        data=data,
        words=part.words,
        more=part.more,
        tables=part.tables,
        folded=part.folded,
        figures=part.figures,
        limitations=part.limitations,
        methods=part.methods,
        evidence=evidence,
    )


def _readers(content: ReportContent) -> ExtraSection:
    found = None if content.study is None else readers_section(content.study, content.cohort.label_digest)
    if found is None:
        return _nothing(content, "readers")
    evidence = {}
    if found.data is not None:
        n = len({one["name"] for one in found.data["readers"]})
        cases = counted_noun(found.data["n_cases"], "case")
        text = f"{counted_noun(n, 'reader')} on {cases} beside the models"
        evidence["readers"] = Evidence(text=text, where="#readers; tables/readers.csv")
    first, more = _first_of(found.words, content.main.report.run)
    return ExtraSection(
        html=found.html,
        empty=found.stale,
        data=found.data,
        words=(*found.warnings, *first),
        more=more,
        tables=found.tables,
        figures={} if found.figure is None else {"readers": found.figure},
        limitations=found.limitations,
        methods=found.methods,
        evidence=evidence,
    )


def _first_of(words: Sequence[str], run: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is read at once and what is folded away: of many sentences, the first that name the page's run."""
    if len(words) <= MOST_SENTENCES:
        return tuple(words), ()
    of_run = [text for text in words if run in text.replace(",", " ").split()] or list(words)
    first = of_run[:MOST_SENTENCES]
    return tuple(first), tuple(text for text in words if text not in first)


def _shortcuts(content: ReportContent, compared: ComparisonSection | None) -> ExtraSection:
    """The probe with this run's network: it needs no training, so every report has it.

    A comparison that holds this run has it too, with facts that take reading every CT.
    """
    run, found = content.main.report.run, content.shortcuts
    if compared is not None and any(gap["name"] == run for gap in compared.shortcuts.get("follows", ())):
        found = compared.shortcuts
    if not found and content.split.leaky:
        return ExtraSection(empty="The shortcut probe needs folds by patient, and this split is LEAKY.")
    if not found:
        return _nothing(content, "shortcuts")
    alone, words = shortcut_words(found)
    where = "#shortcuts; tables/shortcuts.csv"
    told = [row["name"] for row in found["facts"] if row["auc"]["value"] is not None]
    text = f"{counted_noun(len(told), 'fact')} beside the tumor, as predictors of the subtype"
    return ExtraSection(
        data=found,
        words=words,
        tables={"shortcuts": shortcut_section_table(found, run)},
        limitations=alone,
        methods=()
        if not told
        else (
            (
                "Shortcuts",
                f"Facts beside the tumor ({', '.join(told)}) were each used alone to predict the subtype, on the "
                "same folds; within a subtype the network's probability was compared between both sides of each.",
            ),
        ),
        evidence={"shortcuts": Evidence(text=text, where=where)} if told else {},
    )
