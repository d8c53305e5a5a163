"""Tables of a replication about the test cases: figures, case by case, readers, and areas under the ROC curve."""

from collections.abc import Sequence

from nephroscope.questions.replicate import printed
from nephroscope.questions.replicate.printed import NAMES
from nephroscope.questions.replicate.replication import (
    TOGETHER,
    Area,
    AreaTwoWays,
    CaseAnswer,
    CaseRow,
    Compared,
    Replication,
)
from nephroscope.records import p_words
from nephroscope.report.page.table import Cell, Column, Table, build_table
from nephroscope.report.replicate.network_tables import FIGURE_NAMES, cell_of, counted
from nephroscope.statistics.mcnemar import title_of

FEW = 5  # patients of a subtype
FEW_NOTE = (
    f"With fewer than {FEW} patients of a subtype the normal approximation behind these intervals and p does not "
    "hold: a small p there shows nothing. The paper had 5 and 5."
)
SHARES = ("accuracy", "sensitivity", "specificity", "precision")
SHOWN = {
    "by_image": ("3 images a case", (*SHARES, "auc")),
    "by_case": ("case, 2 of 3 images", ("accuracy", "sensitivity", "specificity")),
    "by_case_mean": ("case, mean of all slices", ("accuracy", "auc")),
}
PROTOCOLS = {"paper": "paper's protocol, epoch chosen on the LEAKY split", "twin": "twin"}


def set_name(name: str) -> str:
    """Name of a test set."""
    return "all test cases" if name == TOGETHER else name


def figures_of_tests(found: Replication, name: str) -> Table:
    """Table 2: results of one test set, by image and by case, under both protocols."""
    rows = [
        (network.model, how, figure, getattr(network.tests[name], how))
        for network in found.models
        for how, (_, figures) in SHOWN.items()
        for figure in figures
    ]
    columns: list[Column[tuple[str, str, str, Compared]]] = [
        Column("Network, unit", lambda row: f"{NAMES[row[0]]}, {SHOWN[row[1]][0]}"),
        Column("Figure", lambda row: FIGURE_NAMES[row[2]]),
        Column("Paper printed", lambda row: _printed(*row[:3]) if name == TOGETHER else ""),
        Column(
            "Paper's protocol, epoch chosen on the LEAKY split", lambda row: row[3].paper[row[2]], counted
        ),
        Column("Twin", lambda row: row[3].twin[row[2]], counted),
        Column("Difference, paper's protocol minus twin", lambda row: row[3].difference[row[2]], counted),
    ]
    models = [network.model for network in found.models]
    notes = [
        "Neither protocol trained on a test patient; the epoch of the paper's protocol was chosen on a "
        "LEAKY split. Twin: the network of the fold with the lowest loss on the patients used to choose "
        "its epoch.",
        *(f"Paper, {NAMES[m]}: {printed.MODELS[m].note}." for m in models if printed.MODELS[m].note),
        *([f"Paper, MobileNetV2 by image: {printed.TEST_IMAGES_NOTE}."] if "mobilenet_v2" in models else []),
    ]
    return build_table(f"Table 2. Testing results, {set_name(name)}", columns, rows, notes)


def _printed(model: str, how: str, figure: str) -> str:
    """Counts behind what the paper printed for its 10 test cases together."""
    row = printed.MODELS[model]
    known = row.test if (row.test_unit == "case") == (how == "by_case") and how != "by_case_mean" else {}
    if model == "mobilenet_v2" and how == "by_image":
        known = printed.TEST_IMAGES
    if figure not in known:
        return ""
    k, n = known[figure]
    return f"{k / n:.4f} ({k} of {n})"


def case_table(found: Replication) -> Table:
    """Table 2, case by case."""

    def of_network(model: str, protocol: str) -> Column[CaseRow]:
        header = f"{NAMES[model]}, {PROTOCOLS[protocol]}"
        return Column(header, lambda row: _call(getattr(row.models[model], protocol), row.truth))

    def of_reader(name: str) -> Column[CaseRow]:
        return Column(name, lambda row: _reader_call(row.readers.get(name), row.truth))

    columns: list[Column[CaseRow]] = [
        Column("Case", lambda row: row.case_id),
        Column("Origin", lambda row: row.set),
        Column("Truth", lambda row: row.truth),
        *(of_network(network.model, protocol) for network in found.models for protocol in PROTOCOLS),
        *(of_reader(reader.name) for reader in found.readers),
    ]
    note = (
        "✓ correct, ✗ wrong: the vote of three random slices, how many of the three were correct, and the mean "
        f"probability of {found.positive} over all slices. The paper's protocol: epoch chosen on a LEAKY split."
    )
    return build_table("Table 2. Case by case", columns, found.cases, [note])


def _call(answer: CaseAnswer, truth: str) -> Cell:
    small = f"{answer.images_right} of {answer.images} · mean {answer.mean_p_positive:.2f}"
    return Cell(_reader_call(answer.call, truth), small)


def _reader_call(call: str | None, truth: str) -> str:
    return "no call" if call is None else f"{'✓' if call == truth else '✗'} {call}"


def reader_table(found: Replication) -> Table:
    """Readers of this study against each network, then those of the paper."""
    rows: list[tuple[str | Cell, ...]] = []
    for reader in found.readers:
        for test in reader.against:
            network = f"{NAMES[test.model]}, {PROTOCOLS[test.protocol]}"
            p = Cell("none", test.method) if test.p is None else f"{test.p:.3f}"
            counts = " / ".join(map(str, test.counts))
            rows.append((reader.name, cell_of(reader.figures["accuracy"]), network, counts, p))
    if found.readers_mean is not None:
        rows.append(("mean of the readers", cell_of(found.readers_mean), "", "", ""))
    for name, (right, n, p_printed) in printed.READERS.items():
        of_paper = "MobileNetV2, 10 of 10 as printed"
        rows.append((f"{name} of the paper", f"{right} of {n}", of_paper, "", f"{p_printed:.1f}"))
    rows.append(("mean of the paper's readers", "0.85", "", "", ""))
    name = title_of(test.method for reader in found.readers for test in reader.against)
    header = ("Reader", "Accuracy", "Against", "Right: both / network / reader / neither", f"p, {name}")
    of_paper_note = f"The paper's readers: {printed.READERS_NOTE}."
    notes = (found.readers_note, of_paper_note) if found.readers_note else (of_paper_note,)
    return Table(caption="Readers against networks, by case", header=header, rows=tuple(rows), notes=notes)


def area_table(found: Replication) -> Table:
    """Figure 4's numbers: AUC on the test cases, rows taken as independent and clustered by patient."""
    value, low, high = printed.AUC
    paper = f"{value:.3f} ({low:.3f} to {high:.3f})"
    rows: list[tuple[str | Cell, ...]] = [
        ("MobileNetV2, printed in the paper", "15 x 15 images", paper, "< 0.001", "", "")
    ]
    few = False
    for network in found.models:
        for name in found.test_sets:
            areas = network.tests[name].roc
            title = f"{NAMES[network.model]}, {set_name(name)}"
            unit = "paper's protocol, by image, epoch chosen on the LEAKY split"
            rows.append((title, *_area_cells(unit, areas.by_image_paper)))
            rows.append((title, *_area_cells("twin, by case", areas.by_case_twin)))
            few |= any(_fewest(a) < FEW for a in (areas.by_image_paper, areas.by_case_twin))
    header = (
        *("Network, test set", "What is ranked", "As the paper: DeLong, rows independent"),
        *("p, rows independent", "By patient: Obuchowski", "p, by patient"),
    )
    notes = (f"The paper's AUC: {printed.AUC_NOTE}.", *([FEW_NOTE] if few else []))
    caption = "Figure 4 in numbers. AUC and p against 0.5"
    return Table(caption=caption, header=header, rows=tuple(rows), notes=notes)


def _area_cells(unit: str, area: AreaTwoWays) -> Sequence[str | Cell]:
    patients = ", ".join(f"{n} {subtype}" for subtype, n in area.patients_by_subtype.items())
    naive, clustered = area.naive, area.clustered
    return (
        *(Cell(unit, f"patients: {patients}"), cell_of(naive.estimate), _p_cell(naive)),
        *(cell_of(clustered.estimate), _p_cell(clustered)),
    )


def _fewest(area: AreaTwoWays) -> int:
    return min(area.patients_by_subtype.values())


def _p_cell(area: Area) -> str | Cell:
    """p, or why there is none."""
    if area.p_against_half is None:
        known = area.estimate.value is not None
        return Cell("none", "no variance to test with" if known else area.estimate.method)
    return p_words(area.p_against_half)
