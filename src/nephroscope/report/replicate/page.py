"""The page of a replication: index.html with its tables and figures.

What was shortened or decided differently from the paper is listed on the page itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from matplotlib.figure import Figure

from nephroscope.base.files import save_text
from nephroscope.base.version import __version__
from nephroscope.learning.engine.workers import Workers
from nephroscope.questions.replicate.experiment import Replicated, replicate
from nephroscope.questions.replicate.printed import CITATION, MODELS, NAMES
from nephroscope.questions.replicate.replication import TOGETHER, Replication
from nephroscope.questions.replicate.sentences import best_network, with_interval
from nephroscope.questions.replicate.setup import ReplicateOptions
from nephroscope.records import Finding, counted_noun
from nephroscope.report.cohort.flow import draw_flow
from nephroscope.report.page.drawing import save_figures
from nephroscope.report.page.render import Page, render
from nephroscope.report.page.section import (
    Block,
    Bullets,
    Filled,
    Fold,
    Heading,
    Section,
    ShownFigure,
    ShownTable,
    Text,
)
from nephroscope.report.page.table import Table, save_csv
from nephroscope.report.replicate import case_tables, figures, network_tables
from nephroscope.study.snapshot import Snapshot

LEAKY_WARNING = (
    "Numbers marked LEAKY do not hold for a new patient: images of one patient are used for both "
    "training and validation."
)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReplicateSource:
    """What the sections are filled from; ``findings`` are those of the study's imports."""

    done: Replicated
    findings: Sequence[Finding]

    @property
    def found(self) -> Replication:
        """The results."""
        return self.done.found


def replicate_zuo2021(
    snapshot: Snapshot,
    findings: Sequence[Finding],
    options: ReplicateOptions | None = None,
    readers: Path | str | None = None,
    workers: Workers | None = None,
) -> Replication:
    """Repeat Zuo et al. 2021 with and without its leak; writes replicate/zuo2021 into the study.

    What an earlier call finished is not done again, and an interrupted training goes on at its epoch.

    Args:
        snapshot: The study.
        findings: Of its imports.
        options: Networks, epochs, images per epoch and folds; by default all six networks.
        readers: CSV of radiologists' calls of the test cases: case, reader, call.
        workers: Several processes or a Ray cluster, a training each; by default one after the other, here.

    Returns:
        The content of replicate.json.
    """
    folder = snapshot.folder.root / "replicate" / "zuo2021"
    table = None if readers is None else Path(readers)
    done = replicate(snapshot, options or ReplicateOptions(), folder, table, workers)
    write_page(folder, done, findings)
    return done.found


def write_page(folder: Path, done: Replicated, findings: Sequence[Finding]) -> Path:
    """Write index.html, tables/*.csv and figures/*.svg and *.png into ``folder``; returns the page's path."""
    page = page_of(ReplicateSource(done=done, findings=findings))
    drawn = save_figures(folder / "figures", {name: draw() for name, draw in page.figures.items()})
    for name, table in page.tables.items():
        save_csv(folder / "tables" / f"{name}.csv", table, page.marks, layout="columns")
    save_text(folder / "index.html", render(page, drawn))
    return folder / "index.html"


def page_of(source: ReplicateSource) -> Page:
    """The page with all its sections."""
    found, study = source.found, source.done.setup.snapshot.settings.report
    date = datetime.now(UTC).date().isoformat()
    digests = (f"{name} {digest}" for name, digest in found.digests.items())
    return Page(
        title=f"Zuo et al. 2021, repeated on {study.title or found.study}",
        byline=study.byline,
        subtitle=f"{' against '.join(found.subtypes)} on CT · the paper's protocol, and the same without its leak",
        marks=found.marks,
        warning=LEAKY_WARNING,
        top=_top(found),
        folded=True,
        sections=[(section, section.filled(source, found.study)) for section in SECTIONS],
        footer=(f"nephroscope {__version__}", CITATION, *digests, date),
        date=date,
    )


def _top(found: Replication) -> list[Block]:
    printed = {
        name: row.validation_accuracy for name, row in MODELS.items() if row.validation_accuracy is not None
    }
    caption = (
        "Accuracy and AUC by image, under the paper's protocol (LEAKY: split by image) and of the leak-free twin, "
        "with intervals over patients; the cross is what the paper printed for its own data. Dashed: 0.50, chance "
        "for an AUC." + " Gray: labels shuffled between patients." * (found.shuffled is not None)
    )
    return [
        Bullets(three_bullets(found)),
        ShownFigure(
            "comparison",
            caption,
            lambda: figures.comparison_figure(found.models, found.shuffled, printed, found.marks),
        ),
    ]


def three_bullets(found: Replication) -> list[str]:
    """The main results: with and without the leak, on the test cases, and with shuffled labels."""
    best, control = best_network(found), found.shuffled
    if best is None:
        return [found.summary]
    paper, twin, gap = best.paper.validation, best.twin.by_image, best.difference["accuracy"]
    n = sum(fold.judge_patients for fold in best.twin.folds)
    tests = best.tests[TOGETHER].by_case
    shuffled = "Labels shuffled between patients were not tried."
    if control is not None:
        shuffled = (
            "With labels shuffled between patients, where there is nothing to learn, the AUC by image is "
            f"{with_interval(control.paper.validation['auc'])} under the paper's protocol (LEAKY) and "
            f"{with_interval(control.twin.by_image['auc'])} without the leak; chance is 0.50."
        )
    return [
        f"Accuracy of {NAMES[best.model]} by image: {with_interval(paper['accuracy'])} under the paper's protocol "
        f"(LEAKY), {with_interval(twin['accuracy'])} without the leak, on {counted_noun(n, 'new patient')} (the "
        f"twin). The difference is {with_interval(gap)}.",
        f"On {counted_noun(len(found.cases), 'test case')} that neither was trained on, the proportion classified "
        f"correctly is {with_interval(tests.paper['accuracy'])} under the paper's protocol and "
        f"{with_interval(tests.twin['accuracy'])} without the leak.",
        shuffled,
    ]


def _words(source: ReplicateSource) -> Filled:
    found = source.found
    sentences = [found.tests_sentence, f"{found.area_sentence} {found.one_sided}".strip()]
    sentences += [found.shuffled.sentence] if found.shuffled else []
    return Filled(
        blocks=[
            Text(found.summary, marked=True),
            *(Text(text) for text in sentences if text),
            Heading("What differs between the two", marked=False),
            Bullets(found.twin_differs),
            Text(found.isolated),
            Heading("Shortened in this run", marked=False),
            Bullets(found.shortened),
        ]
    )


def _flow(source: ReplicateSource) -> Filled:
    setup = source.done.setup
    drawn = " The study marks no test case, so some were drawn at random, as the paper did."
    caption = "Flow of tumors from review to the parts of this study."
    figure = ShownFigure(
        "figure1-flow",
        caption + drawn * source.found.configuration.tests_drawn,
        lambda: draw_flow(setup.cohort, None, [*source.findings, *setup.store.findings]),
    )
    return Filled(blocks=[figure, _table("cohort_table", network_tables.cohort_table(source.found))])


def _copies(source: ReplicateSource) -> Filled:
    setup = source.done.setup
    rows = setup.store.rows_by_case[setup.development[0]]
    slice_hu = setup.store.hu[rows[len(rows) // 2]]
    caption = (
        "Four geometries (rows) times four intensities (columns); the first is the original, windowed "
        "and saved as 8-bit JPEG. Under the paper's protocol these copies are spread over training and "
        "validation: LEAKY."
    )
    return Filled(
        blocks=[
            _figure("figure2-copies", caption, lambda: figures.copies_figure(slice_hu, source.found.marks))
        ]
    )


def _networks(source: ReplicateSource) -> Filled:
    found = source.found
    every = _table("all_figures", network_tables.figure_table(found))
    return Filled(
        blocks=[
            _table("parameters", network_tables.parameter_table(found), of_study=False),
            _table("validation", network_tables.validation_table(found)),
            Fold("Sensitivity, specificity, precision and AUC of the same images", [every]),
            _figure(
                "learning",
                "Training (solid) and validation (dotted). Paper's protocol: LEAKY.",
                lambda: figures.learning_figure(found.models, found.marks),
            ),
        ]
    )


def _shuffled(source: ReplicateSource) -> Filled | None:
    control = source.found.shuffled
    if control is None:
        return None
    table = network_tables.shuffled_table(control, source.found.configuration.twin_folds)
    return Filled(blocks=[_table("shuffled", table)])


def _tests(source: ReplicateSource) -> Filled:
    found = source.found
    tables = [case_tables.figures_of_tests(found, name) for name in found.test_sets]
    names = [f"tests-{i}" if len(tables) > 1 else "tests" for i in range(1, len(tables) + 1)]
    first, *others = (_table(name, table) for name, table in zip(names, tables, strict=True))
    return Filled(
        blocks=[
            _table("cases", case_tables.case_table(found)),
            _table("readers", case_tables.reader_table(found), of_study=bool(found.readers)),
            first,
            *(Fold(other.table.caption, [other]) for other in others),
        ]
    )


def _roc(source: ReplicateSource) -> Filled:
    found = source.found
    positive = found.subtypes.index(found.positive)
    caption = (
        "Test cases by image (three of a case; paper's protocol, its epoch chosen on the LEAKY split), by case "
        "(twin), and the twin's development patients out of fold."
    )
    curves = source.done.curves
    return Filled(
        blocks=[
            _figure("figure4-roc", caption, lambda: figures.roc_figure(curves, positive, found.marks)),
            _table("areas", case_tables.area_table(found)),
        ]
    )


def _layers(source: ReplicateSource) -> Filled:
    found = source.found
    caption = (
        "Drawn from Table 3. Height: logarithm of the side of the output; width: logarithm of its channels."
    )
    figure = ShownFigure(
        "figure3-network", caption, lambda: figures.blocks_figure(found.layers), of_study=False
    )
    return Filled(blocks=[figure, _table("layers", network_tables.layer_table(found), of_study=False)])


def _resources(source: ReplicateSource) -> Filled:
    return Filled(blocks=[_table("resources", network_tables.resource_table(source.found))])


def _decisions(source: ReplicateSource) -> Filled:
    return Filled(blocks=[_table("decisions", network_tables.deviation_table(source.found))])


def _table(name: str, table: Table, of_study: bool = True) -> ShownTable:
    return ShownTable(name, table, of_study=of_study)


def _figure(name: str, caption: str, draw: Callable[[], Figure]) -> ShownFigure:
    return ShownFigure(name, caption, draw)


SECTIONS: tuple[Section[ReplicateSource], ...] = (
    Section(
        id="words", title="In words: what was found, and what differs", navigation="In words", fill=_words
    ),
    Section(id="flow", title="Figure 1. Flow of this study", navigation="Flow", fill=_flow),
    Section(id="copies", title="Figure 2. One slice and its 15 copies", navigation="Copies", fill=_copies),
    Section(id="validation", title="Table 1. The networks", navigation="Networks", fill=_networks),
    Section(
        id="shuffled",
        title="Shuffled labels",
        navigation="Shuffled labels",
        fill=_shuffled,
        hint="Not run (--shuffled-model none).",
    ),
    Section(id="tests", title="Table 2. Test cases", navigation="Test cases", fill=_tests),
    Section(id="roc", title="Figure 4. ROC", navigation="ROC", fill=_roc),
    Section(id="network", title="Table 3 and Figure 3. The network", navigation="The network", fill=_layers),
    Section(id="resources", title="Resource use", navigation="Resources", fill=_resources),
    Section(id="decisions", title="Decisions and deviations", navigation="Decisions", fill=_decisions),
)
