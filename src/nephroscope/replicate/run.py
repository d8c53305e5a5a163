"""`nephroscope replicate zuo2021`: a cohort with its slices in; page, JSON, tables and figures out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nephroscope.errors import CohortError
from nephroscope.evaluation.readers.calls import Reader
from nephroscope.evaluation.readers.read_calls import read_calls
from nephroscope.models.layers import describe_layers
from nephroscope.records import Cohort, EvaluationConfig, Finding
from nephroscope.replicate import apart, case_table, described, experiment, words
from nephroscope.replicate.answers import Answers, answer_tests, joined, judge
from nephroscope.replicate.deviations import deviations
from nephroscope.replicate.experiment import Trained
from nephroscope.replicate.lock import one_at_a_time
from nephroscope.replicate.numbers import Reading, by_case, by_image, three_of_each
from nephroscope.replicate.page import marks_of, write_page
from nephroscope.replicate.printed import MODELS
from nephroscope.replicate.setup import ReplicateOptions, Setup, make_setup
from nephroscope.slices.store import SliceStore
from nephroscope.training.arm import read_record

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
        "hours": apart.hours_of(read_record(part.arm) for part in parts),
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
        "tests_sentence": "" if best is None else apart.tests_sentence(content, best),
        "one_sided": apart.one_sided(content),
        "twin_differs": apart.twin_differs(content),
        "isolated": apart.isolated(content),
        "hours_sentence": apart.hours_words(content),
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
    from nephroscope.replicate import figures
    from nephroscope.report.flow import draw_flow

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
