"""Damage every file that a study reads back in every way, run the commands that read it, and count what came out.

    python benchmarks/state_damage.py [--files WORDS ...] [--commands NAMES ...] [--ways NAMES ...] [--study FOLDER]

A study of phantoms is made first, with two annotators, a run, a comparison, readers, a capacity study and a
replication; a folder given by ``--study`` is made there once and used again. JSON files are damaged in the ways of
tests/test_damaged_state.py, tables also cell by cell. Prints JSON: how many commands gave the ``same`` answer, were
``refused`` by the file's name, went on without a part and ``told`` why, or gave ``another`` answer (of tables, which
people edit, that is no fault); and what is wrong: a ``traceback``, a refusal that does not name the file
(``unnamed``), or, for files that are not edited, another answer without a word (``silent``). Exit code 1 where
anything is wrong.
"""

import argparse
import contextlib
import csv
import io
import json
import logging
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from nephroscope.cli import run
from test_damaged_state import DAMAGE

MADE = """
new S --subtypes PRCC ChRCC --positive PRCC
import phantom S --cases 8 --seed 3
slices S
split S --folds 2
train S --model shufflenet_v2_x1_0 --width 0.5 --epochs 5 --learning-rate 0.01 --no-augmentation --name one
""".strip().splitlines()
COMMANDS = {
    "status": "status S",
    "check": "check S",
    "agreement": "agreement S",
    "slices": "slices S",
    "split": "split S --folds 2",
    "resume": "train S --more-epochs 1 --name one",
    "evaluate": "evaluate S",
    "compare": "compare S --runs one --candidates attenuation clinical --no-control",
    "readers": "readers S C",
    "capacity": "capacity S --models shufflenet_v2_x1_0 --widths 0.5 --epochs 1",
    "replicate": "replicate zuo2021 S --models shufflenet_v2_x1_0 --epochs 1 --images-per-epoch 32 --twin-folds 1"
    " --shuffled-model none",
    "report": "report S",
    "export": "export S --out B",
}
TABLES = (
    "cohort.csv",
    "series.csv",
    "rois.csv",
    "exclusions.csv",
    "seen_series.csv",
    "pathology.csv",
    "adjudication.csv",
)
FILES = (
    *TABLES,
    *("study.toml", "findings.json", "splits.json"),
    *("slices/spec.json", "slices/slices.csv", "slices/slices.npy"),
    *("runs/one/config.json", "runs/one/split.json", "runs/one/run.json", "runs/one/environment.json"),
    *("runs/one/fold-0/fold.json", "runs/one/fold-0/metrics.jsonl", "runs/one/fold-0/model.onnx"),
    *("runs/one/fold-0/weights.safetensors", "runs/one/fold-0/checkpoint.safetensors"),
    *("runs/one/evaluation.json", "runs/one/predictions.csv", "runs/one/answers/*.npy"),
    *("runs/one/saliency/maps.npz", "comparison/comparison.json", "comparison/grids.json"),
    *("comparison/folds/*/*.json", "comparison/runs/one.json", "features/*.npz"),
    *(
        "readers/readers.json",
        "agreement/agreement.json",
        "capacity/capacity.json",
        "capacity/runs/*/run.json",
    ),
    *(
        "capacity/runs/*/fold-0/model.onnx",
        "replicate/zuo2021/replicate.json",
        "replicate/zuo2021/arms/*/*.json",
    ),
    *("replicate/zuo2021/arms/*/model.onnx", "replicate/zuo2021/arms/*/*.npy", "report/report.json"),
)
EDITED = (*TABLES, "study.toml")  # by people: another answer is theirs
CELLS = ("", "x", "-1", "nan", "9" * 20, "\ufffd\x00", "a;b", "../up")
PASSING = ("seconds", "made", "date", "ms_per_slice", "files", "page", "finished", "peak_memory_mb")


def words(line: str, place: Path) -> list[str]:
    """A command line of `COMMANDS` with the paths of one place."""
    paths = {"S": place / "s", "B": place / "b", "C": place / "s" / "calls.csv"}
    return [str(paths.get(word, word)) for word in line.split()]


def tried(line: str, place: Path) -> tuple[int, str]:
    """Exit code and the JSON that was printed; an exception passes through."""
    out, said = io.StringIO(), io.StringIO()
    shutil.rmtree(place / "b", ignore_errors=True)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = run([*words(line, place), "--json"])
    return code, out.getvalue()


def lasting(value: object) -> object:
    """An answer without what differs from one run to the next."""
    if isinstance(value, dict):
        return {key: lasting(part) for key, part in value.items() if not any(word in key for word in PASSING)}
    return [lasting(part) for part in value] if isinstance(value, list) else value


def make(place: Path) -> None:
    """The study, with everything in it."""
    for line in MADE:
        done(run(words(line, place)), line)
        toml = place / "s" / "study.toml"
        text = toml.read_text(encoding="utf-8").replace("size_px = 256", "size_px = 32")
        text = text.replace("resamples = 2000", "resamples = 100").replace("size_px = 128", "size_px = 32")
        toml.write_text(text, encoding="utf-8")
    rows = list(csv.DictReader((place / "s" / "cohort.csv").open(encoding="utf-8")))
    calls = [f"{row['case_id']},{reader},{row['subtype']}" for row in rows for reader in ("a", "b")]
    (place / "s" / "calls.csv").write_text("\n".join(["case,reader,call", *calls]) + "\n", encoding="utf-8")
    for name, line in COMMANDS.items():
        if name != "resume":
            done(tried(line, place)[0], line)


def done(code: int, line: str) -> None:
    """Stop where a command that makes the study failed."""
    if code not in (0, 3):
        raise SystemExit(f"{line}: exit code {code}")


def copy(made: Path, place: Path) -> None:
    """The study again: pictures linked, as no command writes into a file that it read."""
    shutil.rmtree(place / "s", ignore_errors=True)
    (place / "s").mkdir(parents=True)
    for path in made.joinpath("s").iterdir():
        if path.name == "phantom":
            (place / "s" / path.name).symlink_to(path, target_is_directory=True)
        elif path.is_dir():
            shutil.copytree(path, place / "s" / path.name)
        else:
            shutil.copyfile(path, place / "s" / path.name)


def ways(file: str) -> Iterator[tuple[str, Callable[[bytes], bytes]]]:
    """Names and damages of a file."""
    as_json = file.endswith(".json")
    for name, damage in DAMAGE.items():
        if as_json or name in ("empty", "cut short", "binary", "zeros", "null", "missing key"):
            yield name, damage
    if file.endswith(".csv"):
        yield "a row less", lambda content: b"\n".join(content.splitlines()[:-1]) + b"\n"
        yield "a row twice", lambda content: content + content.splitlines()[-1] + b"\n"
        yield "no header", lambda content: b"\n".join(content.splitlines()[1:]) + b"\n"
        yield "a cell more", lambda content: content.rstrip(b"\n") + b",more\n"
        for column in range(40):
            for cell in CELLS:
                yield (
                    f"column {column} is {cell!r}",
                    lambda content, c=column, v=cell: with_cell(content, c, v),
                )


def with_cell(content: bytes, column: int, cell: str) -> bytes:
    """A table whose first row has another cell in one column."""
    rows = list(csv.reader(io.StringIO(content.decode())))
    if len(rows) < 2 or column >= len(rows[1]):
        return content
    rows[1][column] = cell
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()


def judged(line: str, place: Path, path: Path, before: str, edited: bool) -> str:
    """What came out of one command on the damaged study."""
    try:
        code, out = tried(line, place)
    except BaseException as error:
        return f"traceback: {type(error).__name__}: {error}"
    if code == 1:
        return "traceback: exit code 1"
    if code == 2:
        error = json.loads(out)["error"]
        said = " ".join(str(error[part]) for part in ("where", "expected", "found", "remedy"))
        named = path.name in said or any(part in said for part in path.relative_to(place / "s").parts)
        return "refused" if named or edited else f"unnamed: {said}"
    same = lasting(json.loads(out)) == lasting(json.loads(before))
    if not same and path.name in out and path.name not in before:
        return "told"
    return "same" if same else "another" if edited else "silent: another answer"


def main() -> int:
    """Run it; gives the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", nargs="*", default=[""])
    parser.add_argument("--commands", nargs="*", default=list(COMMANDS))
    parser.add_argument("--ways", nargs="*", default=[""])
    parser.add_argument("--study", type=Path)
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        made, place = asked.study or Path(name) / "made", Path(name) / "place"
        if not (made / "s").exists():
            make(made)
        copy(made, place)
        before = {name: tried(COMMANDS[name], place)[1] for name in asked.commands}
        for pattern in (p for p in FILES if any(word in p for word in asked.files)):
            found = sorted((made / "s").glob(pattern))
            if not found:
                print(f"{pattern}: not in the study", file=sys.stderr)
                continue
            path = place / found[0].relative_to(made)
            content, edited = found[0].read_bytes(), pattern in EDITED
            for way, damage in ways(path.name):
                changed = damage(content)
                if changed == content or not any(word in way for word in asked.ways):
                    continue
                for command in asked.commands:
                    copy(made, place)
                    path.write_bytes(changed)
                    said = judged(COMMANDS[command], place, path, before[command], edited)
                    kind = said.partition(":")[0]
                    counts[kind] += 1
                    if kind in ("traceback", "unnamed", "silent"):
                        wrong.append(f"{pattern}, {way}, {command}: {said}")
                        print(wrong[-1], file=sys.stderr, flush=True)
            print(f"{pattern}: {dict(counts)}", file=sys.stderr, flush=True)
    print(json.dumps({"counts": dict(counts), "wrong": wrong}, indent=1))
    return int(bool(wrong))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    raise SystemExit(main())
