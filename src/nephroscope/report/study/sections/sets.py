"""Section Possible subtypes: sets that keep the true subtype of 90 % of the cases of each, and how often they did."""

from collections.abc import Callable

from nephroscope.base.documents import plain_json
from nephroscope.records import Estimate, SetCoverage, SetFigures
from nephroscope.report.page.section import Block, Evidence, Filled, Section, ShownTable, Text
from nephroscope.report.page.table import Column, Table, build_table
from nephroscope.report.study.appraisal import RunSource

METHOD = (
    "Sets of possible subtypes are label-conditional conformal (Vovk 2012; Sadinle 2019): for each subtype, the "
    "limit is the probability that 90 % of its calibration patients reach, by the out-of-fold answers. Coverage was "
    "measured by fold, each with limits from the other folds; a fold has few patients, and its network a level of "
    "its own, so single folds vary. It holds for cases like these; it is no promise for another hospital, where "
    "prevalence, scanners and protocols differ. A bundle answers with the mean of networks, to which limits from "
    "single networks carry over only about."
)


def _fill(source: RunSource) -> Filled | None:
    found = source.report.sets
    if found is None:
        return None
    if found.why_not:
        return Filled(blocks=[Text(f"There are no sets of possible subtypes: {found.why_not}.", "empty")])
    blocks: list[Block] = [Text(lead(found), "lead")]
    if not found.checked:
        blocks.append(
            Text("Coverage could not be measured: the other folds have too few patients of a subtype.")
        )
        return Filled(blocks=blocks, methods=(("Possible subtypes", METHOD),))
    return Filled(
        blocks=[*blocks, ShownTable("sets", set_table(found, source.report.subtypes), small=True)],
        methods=(("Possible subtypes", METHOD),),
        evidence={
            "sets": Evidence("coverage of sets of possible subtypes, by fold", "#sets; tables/sets.csv")
        },
        data=plain_json(found),
    )


SETS = Section(
    id="sets",
    title="Possible subtypes",
    level=3,
    fill=_fill,
    hint="There are no sets of possible subtypes: run `nephroscope report {study}` again.",
)


def lead(found: SetFigures) -> str:
    """What the sets rest on, in a sentence."""
    rests = ", ".join(f"{n} patients with {name}" for name, n in found.n_patients.items())
    least = ", ".join(f"{name} from a probability of {p:.2f} on" for name, p in found.least.items())
    words = (
        f"An answer leaves possible: {least}; so one subtype, several or none. At {100 * found.confidence:g} %, from "
        f"{rests}; no promise for another hospital."
    )
    if not found.n_with_facts:
        return words
    own = ", ".join(
        f"{name} from {p:.2f} on ({found.n_with_facts[name]} patients)"
        for name, p in found.least_with_facts.items()
    )
    return f"{words} Those are limits for the image alone; of answers with clinical facts they are {own}."


def set_table(found: SetFigures, subtypes: tuple[str, ...]) -> Table:
    """A row for each fold and test set."""
    columns: list[Column[SetCoverage]] = [
        Column("Cases", lambda row: "all out-of-fold" if row.name == "all" else row.name),
        Column("True subtype in the set", lambda row: row.coverage["coverage"]),
        *(Column(f"Of {name}", _of(name)) for name in subtypes),
        *(Column(f"Sets of {word}", _size(word)) for word in ("one", "several", "none")),
    ]
    return build_table(
        "How often the set held the true subtype, by limits from other cases", columns, found.checked
    )


def _of(name: str) -> Callable[[SetCoverage], Estimate]:
    return lambda row: row.coverage[f"coverage_{name}"]


def _size(word: str) -> Callable[[SetCoverage], Estimate]:
    return lambda row: row.sizes[word]
