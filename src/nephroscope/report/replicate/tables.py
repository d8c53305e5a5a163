"""Table 2, the test cases: content of replicate.json in; testing results, case by case, and readers out."""

from collections.abc import Sequence
from typing import Any

from nephroscope.questions.replicate import printed
from nephroscope.questions.replicate.printed import NAMES
from nephroscope.report.page.table import Cell, Table
from nephroscope.report.replicate.words import said

SHARES = ("accuracy", "sensitivity", "specificity", "precision")
LEAKY_NOTE = "LEAKY: split by image after augmentation; images of one patient are trained and validated on."
SETS = {"together": "all test cases"}
PROTOCOLS = {"paper": "paper's protocol, epoch chosen on the LEAKY split", "twin": "twin"}
FIGURE_NAMES = {
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "auc": "AUC",
}


def cell_of(estimate: dict[str, Any], before: str = "") -> Cell:
    """A figure with its interval, and below it what is counted."""
    if estimate["value"] is None:
        return Cell("none", before + _short(estimate["method"]))
    why = f" · {_short(estimate['method'])}" if estimate["low"] is None else ""
    n = estimate["n"]
    return Cell(said(estimate), f"{before}n = {n} {estimate['unit']}{'s' * (n != 1)}{why}")


def _short(method: str) -> str:
    """Why a figure has no interval, without what the column's header says."""
    why = method.rpartition("paper's protocol minus twin")[2].lstrip(";: ")
    return "no interval: without variance" if why.startswith("no interval: without variance") else why


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


SHOWN = {
    "by_image": (*SHARES, "auc"),
    "by_case": ("accuracy", "sensitivity", "specificity"),
    "by_case_mean": ("accuracy", "auc"),
}


def test_table(content: dict[str, Any], name: str, figures: dict[str, Any]) -> Table:
    """Testing results of one test set (``figures`` by network), by image and by case, each with its twin."""
    rows = []
    for model, found in figures.items():
        for how, words in (
            ("by_image", "3 images a case"),
            ("by_case", "case, 2 of 3 images"),
            ("by_case_mean", "case, mean of all slices"),
        ):
            for figure in SHOWN[how]:
                part = found[how]
                rows.append(
                    (
                        f"{NAMES[model]}, {words}",
                        FIGURE_NAMES[figure],
                        _printed_test(model, how, figure, name),
                        cell_of(part["paper"][figure]),
                        cell_of(part["twin"][figure]),
                        cell_of(part["difference"][figure]),
                    )
                )
    return Table(
        caption=f"Table 2. Testing results, {SETS.get(name, name)}",
        header=(
            "Network, unit",
            "Figure",
            "Paper printed",
            "Paper's protocol, epoch chosen on the LEAKY split",
            "Twin",
            "Difference, paper's protocol minus twin",
        ),
        rows=tuple(rows),
        notes=(
            "No test patient was trained on under either protocol; the paper's epoch was chosen on a "
            "LEAKY split. Twin: the network of the fold with the lowest loss on the patients its epoch was "
            "chosen on.",
            *(
                f"Paper, {NAMES[model]}: {printed.MODELS[model].note}."
                for model in figures
                if printed.MODELS[model].note
            ),
            *(
                [f"Paper, MobileNetV2 by image: {printed.TEST_IMAGES_NOTE}."]
                if "mobilenet_v2" in figures
                else []
            ),
        ),
    )


def _printed_test(model: str, how: str, figure: str, name: str) -> str:
    """Counts behind what the paper printed for its 10 test cases together."""
    row = printed.MODELS[model]
    if name != "together":
        return ""
    known = row.test if (row.test_unit == "case") == (how == "by_case") and how != "by_case_mean" else {}
    if model == "mobilenet_v2" and how == "by_image":
        known = printed.TEST_IMAGES
    if figure not in known:
        return ""
    k, n = known[figure]
    return f"{k / n:.4f} ({k} of {n})"


def case_table(content: dict[str, Any]) -> Table:
    """Table 2, case by case."""
    models = [network["model"] for network in content["models"]]
    readers = [reader["name"] for reader in content["readers"]]
    header = ["Case", "Origin", "Truth"]
    for model in models:
        header += [f"{NAMES[model]}, {words}" for words in PROTOCOLS.values()]
    rows = []
    for row in content["cases"]:
        cells: list[str | Cell] = [row["case_id"], row["set"], row["truth"]]
        for model in models:
            cells += [_call(row["models"][model][kind], row["truth"]) for kind in ("paper", "twin")]
        cells += [_reader_call(row["readers"].get(name), row["truth"]) for name in readers]
        rows.append(tuple(cells))
    return Table(
        caption="Table 2. Case by case",
        header=(*header, *readers),
        rows=tuple(rows),
        notes=(
            "✓ right, ✗ wrong: the vote of three random slices, how many of them were right, and the "
            "mean probability "
            f"of {content['positive']} over all slices. The paper's protocol: epoch chosen on a LEAKY split.",
        ),
    )


def _call(answer: dict[str, Any], truth: str) -> Cell:
    mark = "✓" if answer["call"] == truth else "✗"
    small = f"{answer['images_right']} of {answer['images']} · mean {answer['mean_p_positive']:.2f}"
    return Cell(f"{mark} {answer['call']}", small)


def _reader_call(call: str | None, truth: str) -> str:
    return "no call" if call is None else f"{'✓' if call == truth else '✗'} {call}"


def reader_table(content: dict[str, Any]) -> Table:
    """Readers of this study, or where there are none those of the paper."""
    rows: list[tuple[str | Cell, ...]] = []
    for reader in content["readers"]:
        for test in reader["against"]:
            both, only_model, only_reader, neither = test["counts"]
            rows.append(
                (
                    reader["name"],
                    cell_of(reader["figures"]["accuracy"]),
                    f"{NAMES[test['model']]}, {PROTOCOLS[test['protocol']]}",
                    f"{both} / {only_model} / {only_reader} / {neither}",
                    Cell("none", test["method"]) if test["p"] is None else f"{test['p']:.3f}",
                )
            )
    if content["readers_mean"]:
        rows.append(("mean of the readers", cell_of(content["readers_mean"]), "", "", ""))
    for name, (right, n, p) in printed.READERS.items():
        rows.append(
            (f"{name} of the paper", f"{right} of {n}", "MobileNetV2, 10 of 10 as printed", "", f"{p:.1f}")
        )
    rows.append(("mean of the paper's readers", "0.85", "", "", ""))
    notes = (f"The paper's readers: {printed.READERS_NOTE}.",)
    return Table(
        caption="Readers against networks, by case",
        header=(
            "Reader",
            "Accuracy",
            "Against",
            "Right: both / network / reader / neither",
            "p, exact McNemar",
        ),
        rows=tuple(rows),
        notes=(content["readers_note"], *notes) if content["readers_note"] else notes,
    )
