"""The page of proposals: a `ProposalReport` goes in; one HTML file, its JSON and CSV come out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nephroscope.base.documents import save_document
from nephroscope.base.files import save_text
from nephroscope.base.tables import save_table
from nephroscope.base.text import counted_noun
from nephroscope.questions.evaluation.proposals import SIZES, ComparedPatient, ProposalReport
from nephroscope.questions.evaluation.proposed_answers import NOT_SURE, AnswerEffect, OneAnswer, TwoAnswers
from nephroscope.records import CTVolume, Estimate, RoiMask
from nephroscope.regions.agreement import compare
from nephroscope.report.annotators.figures import READER_COLORS, Cut, cut_out, picture
from nephroscope.report.page.names import with_interval
from nephroscope.report.page.render import Page, render
from nephroscope.report.page.section import Block, Bullets, Filled, Fragment, Section, ShownTable, Text
from nephroscope.report.page.table import Cell, Column, build_table

FORMAT = 1
N_WORST = 6
FIGURES = {
    "dice": "Dice, misses as 0",
    "surface_dice": "Surface Dice, misses as 0",
    "dice_found": "Dice where something of the tumor was drawn",
    "sensitivity": "Tumors found",
    "f1": "F1 of detection",
    "false_alarms": "False alarms per patient, not on cysts",
    "on_cysts": "False alarms per patient on cysts",
    "mean_hu_error": "Error of the mean attenuation (HU)",
    "mean_hu_error_absolute": "Absolute error of the mean attenuation (HU)",
    "diameter_error_mm": "Error of the largest axial diameter (mm)",
    "diameter_error_mm_absolute": "Absolute error of that diameter (mm)",
}
CSV_COLUMNS = (
    *("patient_id", "case_ids", "series", "state", "missed", "dice", "surface_dice", "n_tumors", "n_found"),
    *("n_false", "n_on_cysts", "volume_ml", "proposed_ml", "diameter_mm", "diameter_error_mm", "mean_hu"),
    "mean_hu_error",
)


@dataclass(frozen=True, eq=False, slots=True)
class Shown:
    """A case to look at: how it ranks, what is said of it, and its slices."""

    rank: float
    words: str
    cuts: tuple[Cut, ...]

    @property
    def address(self) -> str:
        """The picture as a ``data:`` address."""
        return picture(self.cuts, ("drawn and proposed", "drawn only", "proposed only"))


@dataclass
class WorstProposals:
    """Keeps pieces of the patients with the lowest Dice, and of the cases whose answer moves most."""

    masks: list[Shown] = field(default_factory=list)
    answers: list[Shown] = field(default_factory=list)

    def offer(self, row: ComparedPatient, volume: CTVolume, drawn: RoiMask, proposed: RoiMask | None) -> None:
        """Keep this patient when it is among the worst so far; where nothing was proposed there is nothing to see."""
        if proposed is not None:
            volumes = f"{row.volume_ml:.1f} and {row.proposed_ml:.1f} ml"
            words = f"{', '.join(row.case_ids)}: Dice {row.dice:.3f}, {volumes}"
            self._keep(self.masks, row.dice, words, volume, drawn, proposed)

    def offer_answer(self, both: TwoAnswers, volume: CTVolume, drawn: RoiMask, proposed: RoiMask) -> None:
        """Keep this case when its answer moves as much as that of any other."""
        if both.flips or both.moved > 0:
            said = f"{_said(both.drawn)} with the drawn ROI, {_said(both.proposed)} with the proposed one"
            pathology = f", pathology {both.subtype}" if both.subtype else ""
            words = f"{both.case_id}{pathology}: {said}"
            self._keep(self.answers, -both.moved - both.flips, words, volume, drawn, proposed)

    def _keep(
        self, kept: list[Shown], rank: float, words: str, volume: CTVolume, drawn: RoiMask, proposed: RoiMask
    ) -> None:
        if len(kept) == N_WORST and rank >= kept[-1].rank:
            return
        kept.append(Shown(rank, words, cut_out(compare(drawn, proposed), volume, drawn, proposed)))
        kept.sort(key=lambda one: (one.rank, one.words))
        del kept[N_WORST:]


@dataclass(frozen=True, eq=False, kw_only=True)
class ProposalSource:
    """What the sections are filled from."""

    report: ProposalReport
    worst: WorstProposals


def write_proposals(folder: Path, title: str, report: ProposalReport, worst: WorstProposals) -> Path:
    """Write index.html, compare.json and compare.csv into ``folder``; returns the path of index.html."""
    page = page_of(title, ProposalSource(report=report, worst=worst))
    save_document(folder / "compare.json", report, FORMAT)
    rows = [[_csv_cell(getattr(row, name)) for name in CSV_COLUMNS] for row in report.patients]
    save_table(folder / "compare.csv", CSV_COLUMNS, rows)
    save_text(folder / "index.html", render(page, {}))
    return folder / "index.html"


def page_of(title: str, source: ProposalSource) -> Page:
    """The page, with the sections for which there is something to show."""
    report = source.report
    filled = [(section, section.fill(source)) for section in SECTIONS]
    return Page(
        title=f"{title}: drawn by machine",
        subtitle=f"{report.author} against {report.truth}",
        marks=("SYNTHETIC",) if report.synthetic else (),
        top=_top(source),
        sections=[(section, found) for section, found in filled if found is not None],
        footer=("See docs/how-to/segment.md for what each figure counts.",),
    )


def _top(source: ProposalSource) -> list[Block]:
    report = source.report
    key = (
        f"{report.author}: mean Dice {with_interval(report.figures['dice'], 3)} over "
        f"{counted_noun(report.n_patients, 'patient')}, {report.n_missed} of them without a proposal."
    )
    blocks: list[Block] = [Text(key, "key", marked=True)]
    if report.answers is not None:
        blocks.append(Text(answer_words(report.answers), "key", marked=True))
    columns: list[Column[str]] = [Column("Figure", FIGURES.get), Column("All", _cell_of(report.figures))]
    columns += [
        Column(f"{name} (n = {_n(report, name)})", _cell_of(report.by_size[name])) for name, _, _ in SIZES
    ]
    notes = [
        f"Means over patients, all tumors of a patient together; {report.figures['dice'].method}. Where "
        f"nothing was proposed, Dice is 0. Surface Dice at {report.tolerance_mm:g} mm. Sizes are largest axial "
        "diameters as drawn.",
        "A tumor is found where a proposed part overlaps it with an IoU of at least 0.1; parts below 0.065 ml do not "
        f"count. Cysts are known in {counted_noun(report.cysts_known, 'patient')}. Errors are proposed minus drawn.",
    ]
    return [*blocks, ShownTable("", build_table("Against what people drew", columns, FIGURES, notes))]


def answer_words(found: AnswerEffect) -> str:
    """What the proposals do to the answers, in a sentence or two; with the margin."""
    without = f"; {found.n_without} of {found.n_cases} cases have no answer with the proposal"
    lost = without if found.n_without else ""
    seen = (
        f" The training of the bundle saw {found.n_seen} of the cases: their answers are too good."
        if found.n_seen
        else ""
    )
    return (
        f"Through {found.bundle}, AUC {_auc(found.auc_drawn)} drawn and {_auc(found.auc_proposed)} proposed, margin "
        f"{found.margin:g}: {found.shown.words}. "
        f"Calls that change: {with_interval(found.flips, 3)}{lost}.{seen}"
    )


def _n(report: ProposalReport, name: str) -> int:
    dice = report.by_size[name].get("dice")
    return dice.n if dice else 0


def _cell_of(figures: dict[str, Estimate]) -> Callable[[str], Cell]:
    def cell(name: str) -> Cell:
        e = figures.get(name)
        if e is None or e.value is None:
            return Cell("none", "" if e is None else e.method)
        decimals = 1 if "error" in name else 3  # HU and mm; shares
        limits = "" if e.low is None or e.high is None else f"{e.low:.{decimals}f} to {e.high:.{decimals}f}"
        return Cell(f"{e.value:.{decimals}f}", limits)

    return cell


def _fill_answers(source: ProposalSource) -> Filled | None:
    found = source.report.answers
    if found is None:
        return None
    columns: list[Column[TwoAnswers]] = [
        Column("Case", lambda one: Cell(one.case_id, warn=one.flips)),
        Column("Pathology", lambda one: one.subtype or ""),
        Column("Drawn", lambda one: _said(one.drawn)),
        Column("Proposed", lambda one: _said(one.proposed) if one.proposed else f"no answer: {one.why}"),
        Column("Moved by", lambda one: f"{one.moved:.3f}"),
    ]
    note = (
        f"The call and the probability of it. “{NOT_SURE}” and no answer count as calls. In the AUC, where the "
        "proposal has no answer, every subtype counts as equally probable. Over the cases that both answer the "
        f"difference is {with_interval(found.difference_answered, 3)}. Calls without “{NOT_SURE}” "
        f"change in {with_interval(found.forced_flips, 3)}."
    )
    table = build_table("Every case, the one that moves most first", columns, found.cases, [note])
    pictures = [_pictures(source.worst.answers)] if source.worst.answers else []
    return Filled(blocks=[*pictures, ShownTable("", table, small=True)])


def _pictures(shown: Sequence[Shown]) -> Fragment:
    return Fragment("proposals/worst.html.j2", (READER_COLORS, shown))


def _fill_worst(source: ProposalSource) -> Filled | None:
    missed = [", ".join(row.case_ids) for row in source.report.patients if row.missed]
    blocks: list[Block] = [Text(f"Nothing was proposed for {', '.join(missed)}.")] if missed else []
    if source.worst.masks:
        blocks.append(_pictures(source.worst.masks))
    return Filled(blocks=blocks) if blocks else None


def _fill_patients(source: ProposalSource) -> Filled | None:
    columns: list[Column[ComparedPatient]] = [
        Column("Cases", lambda row: Cell(", ".join(row.case_ids), warn=row.dice == 0)),
        Column(
            "Author and state", lambda row: f"{source.report.author}, {row.state}" if row.state else "none"
        ),
        Column("Dice", lambda row: f"{row.dice:.3f}"),
        Column("Surface Dice", lambda row: f"{row.surface_dice:.3f}"),
        Column("Found", lambda row: f"{row.n_found} of {row.n_tumors}"),
        Column("False alarms", lambda row: row.n_false),
        Column("On cysts", lambda row: row.n_on_cysts),
        Column("Volumes (ml)", lambda row: f"{row.volume_ml:.1f}, {row.proposed_ml:.1f}"),
        Column("Diameter (mm)", lambda row: f"{row.diameter_mm:.0f} {_signed(row.diameter_error_mm)}"),
        Column("Mean HU", lambda row: f"{row.mean_hu:.0f} {_signed(row.mean_hu_error)}"),
    ]
    table = build_table("Every patient", columns, source.report.patients)
    return Filled(blocks=[ShownTable("", table, small=True)])


def _fill_left_out(source: ProposalSource) -> Filled | None:
    lines = [f"{finding.severity}: {finding.message}" for finding in source.report.findings]
    return Filled(blocks=[Bullets(lines)]) if lines else None


SECTIONS: tuple[Section[ProposalSource], ...] = (
    Section(id="answers", title="What it does to the answers", navigation="Answers", fill=_fill_answers),
    Section(id="worst", title="The worst proposals", navigation="Worst", fill=_fill_worst),
    Section(
        id="patients", title="Every patient, the worst first", navigation="Patients", fill=_fill_patients
    ),
    Section(id="doubt", title="Not compared", navigation="Not compared", fill=_fill_left_out),
)


def _said(answer: OneAnswer | None) -> str:
    if answer is None:
        return "no answer"
    p = f"{max(answer.probabilities):.2f}"
    return f"{NOT_SURE} ({answer.forced} {p})" if answer.call == NOT_SURE else f"{answer.call} {p}"


def _auc(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"({value:+.0f})"


def _csv_cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(map(str, value)) if isinstance(value, tuple) else "" if value is None else str(value)
