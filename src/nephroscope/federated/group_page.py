"""The page of a group at its coordinator: sites and what they could bring, every step and who sent what, figures."""

from collections.abc import Sequence
from pathlib import Path

from nephroscope.base.documents import save_document
from nephroscope.base.files import save_text
from nephroscope.federated.archive import FIGURES, Archive, open_archive
from nephroscope.federated.figure_documents import (
    ALONE,
    MEAN,
    OTHERS,
    TOGETHER,
    Pooled,
    PooledModel,
    SiteFigures,
)
from nephroscope.federated.group import FEWEST, FORMAT, Joining, Plan, Step
from nephroscope.federated.group_place import GroupPlace
from nephroscope.federated.keys import fingerprint
from nephroscope.report.page.render import Page, render
from nephroscope.report.page.section import Block, Bullets, Filled, Section, ShownTable, Text
from nephroscope.report.page.table import Column, Table, build_table
from nephroscope.statistics.meta_analysis import MetaAnalysis

NAMES = {
    TOGETHER: "the group's model",
    MEAN: "mean of the models trained alone",
    OTHERS: "mean of the other sites' models",
}
NO_FIGURES = Pooled(models=(), best_single="", silent={}, noisy=())


def write_group_page(place: GroupPlace) -> tuple[Path, Pooled]:
    """Write index.html and figures.json in the folder of a group; figures are empty before the last step.

    Raises:
        GroupError: Joining is not closed yet.
    """
    place.group()
    made, plan = place.made(), place.plan
    finished = len(made) > plan.figures
    pooled = made[-1].document("pooled.json", Pooled) if finished else NO_FIGURES
    sections: list[tuple[str, str, Sequence[Block]]] = [
        ("figures", "Figures", figures_blocks(place, pooled)),
        ("sites", "Sites", sites_blocks(place)),
        ("rounds", "Rounds", rounds_blocks(place.steps(), plan)),
    ]
    page = Page(
        title=f"The group {plan.name}",
        subtitle=f"{plan.training.model}, {plan.rounds} rounds of {place.group().epochs} epochs, "
        f"{plan.split.folds} folds, quorum {plan.quorum}",
        marks=("SYNTHETIC",) if any(one.synthetic for one in joinings(place).values()) else (),
        top=[Text(_key(pooled, plan, len(made)), "key")],
        sections=[
            (
                Section[None](id=name, title=title, navigation=title, fill=lambda _: None),
                Filled(blocks=blocks),
            )
            for name, title, blocks in sections
        ],
        footer=(f"group {plan.id}", f"key of the coordinator {fingerprint(plan.key)}"),
    )
    save_document(place.folder / "figures.json", pooled, FORMAT)
    save_text(place.folder / "index.html", render(page, {}))
    return place.folder / "index.html", pooled


def _key(pooled: Pooled, plan: Plan, n_made: int) -> str:
    if not pooled.models:
        return f"The group waits for {plan.words(n_made)}. Figures come with the last step."
    one = pooled.of(TOGETHER)
    return f"AUC of the group's model over all sites: {one.histogram:.3f}."


def name_of(model: str) -> str:
    """A model in words."""
    return NAMES.get(model, f"trained at {model.removeprefix(ALONE)} alone")


def figures_blocks(place: GroupPlace, pooled: Pooled) -> list[Block]:
    """Figures of all models over all sites, then of the group's model by site and without each site."""
    if not pooled.models:
        return [Text("There are none before the last step.", "empty")]
    ordered = sorted(pooled.models, key=lambda m: (m.model.startswith(ALONE), m.model != TOGETHER, m.model))
    columns: list[Column[PooledModel]] = [
        Column("model", lambda m: name_of(m.model) + (" *" if m.model == pooled.best_single else "")),
        Column("AUC, all cases together", lambda m: m.histogram),
        Column("from scores", lambda m: m.scores if m.scores.value is not None else "not shared"),
        Column("AUC, pairs of one site", lambda m: m.stratified),
        Column("AUC, mean over sites", lambda m: meta_text(m.auc)),
        Column("a new site", lambda m: predicted_text(m.auc)),
        Column("observed : expected", lambda m: meta_text(m.observed_expected)),
    ]
    notes = [
        "All cases together also compares cases of two sites, so it holds what scores differ between sites; pairs of "
        "one site do not. Both are given because they can differ.",
        "Mean over sites and the interval for a new site: random effects (REML, Hartung-Knapp-Sidik-Jonkman).",
        "* best of the models trained at one site, chosen on these figures, which flatters it.",
        "The mean of the other sites' models answers patients of a site that none of them saw: leave one site out.",
    ]
    return [
        ShownTable("models", build_table("All models, all sites", columns, ordered, notes)),
        ShownTable("sites-auc", _by_site(place)),
        ShownTable("left-out", _left_out(pooled.of(TOGETHER))),
        Bullets([f"{site} told no figures: {why}." for site, why in pooled.silent.items()]),
        *([Text(f"With noise: {', '.join(pooled.noisy)}.")] if pooled.noisy else []),
    ]


def meta_text(one: MetaAnalysis) -> str:
    """Mean over sites with its interval."""
    if one.value is None or one.low is None or one.high is None:
        return "not available"
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"


def predicted_text(one: MetaAnalysis) -> str:
    """Where a new site's figure lies."""
    if one.predicted_low is None or one.predicted_high is None:
        return "not available"
    return f"{one.predicted_low:.3f} to {one.predicted_high:.3f}"


def _by_site(place: GroupPlace) -> Table:
    """Figures that each site told of the group's model."""
    plan, rows = place.plan, []
    for used in place.steps()[-1].used:
        told = _archive(place, plan.figures, used.site).document(FIGURES, SiteFigures)
        own = next((m for m in told.models if m.model == TOGETHER), None)
        estimates = own.estimates if own else {}
        shown = [
            estimates.get(name) for name in ("auc", "accuracy", "intercept", "slope", "observed_expected")
        ]
        counts = [
            str(n) if n is not None else "not told" for n in (told.patients, told.positive, told.negative)
        ]
        rows.append((used.site, *counts, *(one.interval() if one else "not told" for one in shown)))
    header = ("site", "patients", plan.positive, "others", "AUC", "accuracy", "intercept", "slope", "O:E")
    return Table(caption="The group's model by site", header=header, rows=tuple(rows))


def _left_out(model: PooledModel) -> Table:
    rows = tuple((one.site, one.pooled.interval(), meta_text(one.auc)) for one in model.left_out)
    header = ("without", "AUC, all cases together", "AUC, mean over sites")
    return Table(caption="The group's model without each site in turn", header=header, rows=rows)


def joinings(place: GroupPlace) -> dict[str, Joining]:
    """What each site said when it joined."""
    sites = [one.name for one in place.group().sites]
    return {site: _archive(place, 0, site).document("joining.json", Joining) for site in sites}


def sites_blocks(place: GroupPlace) -> list[Block]:
    """Who is in the group, and what each could bring; counts of one to four patients are not known here."""
    joined = joinings(place)
    kinds = sorted({(c.of, c.value) for joining in joined.values() for c in joining.counts})
    rows = []
    for of, value in kinds:
        cells = []
        for joining in joined.values():
            found = [c.patients for c in joining.counts if (c.of, c.value) == (of, value)]
            cells.append("0" if not found else "1 to 4" if found[0] is None else str(found[0]))
        rows.append((f"{of}: {value}", *cells))
    notes = [f"{site}: {text}" for site, joining in joined.items() for text in joining.findings]
    keys = ["; ".join(f"{one.name} {fingerprint(one.key)}" for one in place.group().sites)]
    table = Table(caption="Patients by site", header=("patients", *joined), rows=tuple(rows))
    return [ShownTable("sites", table), Bullets(notes), Text(f"Keys: {keys[0]}")]


def rounds_blocks(steps: Sequence[Step], plan: Plan) -> list[Block]:
    """Each step: who sent what, who was missing, what was refused, and how far the sites went apart."""
    rows = []
    for step in steps:
        sent = "; ".join(f"{one.site} {one.digest[:12]}" for one in step.used)
        losses = [loss for loss in step.losses if loss is not None]
        apart = "; ".join(f"{site} {value:.2f}" for site, value in step.drift.items() if value is not None)
        missing = f"{', '.join(step.missing)} (told to go on)" if step.missing else "nobody"
        refused = "; ".join(f"{r.site}: {r.code}" for r in step.refused) or "nothing"
        loss = f"{sum(losses) / len(losses):.3f}" if losses else ""
        rows.append((plan.words(step.step), sent, missing, refused, loss, apart))
    header = ("step", "archives", "missing", "refused", "loss before", "drift")
    notes = (
        "Loss before: validation loss of the model that the step began with, mean over folds and the sites that have "
        f"at least {FEWEST} validation patients.",
        "Drift: how far a site's weights are from the mean, as a share of how far the mean went. A site that goes "
        "much farther than the others has other images or labels.",
    )
    table = Table(caption="Steps", header=header, rows=tuple(rows), notes=notes)
    return [ShownTable("steps", table, small=True)]


def _archive(place: GroupPlace, step: int, site: str) -> Archive:
    return open_archive(place.accepted(step, site), place.group().key_of(site), place.plan.id, site)
