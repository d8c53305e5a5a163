"""Nothing enters but seeds; the SYNTHETIC tables of this folder leave. No number in them is of a patient.

In the root of a checkout: `python docs/examples/make.py`. The two tables zuo2021-*.csv are not made here: they are
typed from the paper.
"""

import csv
import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
CHRCC_OF_PHANTOM = (1, 3, 4, 6, 8, 11, 17, 18, 19, 23, 24)
"""Of the 24 cases that `nephroscope import phantom my-study --cases 24 --seed 3` makes."""
STEPS = ("low", "middle", "high")


def write(folder: Path, name: str, header: str, rows: Iterable[Sequence[object]]) -> None:
    """One table, comma-separated."""
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header.split(","), *rows])


def predictions(folder: Path, rng: random.Random) -> None:
    """predictions.csv and slices.csv, with the columns that `nephroscope evaluate` writes into a run."""
    cases, slices = [], []
    for i in range(50):
        case, truth = f"case-{i + 1:02d}", "PRCC" if rng.random() < 0.55 else "ChRCC"
        group, fold = ("out-of-fold", i % 5) if i < 40 else ("internal-test", 0)
        lean, of_slices = rng.gauss(1.1 if truth == "PRCC" else -1.1, 1.2), []
        for k in range(rng.randint(2, 4)):
            of_slices.append(1 / (1 + math.exp(-rng.gauss(lean, 0.8))))
            p = of_slices[-1]
            area = rng.uniform(60, 1500)
            slices.append((case, 20 + k, f"{area:.1f}", f"{p:.6f}", f"{1 - p:.6f}", "patient"))
        p = sum(of_slices) / len(of_slices)
        forced = "PRCC" if p >= 0.5 else "ChRCC"
        unsure = abs(p - 0.5) < 0.1
        far = "within 0.10 of" if unsure else f"{abs(p - 0.5):.2f} from"
        why = f"probability of PRCC {p:.2f} is {far} the threshold 0.50"
        shares = (f"{p:.6f}", f"{1 - p:.6f}", len(of_slices), "patient")
        cases.append((case, case, group, fold, truth, "" if unsure else forced, forced, why, *shares))
    head = "case_id,patient_id,group,fold,truth,call,forced_call,reason,p_PRCC,p_ChRCC,n_slices,protocol"
    write(folder, "predictions.csv", head, cases)
    write(folder, "slices.csv", "case_id,slice_index,area_mm2,p_PRCC,p_ChRCC,protocol", slices)


def tumors(folder: Path, rng: random.Random) -> None:
    """tumors.csv: what one knows of a tumor without a network, a row per patient."""
    rows = []
    for i in range(60):
        subtype = "ChRCC" if i % 2 else "PRCC"
        hu = rng.gauss(105 if subtype == "ChRCC" else 75, 28)
        sex = "F" if rng.random() < (0.55 if subtype == "ChRCC" else 0.35) else "M"
        rows.append(
            (f"t{i + 1}", subtype, sex, f"{hu:.1f}", round(rng.gauss(52, 18)), round(rng.gauss(58, 11)))
        )
    write(folder, "tumors.csv", "case_id,subtype,sex,attenuation_hu,diameter_mm,age_years", rows)


def ratings(folder: Path, rng: random.Random) -> None:
    """ratings.csv: five readers, 30 cases, each without and with a program's help, 1 to 5."""
    rows = []
    cases = [(f"c{i + 1}", i % 2, rng.gauss(0, 0.8)) for i in range(30)]
    for r in range(5):
        skill = rng.gauss(0.9, 0.2)
        for aid, gain in (("unaided", 0.0), ("aided", 0.45)):
            for case, truth, ease in cases:
                felt = (2 * truth - 1) * (skill + gain) + ease + rng.gauss(0, 0.9)
                rows.append((f"reader {r + 1}", aid, case, truth, min(5, max(1, round(3 + felt)))))
    write(folder, "ratings.csv", "reader,treatment,case,truth,rating", rows)


def grades(folder: Path, rng: random.Random) -> None:
    """grades.csv: two readers' three steps of enhancement of 30 cases."""
    rows = []
    for i in range(30):
        felt = rng.uniform(-0.5, 2.5)
        two = [STEPS[min(2, max(0, round(felt + rng.gauss(0, 0.4))))] for _ in range(2)]
        rows.append((f"g{i + 1}", *two))
    write(folder, "grades.csv", "case,first,second", rows)


def phantom_calls(folder: Path, rng: random.Random) -> None:
    """phantom-calls.csv: two readers' calls of the 24 SYNTHETIC cases, with confidence and seconds."""
    rows = []
    for reader, skill in (("R1", 1.4), ("R2", 1.0)):
        for i in range(1, 25):
            side = -1 if i in CHRCC_OF_PHANTOM else 1
            confidence = min(5, max(1, round(3 + side * skill + rng.gauss(0, 1.0))))
            call = "not sure" if confidence == 3 else "PRCC" if confidence > 3 else "ChRCC"
            rows.append((f"SYNTHETIC-{i:04d}", reader, call, confidence, rng.randint(25, 120)))
    write(folder, "phantom-calls.csv", "case_id,reader,call,confidence,seconds", rows)


def make(folder: Path) -> None:
    """All of them, each from its own seed."""
    for seed, table in enumerate((predictions, tumors, ratings, grades, phantom_calls), start=1):
        table(folder, random.Random(seed))  # noqa: S311


if __name__ == "__main__":
    make(HERE)
