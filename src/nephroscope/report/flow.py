"""Who was reviewed, excluded and why, held out, trained on: a cohort and its split in, counts and a figure out.

Drawn as STARD and CONSORT ask: patients and tumors both, by subtype, each exclusion with its reason.
"""

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nephroscope.records import DEVELOPMENT, EXTERNAL_TEST, INTERNAL_TEST, Case, Cohort, Finding, Split
from nephroscope.report.boxes import Box, Flow, Line, draw_boxes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_REASONS, MOST_SUBTYPES = 8, 6
ANOTHER = "another subtype"
# Reasons of the imports -> the few words under which they are counted.
GROUPS = (
    (r"left out by hand: (.*)", r"\1"),
    (r"subtype .* is not in the study", ANOTHER),
    (r"pathology text .* is not in .*|tumor_histologic_subtype is .*", "subtype not told by the pathology text"),
    (r"labelled, but no CT.*|no CT.*|.*download it with .*|none of its .* images exists.*", "no CT found"),
    (r"no usable CT.*", "no usable CT series"),
    (r"no label row.*", "no label"),
    (r"no ROI.*|no label map.*|no mask.*|.*label map can be used|its ROI file .*", "no region of interest"),
    (r".*label rows .* for one CT volume.*", "several tumors, ROI of each not told"),
    (r".*contradict.*|two subtypes.*|its patient has two sexes.*|image .* is labelled for.*", "contradicting labels"),
    (r"slice numbers .*", "order of slices not known"),
)  # fmt: skip


def reason_group(reason: str) -> str:
    """The few words under which an exclusion is counted; what differs from case to case is gone."""
    reason = re.sub(r" \(\d+ images\)$", "", reason.strip())
    for pattern, words in GROUPS:
        found = re.fullmatch(pattern, reason)
        if found:
            return found.expand(words)
    plain = re.sub(r"\s*\([^)]*\)|'[^']*'", "", re.split(r"[:;]", reason)[0])
    return textwrap.shorten(re.sub(r"\d+(\.\d+)?", "n", plain), 60, placeholder=" …")


def flow_of(cohort: Cohort, split: Split | None = None, findings: Iterable[Finding] = ()) -> Flow:
    """The counts of the diagram.

    Args:
        cohort: Its exclusions are those of the imports.
        split: Of the study or a run; None draws the cohort's own parts.
        findings: Those with severity ``refusal`` say why a case of the cohort is in no part.
    """
    left_out = {e.case_id: e for e in cohort.exclusions if e.case_id not in cohort.by_id}
    included = Box(title=f"Included: {_count(cohort.cases)}", lines=_by_subtype(cohort, cohort.cases))
    reviewed = Box(title=f"Reviewed: {_n(len(cohort.cases) + len(left_out), 'tumor')}")
    groups = Counter(reason_group(e.reason) for e in left_out.values())
    others = Counter(
        found[1]
        for e in left_out.values()
        if (found := re.match(r"subtype (.*) is not in the study", e.reason))
    )
    excluded = Box(title=f"Excluded: {_n(len(left_out), 'tumor')}", lines=_reasons(groups, others))
    parts, used = _parts(cohort, split)
    unused = [case for case in cohort.cases if case.case_id not in used]
    refused = {f.case_id: f.code.replace("-", " ") for f in findings if f.severity == "refusal"}
    why = Counter(
        refused.get(c.case_id, "no label" if c.subtype is None else "no usable slice") for c in unused
    )
    later = Box(title=f"Left out later: {_n(len(unused), 'tumor')}", lines=_reasons(why, Counter()))
    return Flow(
        reviewed=reviewed,
        excluded=excluded if left_out else None,
        included=included,
        later=later if unused else None,
        parts=parts,
    )


def draw_flow(cohort: Cohort, split: Split | None = None, findings: Iterable[Finding] = ()) -> "Figure":
    """The diagram as a matplotlib figure, at the width of a page; arguments as of `flow_of`."""
    marks = ["SYNTHETIC"] * cohort.synthetic + ["LEAKY"] * (split is not None and split.leaky)
    return draw_boxes(flow_of(cohort, split, findings), " · ".join(marks))


def flow_svg(cohort: Cohort, split: Split | None = None, findings: Iterable[Finding] = ()) -> str:
    """The diagram as SVG text for the page; arguments as of `flow_of`."""
    import matplotlib as mpl

    from nephroscope.report.drawing import STYLE, svg_of

    with mpl.rc_context(STYLE):
        return svg_of(draw_flow(cohort, split, findings), "flow")


def _parts(cohort: Cohort, split: Split | None) -> tuple[tuple[Box, ...], set[str]]:
    """Boxes at the bottom, and the case_ids that stand in one."""
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
            boxes.append((_part_name(part), names, ["never trained or validated on"]))
    made = []
    for title, names, told in boxes:
        cases = [case for case in cohort.cases if case.case_id in names]
        lines = (Line(text=_count(cases)), *_by_subtype(cohort, cases), *(Line(text=text) for text in told))
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
        told = f"trained, validated and tested in turn ({_n(n, 'fold')} {unit})"
        return names - split.holdout, [told]
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
        if reason == ANOTHER:
            lines += [Line(text=f"{s}: {k}", indent=1) for s, k in _folded(others, MOST_SUBTYPES, "subtype")]
    return tuple(lines)


def _folded(counts: Counter[str], most: int, what: str) -> list[tuple[str, int]]:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    if len(ordered) <= most + 1:
        return ordered
    rest = ordered[most:]
    return [*ordered[:most], (f"and {len(rest)} more {what}s", sum(n for _, n in rest))]


def _count(cases: Sequence[Case]) -> str:
    return f"{_n(len({c.patient_id for c in cases}), 'patient')}, {_n(len(cases), 'tumor')}"


def _n(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
