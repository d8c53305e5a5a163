"""A page's content in; everything that stands on the page, once, out: for the HTML, the JSON and the model card."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from nephroscope.report.appraisal import Appraisal, appraise
from nephroscope.report.checklists.evidence import evidence_of
from nephroscope.report.checklists.items import AnsweredItem
from nephroscope.report.checklists.write import answer_all
from nephroscope.report.content import ReportContent
from nephroscope.report.extra_sections import ExtraSection, extra_sections
from nephroscope.report.figures import all_figures
from nephroscope.report.flow import draw_flow
from nephroscope.report.limitations import limitations
from nephroscope.report.methods import methods
from nephroscope.report.page_tables import page_tables
from nephroscope.report.probability_figures import probability_figures
from nephroscope.report.saliency_words import saliency_limitations, saliency_methods
from nephroscope.report.tables import Table
from nephroscope.report.words import key_result


@dataclass(frozen=True, eq=False, kw_only=True)
class PageParts:
    """Everything on the page.

    Attributes:
        sections: Those that other commands fill, by name: comparison, controls, readers.
    """

    content: ReportContent
    appraisal: Appraisal
    key_result: str
    methods: tuple[tuple[str, str], ...]
    limitations: tuple[str, ...]
    tables: Mapping[str, Table]
    checklists: Mapping[str, tuple[AnsweredItem, ...]]
    sections: Mapping[str, ExtraSection] = field(default_factory=dict)

    @property
    def sections_data(self) -> dict[str, Any]:
        """What the sections hold, as data."""
        return {name: section.data for name, section in self.sections.items() if section.data is not None}


def page_parts(content: ReportContent) -> PageParts:
    """Compute everything."""
    appraisal = appraise(content)
    sections = extra_sections(content)
    limits = [*limitations(content, appraisal), *(text for s in sections.values() for text in s.limitations)]
    limits += saliency_limitations(content)
    extra = {name: evidence for s in sections.values() for name, evidence in s.evidence.items()}
    return PageParts(
        content=content,
        appraisal=appraisal,
        key_result=key_result(content),
        methods=(
            *methods(content, appraisal),
            *(m for s in sections.values() for m in s.methods),
            *saliency_methods(content),
        ),
        limitations=tuple(limits),
        tables=page_tables(content, appraisal)
        | {n: t for s in sections.values() for n, t in s.tables.items()},
        checklists=answer_all(evidence_of(content, appraisal, len(limits), extra)),
        sections=sections,
    )


def page_figures(page: PageParts) -> dict[str, Figure]:
    """Every figure of the page, by the name of its file."""
    content = page.content
    return {
        "flow": draw_flow(content.cohort, content.split, content.findings),
        **all_figures(content),
        **probability_figures(content, page.appraisal),
        **{name: figure for s in page.sections.values() for name, figure in s.figures.items()},
    }
