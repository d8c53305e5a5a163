"""Table 1, parameters and validation: content of replicate.json in, tables for page and CSV out."""

from collections.abc import Sequence
from typing import Any

from nephroscope.replicate import printed
from nephroscope.replicate.cells import FIGURE_NAMES, LEAKY_NOTE, cell_of
from nephroscope.replicate.printed import NAMES
from nephroscope.report.tables import Table


def parameter_table(content: dict[str, Any]) -> Table:
    """Table 1, first half: numbers of weights."""
    rows = []
    for name, entry in content["parameters"].items():
        rows.append(
            (
                NAMES[name],
                f"{entry['paper_total']:,}",
                f"{entry['total']:,}",
                f"{entry['paper_trainable']:,}",
                f"{entry['trainable']:,}",
                entry["head"],
                entry["note"] or "the same",
            )
        )
    return Table(
        caption="Table 1a. Parameters",
        header=(
            "Network",
            "Total, paper",
            "Total, here",
            "Trainable, paper",
            "Trainable, here",
            "Head",
            "Note",
        ),
        rows=tuple(rows),
        notes=("Total: trainable weights with running mean and variance of every batch norm.",),
    )


def validation_table(content: dict[str, Any]) -> Table:
    """Table 1, second half: best validation accuracy, its twin and the difference."""
    rows = []
    for network in content["models"]:
        paper, twin = network["paper"], network["twin"]
        known = printed.MODELS[network["model"]].validation_accuracy
        accuracy = twin["by_image"]["accuracy"]
        rows.append(
            (
                NAMES[network["model"]],
                f"{known:.4f}" if known is not None else "cannot converge",
                cell_of(
                    paper["validation"]["accuracy"],
                    f"{_state([paper['converged']], [paper['one_sided']])}"
                    f"best epoch {paper['best_epoch'] or 'none'} · ",
                ),
                cell_of(accuracy, _state(twin["converged"], twin["one_sided"])),
                cell_of(network["difference"]["accuracy"]),
                cell_of(twin["by_case"]["accuracy"]),
                cell_of(twin["by_case"]["auc"]),
            )
        )
    return Table(
        caption="Table 1b. Best validation accuracy",
        header=(
            "Network",
            "Paper printed",
            "Paper's protocol, by image LEAKY",
            "Twin, by image",
            "Difference, LEAKY minus twin",
            "Twin, by case",
            "Twin, AUC by case",
        ),
        rows=tuple(rows),
        notes=(
            f"{LEAKY_NOTE} {_leak_note(content)}",
            "Twin: out of fold, original slices of patients never trained on nor used to choose the "
            "epoch; by case the "
            "mean over all slices. Difference: paper's protocol minus twin, interval by patient bootstrap.",
            "Did not converge: in no epoch the balanced accuracy on the images trained on was above 0.55. "
            "Converged says no more than that. Calls one subtype: every image judged was called the same, so that "
            "the accuracy is the share of that subtype, whether it converged or not.",
        ),
    )


def _state(converged: Sequence[bool], one_sided: Sequence[bool]) -> str:
    """How the trainings behind a figure went, before what is counted."""
    n = len(converged)
    words = [f"{n} folds"] if n > 1 else []
    for times, what in ((n - sum(converged), "did not converge"), (sum(one_sided), "calls one subtype")):
        if times:
            plural = what.replace("calls", "call") if n > 1 and times > 1 else what
            words.append(f"{times} {plural}" if n > 1 else what)
    return f"{', '.join(words)} · " if words else ""


def _leak_note(content: dict[str, Any]) -> str:
    """Whose images the paper's protocol validates on, and in what precision."""
    leak = content["leak"]
    precision = content["models"][0]["resources"]["precision"]
    told = (
        ""
        if precision == "float32"
        else f" The epoch is chosen in {precision}, the figures are of ONNX in fp32."
    )
    both, n = leak["patients_on_both_sides"], leak["validation_patients"]
    return f"{both} of {n} patients validated on are trained on.{told}"


def figure_table(content: dict[str, Any]) -> Table:
    """Every validation figure of every network under both protocols."""
    rows = []
    for network in content["models"]:
        known = printed.MODELS[network["model"]].validation
        for name, words in FIGURE_NAMES.items():
            k, n = known.get(name, (0, 0))
            rows.append(
                (
                    f"{NAMES[network['model']]}, {words.lower() if name != 'auc' else words}",
                    f"{k / n:.4f} ({k:,} of {n:,})" if n else "",
                    cell_of(network["paper"]["validation"][name]),
                    cell_of(network["twin"]["by_image"][name]),
                    cell_of(network["difference"][name]),
                )
            )
    return Table(
        caption="Validation by image, every figure",
        header=(
            "Figure",
            "Paper, solved from its print",
            "Paper's protocol LEAKY",
            "Twin",
            "Difference, LEAKY minus twin",
        ),
        rows=tuple(rows),
        notes=(LEAKY_NOTE,),
    )
