"""Table 2, the test cases: content of replicate.json in; testing results, case by case, and readers out."""

from typing import Any

from nephroscope.replicate import printed
from nephroscope.replicate.cells import FIGURE_NAMES, PROTOCOLS, SETS, SHARES, cell_of
from nephroscope.replicate.printed import NAMES
from nephroscope.report.tables import Cell, Table

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
