"""What was computed of a test set's probabilities in; tables for the page out."""

from collections.abc import Mapping

from nephroscope.records import Estimate, counted_noun, p_words
from nephroscope.report.appraisal import RAW, Appraisal, GroupAppraisal
from nephroscope.report.figures import slug
from nephroscope.report.tables import Cell, Letters, Table, group_name, percent

CALIBRATION = {
    "intercept": "Intercept (0 is ideal)",
    "slope": "Slope (1 is ideal)",
    "observed_expected": "Observed to expected (1 is ideal)",
    "intercept_beside_slope": "Intercept fitted beside the slope",
    "brier": "Brier score (lower is better)",
    "scaled_brier": "Scaled Brier score (1 is best, 0 is no better than the share)",
    "ici": "Mean distance of the curve (ICI)",
    "e50": "Median distance of the curve (E50)",
    "e90": "90th percentile of the distance (E90)",
}
COLUMNS = {RAW: "As it is", "temperature": "Temperature", "platt": "Platt"}
ACHIEVED = ("sensitivity", "specificity", "precision", "accuracy")
CHOSEN = (
    "A threshold is chosen, not estimated, so it has no interval: it is the highest under which at least the share "
    "asked for of the positive cases named beside it are called. The intervals take it as given."
)
FITTED = (
    "Intercept and slope are those of the log odds under which the subtypes of the cases named are likeliest (a "
    "temperature: the slope alone; Platt: both, to targets drawn a little inward). They are tools, applied to other "
    "patients, and have no interval: whether they helped is what the calibration table measures, with intervals that "
    "take them as given."
)


def probability_tables(appraisal: Appraisal) -> dict[str, Table]:
    """Name -> table: ``calibration-``, ``operating-``, ``coverage-`` and ``subgroups-GROUP``."""
    tables = {}
    for name, group in appraisal.groups.items():
        suffix = slug(name)
        tables[f"calibration-{suffix}"] = calibration_table(group)
        if group.operating:
            tables[f"operating-{suffix}"] = operating_table(group)
        tables[f"coverage-{suffix}"] = coverage_table(group)
        if group.subgroups:
            tables[f"subgroups-{suffix}"] = subgroup_rows(group)
    if appraisal.rescalings:
        tables["rescaling"] = rescaling_table(appraisal)
    return tables


def calibration_table(group: GroupAppraisal) -> Table:
    """Figures of calibration, a column for the probabilities as they are and each rescaling, or for each subtype."""
    letters = Letters()
    names = list(dict.fromkeys(name for figures in group.calibration.values() for name in figures))
    rows = tuple(
        (
            CALIBRATION.get(name, name),
            *(letters.cell(figures.get(name)) for figures in group.calibration.values()),
        )
        for name in names
    )
    header = ("", *(COLUMNS.get(column, column) for column in group.calibration))
    return Table(
        caption=f"Calibration, {group_name(group.name)}", header=header, rows=rows, notes=letters.notes
    )


def operating_table(group: GroupAppraisal) -> Table:
    """What thresholds for a stated sensitivity achieve on cases that had no part in choosing them."""
    letters = Letters()
    rows = []
    for point in group.operating:
        thresholds = sorted({p.threshold for p in point.points.values()})
        said = f"{thresholds[0]:.2f}" + (f" to {thresholds[-1]:.2f}" if len(thresholds) > 1 else "")
        chosen = (
            f"{len(point.points)} folds, each by the cases of the others, "
            f"{point.achieved['accuracy'].n} in all, without patients of its own"
            if len(point.points) > 1
            else next(iter(point.points.values())).chosen_on
        )
        cells = (letters.cell(point.achieved.get(name)) for name in ACHIEVED)
        rows.append((f"at least {percent(point.wanted_sensitivity)}", Cell(said, chosen), *cells))
    header = ("Sensitivity asked for", "Threshold", *(name.capitalize() for name in ACHIEVED))
    return Table(
        caption=f"Operating points, {group_name(group.name)}",
        header=header,
        rows=tuple(rows),
        notes=(*letters.notes, CHOSEN),
    )


def coverage_table(group: GroupAppraisal) -> Table:
    """Area under risk against coverage, and both at the margin in use."""
    letters, found = Letters(), group.coverage
    named: dict[str, Estimate] = {"Area under risk against coverage (lower is better)": found.aurc}
    words = {
        "coverage": "Share answered at the margin in use",
        "risk": "Share of those answers that is wrong",
    }
    named |= {words.get(name, name): e for name, e in found.at_margin.items()}
    rows = tuple((name, letters.cell(e)) for name, e in named.items())
    notes = [
        f"Left out at random, the share of wrong answers would stay {found.random:.3f} (the share among all "
        f"{counted_noun(found.aurc.n, found.aurc.unit)})."
    ]
    if found.at_margin:
        notes.append(
            "At the margin in use the margin alone is counted. The coverage among the figures by case also leaves "
            "out cases with a doubt about the images, so it can be lower."
        )
    return Table(
        caption=f"When “not sure” is allowed, {group_name(group.name)}",
        header=("", "By case"),
        rows=rows,
        notes=(*letters.notes, *notes),
    )


def subgroup_rows(group: GroupAppraisal) -> Table:
    """Every subgroup with its figures, and its gap to all other cases."""
    letters = Letters()
    rows = []
    for s in group.subgroups:
        by_subtype = ", ".join(f"{n} {name}" for name, n in s.n_by_subtype.items())
        p = "" if s.p is None else Cell(p_words(s.p), "" if s.p_holm is None else f"Holm {p_words(s.p_holm)}")
        cells = (s.figures.get("auc"), s.figures.get("accuracy"), s.gaps.get("auc"))
        rows.append(
            (
                f"{s.attribute}: {s.value}",
                Cell(f"{s.n_patients}", by_subtype),
                *(letters.cell(e) for e in cells),
                p,
            )
        )
    header = ("Subgroup", "Patients", "AUC", "Accuracy", "Gap in AUC to the others", "p")
    note = "A wide interval is no sign of fairness: it says that the data cannot tell."
    return Table(
        caption=f"Subgroups, {group_name(group.name)}",
        header=header,
        rows=tuple(rows),
        notes=(*letters.notes, note),
    )


def rescaling_table(appraisal: Appraisal) -> Table:
    """What was fitted, and on whom."""
    rows = tuple(
        (
            _applied_to(fit.applied_to),
            fit.how,
            _numbers(fit.intercept),
            _numbers(fit.slope),
            Cell(fit.fitted_on, fit.note),
        )
        for fit in sorted(appraisal.rescalings, key=lambda fit: (fit.how, "fold" not in fit.applied_to))
    )
    header = ("Applied to", "Kind", "Intercept", "Slope", "Fitted on")
    return Table(caption="Rescaling of the probabilities", header=header, rows=rows, notes=(FITTED,))


def _applied_to(told: str) -> str:
    """``out-of-fold, fold 0`` -> ``cross-validation, fold 0``."""
    name, comma, fold = told.partition(", ")
    return f"{group_name(name)}{comma}{fold}"


def _numbers(values: Mapping[str, float]) -> str:
    if len(values) == 1:
        return f"{next(iter(values.values())):.3f}"
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items())
