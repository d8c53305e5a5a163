"""The book: `python dev.py docs` builds these pages into site/ with Sphinx and MyST."""

import json
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
project = "nephroscope"
author = "the nephroscope developers"
extensions = ["myst_parser"]
myst_heading_anchors = 4
myst_enable_extensions = ["deflist", "dollarmath"]
exclude_patterns = ["examples/*"]
html_theme = "furo"
html_title = "nephroscope"
html_show_sphinx = False
html_copy_source = False
suppress_warnings = [
    "myst.xref_missing",
    "misc.highlighting_failure",
]  # links out of docs/, such as to README.md


def notebook_as_page(_: Sphinx, name: str, content: list[str]) -> None:
    """Put the cells of the tutorial's notebook into its page, so that the site needs no notebook server."""
    if name != "tutorials/first-study":
        return
    notebook = json.loads((HERE / "tutorials" / "first-study.ipynb").read_text(encoding="utf-8"))
    cells = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        cells.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    content[0] = "\n\n".join(cells) + content[0]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", notebook_as_page)
