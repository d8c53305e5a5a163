"""A page's parts in; the model card as Markdown out: what it is for and not for, its figures, where it fails.

Source of the headings: Mitchell et al., FAT* 2019, doi 10.1145/3287560.3287596.
"""

from collections.abc import Iterable, Mapping

from nephroscope.records import Estimate, counted_noun
from nephroscope.report.appraisal import RAW, Appraisal
from nephroscope.report.content import ReportContent
from nephroscope.report.page_parts import PageParts, page_parts
from nephroscope.report.probability_tables import CALIBRATION
from nephroscope.report.tables import figure_name, group_title
from nephroscope.report.words import RESEARCH_USE, key_result, other_sets

SHOWN = ("auc", "accuracy")  # of each subgroup


def model_card(content: ReportContent, page: PageParts | None = None) -> str:
    """The card of the run that the page is about; ``page`` is its page, made here where it is not given."""
    page = page_parts(content) if page is None else page
    found = page.appraisal
    report = content.main.report
    title = " · ".join([f"{report.model}: {' or '.join(report.subtypes)} on CT", *content.marks])
    told, limits = dict(page.methods), page.limitations
    out_of_scope = (
        "Care of patients. Tumors of other subtypes: they get one of these names, or “not sure”. Images of another "
        "modality, and CT outside the range of the training cases, where the answer is “not sure”."
    )
    use = f"Research on telling {' and '.join(report.subtypes)} apart on contrast CT in which the tumor was drawn."
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
            f"{told['Study population']}\n\n{told['Imaging']}\n\n{told['Split']}",
        ),
        (
            "Training",
            f"{told['Network']}\n\n{told['Training and augmentation']}\n\n{told['Choice of the weights']}",
        ),
        ("Limits", "\n".join(f"* {text}" for text in limits)),
        ("Ethics", "For the authors: approval, consent, and what a wrong answer would do."),
    ]
    text = "\n\n".join(f"## {heading}\n\n{body}" for heading, body in parts if body)
    return f"# {title}\n\n**{RESEARCH_USE}**\n\n{text}\n"


def _headline(content: ReportContent, n_limits: int) -> str:
    """The verdict first: the figure with interval, n, unit and method, and what must be known before it is read."""
    lines = []
    if "SYNTHETIC" in content.marks:
        lines.append("**SYNTHETIC: cases are phantoms; the figures say nothing about patients.**")
    if "LEAKY" in content.marks:
        lines.append("**LEAKY: the same patients train and test; no figure holds for a new patient.**")
    if not content.main.report.converged:
        lines.append("**The run did not converge: do not use this model.**")
    lines += [key_result(content), other_sets(content)]
    lines.append(f"Before it is believed: {counted_noun(n_limits, 'limitation')}, under Limits.")
    return "\n\n".join(filter(None, lines))


def _about(content: ReportContent) -> str:
    report = content.main.report
    lines = [
        f"* Run `{report.run}` of study `{content.title}`, nephroscope {content.version}, {content.date}",
        f"* Network {report.model}, recipe {content.main.train.recipe}; positive subtype {report.positive}",
        f"* Digests: cohort `{report.cohort_digest}`, run `{report.run_digest}`, slices `{content.spec.digest}`",
    ]
    if len(content.split.folds) > 1:
        lines.append(
            f"* The figures are those of {len(content.split.folds)} networks, each on cases it never saw; "
            "a bundle holds one of them"
        )
    return "\n".join(lines)


def _figures(content: ReportContent) -> str:
    blocks = []
    for group in content.main.report.groups:
        figures = {figure_name(name, content): e for name, e in group.case.items()}
        blocks.append(_block(group.name, counted_noun(group.n_patients, "patient"), figures))
    return "\n\n".join(blocks)


def _calibration(appraisal: Appraisal) -> str:
    blocks = []
    for group in appraisal.groups.values():
        of_subtypes = {RAW: group.calibration[RAW]} if RAW in group.calibration else group.calibration
        for subtype, figures in of_subtypes.items():
            said = "probabilities as they are" if subtype == RAW else f"probabilities of {subtype}"
            blocks.append(_block(group.name, said, {CALIBRATION.get(n, n): e for n, e in figures.items()}))
    return "\n\n".join(blocks)


def _block(group: str, said: str, figures: Mapping[str, Estimate]) -> str:
    """A table of the figures that there are; those that are not in one line for each reason."""
    rows = [f"| {name} | {_said(e)} | {e.method} |" for name, e in figures.items() if e.value is not None]
    head = ["", "| figure | value (interval), n | method |", "|---|---|---|"]
    lacking = _lacking((name, e.method) for name, e in figures.items() if e.value is None)
    return "\n".join([f"{group_title(group)}, {said}:", *(head + rows if rows else []), *lacking])


def _lacking(named: Iterable[tuple[str, str]]) -> list[str]:
    """Lines that say what there is no figure of, and why."""
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
        rows = [
            f"| {s.attribute}: {s.value} | {s.n_patients} | {' | '.join(_said(s.figures[f]) for f in SHOWN)} |"
            for s in shown
        ]
        head = [f"{title}:", "", "| subgroup | patients | AUC | accuracy |", "|---|---|---|---|"]
        lacking = _lacking(
            (f"{s.attribute} {s.value} (n = {s.n_patients})", s.figures["auc"].method)
            for s in group.subgroups
            if s not in shown
        )
        methods_used = dict.fromkeys(
            s.figures[f].method for s in shown for f in SHOWN if s.figures[f].value is not None
        )
        blocks.append("\n".join([*head, *rows, f"\nIntervals: {'; '.join(methods_used)}.", *lacking]))
    return "\n\n".join(blocks)


def _said(e: Estimate) -> str:
    if e.value is None:
        return f"not available ({e.method})"
    interval = " (no interval)" if e.low is None or e.high is None else f" ({e.low:.3f} to {e.high:.3f})"
    return f"{e.value:.3f}{interval}, n = {counted_noun(e.n, e.unit)}"
