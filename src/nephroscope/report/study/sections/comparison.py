"""Section Comparison: the run next to baselines and other runs on the same folds."""

from collections.abc import Iterable, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from nephroscope.base.errors import NephroscopeError
from nephroscope.questions.compare.document import Comparison, KeptAnswer, read_answers
from nephroscope.questions.compare.results import (
    ComparisonDocument,
    Control,
    LeakyRun,
    NotCompared,
    Pair,
    RankedLearner,
    RankTable,
    Repeated,
)
from nephroscope.records import INTERNAL_TEST, counted_noun, p_words
from nephroscope.report.page.drawing import COLORS, GRID, INK, QUIET, STYLE, color_of
from nephroscope.report.page.names import NAMES, as_written, group_name
from nephroscope.report.page.section import (
    Block,
    Evidence,
    Filled,
    Fold,
    Heading,
    Section,
    ShownFigure,
    ShownTable,
    Side,
    Text,
)
from nephroscope.report.page.table import Cell, Column, Table, build_table
from nephroscope.report.study.appraisal import RunSource
from nephroscope.statistics.mcnemar import title_of
from nephroscope.statistics.metrics import roc_points

SHOWN = ("auc", "auc_by_fold", "sensitivity", "specificity", "accuracy", "brier")
TITLES = NAMES | {"brier": "Brier score", "auc_by_fold": "AUC, mean of folds"}
KINDS = {"baseline": COLORS[0], "network": COLORS[1], "stack": COLORS[2]}
OPEN = ("comparison", "repeats", "not-compared")  # the other tables are folded away
WHERE = "#comparison; tables/comparison.csv"


def _fill(source: RunSource) -> Filled | None:
    return None if source.comparison is None else filled_comparison(source.comparison, source.report.run)


def _best(content: ComparisonDocument) -> list[RankedLearner]:
    """The networks, and the best baseline: what one ROC holds."""
    ranked = [row for row in content.first.candidates if row.figures["auc"].value is not None]
    return [row for row in ranked if row.kind == "network"] + [r for r in ranked if r.kind == "baseline"][:1]


COMPARISON = Section(
    id="comparison",
    title="Comparison",
    navigation="Comparison",
    fill=_fill,
    hint=(
        "This run was not yet compared with baselines (attenuation, age, sex, size, radiomics, frozen features). "
        "Without them it is not known whether a network was needed at all: run `nephroscope compare {study}`, then "
        "`nephroscope report {study}`."
    ),
)


def filled_comparison(found: Comparison, run: str) -> Filled:
    """Sentences, figure and tables of a comparison; a sentence alone when it is out of date."""
    if found.stale:
        return Filled(blocks=[Text(f"The comparison is out of date: {found.stale}.", "empty")])
    content = found.found
    words = content.first.words
    tables = {name: table for name, table in comparison_tables(content).items() if table.rows}
    top: list[Block] = [Heading("Networks and baselines on the same folds", marked=False)]
    top += [Text(text, "lead") for text in words[:1]]
    drawn: list[Block] = []
    if any(row.figures["auc"].value is not None for row in content.first.candidates):
        drawn.append(ShownFigure("comparison", _caption(content), lambda: forest_plot(content)))
    drawn += _roc_blocks(found)
    blocks: list[Block] = [
        *more_sentences(words[1:]),
        *(ShownTable(n, t, shown="open" if n in OPEN else "folded", small=True) for n, t in tables.items()),
    ]
    better = better_baselines(content, run)
    return Filled(
        blocks=blocks,
        top=[*top, Side("pair", drawn)],
        most_serious=better,
        limitations=(
            *(f"{row.name} was not compared: {row.reason}." for row in content.not_compared),
            *better,
            *_fewer_patients(content),
            *(
                f"{f.message[:1].upper()}{f.message[1:]}."
                for f in content.findings
                if f.code != "threshold-few"
            ),
        ),
        methods=_methods(content),
        evidence=_evidence(content),
        headline=headline(content, run),
        data=found.content,
    )


def _roc_blocks(found: Comparison) -> list[Block]:
    """One ROC of all networks; a sentence where their answers cannot be read, nothing where there is one network."""
    content = found.found
    try:
        rows = read_answers(found.path.parent.parent, [content.positive])
        answers = [row for row in rows if row.group == content.test_set]
    except NephroscopeError as error:
        return [Text(f"No ROC of all networks: {error}.", "empty")]
    if not answers or len(_best(content)) < 2:
        return []
    caption = "ROC by case of every network and of the best baseline, on the same cases."
    return [ShownFigure("roc-networks", caption, lambda: roc_of_networks(content, answers))]


def more_sentences(sentences: Sequence[str]) -> list[Block]:
    """Sentences that are folded away; nothing where there are none."""
    if not sentences:
        return []
    return [Fold(counted_noun(len(sentences), "more sentence"), [Text(text, "lead") for text in sentences])]


def headline(compared: ComparisonDocument, run: str) -> str:
    """The rank of the page's run among all candidates; empty where it is none of them."""
    rows = [row for row in compared.first.candidates if row.figures["auc"].value is not None]
    own = next((row for row in rows if row.name == run), None)
    others = [row for row in rows if row.name != run]
    if own is None or not others:
        return ""
    best = max(others, key=lambda row: row.figures["auc"].value or 0.0)
    e = best.figures["auc"]
    interval = "" if e.low is None else f"{e.low:.2f} to {e.high:.2f}, "
    return (
        f"Of the {len(others) + 1} candidates on the same folds, it is number {own.rank} by AUC; "
        f"{best.name} ({best.kind}) reaches {e.value:.2f} ({interval}{counted_noun(e.n, e.unit)})."
    )


def better_baselines(compared: ComparisonDocument, run: str) -> tuple[str, ...]:
    """A limitation for each baseline that the data show to be better than the run."""
    kinds = {row.name: row.kind for row in compared.first.candidates}
    return tuple(
        f"{pair.one}, a baseline, is better than this network: difference of AUC {pair.difference}."
        for pair in compared.first.pairwise
        if pair.supported and pair.two == run and kinds.get(pair.one) == "baseline"
    )


def _evidence(content: ComparisonDocument) -> dict[str, Evidence]:
    names = [row.name for row in content.first.candidates]
    evidence = {"comparison": Evidence(f"{len(names)} candidates on the same folds", WHERE)}
    for key, wanted in (("clinical", {"clinical"}), ("simple", {"attenuation", "clinical"})):
        there = [name for name in names if name in wanted]
        if there:
            text = f"{', '.join(there)} on the same folds, paired tests"
            evidence[key] = Evidence(text, WHERE)
    if any("radiomics" in name for name in names):
        text = "features by IBSI, chosen inside the folds, as a candidate"
        evidence["radiomics"] = Evidence(text, "#comparison; #methods")
    if content.repeated:
        text = "patients divided again, and fitted with other seeds"
        evidence["repeats"] = Evidence(text, "#comparison; tables/repeats.csv")
    return evidence


def _methods(content: ComparisonDocument) -> tuple[tuple[str, str], ...]:
    method = (
        f"Every candidate was fitted and tested on the same {content.folds} folds by patient (splits.json). "
        "Baselines learn from the training and validation part; networks learn from the training part, and the "
        f"validation part decides when they stop{_learned(content)}. Pairs are tested on the same cases, with p "
        "corrected by Holm's method."
    )
    asked = content.first.primary
    if asked and asked.named:
        method += (
            f" {asked.network} against {asked.baseline} was named as the main question before the results were seen: "
            "its own p is not corrected."
        )
    if asked and asked.same_patients:
        method += (
            " The main question is answered again with the baseline fitted on the training part alone, the patients "
            "that the network learned from."
        )
    if asked and asked.against_margin:
        margin = asked.against_margin.margin
        method += (
            f" A loss of AUC of less than {margin:g} was stated beforehand as one that would not matter."
        )
    candidates = "\n".join(f"{row.name}: {row.description}." for row in content.first.candidates)
    return ("Comparison", method), ("Candidates", candidates)


def _learned(content: ComparisonDocument) -> str:
    """Of how many patients each kind of candidate learned, from the data; empty where it is not known."""
    found = []
    for kind, name in (("network", "networks"), ("baseline", "baselines")):
        known = [
            row.learned_from for row in content.first.candidates if row.kind == kind and row.learned_from[1]
        ]
        if known:
            fewest, most = min(low for low, _ in known), max(high for _, high in known)
            n = counted_noun(most, "patient") if fewest == most else f"{fewest} to {most} patients"
            found.append(f"{name} learned from {n}")
    return f" ({', '.join(found)} in a fold)" if found else ""


def _fewer_patients(content: ComparisonDocument) -> tuple[str, ...]:
    """A limitation where networks and baselines learned from different numbers of patients."""
    asked = content.first.primary
    rows = {row.name: row.learned_from for row in content.first.candidates}
    if asked is None or rows.get(asked.network) == rows.get(asked.baseline) or not _learned(content):
        return ()
    again = asked.same_patients
    size = f"; on the same patients the difference of AUC is {again.difference}" if again else ""
    return (
        f"Networks and baselines did not learn from the same number of patients{_learned(content)}, as a network "
        f"needs some to decide when it stops{size}.",
    )


def _caption(content: ComparisonDocument) -> str:
    shuffled = " Crosses: mean AUC with shuffled labels." if content.control else ""
    return (
        f"AUC by case of every candidate on the same folds, with interval: {content.first.n_cases} cases of "
        f"{content.first.n_patients} patients. Dashed: chance.{shuffled}"
    )


def comparison_tables(content: ComparisonDocument) -> dict[str, Table]:
    """Ranks and pairs of each test set, the first one first; repeats; what was not ranked."""
    tables = {}
    first = (content.test_set, INTERNAL_TEST)
    for name, group in sorted(content.groups.items(), key=lambda pair: [pair[0] != one for one in first]):
        suffix = "" if name == content.test_set else f"-{name.replace(':', '-')}"
        tables[f"comparison{suffix}"] = _ranked(group, name)
        tables[f"pairs{suffix}"] = _pairs(group, name)
    return tables | {"repeats": _repeats(content.repeated), "not-compared": _not_ranked(content)}


def _ranked(group: RankTable, name: str) -> Table:
    def figure(name: str) -> Column[RankedLearner]:
        return Column(TITLES[name], lambda row: row.figures.get(name, "-"))

    rows = group.candidates
    columns: list[Column[RankedLearner]] = [
        Column("Candidate", lambda row: row.name),
        Column("Rank", lambda row: row.rank or "-"),
        Column("Kind", lambda row: row.kind),
        *(figure(name) for name in SHOWN if any(name in row.figures for row in rows)),
        Column("Patients learned from", _patients),
    ]
    remarks = [f"{row.name}: {text}" for row in rows for text in row.remarks]
    return build_table(f"All candidates on the same cases, {group_name(name)}", columns, rows, remarks)


def _patients(row: RankedLearner) -> str:
    fewest, most = row.learned_from
    return "-" if not most else str(most) if fewest == most else f"{fewest} to {most}"


def _pairs(group: RankTable, name: str) -> Table:
    tests = {pair.test for pair in group.pairwise}
    several = len(tests) > 1
    columns: list[Column[Pair]] = [
        Column("Pair", lambda pair: f"{pair.one}, {pair.two}"),
        Column("Difference of AUC", lambda pair: pair.difference),
        Column("p", lambda pair: Cell(p_cell(pair.p), pair.test) if several else p_cell(pair.p)),
        Column("p, corrected", lambda pair: p_cell(pair.p_holm)),
        Column(
            "Do the data show that the first is better?",
            lambda pair: "yes" if pair.supported else "not shown",
        ),
        Column(f"{title_of(pair.accuracy.test for pair in group.pairwise)} on calls, p", _calls),
    ]
    test = f"p: {next(iter(tests))}, on {group.n_patients} patients. " if len(tests) == 1 else ""
    notes = [f"{test}Corrected by Holm's method for {counted_noun(len(group.pairwise), 'pair')}."]
    return build_table(f"Pairs, {group_name(name)}", columns, group.pairwise, notes)


def _calls(pair: Pair) -> Cell:
    calls = pair.accuracy
    alone = f"only the first correct in {calls.only_one_right}, only the second in {calls.only_two_right}"
    return Cell(p_cell(calls.p), alone)


def _repeats(rows: Sequence[Repeated]) -> Table:
    columns: list[Column[Repeated]] = [
        Column("Candidate", lambda row: row.name),
        Column("Mean AUC", lambda row: row.auc),
        Column("Divisions", lambda row: row.repeats),
        Column(
            "SD over divisions",
            lambda row: counted_value(row.sd_over_splits, row.sd_over_splits_n, row.sd_over_splits_unit),
        ),
        Column("Seeds", lambda row: row.seeds),
        Column(
            "SD over seeds",
            lambda row: counted_value(row.sd_over_seeds, row.sd_over_seeds_n, row.sd_over_seeds_unit),
        ),
        Column("Refused", lambda row: len(row.refused)),
    ]
    caption = "Other divisions into folds: how much the result depends on the division"
    return build_table(caption, columns, rows, refused_notes(rows))


def _not_ranked(content: ComparisonDocument) -> Table:
    columns: list[Column[NotCompared | LeakyRun]] = [
        Column("Name", lambda row: row.name),
        Column("Reason", lambda row: row.reason),
    ]
    rows: list[NotCompared | LeakyRun] = [*content.not_compared, *content.leaky]
    return build_table("Not ranked, and why", columns, rows)


def refused_notes(rows: Iterable[Repeated | Control]) -> list[str]:
    """Fits that were refused, with the reason."""
    return [f"{row.name}, refused: {why}" for row in rows for why in dict.fromkeys(row.refused)]


def p_cell(p: float | None) -> str:
    """A p-value, or a dash."""
    return "-" if p is None else p_words(p)


def counted_value(value: float | None, n: int, unit: str) -> str | Cell:
    """A number without an interval, and what it was counted on; a dash where there is none."""
    return "-" if value is None else Cell(f"{value:.3f}", f"n = {counted_noun(n, unit)}")


def roc_of_networks(content: ComparisonDocument, answers: Sequence[KeptAnswer]) -> Figure:
    """ROC by case of every network and, dashed, of the best baseline: of the positive subtype."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.9, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GRID, lw=1)
        for i, row in enumerate(_best(content)):
            own = [one for one in answers if one.name == row.name]
            truth = np.array([one.truth == content.positive for one in own])
            scores = np.array([one.p[content.positive] for one in own])
            if not own or truth.all() or not truth.any():
                continue
            style = "-" if row.kind == "network" else (0, (4, 2))
            label = f"{as_written(row.name)} {row.figures['auc'].interval('.2f')}"
            axes.plot(*roc_points(scores, truth), color=color_of(i), lw=1.6, ls=style, label=label)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 - specificity", ylabel="Sensitivity")
        axes.set_aspect("equal")
        axes.set_title("All networks" + " · SYNTHETIC" * content.synthetic)
        figure.legend(loc="outside lower center", fontsize=8, title="AUC by case", title_fontsize=8)
    return figure


def forest_plot(content: ComparisonDocument) -> Figure:
    """AUC of every candidate with its interval, the best at the top; crosses: with shuffled labels."""
    rows = [row for row in content.first.candidates if row.figures["auc"].value is not None]
    shuffled = {row.name: row.auc.value for row in content.control}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 0.9 + 0.34 * len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0.5, color=QUIET, lw=0.8, ls=(0, (4, 2)))
        for y, row in enumerate(rows):
            e, color = row.figures["auc"], KINDS.get(row.kind, INK)
            if e.low is not None and e.high is not None:
                axes.plot([e.low, e.high], [y, y], color=color, lw=1.6)
            axes.plot(e.value or 0.0, y, "s", color=color, ms=6)
            cross = shuffled.get(row.name)
            if cross is not None:
                axes.plot(cross, y, "x", color=QUIET, ms=5)
        axes.set_yticks(range(len(rows)), [as_written(row.name) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="x", color=GRID, lw=0.6)
        axes.set(xlim=(0, 1.02), xlabel="AUC by case")
        mark = " · SYNTHETIC" if content.synthetic else ""
        axes.set_title(f"All candidates, {group_name(content.test_set)}{mark}")
        for kind in dict.fromkeys(row.kind for row in rows):
            axes.plot([], [], "s", color=KINDS.get(kind, INK), label=kind)
        figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure
