"""Section Readers: radiologists' calls next to the models on the same cases, from readers/readers.json."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nephroscope.base.documents import as_plain
from nephroscope.questions.readers.figures import ReaderFigures
from nephroscope.questions.readers.reader_study import FORMAT, ReaderResults, ReaderStudy
from nephroscope.questions.readers.write import AGAIN, changed_since, reader_file
from nephroscope.records import Estimate, counted_noun, p_words
from nephroscope.report.page.drawing import COLORS, GRID, INK, QUIET, STYLE
from nephroscope.report.page.names import NAMES, group_name, group_title
from nephroscope.report.page.section import Block, Evidence, Filled, Section, ShownFigure, ShownTable, Text
from nephroscope.report.page.table import Cell, Column, Letters, Table, build_table
from nephroscope.report.study.appraisal import RunSource
from nephroscope.report.study.sections.comparison import more_sentences
from nephroscope.statistics.mcnemar import title_of
from nephroscope.study.folder import open_study

CONTRADICTS = "reader-contradicts"  # code of the finding
SHOWN = ("accuracy", "sensitivity", "specificity", "auc", "coverage")
MOST_SENTENCES = 6
RowsOf = Callable[
    [ReaderResults], Iterable[tuple[str, list[object]]]
]  # of a test set: name and cells of each row


def _fill(source: RunSource) -> Filled | None:
    root = source.content.study
    if root is None:
        return None
    return readers_of(root, source.content.cohort.label_digest, source.report.run)


READERS = Section(
    id="readers",
    title="Readers",
    navigation="Readers",
    fill=_fill,
    hint=(
        "No radiologists' calls have been read. `nephroscope readers {study} FILE.csv` compares them with the model."
    ),
)


def readers_of(root: Path, label_digest: str, run: str) -> Filled | None:
    """The readers' part of a study's page; None where no calls were read.

    Args:
        root: Study folder.
        label_digest: Of the present cohort's labels.
        run: That the page is about; its sentences are shown first.

    Raises:
        StudyError: readers.json is damaged or of a newer format.
    """
    file = reader_file(root)
    if not file.path.is_file():
        return None
    content = file.read(AGAIN)
    folder, settings = open_study(root)
    changed = changed_since(folder, label_digest, settings.evaluation)
    if changed:
        names = ", ".join(changed)
        stale = f"{names[0].upper()}{names[1:]} changed since the readers' calls were scored: "
        return Filled(blocks=[Text(f"{stale}{AGAIN}.", "empty")])
    return filled_readers(content, run)


def filled_readers(content: ReaderStudy, run: str) -> Filled:
    """Sentences, figure and tables of the readers."""
    findings, groups = content.findings, content.groups
    warnings = [f.message for f in findings if f.code == CONTRADICTS]
    first, more = first_sentences([with_test_set(text, groups) for text in content.sentences], run)
    blocks: list[Block] = [*(Text(text, "lead") for text in (*warnings, *first)), *more_sentences(more)]
    if _panels(content):
        blocks.append(ShownFigure("readers", _caption(content), lambda: draw_readers(content)))
    blocks += [
        ShownTable(name, table, small=True) for name, table in reader_tables(content).items() if table.rows
    ]
    n = len({one.name for one in content.readers})
    text = f"{counted_noun(n, 'reader')} on {counted_noun(content.n_cases, 'case')}, compared with the models"
    return Filled(
        blocks=blocks,
        limitations=tuple(f.message for f in findings),
        methods=(("Readers", _methods(content)),),
        evidence={"readers": Evidence(text, "#readers; tables/readers.csv")},
        data={"format": FORMAT} | as_plain(content),
    )


def first_sentences(sentences: Sequence[str], run: str) -> tuple[list[str], list[str]]:
    """What is shown at once and what is folded away; of many sentences, the first that name the page's run."""
    if len(sentences) <= MOST_SENTENCES:
        return list(sentences), []
    of_run = [text for text in sentences if run in text.replace(",", " ").split()] or list(sentences)
    first = of_run[:MOST_SENTENCES]
    return first, [text for text in sentences if text not in first]


def with_test_set(text: str, groups: Iterable[str]) -> str:
    """``out-of-fold: R1 ...`` -> ``Cross-validation: R1 ...``."""
    for name in groups:
        if text.startswith(f"{name}: "):
            return group_title(name) + text.removeprefix(name)
    return text


def _tests_of_calls(parts: Iterable[ReaderResults]) -> Iterator[str]:
    for part in parts:
        for pair in (*part.against_models, *part.aided):
            if pair.calls is not None:
                yield pair.calls.method


def reader_tables(content: ReaderStudy) -> dict[str, Table]:
    """Figures, pairs, means and agreement, by the names of their files."""
    several = len(content.groups) > 1
    parts = (*content.groups.values(), content) if several else (content,)

    def table(caption: str, header: Sequence[str], rows_of: RowsOf, notes: Sequence[str] = ()) -> Table:
        """The rows of all test sets and of all cases together; a column says which, where there are several."""

        def cell(place: int) -> Callable[[tuple[str, str, list[object]]], object]:
            return lambda row: row[2][place]

        columns: list[Column[tuple[str, str, list[object]]]] = [Column("", lambda row: row[0])]
        columns += [Column("Test set", lambda row: row[1])] * several
        columns += [Column(title, cell(i), with_method) for i, title in enumerate(header)]
        rows = [
            (name, group_name(part.test_set) if several else "", cells)
            for part in parts
            for name, cells in rows_of(part)
        ]
        return build_table(caption, columns, rows, notes)

    scale = [f"Confidence: {content.scale}."] if content.scale else []
    counts = ", ".join(str(part.n_tests) for part in parts)
    tests = (
        f"Number of tests in each test set: {counts}. Every p is corrected (Holm) for the tests of the same test set "
        "and question: readers against networks, readers against baselines, aided against unaided."
    )
    return {
        "readers": table(
            "Readers and models on the same cases",
            [*(NAMES[name] for name in SHOWN), "Seconds, median"],
            _figure_rows,
            scale,
        ),
        "readers-pairs": table(
            "Pairs on the cases that both answered",
            ["Cases", "Right", "Difference", title_of(_tests_of_calls(parts)), "AUC difference", "Its test"],
            _pair_rows,
            [tests],
        ),
        "readers-means": table(
            "Several readers together (Obuchowski-Rockette, random readers and cases)",
            ["Figure", "Cases", "Value", "p"],
            _mean_rows,
        ),
        "readers-agreement": table("Agreement between readers", ["The same call", "Kappa"], _agreement_rows),
    }


def with_method(value: object, _: Letters) -> str | Cell:
    """An estimate with two decimals, and its n and method below it."""
    if not isinstance(value, Estimate):
        return value if isinstance(value, str | Cell) else str(value)
    if value.value is None:
        return Cell("-", value.method)
    limits = "" if value.low is None else f" ({value.low:.2f} to {value.high:.2f})"
    return Cell(f"{value.value:.2f}{limits}", f"{counted_noun(value.n, value.unit)}; {value.method}")


def _figure_rows(part: ReaderResults) -> Iterator[tuple[str, list[object]]]:
    for one in (*part.readers, *part.models):
        time = one.time
        seconds: object = ""
        if time is not None:
            seconds = Cell(f"{time.median_s:g}", f"{time.lower_quartile_s:g} to {time.upper_quartile_s:g}")
        yield _title(one), [*(one.figures[name] for name in SHOWN), seconds]


def _pair_rows(part: ReaderResults) -> Iterator[tuple[str, list[object]]]:
    for pair in (*part.against_models, *part.aided):
        calls, areas = pair.calls, pair.areas
        cells: list[object] = [pair.n_called, "", "", "", "", ""]
        if calls is not None:
            right = f"{calls.both + calls.only_one} and {calls.both + calls.only_two}"
            cells[1:4] = [right, calls.difference, _p(calls.p, pair.calls_p_holm)]
        if areas is not None:
            cells[4:] = [areas.difference, _p(areas.p, pair.areas_p_holm)]
        yield f"{pair.first}, {pair.second}", cells


def _mean_rows(part: ReaderResults) -> Iterator[tuple[str, list[object]]]:
    for m in part.means:
        if m.mean.value is not None:
            title = f"mean of {m.n_readers} readers{', aided' if m.aided else ''}"
            yield title, [NAMES[m.figure], m.n_cases, m.mean, ""]
    for pair in (*part.mean_against_models, *part.mean_aided):
        found = pair.found
        cells = [NAMES[pair.figure], pair.n_cases, found.difference, _p(found.test.p, pair.p_holm)]
        yield f"{found.first} minus {found.second}", cells


def _agreement_rows(part: ReaderResults) -> Iterator[tuple[str, list[object]]]:
    for kappa, arm in ((part.agreement, ""), (part.agreement_aided, ", aided")):
        if kappa is None:
            continue
        for pair in kappa.pairs:
            yield f"{pair.first} and {pair.second}{arm}", [pair.agreement, pair.kappa]
        if len(kappa.readers) > 2:
            yield f"{len(kappa.readers)} readers{arm} (Fleiss)", ["", kappa.fleiss]


def _p(p: float | None, p_holm: float | None) -> str | Cell:
    if p is None or p_holm is None:
        return "-"
    return Cell(p_words(p), f"corrected {p_words(p_holm)}")


def _title(one: ReaderFigures) -> str:
    return f"{one.name}, aided" if one.aided else one.name


def _caption(content: ReaderStudy) -> str:
    panels = " One panel for each test set." if len(content.groups) > 1 else ""
    return (
        "One point for each reader and model: sensitivity against 1 - specificity, with lines for the "
        f"intervals.{panels} {counted_noun(content.n_cases, 'case')}."
    )


def _methods(content: ReaderStudy) -> str:
    names = {one.name for one in content.readers}
    scale = f" Confidence was given from {content.scale}." if content.scale else ""
    sets = ""
    if len(content.groups) > 1:
        sets = " Test sets are reported separately, and all cases together in addition."
    return (
        f"{counted_noun(len(names), 'reader')} called {counted_noun(content.n_cases, 'case')} of "
        f"{counted_noun(content.n_patients, 'patient')}.{scale}{sets} Proportions of readers have exact "
        "(Clopper-Pearson) intervals, those of models Wilson intervals, as everywhere on this page; where patients "
        "have several cases, both have Korn and Graubard's. Readers and models were compared on the cases that both "
        "answered, by the exact McNemar test (Obuchowski 1998 where patients have several cases) and by a paired "
        "test of the AUCs (DeLong; Obuchowski 1997 where patients have several cases; with at most 20 patients of a "
        "subtype, ranks exchanged within patients); several readers together by "
        "the Obuchowski-Rockette method with Hillis' degrees of freedom, random readers and cases, covariances by "
        "jackknife over patients. p-values were corrected (Holm) within each test set and question: readers against "
        "networks, readers against baselines, aided against unaided. LEAKY models were not tested."
    )


def _panels(content: ReaderStudy) -> list[ReaderResults]:
    """The test sets in which a reader or model has sensitivity and specificity; all cases where there are none."""
    parts: list[ReaderResults] = list(content.groups.values()) or [content]
    return [part for part in parts if any(_at(one) for one in (*part.readers, *part.models))]


def draw_readers(content: ReaderStudy) -> Figure:
    """Readers and models by sensitivity and specificity, a panel for each test set."""
    parts = _panels(content)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * len(parts), 4.4), layout="constrained")
        for axes, part in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
            title = "Readers and models" if len(parts) == 1 else part.test_set
            axes.set_title(f"SYNTHETIC: {title}" if content.synthetic and part is parts[0] else title)
            _panel(axes, part, content.positive)
    return figure


def _panel(axes: Axes, part: ReaderResults, positive: str) -> None:
    axes.plot([0, 1], [0, 1], color=GRID, lw=1)
    _points(axes, [one for one in part.readers if not one.aided], ("o", "white", INK, "reader"))
    _points(axes, [one for one in part.readers if one.aided], ("o", INK, INK, "reader, aided"))
    _points(axes, part.models, ("D", COLORS[0], COLORS[0], "model"))
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axes.set_xlabel(f"1 - specificity (others called {positive})")
    axes.set_ylabel(f"Sensitivity ({positive} called {positive})")
    axes.legend(loc="lower right", fontsize=8)


def _points(axes: Axes, everybody: Iterable[ReaderFigures], look: tuple[str, str, str, str]) -> None:
    """Points with their names, and thin lines for the intervals."""
    marker, face, edge, label = look
    named: dict[tuple[float, float], list[str]] = {}
    for one in everybody:
        at = _at(one)
        if at is None:
            continue
        sensitivity, specificity = one.figures["sensitivity"], one.figures["specificity"]
        if sensitivity.low is not None and sensitivity.high is not None:
            axes.plot([at[0]] * 2, [sensitivity.low, sensitivity.high], color=GRID, lw=1.2, zorder=1)
        if specificity.low is not None and specificity.high is not None:
            axes.plot([1 - specificity.high, 1 - specificity.low], [at[1]] * 2, color=GRID, lw=1.2, zorder=1)
        named.setdefault(at, []).append(_title(one))
    for i, (at, names) in enumerate(named.items()):
        axes.plot(*at, marker, mfc=face, mec=edge, ms=7, ls="", label=label if i == 0 else None)
        earlier = list(named)[:i]
        close = sum(
            abs(at[0] - x) < 0.4 and abs(at[1] - y) < 0.03 for x, y in earlier
        )  # their names would overlap
        axes.annotate(
            ", ".join(names),
            at,
            xytext=(7, -10 - 9 * close),
            textcoords="offset points",
            fontsize=7.5,
            color=QUIET,
        )


def _at(one: ReaderFigures) -> tuple[float, float] | None:
    sensitivity, specificity = (one.figures[name].value for name in ("sensitivity", "specificity"))
    return None if sensitivity is None or specificity is None else (1 - specificity, sensitivity)
