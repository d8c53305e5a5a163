"""The model card of a run as Markdown: what the model is for and not for, its figures, where it fails.

Source of the headings: Mitchell et al., FAT* 2019, doi 10.1145/3287560.3287596.
"""

from collections.abc import Iterable, Mapping, Sequence

from nephroscope.base.text import plain_markdown
from nephroscope.questions.evaluation.subgroups import Subgroup
from nephroscope.records import Estimate, counted_noun
from nephroscope.report.page.names import RESEARCH_USE, figure_name, group_title
from nephroscope.report.page.table import Column, build_table
from nephroscope.report.study.appraisal import RAW, Appraisal, RunSource
from nephroscope.report.study.content import ReportContent
from nephroscope.report.study.key_result import key_result, other_sets
from nephroscope.report.study.sections.probabilities import CALIBRATION

SHOWN = ("auc", "accuracy")  # of each subgroup


def model_card(source: RunSource, methods: Sequence[tuple[str, str]], limits: Sequence[str]) -> str:
    """The card of the run that a page is about, with the methods and limitations of that page."""
    content, found, report = source.content, source.appraisal, source.report
    title = " · ".join([f"{report.model}: {' or '.join(report.subtypes)} on CT", *content.marks])
    method = dict(methods)
    out_of_scope = (
        f"Care of patients. Tumors of other subtypes: {_outside(content)}. Images of another "
        "modality, and CT outside the range of the training cases, where the answer is “not sure”."
    )
    subtypes = " and ".join(report.subtypes)
    use = f"Research on the distinction between {subtypes} on contrast-enhanced CT in which the tumor was drawn."
    parts = [
        ("Intended use", use),
        ("Out of scope", out_of_scope),
        ("Headline", _headline(content, len(limits))),
        ("Model", _about(content)),
        ("Factors", "Sex, age, size, contrast phase, site, vendor, slice spacing: see Subgroups."),
        ("Figures, by case", _figures(content)),
        ("Calibration", _calibration(found)),
        ("Subgroups", _subgroups(found)),
        (
            "Evaluation and training data",
            "\n\n".join(method[name] for name in ("Study population", "Imaging", "Split")),
        ),
        (
            "Training",
            "\n\n".join(
                method[name] for name in ("Network", "Training and augmentation", "Choice of the weights")
            ),
        ),
        ("Limits", "\n".join(f"* {text}" for text in limits)),
        ("Ethics", "For the authors: approval, consent, and what a wrong answer would do."),
    ]
    text = "\n\n".join(f"## {heading}\n\n{body}" for heading, body in parts if body)
    return plain_markdown(f"# {title}\n\n**{RESEARCH_USE}**\n\n{text}\n")


def _outside(content: ReportContent) -> str:
    """What happens to a tumor that is none of the subtypes."""
    named = "they get one of these names, or “not sure”"
    return named if content.outside is None else f"{named}; {content.outside.words}"


def _headline(content: ReportContent, n_limits: int) -> str:
    """The main figure with interval, n, unit and method, after what must be known before it is read."""
    lines = []
    if "SYNTHETIC" in content.marks:
        lines.append("**SYNTHETIC: cases are phantoms; the figures say nothing about patients.**")
    if "LEAKY" in content.marks:
        lines.append(
            "**LEAKY: the same patients are used in training and testing; no figure holds for a new patient.**"
        )
    if not content.main.report.converged:
        lines.append("**The run did not converge: do not use this model.**")
    lines += [key_result(content), other_sets(content)]
    limits = counted_noun(n_limits, "limitation")
    lines.append(f"Before you rely on these figures, read the {limits} under Limits.")
    return "\n\n".join(filter(None, lines))


def _about(content: ReportContent) -> str:
    report = content.main.report
    lines = [
        f"* Run `{report.run}`, nephroscope {content.version}, {content.date}",
        f"* Network {report.model}, recipe {content.main.train.recipe}; positive subtype {report.positive}",
        f"* Digests: cohort `{report.cohort_digest}`, run `{report.run_digest}`, slices `{content.spec.digest}`",
    ]
    if len(content.split.folds) > 1:
        lines.append(
            f"* Out-of-fold figures are those of {len(content.split.folds)} networks, each on cases it never saw; "
            f"held-out cases and those of a bundle are classified by {content.held_out_by}"
        )
    return "\n".join(lines)


def _figures(content: ReportContent) -> str:
    blocks = []
    for group in content.main.report.groups:
        figures = {figure_name(name, content.main.report): e for name, e in group.case.items()}
        blocks.append(_block(group.name, counted_noun(group.n_patients, "patient"), figures))
    return "\n\n".join(blocks)


def _calibration(appraisal: Appraisal) -> str:
    blocks = []
    for group in appraisal.groups.values():
        of_subtypes = {RAW: group.calibration[RAW]} if RAW in group.calibration else group.calibration
        for subtype, figures in of_subtypes.items():
            what = "probabilities as they are" if subtype == RAW else f"probabilities of {subtype}"
            blocks.append(_block(group.name, what, {CALIBRATION.get(n, n): e for n, e in figures.items()}))
    return "\n\n".join(blocks)


def _block(group: str, what: str, figures: Mapping[str, Estimate]) -> str:
    """A table of the figures that there are; those that are not in one line for each reason."""
    columns: list[Column[tuple[str, Estimate]]] = [
        Column("figure", lambda pair: pair[0]),
        Column("value (interval), n", lambda pair: _with_n(pair[1])),
        Column("method", lambda pair: pair[1].method),
    ]
    known = [pair for pair in figures.items() if pair[1].value is not None]
    table = ["", *build_table("", columns, known).markdown()] if known else []
    lacking = _lacking((name, e.method) for name, e in figures.items() if e.value is None)
    return "\n".join([f"{group_title(group)}, {what}:", *table, *lacking])


def _lacking(named: Iterable[tuple[str, str]]) -> list[str]:
    """Lines that name what has no figure, and why."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in named:
        by_reason.setdefault(reason.removeprefix("undefined: "), []).append(name)
    return [f"\nNot available: {', '.join(names)} ({reason})." for reason, names in by_reason.items()]


def _subgroups(appraisal: Appraisal) -> str:
    blocks = []
    for group in appraisal.groups.values():
        title = group_title(group.name)
        if not group.has_subgroups:
            if group.subgroups:
                blocks.append(f"{title}: no subgroup has enough patients of each subtype for a figure.")
            continue
        shown = [s for s in group.subgroups if any(s.figures[f].value is not None for f in SHOWN)]
        table = build_table("", SUBGROUP_COLUMNS, shown).markdown()
        lacking = _lacking(
            (f"{s.attribute} {s.value} (n = {s.n_patients})", s.figures["auc"].method)
            for s in group.subgroups
            if s not in shown
        )
        methods_used = dict.fromkeys(
            s.figures[f].method for s in shown for f in SHOWN if s.figures[f].value is not None
        )
        blocks.append(
            "\n".join([f"{title}:", "", *table, f"\nIntervals: {'; '.join(methods_used)}.", *lacking])
        )
    return "\n\n".join(blocks)


def _with_n(e: Estimate) -> str:
    if e.value is None:
        return f"not available ({e.method})"
    interval = " (no interval)" if e.low is None or e.high is None else f" ({e.low:.3f} to {e.high:.3f})"
    return f"{e.value:.3f}{interval}, n = {counted_noun(e.n, e.unit)}"


SUBGROUP_COLUMNS: list[Column[Subgroup]] = [
    Column("subgroup", lambda s: f"{s.attribute}: {s.value}"),
    Column("patients", lambda s: s.n_patients),
    Column("AUC", lambda s: _with_n(s.figures["auc"])),
    Column("accuracy", lambda s: _with_n(s.figures["accuracy"])),
]
