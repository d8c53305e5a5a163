"""The page of two annotators: an `AnnotatorReport` goes in; one HTML file, its JSON, CSV and figures come out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from nephroscope.base.documents import save_document
from nephroscope.base.files import save_text
from nephroscope.base.tables import save_table
from nephroscope.questions.evaluation.annotators import AnnotatedCase, AnnotatorReport
from nephroscope.records import Estimate, counted_noun
from nephroscope.regions.agreement import RoiAgreement
from nephroscope.report.annotators.figures import (
    READER_COLORS,
    Cut,
    bland_altman_figure,
    dice_figure,
    picture,
)
from nephroscope.report.page.drawing import svg_of
from nephroscope.report.page.names import with_interval
from nephroscope.report.page.render import Page, render
from nephroscope.report.page.section import (
    Block,
    Bullets,
    Filled,
    Fragment,
    Section,
    ShownFigure,
    ShownTable,
    Text,
)
from nephroscope.report.page.table import Cell, Column, Format, Table, build_table, plain

FORMAT = 1
CSV_COLUMNS = (
    *("case_id", "patient_id", "dice", "surface_dice", "hd95_mm", "hausdorff_mm", "mean_surface_mm"),
    *("volume_ml_1", "volume_ml_2", "volume_difference_ml", "volume_difference_percent"),
    *("diameter_mm_1", "diameter_mm_2", "n_slices_both", "slices_only_1", "slices_only_2"),
    *("adjudicate", "decision"),
)
NAMES = {
    "dice": "Dice",
    "surface_dice": "Surface Dice",
    "hd95_mm": "HD95 (mm)",
    "hausdorff_mm": "Hausdorff distance (mm)",
    "mean_surface_mm": "Mean surface distance (mm)",
    "volume_difference_percent": "Volume difference (%)",
}
SIZES = {"volume": ("Volume", "ml"), "diameter": ("Largest axial diameter", "mm")}


@dataclass(frozen=True, eq=False, kw_only=True)
class AnnotatorSource:
    """What the sections are filled from: the comparison, and the cases that differ most with their slices."""

    report: AnnotatorReport
    worst: Sequence[tuple[RoiAgreement, Sequence[Cut]]]

    @property
    def marks(self) -> tuple[str, ...]:
        """SYNTHETIC, where it is true."""
        return ("SYNTHETIC",) if self.report.synthetic else ()


def write_agreement(
    folder: Path, title: str, report: AnnotatorReport, worst: Sequence[tuple[RoiAgreement, Sequence[Cut]]]
) -> Path:
    """Write index.html, agreement.json, agreement.csv and figures/*.svg into ``folder``.

    Returns:
        Path of index.html.
    """
    page = page_of(title, AnnotatorSource(report=report, worst=worst))
    figures = {name: svg_of(draw(), name) for name, draw in page.figures.items()}
    for name, svg in figures.items():
        save_text(folder / "figures" / f"{name}.svg", svg)
    save_document(folder / "agreement.json", report, FORMAT)
    save_table(folder / "agreement.csv", CSV_COLUMNS, [_csv_row(case) for case in report.cases])
    save_text(folder / "index.html", render(page, figures))
    return folder / "index.html"


def page_of(title: str, source: AnnotatorSource) -> Page:
    """The page, with the sections for which there is something to show."""
    report = source.report
    filled = [(section, section.fill(source)) for section in SECTIONS]
    adjudication = f"adjudication below Dice {report.adjudicate_below:g}"
    return Page(
        title=f"{title}: two annotators",
        subtitle=f"ROI used by the study: {report.rule} · {adjudication}",
        marks=source.marks,
        top=_top(source),
        sections=[(section, found) for section, found in filled if found is not None],
        footer=(
            "Surfaces are border voxels, distances from center to center; see docs/how-to/two-readers.md.",
        ),
    )


def _top(source: AnnotatorSource) -> list[Block]:
    report = source.report
    if not report.cases:
        return [Text("No case has ROIs of two annotators that can be compared.", "key")]
    dice = report.pooled["dice"]
    key = (
        f"Two annotators drew {counted_noun(len(report.cases), 'tumor')} of "
        f"{counted_noun(report.n_patients, 'patient')}: mean Dice {with_interval(dice, 3)}."
    )
    note = (
        f"n = {counted_noun(dice.n, 'case')}; {dice.method}. Differences are annotator 2 minus annotator 1; "
        f"percentages refer to the mean of both. Surface Dice at {report.tolerance_mm:g} mm. HD95 is the "
        "larger of the "
        "95th percentiles of the two directions."
    )
    columns: list[Column[str]] = [
        Column("Measure", NAMES.get),
        Column("Mean", report.pooled.get, _significant(3)),
        Column("Median", lambda name: report.pooled[f"{name}_median"], _significant(3)),
    ]
    return [
        Text(key, "key", marked=True),
        ShownTable("", build_table("Agreement over all cases", columns, NAMES, [note])),
        ShownFigure(
            "dice", "Number of cases by Dice and by surface Dice.", lambda: dice_figure(report, source.marks)
        ),
    ]


def _significant(digits: int) -> Format:
    """Format of a column: an estimate with so many significant digits, its interval below it."""
    return lambda value, letters: (
        _cell(value, digits) if isinstance(value, Estimate) else plain(value, letters)
    )


def _cell(e: Estimate, digits: int = 3) -> Cell:
    def number(value: float) -> str:
        return f"{value:#.{digits}g}".removesuffix(".")

    if e.value is None:
        return Cell("not available", e.method)
    if e.low is None or e.high is None:
        return Cell(number(e.value), e.method)
    return Cell(number(e.value), f"{number(e.low)} to {number(e.high)}")


def _fill_size(source: AnnotatorSource) -> Filled | None:
    report = source.report
    if not report.cases:
        return None
    rows: list[tuple[str, list[Estimate]]] = []
    for what, (name, unit) in SIZES.items():
        scales = (("", f"{name}, difference ({unit})", f"_{unit}"), ("_ratio", f"{name}, ratio", ""))
        for scale, label, suffix in scales:
            figures = [
                report.pooled[f"{what}{scale}_{k}{suffix}"] for k in ("bias", "limit_low", "limit_high")
            ]
            rows.append((label, [*figures, report.pooled[f"{what}_growth"]]))

    def figure(place: int) -> Column[tuple[str, list[Estimate]]]:
        header = ("Bias", "Lower limit of agreement", "Upper limit", "Grows with size")[place]
        return Column(header, lambda row: row[1][place], _significant(2 if place == 3 else 3))

    columns: list[Column[tuple[str, list[Estimate]]]] = [
        Column("Annotator 2 against annotator 1", lambda row: row[0])
    ]
    note = (
        f"{rows[0][1][0].method} (bias); {rows[0][1][1].method} (limits). “Grows with size” is the rank correlation "
        "of the absolute difference with the mean. If its interval is above 0, use the ratio, not the "
        "difference."
    )
    table = build_table("Bland-Altman", [*columns, *map(figure, range(4))], rows, [note])
    captions = {
        "volume": "Volume: each dot is a case; lines are the bias and the limits of agreement, bands "
        "are their intervals.",
        "diameter": "The same for the largest diameter within one slice.",
    }
    return Filled(
        blocks=[
            ShownTable("", table),
            *(
                ShownFigure(f"bland-altman-{what}", caption, _bland_altman(source, what))
                for what, caption in captions.items()
            ),
        ]
    )


def _bland_altman(source: AnnotatorSource, what: str) -> Callable[[], Figure]:
    return lambda: bland_altman_figure(source.report, what, SIZES[what][1], source.marks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A case with both contours; ``address`` is the picture as a ``data:`` address."""

    case: RoiAgreement
    address: str


def _fill_worst(source: AnnotatorSource) -> Filled | None:
    if not source.report.cases:
        return None
    pictures = [Picture(case=case, address=picture(cuts)) for case, cuts in source.worst]
    return Filled(blocks=[Fragment("annotators/worst.html.j2", (READER_COLORS, pictures))])


def _fill_cases(source: AnnotatorSource) -> Filled | None:
    if not source.report.cases:
        return None
    return Filled(blocks=[ShownTable("", case_table(source.report), small=True)])


def case_table(report: AnnotatorReport) -> Table:
    """Every case, the worst Dice first; those to adjudicate are marked."""

    def low(case: AnnotatedCase, text: str) -> Cell:
        return Cell(text, warn=case.adjudicate)

    columns: list[Column[AnnotatedCase]] = [
        Column("Case", lambda case: low(case, case.case_id)),
        Column("Dice", lambda case: low(case, f"{case.dice:.3f}")),
        Column("Surface Dice", lambda case: f"{case.surface_dice:.3f}"),
        Column("HD95, max (mm)", lambda case: f"{case.hd95_mm:.1f}, {case.hausdorff_mm:.1f}"),
        Column("Mean (mm)", lambda case: f"{case.mean_surface_mm:.2f}"),
        Column("Volumes (ml)", lambda case: f"{case.volume_ml_1:.2f}, {case.volume_ml_2:.2f}"),
        Column("Difference", lambda case: f"{case.volume_difference_percent:+.0f} %"),
        Column("Slices both drew", lambda case: case.n_slices_both),
        Column("Slices only annotator 1 drew", lambda case: _ranges(case.slices_only_1)),
        Column("Slices only annotator 2 drew", lambda case: _ranges(case.slices_only_2)),
        Column("Adjudication", lambda case: case.decision or ("open" if case.adjudicate else "")),
    ]
    note = (
        "Slices are counted from 0 at the feet; viewers count from 1, many from the head. HD95, maximum "
        "and mean are distances between the surfaces. Adjudication is the decision about the case in "
        "adjudication.csv; “open” "
        f"means a Dice below {report.adjudicate_below:g} and no decision yet."
    )
    return build_table("All cases", columns, report.cases, [note])


def _fill_pathology(source: AnnotatorSource) -> Filled | None:
    labels = source.report.readings
    if labels is None:
        return None
    agreed, kappa = _cell(labels.agreement), _cell(labels.kappa)
    sentence = (
        f"The same label in {agreed.text} of {labels.agreement.n} cases ({agreed.small}); Cohen's kappa {kappa.text} "
        f"({kappa.small})."
    )
    methods = f"{labels.agreement.method} (agreement); {labels.kappa.method} (kappa)."
    rows = tuple((name, *map(str, row)) for name, row in zip(labels.labels, labels.table, strict=True))
    caption = "Cases by first reading (rows) and second (columns)"
    table = Table(caption=caption, header=("", *labels.labels), rows=rows)
    differ = [f"{d.case_id}: {d.reading_1}, {d.reading_2}" for d in labels.disagreements]
    return Filled(
        blocks=[
            Text(sentence, marked=True),
            Text(methods, "notes"),
            ShownTable("", table),
            *([Bullets(differ)] if differ else []),
        ]
    )


def _fill_left_out(source: AnnotatorSource) -> Filled | None:
    report = source.report
    lines = [f"One annotator only: {', '.join(report.one_reader)}"] if report.one_reader else []
    for f in report.findings:
        lines.append(f"{f.severity}: {f'{f.where}: ' if f.where else ''}{f.message}")
    return Filled(blocks=[Bullets(lines)]) if lines else None


SECTIONS: tuple[Section[AnnotatorSource], ...] = (
    Section(id="size", title="Size", navigation="Size", fill=_fill_size),
    Section(
        id="worst", title="Where they differ most", navigation="Where they differ most", fill=_fill_worst
    ),
    Section(id="cases", title="Every case, the worst first", navigation="Cases", fill=_fill_cases),
    Section(id="pathology", title="Pathology, two readings", navigation="Pathology", fill=_fill_pathology),
    Section(id="doubt", title="Not compared, or in doubt", navigation="Not compared", fill=_fill_left_out),
)


def _ranges(slices: Sequence[int]) -> str:
    """Slice numbers as ranges: 3-5, 9."""
    parts: list[list[int]] = []
    for index in slices:
        if parts and index == parts[-1][-1] + 1:
            parts[-1].append(index)
        else:
            parts.append([index])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def _csv_row(case: AnnotatedCase) -> list[str]:
    return [_csv_cell(getattr(case, name)) for name in CSV_COLUMNS]


def _csv_cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
