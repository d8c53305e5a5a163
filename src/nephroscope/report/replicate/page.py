"""`nephroscope replicate zuo2021`: a cohort with its slices in; page, JSON, tables and figures out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from nephroscope.base.errors import CohortError
from nephroscope.base.files import one_at_a_time, save_text
from nephroscope.base.tables import save_table
from nephroscope.base.version import __version__
from nephroscope.learning.networks.layers import describe_layers
from nephroscope.learning.training.arm import read_record
from nephroscope.questions.readers.answers import Reader
from nephroscope.questions.readers.call_table import read_calls
from nephroscope.questions.replicate import case_table, described, experiment
from nephroscope.questions.replicate.answers import Answers, answer_tests, joined, judge
from nephroscope.questions.replicate.experiment import Trained
from nephroscope.questions.replicate.numbers import Reading, by_case, by_image, three_of_each
from nephroscope.questions.replicate.printed import MODELS
from nephroscope.questions.replicate.setup import TOGETHER, ReplicateOptions, Setup, make_setup
from nephroscope.records import Cohort, EvaluationConfig, Finding
from nephroscope.report.page.drawing import save_figures
from nephroscope.report.page.names import RESEARCH_USE
from nephroscope.report.page.table import Table
from nephroscope.report.replicate import tables, tables_more, words
from nephroscope.report.replicate import tables as tables_tests
from nephroscope.report.replicate.deviations import deviations
from nephroscope.study.slices import SliceStore

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER_PARTS = "The paper: 39 PRCC and 35 ChRCC tumors, 1,854 images; 6 and 4 test cases."
SECTIONS = (
    ("flow", "Flow"),
    ("copies", "Copies"),
    ("validation", "Six networks"),
    ("shuffled", "Shuffled labels"),
    ("tests", "Test cases"),
    ("roc", "ROC"),
    ("network", "The network"),
    ("resources", "Resources"),
    ("decisions", "Decisions"),
)


def marks_of(content: Mapping[str, Any]) -> list[str]:
    """SYNTHETIC, where it is."""
    return ["SYNTHETIC"] if content["synthetic"] else []


def write_page(folder: Path, content: dict[str, Any], figures: "Mapping[str, Figure]") -> Path:
    """Write index.html, tables/*.csv and figures/*.svg and *.png into ``folder``; gives the page's path."""
    drawn = save_figures(folder / "figures", figures)
    made = all_tables(content)
    for name, table in made.items():
        parts = table if isinstance(table, list) else [table]
        for number, part in enumerate(parts):
            suffix = f"-{number + 1}" if len(parts) > 1 else ""
            _save_csv(folder / "tables" / f"{name}{suffix}.csv", part, marks_of(content))
    save_text(folder / "index.html", _render(content, drawn, made))
    return folder / "index.html"


def all_tables(content: dict[str, Any]) -> dict[str, Table | list[Table]]:
    """Every table of the page by its name; the test sets are several."""
    sets = [TOGETHER, *(name for name in content["cohort"] if name != "development")]
    sets = sets if len(sets) > 2 else [TOGETHER]  # one set alone is all together
    made: dict[str, Table | list[Table]] = {
        "cohort_table": _cohort_table(content),
        "parameters": tables.parameter_table(content),
        "validation": tables.validation_table(content),
        "all_figures": tables.figure_table(content),
        "cases": tables_tests.case_table(content),
        "readers": tables_tests.reader_table(content),
        "tests": [
            tables_tests.test_table(content, name, {n["model"]: n["tests"][name] for n in content["models"]})
            for name in sets
        ],
        "areas": tables_more.area_table(content, sets),
        "layers": tables_more.layer_table(content),
        "resources": tables_more.resource_table(content),
        "decisions": tables_more.deviation_table(content),
    }
    if content["shuffled"]:
        made["shuffled"] = tables_more.shuffled_table(content)
    return made


def _render(content: dict[str, Any], figures: dict[str, str], made: dict[str, Table | list[Table]]) -> str:
    environment = Environment(
        loader=PackageLoader("nephroscope.report.replicate", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("zuo2021.html.j2").render(
        content=content,
        marks=marks_of(content),
        figures=figures,
        sections=SECTIONS,
        version=__version__,
        date=datetime.now(UTC).date().isoformat(),
        research_use=RESEARCH_USE,
        source=words.source(),
        **made,
    )


def _cohort_table(content: dict[str, Any]) -> Table:
    rows = []
    for part, n in content["cohort"].items():
        by_subtype = [str(n["by_subtype"][s]) for s in content["subtypes"]]
        rows.append((part, str(n["patients"]), str(n["cases"]), *by_subtype, f"{n['slices']:,}"))
    header = ("Part", "Patients", "Tumors", *content["subtypes"], "Slices")
    notes = (f"Positive: {content['positive']}. {PAPER_PARTS}",)

    return Table(caption="Parts of this study", header=header, rows=tuple(rows), notes=notes)


def _save_csv(path: Path, table: Table, marks: list[str]) -> None:
    """Header and rows; the small print of a figure in a column of its own, the marks in a last one."""
    small = {
        i for row in table.rows for i, cell in enumerate(row) if not isinstance(cell, str) and cell.small
    }
    header = [
        t for i, name in enumerate(table.header) for t in ([name, f"{name}, note"] if i in small else [name])
    ]
    rows = []
    for row in table.rows:
        line: list[str] = []
        for i, cell in enumerate(row):
            line.append(cell if isinstance(cell, str) else cell.text)
            if i in small:
                line.append("" if isinstance(cell, str) else cell.small)
        rows.append([*line, *marks])
    save_table(path, [*header, *(["mark"] if marks else [])], rows)


if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, kw_only=True)
class ReplicateInputs:
    """What an experiment is made from.

    Attributes:
        title: The study's name.
        readers: CSV of radiologists' calls of the test cases, where there is one.
        means: The study's name of a subtype that somebody typed into that table.
        scored_readers: What `nephroscope readers` already found of the study's readers, in words; empty for nothing.
    """

    title: str
    cohort: Cohort
    store: SliceStore
    evaluation: EvaluationConfig
    options: ReplicateOptions
    findings: Sequence[Finding] = ()
    readers: Path | None = None
    means: Callable[[str], str | None] = lambda text: text
    scored_readers: str = ""


def replicate_zuo2021(inputs: ReplicateInputs, folder: Path) -> dict[str, Any]:
    """Do everything that is not done yet, write the page and its files, and give the content of replicate.json.

    Raises:
        CohortError: The study does not have two subtypes, has too few patients, or the readers' table is wrong.
        StudyError: A file of an earlier call is damaged, or another call is at work in this folder.
    """
    setup = make_setup(inputs.cohort, inputs.store, inputs.options)
    readers = _readers(inputs, setup)
    with one_at_a_time(folder):
        return _replicate(inputs, setup, readers, folder)


def _replicate(
    inputs: ReplicateInputs, setup: Setup, readers: Sequence[Reader], folder: Path
) -> dict[str, Any]:
    reading = experiment.reading_of(setup, inputs.evaluation)
    parts = experiment.train_all(setup, folder)
    networks = experiment.group_parts(parts, inputs.options.models, False)
    shuffled = inputs.options.shuffled
    control = experiment.group_parts(parts, (shuffled,), True)[0] if shuffled else None
    answers = {t.model: _test_answers(t, setup) for t in networks}
    rows = case_table.case_rows(setup, reading, answers, readers)
    scored = case_table.reader_results(rows, readers, case_table.known_tests(setup), reading)
    content: dict[str, Any] = {
        "experiment": "zuo2021",
        "study": inputs.title,
        "synthetic": setup.cohort.synthetic,
        "subtypes": list(setup.cohort.subtypes),
        "positive": setup.cohort.positive,
        "digests": {"slices": setup.store.digest, "cohort": inputs.cohort.label_digest},
        "configuration": described.configuration_of(setup, parts),
        "cohort": described.cohort_of(setup),
        "leak": described.leak_of(setup, parts[0]),
        "parameters": described.parameter_table(),
        "models": [experiment.results_of(trained, setup, reading) for trained in networks],
        "shuffled": None,
        "cases": rows,
        "readers": scored,
        "readers_mean": case_table.mean_of_readers(scored),
        "readers_note": _readers_note(inputs, scored),
        "trainings": len(parts),
        "hours": words.hours_of(read_record(part.arm) for part in parts),
        "phases": described.phases_of(setup),
        "layers": describe_layers(2),
    }
    if control is not None:
        content["shuffled"] = {"model": shuffled, **experiment.validation_of(control, setup, reading)}
    content = experiment.as_plain(content)
    _say(content)
    experiment.save_content(content, folder / "replicate.json")
    page = write_page(
        folder, content, _figures(inputs, setup, content, _curves(networks, answers, setup, reading))
    )
    return content | {"page": str(page)}


def _readers(inputs: ReplicateInputs, setup: Setup) -> list[Reader]:
    """Readers' calls of the test cases, read before anything is trained, so that a mistake is told at once."""
    if inputs.readers is None:
        return []
    every = case_table.known_cases(setup, [c.case_id for c in setup.cohort.cases if c.subtype])
    readers = read_calls(inputs.readers, every, inputs.means).readers
    found = case_table.on_tests(readers, case_table.known_tests(setup))
    if not found:
        raise CohortError(
            where=inputs.readers.name,
            expected=f"calls of test cases: {', '.join(setup.tests[:5])}{' ...' * (len(setup.tests) > 5)}",
            found="calls of development cases alone",
            remedy="add the readers' calls of the test cases, or leave --readers out",
        )
    return found


def _readers_note(inputs: ReplicateInputs, scored: Sequence[Any]) -> str:
    """Where readers' calls of the test cases would come from, when none were given."""
    if scored:
        return ""
    what = f"{inputs.scored_readers} Give" if inputs.scored_readers else "No readers' calls were given: give"
    return f"{what} their table with --readers FILE to set them beside the networks on the test cases."


def _test_answers(trained: Trained, setup: Setup) -> dict[str, Answers]:
    return {
        "paper": answer_tests(trained.paper, setup),
        "twin": answer_tests(trained.chosen_twin, setup),
    }


def _say(content: dict[str, Any]) -> None:
    """Add the sentences that are made from the figures."""
    best = words.best_network(content)
    content |= {
        "summary": words.summary(content),
        "tests_sentence": "" if best is None else words.tests_sentence(content, best),
        "one_sided": words.one_sided(content),
        "twin_differs": words.twin_differs(content),
        "isolated": words.isolated(content),
        "hours_sentence": words.hours_words(content),
        "area_sentence": words.area_sentence(content),
        "shortened": words.shortened(content),
        "deviations": deviations(content, [reader["name"] for reader in content["readers"]]),
    }
    if content["shuffled"]:
        content["shuffled"]["sentence"] = words.shuffled_sentence(content["shuffled"])


def _curves(
    networks: Sequence[Trained], answers: dict[str, dict[str, Answers]], setup: Setup, reading: Reading
) -> dict[str, Any]:
    """What Figure 4 draws of each network."""
    return {
        trained.model: {
            "tests by image, paper's protocol, epoch chosen on the LEAKY split": by_image(
                three_of_each(answers[trained.model]["paper"], reading), reading
            ),
            "tests by case, twin": by_case(answers[trained.model]["twin"], reading),
            "development by case, twin out of fold": by_case(
                joined([judge(part, setup) for part in trained.twin]), reading
            ),
        }
        for trained in networks
    }


def _figures(
    inputs: ReplicateInputs, setup: Setup, content: dict[str, Any], curves: dict[str, Any]
) -> "dict[str, Figure]":
    from nephroscope.report.cohort.flow import draw_flow
    from nephroscope.report.replicate import figures

    marks = marks_of(content)
    rows = setup.store.rows_by_case[setup.development[0]]
    printed = {
        name: row.validation_accuracy for name, row in MODELS.items() if row.validation_accuracy is not None
    }
    findings = [*inputs.findings, *setup.store.findings]
    return {
        "comparison": figures.comparison_figure(content["models"], content["shuffled"], printed, marks),
        "figure1-flow": draw_flow(setup.cohort, None, findings),
        "figure2-copies": figures.copies_figure(setup.store.hu[rows[len(rows) // 2]], marks),
        "learning": figures.learning_figure(content["models"], marks),
        "figure3-network": figures.blocks_figure(content["layers"]),
        "figure4-roc": figures.roc_figure(curves, setup.cohort.subtypes.index(setup.cohort.positive), marks),
    }
