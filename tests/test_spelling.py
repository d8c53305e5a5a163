"""American spelling in what people read: the docs, the pages' templates, and the texts of commands and messages."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
BRITISH = re.compile(
    r"\b(\w*colour\w*|\w*tumour\w*|analys(?:e|ed|ing)|behaviour\w*|centres?|centred"
    r"|millimetres?|centimetres?|metres?|litres?|fibres?|grey\w*|greyscale|neighbour\w*|un?labelled|mislabelled|labelled"
    r"|labelling|modelled|modelling|cancelled|cancelling|signalled|travelled|licences?|licenced|programmes?|catalogues?"
    r"|favour\w*|honour\w*|artefacts?|judgement|learnt|spelt|whilst|ageing|practis(?:e|ed|ing)|sceptic\w*|defence"
    r"|(?:normal|random|organ|recogn|summar|minim|maxim|optim|standard|visual|categor|general|initial|penal|character"
    r"|util|rasteris|anonym|pseudonym|final|local|real|emphas|central|equal|special|serial|synchron|author"
    r"|harmon|stabil)is(?:e|es|ed|ing|ation|ations))\b",
    re.IGNORECASE,
)
NAMES = ("Image Biomarker Standardisation Initiative", "ARTEFACT", "Radiopaedia")  # as others write them
# Reasons that exclusions.csv of older studies hold too, states in a database, and a pattern.
KEPT = re.compile(r"labelled, but no CT|is labelled for|none of its labelled|jobs|\(case\|patient")
# Words to look for in tables and files of hospitals, not to be read.
WORD_LISTS = {
    *("titles.py", "pathology.py", "safe_text.py", "identifiers.py"),
    *("nifti_layouts.py", "grid.py", "vocabulary.py"),
}


def prose(markdown):
    """Markdown without code."""
    text = re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)|<[^>]*>", " ", markdown, flags=re.DOTALL)
    for name in NAMES:
        text = text.replace(name, " ")
    return text


def texts_of(path):
    """Every text with a blank in a Python file; docstrings only in cli, where they are help texts."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip()
        if is_text and ("cli" in path.parts or id(node) not in docstrings):
            yield node.value


def test_docs_are_in_american_spelling():
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = {p.name: BRITISH.findall(prose(p.read_text(encoding="utf-8"))) for p in pages}
    assert {name: words for name, words in found.items() if words} == {}


def test_messages_and_pages_are_in_american_spelling():
    source = ROOT / "src" / "nephroscope"
    found = {p.name: BRITISH.findall(p.read_text(encoding="utf-8")) for p in sorted(source.rglob("*.j2"))}
    for path in sorted(source.rglob("*.py")):
        if path.name not in WORD_LISTS:
            found[path.relative_to(source).as_posix()] = [
                word
                for text in texts_of(path)
                if not KEPT.search(text)
                for word in BRITISH.findall(prose(text))
            ]
    assert {name: words for name, words in found.items() if words} == {}


def test_both_spellings_are_known_apart():
    assert BRITISH.findall("colours of tumours, normalised and unlabelled grey neighbours; analysed") == [
        "colours",
        "tumours",
        "normalised",
        "unlabelled",
        "grey",
        "neighbours",
        "analysed",
    ]
    assert (
        BRITISH.findall("color, tumor, normalized, unlabeled, gray, neighbor, analyses, exercise, raised")
        == []
    )
