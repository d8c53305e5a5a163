"""The contact sheet of a study: each case as one whole slice with its ROI, warnings first, to be looked through."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nephroscope.base.files import save_text
from nephroscope.imaging.picture import draw_slice
from nephroscope.records import ChosenCase, CTVolume, Finding, RoiMask, counted_noun
from nephroscope.regions.check import CheckedCase, ReadCase
from nephroscope.report.page.render import Page, render
from nephroscope.report.page.section import Filled, Fragment, Section, Text

GROUPS = ("refusal", "warning", "note")  # in the order of the page
TITLES = {"refusal": "Refused", "warning": "With warnings", "note": "Nothing doubtful"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetCard:
    """One case: its picture (as data address; empty where there is none), facts, and findings to show."""

    case_id: str
    subtype: str
    address: str
    slice_index: int | None
    facts: str
    findings: tuple[Finding, ...]


@dataclass(eq=False, kw_only=True)
class ContactSheet:
    """What the page shows. Pictures are offered while the cases are checked, so that each CT is read once."""

    cases: Mapping[str, ChosenCase]
    checked: Mapping[str, CheckedCase] = field(default_factory=dict)
    pictures: dict[str, tuple[str, int]] = field(default_factory=dict)

    def drawing(self, read: ReadCase) -> ReadCase:
        """The same reader, which also keeps a picture of what it read."""

        def read_and_draw(case: ChosenCase) -> tuple[CTVolume, RoiMask]:
            volume, roi = read(case)
            if roi.voxels.any():
                picture = draw_slice(volume, roi)
                self.pictures[case.case_id] = (picture.address, picture.slice_index)
            return volume, roi

        return read_and_draw

    def cards(self, severity: str) -> list[SheetCard]:
        """Cards of the cases whose worst finding is of this severity."""
        return [
            self._card(name, found) for name, found in self.checked.items() if worst_of(found) == severity
        ]

    def _card(self, name: str, found: CheckedCase) -> SheetCard:
        address, index = self.pictures.get(name, ("", None))
        case = self.cases[name]
        return SheetCard(
            case_id=name,
            subtype=case.subtype or "no subtype",
            address=address,
            slice_index=index,
            facts=_facts(found),
            findings=tuple(finding for finding in found.findings if finding.severity != "note"),
        )


def worst_of(found: CheckedCase) -> str:
    """The worst severity among the findings of a case."""
    return min((finding.severity for finding in found.findings), key=GROUPS.index, default="note")


def write_contact_sheet(folder: Path, study: str, sheet: ContactSheet, *, synthetic: bool) -> Path:
    """Write index.html into ``folder``; returns its path."""
    counts = {severity: len(sheet.cards(severity)) for severity in GROUPS}
    key = (
        f"{counted_noun(len(sheet.checked), 'case')}: {counts['warning']} with warnings, "
        f"{counts['refusal']} refused. Look at each: is the outline around the tumor, on the side it should be?"
    )
    page = Page(
        title=f"{study}: every case",
        subtitle="The slice on which the tumor is largest, at level 40, width 400 HU. Click a picture to enlarge it.",
        marks=("SYNTHETIC",) if synthetic else (),
        top=[Text(key, "key")],
        sections=[
            (_section(severity), Filled(blocks=[Fragment("check/cards.html.j2", sheet.cards(severity))]))
            for severity in GROUPS
            if counts[severity]
        ],
        footer=("Codes: docs/reference/findings.md.",),
    )
    save_text(folder / "index.html", render(page, {}))
    return folder / "index.html"


def _section(severity: str) -> Section[None]:
    title = TITLES[severity]
    return Section(id=severity, title=title, navigation=title, fill=lambda _: None)


def _facts(found: CheckedCase) -> str:
    measures, used = found.measures, found.used
    facts = []
    if measures is not None:
        facts += [f"side {measures.side}"] if measures.side else []
        facts += [f"{measures.volume_ml:.1f} ml"] if measures.volume_ml is not None else []
        diameter = measures.largest_axial_diameter_mm
        facts += [f"{diameter:.0f} mm"] if diameter is not None else []
        facts += [counted_noun(measures.n_slices, "slice")]
    if used is not None:
        facts += [used.phase, f"ROI by {used.roi}"]
    return " · ".join(fact for fact in facts if fact)
