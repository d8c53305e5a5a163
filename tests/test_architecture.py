"""Rooms stand in the order in which data flow, imports run one way everywhere, and the clinic never needs torch."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "nephroscope"
ROOMS = [
    "base",
    "records",
    "imaging",
    "clinic",
    "regions",
    "segmenters",
    "statistics",
    "intake",
    "study",
    "learning",
    "questions",
    "report",
    "exchange",
    "facade",
    "federated",
    "workstation",
    "laptop",
    "web",
    "cli",
    "__main__",
]
CLINIC_MODULES = 45
LONGEST_FILE = 400
TORCH_OK = {
    f"learning/networks/{name}.py"
    for name in ("networks", "layers", "onnx_file", "frozen", "saliency", "phases", "unet")
}
HEAVY = {
    *("torch", "torchvision", "sklearn", "scipy", "matplotlib", "jinja2", "onnx", "safetensors", "SimpleITK"),
    *("highdicom", "pandas", "openpyxl", "nibabel", "dicomanonymizer", "idc_index", "pyarrow", "duckdb"),
    *("mirp", "itk", "ray", "imagecodecs", "pynetdicom", "dicomweb_client"),
}
FILES = sorted(SRC.rglob("*.py"))


def name_of(path):
    """Dotted name below the package; of a folder's __init__ the folder's, of the package itself the empty string."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


@cache
def graph():
    """Module -> the modules of ours that it imports, anywhere in the file."""
    found = {}
    for name, path in MODULES.items():
        found[name] = set()
        for module, item in imports(ast.parse(path.read_text(encoding="utf-8"))):
            if module.split(".")[0] != "nephroscope":
                continue
            target = module.removeprefix("nephroscope").removeprefix(".")
            longer = f"{target}.{item}".removeprefix(".")
            found[name].add(longer if longer in MODULES else target)
        found[name].discard(name)
    return found


def circle(edges):
    """The modules of one circle, or None."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return " -> ".join(error.args[1])
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SRC).as_posix())
def test_file_keeps_the_house_rules(path):
    relative = path.relative_to(SRC).as_posix()
    name = name_of(path)
    room = name.split(".")[0]
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    if name:
        assert room in ROOMS, f"{relative} is in no room"
        for target in graph()[name]:
            assert target, f"{relative} imports the package itself: name the room"
            place = ROOMS.index(target.split(".")[0])
            assert place <= ROOMS.index(room), f"{relative} imports {target}, which comes later"
        for module, _ in imports(tree):
            if module.split(".")[0] in {"torch", "torchvision", "safetensors"}:
                assert relative in TORCH_OK or name.startswith("learning.training."), f"{relative}: {module}"
    assert ast.get_docstring(tree), f"{relative}: say what enters and what leaves"
    assert len(text.splitlines()) <= LONGEST_FILE, f"{relative}: split it"


def test_readme_lists_the_rooms_in_their_order():
    page = (SRC.parents[1] / "README.md").read_text(encoding="utf-8")
    rows = page.partition("| room |")[2].partition("\n\n")[0].splitlines()
    listed = [
        name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")
    ]
    assert listed == ROOMS[:-1]


def test_no_two_files_import_each_other_in_a_circle():
    edges = {name: targets for name, targets in graph().items() if name}
    assert circle(edges) is None


FOLDERS = sorted({name_of(path.parent / "__init__.py") for path in FILES})


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_lies_in_a_folder_imports_one_way(folder):
    """Files and sub-rooms of a folder, each as a whole: no two of them need each other."""
    prefix = f"{folder}." if folder else ""
    edges = {}
    for name, targets in graph().items():
        if name.startswith(prefix) and name != folder and name:
            child = name.removeprefix(prefix).split(".")[0]
            for target in targets:
                if target.startswith(prefix):
                    other = target.removeprefix(prefix).split(".")[0]
                    if other != child:
                        edges.setdefault(child, set()).add(other)
    assert circle(edges) is None


def closure(start):
    """All modules of ours that one needs, itself and packages on the way included."""
    seen, todo = set(), [start]
    while todo:
        name = todo.pop()
        if name in seen or not name:
            continue
        seen.add(name)
        todo += graph()[name]
        todo.append(name.rpartition(".")[0])
    return seen


def test_prediction_needs_few_modules():
    needed = closure("clinic.predict")
    assert len(needed) < CLINIC_MODULES, sorted(needed)
    assert {name.split(".")[0] for name in needed} == {"base", "records", "imaging", "clinic"}


def test_the_clinics_door_needs_no_study():
    """Reading a patient's files and checking them takes more rooms, but none of those that train or report."""
    needed = {name.split(".")[0] for name in closure("facade.prediction")}
    assert needed == {"base", "records", "imaging", "clinic", "regions", "intake", "exchange", "facade"}


@pytest.mark.parametrize(
    "module",
    [
        "nephroscope",
        "nephroscope.clinic.predict",
        "nephroscope.facade.prediction",
        "nephroscope.facade.bundle",
        *(
            f"nephroscope.cli.{name}"
            for name in (
                *("clinic", "study", "imports", "deidentify", "phase", "rois", "export_listing"),
                *("readers", "statistics_readers"),
            )
        ),
    ],
)
def test_clinic_imports_nothing_heavy(module):
    """A new process, because this one has torch already."""
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_help_imports_neither_numpy_nor_option_parser():
    code = "import sys; from nephroscope.cli import run; run(['--help']); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_every_refusal_says_four_things():
    """Each raise of a refusal names where, expected, found and remedy (the class insists; so does this)."""
    kinds = {
        node.name
        for node in ast.parse(MODULES["base.errors"].read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
                named = {keyword.arg for keyword in node.keywords}
                assert named >= {"where", "expected", "found", "remedy"} or None in named, path.name
