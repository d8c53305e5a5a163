"""The command compare: baselines, networks and their stack on the same folds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nephroscope.cli.outcome import Command, Outcome, StudyPath, table
from nephroscope.records import counted_noun, p_words

if TYPE_CHECKING:
    from nephroscope.questions.compare.comparison import Comparison

FIGURES = ("auc", "auc_by_fold", "sensitivity", "specificity", "brier")
TITLES = {"auc": "AUC", "auc_by_fold": "AUC, mean of folds"}


@dataclass(frozen=True, kw_only=True)
class Compare(Command):
    """Rank baselines, trained networks and their out-of-fold stack on the same folds, with paired tests.

    Beside the table: a control with shuffled labels, and how well vendor, sex, site, phase and the CT's grid alone
    tell the subtype. Results are kept in comparison/ of the study as they come: an interrupted comparison goes on, a
    second one is free.

    Example: nephroscope compare my-study --train mobilenet_v2 --repeats 10 --jobs 4
    """

    study: StudyPath
    """Study folder, with slices cut."""
    candidates: tuple[str, ...] | None = None
    """Baselines; by default all that this study allows."""
    runs: tuple[str, ...] | None = None
    """Trained runs; by default all on the present folds."""
    train: tuple[str, ...] = ()
    """Networks to train first, where they have no run on these folds; and again for each of --repeats and --seeds."""
    repeats: int = 1
    """Divisions of the patients, splits.json the first of them; networks only where --train names them."""
    seeds: int = 1
    """Fits on the same folds with so many seeds."""
    permutations: int = 20
    """Of the labels, in the control; what takes long gets a quarter of them."""
    no_control: bool = False
    """Leave the control with shuffled labels out."""
    control_networks: bool = False
    """Train the networks of --train on shuffled labels too, three times."""
    jobs: int = 1
    """Processes on this machine."""
    ray: str | None = None
    """Instead, a Ray cluster: its address, or auto. Every machine must see the study folder under the same path."""
    seed: int = 0
    """All chance of the comparison is derived from it."""

    def run(self) -> Outcome:
        """Compare."""
        from nephroscope.facade import Study
        from nephroscope.learning.engine.jobs import Means
        from nephroscope.questions.compare.comparison import ComparePlan

        plan = ComparePlan(
            candidates=self.candidates,
            runs=self.runs,
            repeats=self.repeats,
            seeds=self.seeds,
            permutations=0 if self.no_control else self.permutations,
            control_networks=self.control_networks,
            seed=self.seed,
            means=Means(jobs=self.jobs, ray=self.ray),
        )
        found = Study(self.study).compare(plan, self.train)
        return Outcome(data=found.content, text=comparison_text(found))


def comparison_text(found: "Comparison") -> str:
    """The comparison as sentences and tables, the answer first."""
    content = found.content
    lines = [f"{'SYNTHETIC: ' if content['synthetic'] else ''}{content['answer']}", ""]
    for name, group in content["groups"].items():
        lines += _group(name, group, content)
    for key, told in (("repeated", _repeated), ("control", _control), ("shortcuts", _shortcuts)):
        if content[key]:
            lines += [*told(content[key]), ""]
    lines += [f"not compared: {row['name']}: {row['reason']}" for row in content["not_compared"]]
    lines += [f"not ranked: {row['name']}: {row['reason']}" for row in content["leaky"]]
    lines.append(f"wrote {found.path}")
    return "\n".join(lines)


def _group(name: str, group: dict[str, Any], content: dict[str, Any]) -> list[str]:
    """One test set: ranks, pairs, what to take away, calibration."""
    mark = " | SYNTHETIC" if content["synthetic"] else ""
    head = f"{name}: {_counted(group)}, positive {content['positive']}"
    rows = [[c["rank"] or "-", c["name"], *(_cell(c[f]) for f in FIGURES)] for c in group["candidates"]]
    lines = [head + mark, table(rows, ["rank", "candidate", *(TITLES.get(f, f) for f in FIGURES)])]
    lines += [f"{c['name']}: {remark}" for c in group["candidates"] for remark in c.get("remarks", ())]
    words = group["words"][1:] if name == content["test_set"] else group["words"]  # its answer stands on top
    return [*lines, "", *_pairs(group["pairwise"]), *words, "", *_calibration(group["candidates"]), ""]


def _counted(group: dict[str, Any]) -> str:
    return f"{counted_noun(group['n_cases'], 'case')} of {counted_noun(group['n_patients'], 'patient')}"


def _pairs(pairs: list[dict[str, Any]]) -> list[str]:
    """Every pair as a row: AUCs and calls, each with the p of the pair alone and corrected for all pairs."""
    if not pairs:
        return []
    rows = [
        [
            f"{pair['one']}, {pair['two']}",
            _cell(pair["difference"]),
            _p(pair["p"]),
            _p(pair["p_holm"]),
            "yes" if pair["supported"] else "no",
            f"{pair['accuracy']['only_one_right']}, {pair['accuracy']['only_two_right']}",
            _p(pair["accuracy"]["p"]),
            _p(pair["accuracy"]["p_holm"]),
        ]
        for pair in pairs
    ]
    header = ("pair", "difference of AUC", "p", "p, Holm", "shown", "only one right", "McNemar p", "p, Holm")
    tests = dict.fromkeys(pair["test"] for pair in pairs)
    lines = [f"pairs, first minus second (AUC: {'; '.join(tests)}):", table(rows, header)]
    why = dict.fromkeys(pair["accuracy"]["test"] for pair in pairs if pair["accuracy"]["p"] is None)
    return [*lines, *why, ""]


def _calibration(rows: list[dict[str, Any]]) -> list[str]:
    """Slope and intercept of every candidate, and the slope after the temperature that was chosen inside."""
    cells = []
    for row in rows:
        found = row["calibration"]
        inside = found["inside"]
        after = [_cell(inside["slope"]), _cell(inside["brier"])] if inside else ["-", "-"]
        cells.append([row["name"], _cell(found["slope"]), _cell(found["intercept"]), *after])
    header = ("candidate", "slope", "intercept", "slope, tempered", "Brier, tempered")
    lines = [
        "calibration, right at slope 1 and intercept 0 (a slope below 1: too sure):",
        table(cells, header),
    ]
    lines += [
        f"{row['name']}, slope: {row['calibration']['slope']['method']}"
        for row in rows
        if row["calibration"]["slope"]["value"] is None
    ]
    told = "tempered: by one temperature a fold, chosen on its validation part; not used in ranks and pairs"
    if not any(row["calibration"]["inside"] for row in rows):
        told = next(row["calibration"]["inside_told"] for row in rows)
    return [*lines, told]


def _repeated(rows: list[dict[str, Any]]) -> list[str]:
    header = [
        "candidate",
        "mean AUC",
        "SD over divisions (their number)",
        "SD over seeds (number)",
        "refused",
    ]
    cells = [
        [
            r["name"],
            _cell(r["auc"]),
            _of(r["sd_over_splits"], r["sd_over_splits_n"]),
            _of(r["sd_over_seeds"], r["sd_over_seeds_n"]),
            len(r["refused"]),
        ]
        for r in rows
    ]
    told = [f"{r['name']}: refused: {why}" for r in rows for why in dict.fromkeys(r["refused"])]
    return ["repeated:", table(cells, header), *told]


def _control(rows: list[dict[str, Any]]) -> list[str]:
    header = ["candidate", "permutations", "refused", "mean AUC", "mean of folds", "range"]
    cells = [
        [
            r["name"],
            r["permutations"],
            len(r["refused"]),
            _cell(r["auc"]),
            _sd(r["auc_by_fold"]),
            "-" if r["lowest"] is None else f"{r['lowest']:.3f} to {r['highest']:.3f}",
            _sd(r["observed"]),
            permutation_words(r),
        ]
        for r in rows
    ]
    told = [f"{r['name']}: refused: {why}" for r in rows for why in dict.fromkeys(r["refused"])]
    head = "control with shuffled labels (AUCs are of so many permutations):"
    return [head, table(cells, [*header, "AUC, true labels", "p"]), *(row["words"] for row in rows), *told]


def permutation_words(row: dict[str, Any]) -> str:
    """The permutation p of a row of the control; more permutations could lower the least that so few can give."""
    p = row["p"]
    if p is None:
        return "-"
    return f"<= {p_words(p)}" if p == row["p_floor"] else p_words(p)


def _shortcuts(probe: dict[str, Any]) -> list[str]:
    cells = [
        [row["name"], _cell(row["auc"]), "; ".join(filter(None, [row["how"], row["auc"]["method"]]))]
        for row in probe["facts"]
    ]
    return ["facts beside the tumor:", table(cells, ["fact", "AUC alone", "how"]), *probe["words"]]


def _cell(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return "-"
    if estimate["low"] is None or estimate["high"] is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def _of(value: float | None, n: int) -> str:
    return "-" if value is None else f"{value:.3f} ({n})"


def _p(p: float | None) -> str:
    return "-" if p is None else p_words(p)


def _sd(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
