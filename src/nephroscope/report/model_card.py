"""A page's parts in; the model card as Markdown out: what it is for, on whom it was measured, where it fails.

Source of the headings: Mitchell et al., FAT* 2019, doi 10.1145/3287560.3287596.
"""

from nephroscope.records import Estimate
from nephroscope.report.appraisal import RAW, Appraisal, appraise
from nephroscope.report.content import ReportContent
from nephroscope.report.limitations import limitations
from nephroscope.report.methods import methods
from nephroscope.report.tables import figure_name, group_name, group_title
from nephroscope.report.words import RESEARCH_USE


def model_card(content: ReportContent, appraisal: Appraisal | None = None) -> str:
    """The card of the run that the page is about."""
    found = appraise(content) if appraisal is None else appraisal
    report = content.main.report
    title = " · ".join([f"{report.model}: {' or '.join(report.subtypes)} on CT", *content.marks])
    told = dict(methods(content, found))
    out_of_scope = (
        "Care of patients. Tumors of other subtypes: they get one of these names, or “not sure”. Images of another "
        "modality, and CT outside the range of the training cases, where the answer is “not sure”."
    )
    parts = [
        ("Model", _about(content)),
        (
            "Intended use",
            f"{RESEARCH_USE} Research on telling {' and '.join(report.subtypes)} apart where a tumor is drawn.",
        ),
        ("Out of scope", out_of_scope),
        (
            "Factors",
            "Sex, age, size, contrast phase, site, maker of the scanner, slice spacing: see Subgroups.",
        ),
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
        ("Limits", "\n".join(f"* {text}" for text in limitations(content, found))),
        ("Ethics", "For the authors: approval, consent, and what a wrong answer would do."),
    ]
    text = "\n\n".join(f"## {heading}\n\n{body}" for heading, body in parts if body)
    return f"# {title}\n\n**{RESEARCH_USE}**\n\n{text}\n"


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
    if not report.converged:
        lines.append("* **The run did not converge: do not use this model.**")
    return "\n".join(lines)


def _figures(content: ReportContent) -> str:
    blocks = []
    for group in content.main.report.groups:
        rows = [
            f"| {figure_name(name, content)} | {_said(e)} | {e.method} |" for name, e in group.case.items()
        ]
        head = f"{group_title(group.name)}, {group.n_patients} patients:"
        blocks.append(
            "\n".join([head, "", "| figure | value (interval), n | method |", "|---|---|---|", *rows])
        )
    return "\n\n".join(blocks)


def _calibration(appraisal: Appraisal) -> str:
    lines = []
    for group in appraisal.groups.values():
        figures = group.calibration.get(RAW) or {}
        lines += [f"* {group_name(group.name)}, {name}: {_said(e)}" for name, e in figures.items()]
    return "\n".join(lines)


def _subgroups(appraisal: Appraisal) -> str:
    blocks = []
    for group in appraisal.groups.values():
        rows = [
            f"| {s.attribute}: {s.value} | {s.n_patients} | {_said(s.figures['auc'])} | "
            f"{_said(s.figures['accuracy'])} |"
            for s in group.subgroups
        ]
        if rows:
            head = ["| subgroup | patients | AUC | accuracy |", "|---|---|---|---|"]
            blocks.append("\n".join([f"{group_title(group.name)}:", "", *head, *rows]))
    return "\n\n".join(blocks)


def _said(e: Estimate) -> str:
    if e.value is None:
        return f"not available ({e.method})"
    interval = "" if e.low is None or e.high is None else f" ({e.low:.3f} to {e.high:.3f})"
    return f"{e.value:.3f}{interval}, n = {e.n} {e.unit}s"
