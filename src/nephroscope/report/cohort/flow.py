"""The flow diagram of a study: a cohort and its split go in, the counts of each box and the figure come out.

Drawn as STARD and CONSORT ask: patients and tumors, by subtype, each exclusion with its reason.
"""

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from nephroscope.records import (
    DEVELOPMENT,
    EXTERNAL_TEST,
    INTERNAL_TEST,
    Case,
    Cohort,
    Exclusion,
    Finding,
    Split,
    counted_noun,
)
from nephroscope.report.page.drawing import GRID, INK, QUIET, STYLE, color_of
from nephroscope.report.page.names import subtype_name

MOST_REASONS, MOST_SUBTYPES = 8, 6
ANOTHER = "another-subtype"
KINDS = {
    ANOTHER: "another subtype",
    "subtype-unclear": "subtype not stated in the pathology text",
    "no-ct": "no CT found",
    "no-usable-ct": "no usable CT series",
    "no-label": "no label",
    "no-roi": "no region of interest",
    "whose-roi": "several tumors, unclear which ROI is whose",
    "contradicting": "contradicting labels",
    "slice-order": "order of slices not known",
}
# Of the figure, in points.
WIDTH, PAD, LINE, GAP, SIZE = 620.0, 8.0, 12.5, 26.0, 9.0
MAIN, SIDE_LEFT = 295.0, 330.0  # the trunk ends above the left one of two parts
POINTS_PER_LETTER = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a box; ``subtype`` is the place of the subtype it counts, for its color."""

    text: str
    subtype: int | None = None
    indent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box of the diagram."""

    title: str
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The diagram from top to bottom: ``excluded`` and ``later`` to the right, ``parts`` in a row at the bottom."""

    reviewed: Box
    excluded: Box | None
    included: Box
    later: Box | None
    parts: tuple[Box, ...] = field(default=())


def reason_group(exclusion: Exclusion) -> str:
    """The few words under which an exclusion is counted: its kind; else its reason, without what differs by case."""
    if exclusion.kind in KINDS:
        return KINDS[exclusion.kind]
    reason = exclusion.reason.removeprefix("left out by hand: ")
    if exclusion.kind == "by-hand":
        return reason
    plain = re.sub(r"\s*\([^)]*\)|'[^']*'", "", re.split(r"[:;]", reason)[0])
    return textwrap.shorten(re.sub(r"\d+(\.\d+)?", "n", plain), 60, placeholder=" …")


def _other_subtype(exclusion: Exclusion) -> str:
    """Which other subtype, from ``subtype clear_cell is not in the study``."""
    name = exclusion.reason.removeprefix("subtype ").partition(" is not in the study")[0]
    return subtype_name(name)


def flow_of(cohort: Cohort, split: Split | None = None, findings: Iterable[Finding] = ()) -> Flow:
    """The counts of the diagram.

    Args:
        cohort: Its exclusions are those of the imports.
        split: Of the study or a run; None draws the cohort's own parts.
        findings: Those with severity ``refusal`` say why a case of the cohort is in no part.
    """
    left_out = {e.case_id: e for e in cohort.exclusions if e.case_id not in cohort.by_id}
    included = Box(title=f"Included: {_count(cohort.cases)}", lines=_by_subtype(cohort, cohort.cases))
    reviewed = Box(title=f"Reviewed: {counted_noun(len(cohort.cases) + len(left_out), 'tumor')}")
    groups = Counter(map(reason_group, left_out.values()))
    others = Counter(_other_subtype(e) for e in left_out.values() if e.kind == ANOTHER)
    excluded = Box(title=f"Excluded: {counted_noun(len(left_out), 'tumor')}", lines=_reasons(groups, others))
    parts, used = _parts(cohort, split)
    unused = [case for case in cohort.cases if case.case_id not in used]
    refused = {f.case_id: f.code.replace("-", " ") for f in findings if f.severity == "refusal"}
    why = Counter(
        refused.get(c.case_id, "no label" if c.subtype is None else "no usable slice") for c in unused
    )
    later = Box(title=f"Excluded later: {counted_noun(len(unused), 'tumor')}", lines=_reasons(why, Counter()))
    return Flow(
        reviewed=reviewed,
        excluded=excluded if left_out else None,
        included=included,
        later=later if unused else None,
        parts=parts,
    )


def draw_flow(cohort: Cohort, split: Split | None = None, findings: Iterable[Finding] = ()) -> Figure:
    """The diagram at the width of a page; arguments as of `flow_of`."""
    marks = ["SYNTHETIC"] * cohort.synthetic + ["LEAKY"] * (split is not None and split.leaky)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / 72, 1))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        height = _draw(axes, flow_of(cohort, split, findings), " · ".join(marks))
        figure.set_size_inches(WIDTH / 72, height / 72)
        axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    return figure


def _parts(cohort: Cohort, split: Split | None) -> tuple[tuple[Box, ...], set[str]]:
    """Boxes at the bottom, and the case_ids that are in one of them."""
    boxes: list[tuple[str, set[str], list[str]]] = []
    if split is None:
        for part in _cohorts(cohort):
            boxes.append((_part_name(part), {c.case_id for c in cohort.cases if c.cohort == part}, []))
    else:
        boxes.append(("Development", *_development(cohort, split)))
        held = {c.case_id: c.cohort for c in cohort.cases if c.case_id in split.holdout}
        tests = {name: INTERNAL_TEST if of == DEVELOPMENT else of for name, of in held.items()}
        for part in sorted(set(tests.values()), key=lambda name: (name != INTERNAL_TEST, name)):
            names = {name for name, of in tests.items() if of == part}
            boxes.append((_part_name(part), names, ["never used for training or validation"]))
    made = []
    for title, names, remarks in boxes:
        cases = [case for case in cohort.cases if case.case_id in names]
        lines = (
            Line(text=_count(cases)),
            *_by_subtype(cohort, cases),
            *(Line(text=text) for text in remarks),
        )
        made.append(Box(title=title, lines=lines))
    return tuple(made), set().union(*(names for _, names, _ in boxes))


def _development(cohort: Cohort, split: Split) -> tuple[set[str], list[str]]:
    """The cases that the folds learn from, and how, in words."""

    def owners(names: Iterable[str]) -> set[str]:
        return {name.rpartition("#")[0] if split.leaky else name for name in names}

    n = len(split.folds)
    if n > 1 or split.leaky:
        names = owners(name for fold in split.folds for name in fold.train | fold.validation | fold.test)
        unit = "by image: LEAKY" if split.leaky else "by patient"
        how = f"used in turn for training, validation and testing ({counted_noun(n, 'fold')} {unit})"
        return names - split.holdout, [how]
    (fold,) = split.folds
    parts = {"trained on": owners(fold.train), "validated on": owners(fold.validation)}
    counts = {what: [c for c in cohort.cases if c.case_id in names] for what, names in parts.items()}
    return set().union(*parts.values()), [f"{what}: {_count(cases)}" for what, cases in counts.items()]


def _cohorts(cohort: Cohort) -> list[str]:
    order = (DEVELOPMENT, INTERNAL_TEST)
    present = {case.cohort for case in cohort.cases}
    return [c for c in order if c in present] + sorted(present - set(order))


def _part_name(cohort: str) -> str:
    named = {DEVELOPMENT: "Development", INTERNAL_TEST: "Internal test"}
    return named.get(cohort, f"External test: {cohort.removeprefix(EXTERNAL_TEST)}")


def _by_subtype(cohort: Cohort, cases: Sequence[Case]) -> tuple[Line, ...]:
    groups = [(i, name, [c for c in cases if c.subtype == name]) for i, name in enumerate(cohort.subtypes)]
    lines = [Line(text=f"{name}: {_count(group)}", subtype=i) for i, name, group in groups]
    unlabelled = [case for case in cases if case.subtype is None]
    return (*lines, *([Line(text=f"no label: {_count(unlabelled)}")] if unlabelled else []))


def _reasons(groups: Counter[str], others: Counter[str]) -> tuple[Line, ...]:
    """The most frequent reasons, the rest folded; below another subtype, which."""
    lines: list[Line] = []
    for reason, n in _folded(groups, MOST_REASONS, "reason"):
        lines.append(Line(text=f"{reason}: {n}"))
        if reason == KINDS[ANOTHER]:
            lines += [Line(text=f"{s}: {k}", indent=1) for s, k in _folded(others, MOST_SUBTYPES, "subtype")]
    return tuple(lines)


def _folded(counts: Counter[str], most: int, what: str) -> list[tuple[str, int]]:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    if len(ordered) <= most + 1:
        return ordered
    rest = ordered[most:]
    return [*ordered[:most], (f"and {len(rest)} more {what}s", sum(n for _, n in rest))]


def _count(cases: Sequence[Case]) -> str:
    return (
        f"{counted_noun(len({c.patient_id for c in cases}), 'patient')}, {counted_noun(len(cases), 'tumor')}"
    )


def _draw(axes: Axes, flow: Flow, marks: str) -> float:
    """Boxes from top to bottom; gives the height in points."""
    y = PAD
    if marks:
        axes.text(PAD, y, marks, va="top", fontsize=SIZE, fontweight="bold")
        y += LINE + PAD
    middle = PAD + MAIN / 2
    bottom = _box(axes, flow.reviewed, (PAD, y, MAIN), strong=True)
    for side_box, below in ((flow.excluded, flow.included), (flow.later, None)):
        top = bottom + GAP
        if side_box is not None:
            side = _box(axes, side_box, (SIDE_LEFT, bottom + GAP / 2, WIDTH - SIDE_LEFT - PAD), strong=False)
            level = bottom + GAP / 2 + PAD + LINE / 2
            _arrow(axes, (middle, level), (SIDE_LEFT, level))
            top = max(side + GAP * (1 if below is None else 0.5), top)
        if below is None and not flow.parts:
            bottom = max(bottom, top - GAP / 2)
        elif below is not None:
            _arrow(axes, (middle, bottom), (middle, top))
            bottom = _box(axes, below, (PAD, top, MAIN), strong=True)
        else:
            bottom = _draw_parts(axes, flow.parts, (middle, bottom), top)
    return bottom + PAD


def _draw_parts(axes: Axes, parts: Sequence[Box], start: tuple[float, float], top: float) -> float:
    """The parts side by side, at most four in a row; gives where the lowest ends."""
    in_row = min(len(parts), 4)
    width = (WIDTH - 2 * PAD - (in_row - 1) * 14) / in_row if in_row > 1 else MAIN
    x, y = start
    for first in range(0, len(parts), in_row):
        row = parts[first : first + in_row]
        lefts = [PAD + i * (width + 14) for i in range(len(row))]
        centers = [left + width / 2 for left in lefts]
        if first == 0:
            bar = top - GAP / 2 if in_row > 1 else y
            axes.plot([x, x], [y, bar], color=QUIET, lw=0.9, solid_capstyle="butt")
            axes.plot([min(x, *centers, x), max(x, *centers, x)], [bar, bar], color=QUIET, lw=0.9)
            for center in centers:
                _arrow(axes, (center, bar), (center, top))
        top = (
            max(
                _box(axes, box, (left, top, width), strong=True) for box, left in zip(row, lefts, strict=True)
            )
            + PAD
        )
    return top - PAD


def _box(axes: Axes, box: Box, place: tuple[float, float, float], *, strong: bool) -> float:
    """A box with its title and lines at (left, top, width); gives where it ends."""
    left, top, width = place
    y = top + PAD
    for text in _wrapped(box.title, width, 1.08):
        axes.text(left + PAD, y, text, va="top", fontsize=SIZE, fontweight="bold", color=INK, zorder=3)
        y += LINE
    for line in box.lines:
        x = left + PAD + 12 * line.indent
        if line.subtype is not None:
            axes.plot(
                [x + 3], [y + 4.5], marker="s", ms=5, color=color_of(line.subtype), zorder=3, clip_on=False
            )
            x += 11
        for i, text in enumerate(_wrapped(line.text, left + width - x)):
            axes.text(x + (8 if i else 0), y, text, va="top", fontsize=SIZE, color=INK, zorder=3)
            y += LINE
    bottom = y + PAD - 2
    frame: dict[str, Any] = {
        "facecolor": "#f5f7f9" if strong else "#ffffff",
        "edgecolor": QUIET if strong else GRID,
    }
    shape = "round,pad=0,rounding_size=3"
    axes.add_patch(
        FancyBboxPatch((left, top), width, bottom - top, boxstyle=shape, lw=0.9, zorder=2, **frame)
    )
    return bottom


def _wrapped(text: str, width: float, scale: float = 1.0) -> list[str]:
    letters = int((width - PAD) / (POINTS_PER_LETTER * scale))
    return textwrap.wrap(text, max(letters, 12), break_long_words=True) or [""]


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "color": QUIET, "lw": 0.9, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)
