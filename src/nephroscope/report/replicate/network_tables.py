"""Tables of a replication about the networks: weights, validation, shuffled labels, layers, resources."""

from collections.abc import Sequence

from nephroscope.learning.networks.layers import LayerRow
from nephroscope.questions.replicate import printed
from nephroscope.questions.replicate.printed import NAMES
from nephroscope.questions.replicate.replication import (
    CohortPart,
    Deviation,
    Network,
    Parameters,
    Replication,
    ShuffledControl,
)
from nephroscope.questions.replicate.sentences import POOLED, hours_sentence, with_interval
from nephroscope.records import Estimate, counted_noun
from nephroscope.report.page.table import Cell, Column, Letters, Table, build_table, plain

LEAKY_NOTE = (
    "LEAKY: split by image after augmentation; images of one patient are in both training and validation."
)
FIGURE_NAMES = {
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "auc": "AUC",
}
PAPER_PARTS = "The paper: 39 PRCC and 35 ChRCC tumors, 1,854 images; 6 and 4 test cases."


def cell_of(e: Estimate, before: str = "") -> Cell:
    """A figure with its interval, and below it what is counted."""
    if e.value is None:
        return Cell("none", before + _why(e.method))
    why = f" · {_why(e.method)}" if e.low is None else ""
    return Cell(with_interval(e), f"{before}n = {counted_noun(e.n, e.unit)}{why}")


def counted(value: object, letters: Letters) -> str | Cell:
    """Format of a column: an estimate with what is counted below it."""
    return cell_of(value) if isinstance(value, Estimate) else plain(value, letters)


def _why(method: str) -> str:
    """Why a figure has no interval, without what the header of the column says."""
    why = method.rpartition("paper's protocol minus twin")[2].lstrip(";: ")
    return "no interval: without variance" if why.startswith("no interval: without variance") else why


def cohort_table(found: Replication) -> Table:
    """Patients, tumors and slices of each part."""

    def of_subtype(subtype: str) -> Column[tuple[str, CohortPart]]:
        return Column(subtype, lambda row: row[1].by_subtype[subtype])

    columns: list[Column[tuple[str, CohortPart]]] = [
        Column("Part", lambda row: row[0]),
        Column("Patients", lambda row: row[1].patients),
        Column("Tumors", lambda row: row[1].cases),
        *map(of_subtype, found.subtypes),
        Column("Slices", lambda row: f"{row[1].slices:,}"),
    ]
    notes = [f"Positive: {found.positive}. {PAPER_PARTS}"]
    return build_table("Parts of this study", columns, found.cohort.items(), notes)


def parameter_table(found: Replication) -> Table:
    """Table 1, first half: numbers of weights."""
    columns: list[Column[tuple[str, Parameters]]] = [
        Column("Network", lambda row: NAMES[row[0]]),
        Column("Total, paper", lambda row: f"{row[1].paper_total:,}"),
        Column("Total, here", lambda row: f"{row[1].total:,}"),
        Column("Trainable, paper", lambda row: f"{row[1].paper_trainable:,}"),
        Column("Trainable, here", lambda row: f"{row[1].trainable:,}"),
        Column("Head", lambda row: row[1].head),
        Column("Note", lambda row: row[1].note or "the same"),
    ]
    notes = ["Total: trainable weights plus running mean and variance of every batch normalization."]
    return build_table("Table 1a. Parameters", columns, found.parameters.items(), notes)


def validation_table(found: Replication) -> Table:
    """Table 1, second half: best validation accuracy, its twin and the difference."""
    columns: list[Column[Network]] = [
        Column("Network", lambda n: NAMES[n.model]),
        Column("Paper printed", _printed_accuracy),
        Column("Paper's protocol, by image LEAKY", _paper_accuracy),
        Column("Twin, by image", _twin_accuracy),
        Column("Difference, LEAKY minus twin", lambda n: n.difference["accuracy"], counted),
        Column("Twin, by case", lambda n: n.twin.by_case["accuracy"], counted),
        Column("Twin, AUC by case", lambda n: n.twin.by_case["auc"], counted),
    ]
    precision = found.models[0].resources.precision
    fp32 = (
        ""
        if precision == "float32"
        else f" The epoch was chosen in {precision}; the figures come from the ONNX file in fp32."
    )
    both, n = found.leak.patients_on_both_sides, found.leak.validation_patients
    notes = [
        f"{LEAKY_NOTE} {both} of {n} validation patients are also in training.{fp32}",
        "Twin: out of fold, original slices of patients used neither for training nor to choose the epoch; by case "
        "the mean over all slices. Difference: paper's protocol minus twin, interval by patient bootstrap.",
        "Did not converge: the balanced accuracy on the training images was not above 0.55 in any "
        "epoch; “converged” means no more than this. Calls one subtype: every test image was called the "
        "same subtype, so the accuracy is the proportion of that subtype, whether the network converged "
        "or not.",
    ]
    return build_table("Table 1b. Best validation accuracy", columns, found.models, notes)


def _printed_accuracy(network: Network) -> str:
    known = printed.MODELS[network.model].validation_accuracy
    return f"{known:.4f}" if known is not None else "cannot converge"


def _paper_accuracy(network: Network) -> Cell:
    paper = network.paper
    state = _state([paper.converged], [paper.one_sided])
    return cell_of(paper.validation["accuracy"], f"{state}best epoch {paper.best_epoch or 'none'} · ")


def _twin_accuracy(network: Network) -> Cell:
    twin = network.twin
    return cell_of(twin.by_image["accuracy"], _state(twin.converged, twin.one_sided))


def _state(converged: Sequence[bool], one_sided: Sequence[bool]) -> str:
    """How the trainings behind a figure went."""
    n = len(converged)
    words = [f"{n} folds"] if n > 1 else []
    for times, what in ((n - sum(converged), "did not converge"), (sum(one_sided), "calls one subtype")):
        if times:
            plural = what.replace("calls", "call") if n > 1 and times > 1 else what
            words.append(f"{times} {plural}" if n > 1 else what)
    return f"{', '.join(words)} · " if words else ""


def figure_table(found: Replication) -> Table:
    """Every validation figure of every network under both protocols."""
    columns: list[Column[tuple[Network, str]]] = [
        Column("Figure", _network_and_figure),
        Column("Paper, solved from its print", _printed_figure),
        Column("Paper's protocol LEAKY", lambda row: row[0].paper.validation[row[1]], counted),
        Column("Twin", lambda row: row[0].twin.by_image[row[1]], counted),
        Column("Difference, LEAKY minus twin", lambda row: row[0].difference[row[1]], counted),
    ]
    rows = [(network, name) for network in found.models for name in FIGURE_NAMES]
    return build_table("Validation by image, every figure", columns, rows, [LEAKY_NOTE])


def _network_and_figure(row: tuple[Network, str]) -> str:
    network, name = row
    figure = FIGURE_NAMES[name] if name == "auc" else FIGURE_NAMES[name].lower()
    return f"{NAMES[network.model]}, {figure}"


def _printed_figure(row: tuple[Network, str]) -> str:
    k, n = printed.MODELS[row[0].model].validation.get(row[1], (0, 0))
    return f"{k / n:.4f} ({k:,} of {n:,})" if n else ""


def shuffled_table(control: ShuffledControl, twin_folds: int) -> Table:
    """Both protocols on shuffled labels."""
    columns: list[Column[str]] = [
        Column("Figure", FIGURE_NAMES.get),
        Column("Paper's protocol, by image LEAKY", control.paper.validation.get, counted),
        Column("Twin, by image", control.twin.by_image.get, counted),
        Column("Difference, LEAKY minus twin", control.difference.get, counted),
        Column("Twin, by case", control.twin.by_case.get, counted),
    ]
    notes = [
        LEAKY_NOTE,
        "Labels are permuted between development patients, so that each true subtype gets the same "
        "proportions of the shuffled labels; both protocols learn the same labels, and the folds are "
        "stratified by them.",
        *([POOLED] if twin_folds > 1 else []),
    ]
    return build_table(f"Shuffled labels, {NAMES[control.model]}", columns, FIGURE_NAMES, notes)


def layer_table(found: Replication) -> Table:
    """Table 3: MobileNetV2 as built, and where the paper's rows differ."""
    columns: list[Column[tuple[LayerRow, printed.PrintedLayer]]] = [
        Column("Layer", lambda row: row[0].name),
        Column("Output", lambda row: Cell(_shape(row[0].output))),
        Column("Stride", lambda row: "/" if row[0].stride is None else row[0].stride),
        Column("Filters", lambda row: Cell("; ".join(row[0].filters) or "/", f"paper: {row[1].filters}")),
        Column("Layers inside", _inside),
        Column("Weights", lambda row: f"{row[0].weights:,}"),
        Column("Where the paper differs", _differs),
    ]
    total = sum(layer.weights for layer in found.layers)
    notes = [
        f"Output: rows, columns, channels, measured on a forward pass of 256 x 256. {total:,} weights in all.",
        f"{printed.LAYERS_NOTE}.",
    ]
    rows = zip(found.layers, printed.printed_layers(), strict=True)
    return build_table("Table 3. MobileNetV2 as built, layer by layer", columns, rows, notes)


def _shape(output: Sequence[int]) -> str:
    return " x ".join(map(str, output))


def _inside(row: tuple[LayerRow, printed.PrintedLayer]) -> Cell:
    built, paper = row
    return Cell(built.built + (", residual" if built.residual else ""), f"paper: {paper.function or '/'}")


def _differs(row: tuple[LayerRow, printed.PrintedLayer]) -> str:
    built, paper = row
    notes = [printed.layer_note(paper.name)]
    if tuple(built.output) != paper.output:
        notes.append(f"output printed {_shape(paper.output)}")
    if built.stride is not None and str(built.stride) != paper.stride:
        notes.append(f"stride printed {paper.stride}")
    return "; ".join(note for note in notes if note)


def resource_table(found: Replication) -> Table:
    """What each network costs."""
    columns: list[Column[Network]] = [
        Column("Network", lambda n: NAMES[n.model]),
        Column("Time per epoch", lambda n: f"{n.resources.seconds_per_epoch:.1f} s"),
        Column("Images per epoch", lambda n: f"{n.resources.images_per_epoch:,}"),
        Column("Peak memory", _memory),
        Column("Weights", lambda n: f"{n.resources.weights_mb:.1f} MB"),
        Column("One slice, ONNX Runtime", lambda n: f"{n.resources.ms_per_slice:.2f} ms"),
    ]
    used, size = found.models[0].resources, found.configuration.size_px
    memory = "resident set of the process" if used.memory_of == "cpu" else "GPU memory"
    notes = [
        f"{hours_sentence(found)} In {used.precision}, slices of {size} x {size}; memory: {memory}. A slice is timed "
        "on the CPU. The paper: less than 10 GB of GPU memory."
    ]
    return build_table("Resource use", columns, found.models, notes)


def _memory(network: Network) -> str:
    memory = network.resources.peak_memory_mb
    return "not reported by the system" if memory is None else f"{memory:,.0f} MB"


def deviation_table(found: Replication) -> Table:
    """The decisions."""
    columns: list[Column[Deviation]] = [
        Column("", lambda d: d.number),
        Column("The paper", lambda d: d.paper),
        Column("Done here", lambda d: d.done),
        Column("Why", lambda d: d.why),
    ]
    return build_table("Every decision", columns, found.deviations)
