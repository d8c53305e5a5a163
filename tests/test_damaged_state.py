"""Every file that a study reads back, damaged in every way: refused by name, or of no consequence; never a traceback.

`python tests/test_damaged_state.py STUDY` tries every way on every file with every command, which takes an hour.
"""

import contextlib
import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from nephroscope import Study
from nephroscope.base.errors import CohortError
from nephroscope.cli import run
from nephroscope.intake.export.series_table import add_to_series_table, seen_rows
from nephroscope.questions.evaluation.subgroups import series_facts
from nephroscope.records import SplitConfig, TrainConfig
from small_study import make_study

CONFIG = TrainConfig(model="shufflenet_v2_x1_0", epochs=1, batch_size=8, precision="fp32")
STATE = (
    *(
        "study.toml",
        "cohort.csv",
        "series.csv",
        "rois.csv",
        "exclusions.csv",
        "pathology.csv",
        "findings.json",
    ),
    *("slices/spec.json", "slices/slices.csv", "slices/slices.npy", "splits.json"),
    *("runs/*/config.json", "runs/*/split.json", "runs/*/run.json", "runs/*/environment.json"),
    *("runs/*/fold-*/fold.json", "runs/*/fold-*/metrics.jsonl", "runs/*/fold-*/model.onnx"),
    *("runs/*/fold-*/weights.safetensors", "runs/*/fold-*/checkpoint.safetensors", "runs/*/answers/*.npy"),
    *("runs/*/evaluation.json", "comparison/comparison.json", "report/report.json"),
    *("readers/readers.json", "comparison/runs/*.json"),
)


def _json(change):
    def damage(content: bytes) -> bytes:
        try:
            return json.dumps(change(json.loads(content))).encode()
        except ValueError:  # no JSON: one byte in the middle is another
            return content[: len(content) // 2] + b"\xff" + content[len(content) // 2 + 1 :]

    return damage


def _first(kind, value):
    """The first value of a type, wherever it is, is another."""

    def change(content):
        todo = [content]
        while todo:
            part = todo.pop(0)
            for key, held in part.items() if isinstance(part, dict) else enumerate(part):
                if type(held) in kind and key != "format":
                    part[key] = value
                    return content
                if isinstance(held, dict | list):
                    todo.append(held)
        return content

    return change


def _without(content):
    name = [key for key in content if key not in ("format", "checksum")][-1]
    return {key: value for key, value in content.items() if key != name}


DAMAGE = {
    "empty": lambda content: b"",
    "cut short": lambda content: content[: len(content) * 2 // 3],
    "null": lambda content: b"null",
    "binary": lambda content: bytes(range(256)) * 8,
    "zeros": lambda content: bytes(len(content)),
    "nested": lambda content: b"[" * 5000 + b"]" * 5000,
    "missing key": _json(_without),
    "unknown key": _json(lambda content: {**content, "more": 1}),
    "a number is a word": _json(_first((int, float), "many")),
    "a number is NaN": _json(_first((int, float), float("nan"))),
    "a number is huge": _json(_first((int, float), 10**400)),
    "a number is another": _json(_first((int, float), 7)),
    "a word is a number": _json(_first((str,), 5)),
    "a list is a word": _json(_first((list,), "all")),
    "an object is null": _json(_first((dict,), None)),
    "an object is a list": _json(_first((dict,), [1])),
    "a truth is a word": _json(_first((bool,), "yes")),
}


READ_BY_READERS = ("readers/", "comparison/", "runs/*/run.json", "runs/*/config.json", "runs/*/answers")
SOME = ("cut short", "missing key", "a number is another", "a word is a number")
VALUES = ('"x"', "5", "nan", "-inf", "99999999999999999999", "[]", "{}", "true", '["x", 5]', "1979-05-27")


def tried(args, root):
    """Exit code, what was said, and the JSON that was printed; an exception is a traceback."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([args[0], str(root), *args[1:], "--json"])
    return code, err.getvalue(), out.getvalue()


def judge(args, root, path, before):
    """Empty when a command on the damaged study does what it should, else what is wrong."""
    try:
        code, said, out = tried(args, root)
    except BaseException as error:
        return f"traceback: {type(error).__name__}: {error}"
    if code not in (0, 2, 3):
        return f"exit code {code}"
    if code == 2:
        where = json.loads(out)["error"]
        named = path.name in f"{where['where']} {where['expected']} {where['found']} {where['remedy']}"
        return "" if named else f"the file is not named: {said.strip()}"
    if before is None or out == before or told(json.loads(out), json.loads(before), path.name):
        return ""
    return f"another answer with exit code {code}, without a word: {out}"


def told(answer, before, name):
    """Whether an answer names a file that it did not name before, or says that a part is damaged or out of date."""
    parts = [part for part in answer.get("parts", ()) if part not in before["parts"]]
    changed = [part for part in parts if part["state"] != "up to date" and name in part["detail"]]
    if name == "study.toml":  # a shorter one is one with other settings, which a person may write
        changed += [part for part in parts if part["state"] == "out of date"]
    return bool(changed) or (name in json.dumps(answer) and name not in json.dumps(before))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    study = make_study(tmp_path_factory.mktemp("made") / "study", 8)
    finish(study)
    return study.folder.root


def finish(study):
    study.cut_slices()
    study.make_split(SplitConfig(folds=2))
    study.train(CONFIG)
    study.run().evaluate()
    calls = [f"{case.case_id},a,{case.subtype}" for case in study.cohort.cases]
    path = study.folder.root / "calls.csv"
    path.write_text("\n".join(["case,reader,call", *calls]) + "\n")
    study.readers(path)


CASES = [(file, damage) for file in STATE for damage in DAMAGE]


@pytest.mark.parametrize("file", STATE)
def test_a_damaged_file_is_named_or_of_no_consequence(made, tmp_path, file):
    """Those commands that take no time; the others are tried by running this file."""
    if not list(made.glob(file)):
        pytest.skip("not in this study")
    root = tmp_path / "study"
    shutil.copytree(made, root)
    readers = ("readers", str(made / "calls.csv"))
    asked = (("status",), ("evaluate",), *([readers] if file.startswith(READ_BY_READERS) else []))
    answers = {args: tried(args, root if args == ("status",) else made)[2] for args in asked}  # it says where
    path = next(root.glob(file))
    content, wrong = path.read_bytes(), []
    for name, damage in DAMAGE.items():
        for args, before in answers.items():
            if args != ("status",) and name not in SOME:
                continue
            path.write_bytes(damage(content))
            found = judge(args, root, path, before)
            if found:
                wrong.append(f"{file}, {name}, {args[0]}: {found}")
            if args != ("status",):
                shutil.rmtree(root)
                shutil.copytree(made, root)
    assert wrong == []


def test_every_setting_of_study_toml_is_refused_by_its_name_or_allowed(tmp_path):
    root = Study.create(tmp_path / "s", ["PRCC", "ChRCC"]).folder.root
    text, n_refused = (root / "study.toml").read_text(), 0
    names = [*re.findall(r"^(\w+) = ", text, re.M), *re.findall(r"^\[(\w+)\]", text, re.M)]
    for name in names:
        for value in VALUES:
            line = rf"^{name} = .*$" if f"\n{name} = " in text else rf"^\[{name}\](.|\n)*?(?=^\[|\Z)"
            rest = re.sub(line, "", text, count=1, flags=re.M)
            if f"\n[{name}]" in text:
                changed = f"{name} = {value}\n{rest}"
            else:
                changed = re.sub(line, f"{name} = {value}", text, count=1, flags=re.M)
            (root / "study.toml").write_text(changed)
            code, said, _ = tried(("status",), root)
            assert code in (0, 2), (name, value)
            named = name in said or name.replace("width", "level") in said  # they are compared
            assert code == 0 or ("study.toml" in said and named), (name, value, said)
            n_refused += code == 2
    assert n_refused > 5 * len(names)


def test_a_list_of_series_without_its_header_is_refused_by_name(tmp_path):
    path = tmp_path / "seen_series.csv"
    path.write_text("P1,P1,1.2.3,,ct,unknown,,9,2.5,SIEMENS,yes,yes,,ct\n")
    with pytest.raises(CohortError, match=r"seen_series\.csv: expected the column case_ids"):
        series_facts(tmp_path, ())
    with pytest.raises(CohortError, match=r"seen_series\.csv"):
        add_to_series_table(tmp_path, [], [])
    path.write_text("remark,series_uid,case_ids\nseen by me,1.2.3,P1\n")
    assert seen_rows(path) == [{"remark": "seen by me", "series_uid": "1.2.3", "case_ids": "P1"}]


def everything(root: Path, only="", these="status check slices split evaluate report export compare"):
    """Every way on every file, or on those with ``only`` in their names, with every command, or ``these``."""
    bundle = ("--out", str(root.parent / "bundle"))
    commands = [(name, *(bundle if name == "export" else ())) for name in these.split()]
    scratch = root.parent / "scratch"
    for file in STATE:
        if only not in file or not list(root.glob(file)):
            continue
        print(f"{file} ...", flush=True)  # noqa: T201
        for name, damage in DAMAGE.items():
            for args in commands:
                shutil.rmtree(scratch, ignore_errors=True)
                shutil.rmtree(root.parent / "bundle", ignore_errors=True)
                shutil.copytree(root, scratch)
                path = next(scratch.glob(file))
                path.write_bytes(damage(path.read_bytes()))
                found = judge(args, scratch, path, None)
                if found:
                    print(f"{file}, {name}, {args[0]}: {found}", flush=True)  # noqa: T201


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if not folder.exists():
        finish(make_study(folder, 8))
        Study(folder).run().report()
    everything(folder, *sys.argv[2:])
