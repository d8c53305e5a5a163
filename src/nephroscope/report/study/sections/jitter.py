"""Section ROI drawn otherwise: who gets another call when the ROI is 2 mm larger, smaller or shifted."""

from nephroscope.base.documents import plain_json
from nephroscope.questions.evaluation.jitter import JitterDocument, JitterGroup, jitter_words
from nephroscope.records import Estimate, counted_noun
from nephroscope.regions.jitter import NAMES
from nephroscope.report.page.names import group_title
from nephroscope.report.page.section import Evidence, Filled, Section, ShownTable, Text
from nephroscope.report.page.table import Column, Table, build_table
from nephroscope.report.study.appraisal import RunSource

METHOD = (
    "Robustness to the ROI: each ROI was made 2 mm larger and smaller within its slices, and shifted by 2 mm in four "
    "directions (to the nearest pixel); the slices were cut again, and the network that had not seen the patient "
    'answered. A call flips when it differs from that with the ROI as drawn, "not sure" not allowed.'
)


def _fill(source: RunSource) -> Filled | None:
    found = source.content.jitter
    if found is None:
        return None
    words = [jitter_words(group) for group in found.groups]
    return Filled(
        blocks=[
            *(Text(text, "lead") for text in words),
            ShownTable("jitter", jitter_table(found), small=True),
            *([Text(unanswered_words(found), "notes")] if found.findings else []),
        ],
        limitations=(unanswered_words(found),) if found.findings else (),
        methods=(("ROI drawn otherwise", METHOD),),
        evidence={"jitter": Evidence("calls with ROIs drawn 2 mm otherwise", "#jitter; tables/jitter.csv")},
        data=plain_json(found),
    )


def unanswered_words(found: JitterDocument) -> str:
    """The cases that could not be answered with another ROI, and why."""
    told = "; ".join(f"{one.case_id}: {one.message}" for one in found.findings)
    n = counted_noun(len({one.case_id for one in found.findings}), "case")
    return f"{n} could not be answered with the ROI drawn otherwise, and none of these shares counts them: {told}."


JITTER = Section(
    id="jitter",
    title="ROI drawn otherwise",
    level=3,
    fill=_fill,
    hint=(
        "It was not measured how calls change when the ROI is drawn 2 mm otherwise: `nephroscope evaluate {study} "
        "--jitter` does; it reads every CT again."
    ),
)


def jitter_table(found: JitterDocument) -> Table:
    """A row for each test set and way."""
    rows = [(group, way) for group in found.groups for way in ("any", *NAMES)]
    columns: list[Column[tuple[JitterGroup, str]]] = [
        Column("Cases", lambda row: group_title(row[0].name)),
        Column("ROI", lambda row: "any of these" if row[1] == "any" else row[1]),
        Column("Share of calls that flip", _share),
    ]
    return build_table("Calls when the ROI is drawn otherwise", columns, rows)


def _share(row: tuple[JitterGroup, str]) -> Estimate:
    return row[0].flips[row[1]]
