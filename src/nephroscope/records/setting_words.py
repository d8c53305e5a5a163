"""A settings record in; what each setting does, in the words of its docstring, out: the comments of study.toml."""

import inspect
import re
from typing import Any

TABLES = {
    "columns": 'headers of your label table, where ours are not found, such as subtype = "Histologie"',
    "cohort": "which series of a patient is taken",
    "roi": "how the ROIs of two readers become one",
    "slices": "what a network sees of a tumor",
    "split": "how patients are divided",
    "training": "how weights are learnt",
    "evaluation": "how predictions become calls and figures",
}
_ENTRY = re.compile(r"    (\w+(?:, \w+)*): (.+)")


def setting_words(record: Any) -> dict[str, str]:
    """By name of a setting, the sentence that the record's docstring has under Attributes; a line each."""
    _, _, attributes = inspect.cleandoc(type(record).__doc__ or "").partition("Attributes:\n")
    told: dict[str, str] = {}
    names: list[str] = []
    for line in attributes.splitlines():
        entry = _ENTRY.fullmatch(line)
        if entry:
            names = entry[1].split(", ")
            told |= dict.fromkeys(names, entry[2])
        elif line.startswith("        "):  # the sentence goes on
            told |= {name: f"{told[name]} {line.strip()}" for name in names}
        elif line:  # another section
            break
    return told
