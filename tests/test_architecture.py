"""Rooms stand in data-flow order, imports point upstream, and the clinic never needs torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "nephroscope"
ROOMS = [
    "errors",
    "files",
    "progress",
    "workers",
    "records",
    "study",
    "cohort",
    "roi",
    "slices",
    "models",
    "baselines",
    "training",
    "evaluation",
    "experiments",
    "report",
    "replicate",
    "deploy",
    "api",
    "demo",
    "cli",
    "__main__",
]
TORCH_OK = {"models/networks.py", "models/layers.py", "models/onnx_file.py", "models/frozen.py"} | {
    "models/saliency.py"
}
HEAVY = {"torch", "torchvision", "sklearn", "scipy", "matplotlib", "jinja2", "onnx", "safetensors"} | {
    *(
        "SimpleITK",
        "highdicom",
        "pandas",
        "openpyxl",
        "nibabel",
        "dicomanonymizer",
        "idc_index",
        "pyarrow",
        "duckdb",
        "mirp",
        "itk",
        "ray",
    )
}
FILES = sorted(SRC.rglob("*.py"))


def imports(tree, top_level_only=False):
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SRC).as_posix())
def test_file_keeps_the_house_rules(path):
    relative = path.relative_to(SRC).as_posix()
    room = relative.split("/")[0].removesuffix(".py")
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    if relative != "__init__.py":
        for name in imports(tree):
            target = name.removeprefix("nephroscope.").split(".")[0]
            if name.startswith("nephroscope."):
                assert ROOMS.index(target) <= ROOMS.index(room), f"{relative} imports {name}"
            if name.split(".")[0] in {"torch", "torchvision", "safetensors"}:
                assert relative in TORCH_OK or room == "training", f"{relative}: {name}"
    assert ast.get_docstring(tree), f"{relative}: say what enters and what leaves"
    assert len(text.splitlines()) <= 300, f"{relative}: split it"


@pytest.mark.parametrize(
    "module",
    [
        "nephroscope",
        "nephroscope.deploy.predict",
        "nephroscope.cli.clinic",
        "nephroscope.cli.study",
        "nephroscope.cli.imports",
        *(
            f"nephroscope.cli.{name}"
            for name in (
                "agreement",
                "deidentify",
                "phase",
                "public",
                "roi",
                "look",
                "readers",
                "statistics_readers",
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
        for node in ast.parse((SRC / "errors.py").read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
                named = {keyword.arg for keyword in node.keywords}
                assert named >= {"where", "expected", "found", "remedy"} or None in named, path.name
