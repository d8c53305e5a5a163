"""Section Tumors outside the question: is a tumor that is none of the subtypes recognized?"""

from nephroscope.base.documents import plain_json
from nephroscope.clinic.outside import KEPT, OutsideCheck
from nephroscope.report.page.section import Block, Evidence, Filled, Section, ShownTable, Text
from nephroscope.report.page.table import Column, Table, build_table
from nephroscope.report.study.appraisal import RunSource

METHOD = (
    "Tumors outside the question: every case was placed by EfficientNet-Lite0 with ImageNet weights (mean over its "
    "slices), and its Mahalanobis distance from the nearest subtype taken, with one shrunk covariance in a few "
    "principal directions (Lee 2018; Ledoit and Wolf 2004). Each subtype was left out in turn: cases of the others "
    "had distances from means of folds without their patient, those of the subtype from means that never saw it."
)


def _fill(source: RunSource) -> Filled | None:
    found = source.content.outside
    if found is None:
        return None
    words = sentence(found)
    blocks: list[Block] = [Text(words, "lead")]
    if found.auroc:
        blocks.append(ShownTable("outside", outside_table(found), small=True))
    return Filled(
        blocks=blocks,
        limitations=() if found.recognizes else (words,),
        methods=(("Tumors outside the question", METHOD),) if found.auroc else (),
        evidence={"outside": Evidence("subtypes left out in turn", "#outside; tables/outside.csv")}
        if found.auroc
        else {},
        data=plain_json(found),
    )


OUTSIDE = Section(
    id="outside",
    title="Tumors outside the question",
    level=3,
    fill=_fill,
    hint="Whether tumors of other subtypes are recognized was not examined: run `nephroscope report {study}` again.",
)


def sentence(found: OutsideCheck) -> str:
    """What the check says, as a sentence."""
    return f"{found.words[0].upper()}{found.words[1:]}."


def outside_table(found: OutsideCheck) -> Table:
    """A row for each subtype that was left out."""
    columns: list[Column[str]] = [
        Column("Left out", lambda name: f"{name} (outside the question)" if name in found.other else name),
        Column("AUROC of the distance", lambda name: found.auroc[name]),
        Column(f"Flagged where {100 * KEPT:.0f} % of the others are kept", lambda name: found.flagged[name]),
    ]
    return build_table("Are tumors recognized that are none of the subtypes?", columns, list(found.auroc))
