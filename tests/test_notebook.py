"""The tutorial runs from top to bottom, and every object in it shows itself."""

import ast
import json
import re
from pathlib import Path

import pandas
import pytest
from matplotlib.figure import Figure

from small_study import content_of

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorials" / "first-study.ipynb"
SHOWN = {
    "study": "Study",
    "checks": "CheckedCases",
    "run": "Run",
    "evaluation": "Evaluation",
    "comparison": "Comparison",
    "bundle": "Bundle",
    "answer": "Answer",
}


def code_cells():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def run_cell(source, names):
    """Run a cell as a notebook does; gives the value of its last line if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NOTEBOOK.name, "exec"), names)  # noqa: S102
    return eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names) if last else None  # noqa: S307


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Names after the last cell, and what each cell shows."""
    names, shown = {}, []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("notebook"))
        for cell in code_cells():
            shown.append(run_cell("".join(cell["source"]), names))
    return names, shown


def test_outputs_are_cleared():
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code_cells())


def test_links_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", NOTEBOOK.read_text(encoding="utf-8")):
        assert (NOTEBOOK.parent / target).exists(), target


def test_every_cell_shows_what_it_made(finished):
    _, shown = finished
    for value in filter(None, shown):
        assert isinstance(value, Figure) or len(str(value)) > 10


@pytest.mark.parametrize("name", SHOWN)
def test_objects_show_themselves_as_escaped_tables(finished, name):
    value = finished[0][name]
    assert type(value).__name__ == SHOWN[name]
    html = value._repr_html_()
    assert "<table>" in html
    assert "<script" not in html
    assert "SYNTHETIC" in html or name in ("run", "checks", "answer", "study")


@pytest.mark.parametrize("name", SHOWN)
def test_records_make_a_table_of_plain_values(finished, name):
    records = finished[0][name].records()
    assert records
    assert {type(value) for row in records for value in row.values()} <= {str, int, float, bool, type(None)}
    table = pandas.DataFrame(records)
    assert len(table) == len(records)
    assert list(table.columns) == list(records[0])


def test_the_answer_has_what_a_clinic_needs(finished):
    answer = finished[0]["answer"]
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert "synthetic-training" in {finding.code for finding in answer.findings}
    assert answer.model_digest
    assert "Research use only" in answer._repr_html_()


def test_the_comparison_is_written(finished, tmp_path):
    comparison, table = finished[0]["comparison"], finished[0]["table"]
    assert table.name == "comparison.csv"
    written = content_of(comparison.to_json(tmp_path / "c.json"))
    assert written == json.loads(json.dumps(comparison.content))
    rows = comparison.to_csv(tmp_path / "c.csv").read_text().splitlines()
    assert len(rows) == 1 + len(comparison.records())
