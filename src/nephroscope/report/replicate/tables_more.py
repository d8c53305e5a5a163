"""Tables of layers, areas, resources, shuffled labels and decisions: content in, tables out."""

from typing import Any

from nephroscope.questions.replicate import printed
from nephroscope.questions.replicate.printed import NAMES
from nephroscope.records import p_words
from nephroscope.report.page.table import Cell, Table
from nephroscope.report.replicate.tables import FIGURE_NAMES, LEAKY_NOTE, SETS, cell_of
from nephroscope.report.replicate.words import POOLED, hours_words

FEW = 5  # patients of a subtype
FEW_NOTE = (
    f"With fewer than {FEW} patients of a subtype the normal law behind these intervals and p does not hold: a "
    "small p there shows nothing. The paper had 5 and 5."
)


def layer_table(content: dict[str, Any]) -> Table:
    """Table 3: MobileNetV2 as built beside the paper's rows."""
    rows = []
    for built, row in zip(content["layers"], printed.printed_layers(), strict=True):
        shape = " x ".join(map(str, built["output"]))
        notes = [printed.layer_note(row.name)]
        if tuple(built["output"]) != row.output:
            notes.append(f"output printed {' x '.join(map(str, row.output))}")
        if built["stride"] is not None and str(built["stride"]) != row.stride:
            notes.append(f"stride printed {row.stride}")
        rows.append(
            (
                built["name"],
                Cell(shape, ""),
                "/" if built["stride"] is None else str(built["stride"]),
                Cell("; ".join(built["filters"]) or "/", f"paper: {row.filters}"),
                Cell(
                    built["built"] + (", residual" if built["residual"] else ""),
                    f"paper: {row.function or '/'}",
                ),
                f"{built['weights']:,}",
                "; ".join(note for note in notes if note),
            )
        )
    total = sum(layer["weights"] for layer in content["layers"])
    return Table(
        caption="Table 3. MobileNetV2 as built, layer by layer",
        header=(
            "Layer",
            "Output",
            "Stride",
            "Filters",
            "Layers inside",
            "Weights",
            "Where the paper differs",
        ),
        rows=tuple(rows),
        notes=(
            f"Output: rows, columns, channels, measured on a forward pass of 256 x 256. {total:,} weights in all.",
            f"{printed.LAYERS_NOTE}.",
        ),
    )


def area_table(content: dict[str, Any], sets: list[str]) -> Table:
    """Figure 4's numbers: AUC on the test cases, images for themselves and clustered by patient."""
    value, low, high = printed.AUC
    rows: list[tuple[str | Cell, ...]] = [
        (
            "MobileNetV2, printed in the paper",
            "15 x 15 images",
            f"{value:.3f} ({low:.3f} to {high:.3f})",
            "< 0.001",
            "",
            "",
        )
    ]
    few = False
    for network in content["models"]:
        for name in sets:
            found = network["tests"][name]["roc"]
            for key, unit in (
                ("by_image_paper", "paper's protocol, by image, epoch chosen on the LEAKY split"),
                ("by_case_twin", "twin, by case"),
            ):
                naive, clustered = found[key]["naive"], found[key]["clustered"]
                patients = found[key]["patients_by_subtype"]
                few |= min(patients.values()) < FEW
                of = ", ".join(f"{n} {subtype}" for subtype, n in patients.items())
                rows.append(
                    (
                        f"{NAMES[network['model']]}, {SETS.get(name, name)}",
                        Cell(unit, f"patients: {of}"),
                        cell_of(naive["estimate"]),
                        _p_cell(naive),
                        cell_of(clustered["estimate"]),
                        _p_cell(clustered),
                    )
                )
    return Table(
        caption="Figure 4 in numbers. AUC and p against 0.5",
        header=(
            "Network, test set",
            "What is ranked",
            "As the paper: DeLong, rows independent",
            "p, rows independent",
            "By patient: Obuchowski",
            "p, by patient",
        ),
        rows=tuple(rows),
        notes=(f"The paper's AUC: {printed.AUC_NOTE}.", *([FEW_NOTE] if few else [])),
    )


def shuffled_table(content: dict[str, Any]) -> Table:
    """Both protocols on shuffled labels."""
    control = content["shuffled"]
    rows = []
    for name, words in FIGURE_NAMES.items():
        rows.append(
            (
                words,
                cell_of(control["paper"]["validation"][name]),
                cell_of(control["twin"]["by_image"][name]),
                cell_of(control["difference"][name]),
                cell_of(control["twin"]["by_case"][name]),
            )
        )
    return Table(
        caption=f"Shuffled labels, {NAMES[control['model']]}",
        header=(
            "Figure",
            "Paper's protocol, by image LEAKY",
            "Twin, by image",
            "Difference, LEAKY minus twin",
            "Twin, by case",
        ),
        rows=tuple(rows),
        notes=(
            LEAKY_NOTE,
            "Labels are permuted between development patients, each true subtype getting the "
            "shares of all; both protocols learn the same labels, and folds go by them.",
            *([POOLED] if content["configuration"]["twin_folds"] > 1 else []),
        ),
    )


def resource_table(content: dict[str, Any]) -> Table:
    """What it costs."""
    rows = []
    for network in content["models"]:
        used = network["resources"]
        memory = used["peak_memory_mb"]
        rows.append(
            (
                NAMES[network["model"]],
                f"{used['seconds_per_epoch']:.1f} s",
                f"{used['images_per_epoch']:,}",
                "not told by the system" if memory is None else f"{memory:,.0f} MB",
                f"{used['weights_mb']:.1f} MB",
                f"{used['ms_per_slice']:.2f} ms",
            )
        )
    used = content["models"][0]["resources"]
    memory_of = "resident set of the process" if used["memory_of"] == "cpu" else "GPU memory"
    size = content["configuration"]["size_px"]
    return Table(
        caption="Resource use",
        header=(
            "Network",
            "Time per epoch",
            "Images per epoch",
            "Peak memory",
            "Weights",
            "One slice, ONNX Runtime",
        ),
        rows=tuple(rows),
        notes=(
            f"{hours_words(content)} In {used['precision']}, slices of {size} x {size}; "
            f"memory: {memory_of}. A slice is timed on the CPU. The paper: less than 10 GB of GPU memory.",
        ),
    )


def deviation_table(content: dict[str, Any]) -> Table:
    """The decisions."""
    rows = [(str(d["number"]), d["paper"], d["done"], d["why"]) for d in content["deviations"]]
    return Table(caption="Every decision", header=("", "The paper", "Done here", "Why"), rows=tuple(rows))


def _p_cell(tested: dict[str, Any]) -> str | Cell:
    """p, or why there is none."""
    if tested["p_against_half"] is None:
        known = tested["estimate"]["value"] is not None
        return Cell("none", "no variance to test with" if known else tested["estimate"]["method"])
    return p_words(tested["p_against_half"])
