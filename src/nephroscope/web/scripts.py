"""Our JavaScript modules as one script: each becomes a function that is called once, in the order of their needs."""

import re
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path

from nephroscope.base.errors import ConfigError

OURS = Path(__file__).with_name("static")
SHARED = Path(__file__).parents[1] / "workstation" / "static"
SHARED_MODULES = ("viewer.js", "viewer-pane.js", "viewer-volume.js", "draw-tools.js")
SERVER = "/static/common.js"  # of the workstation; here `local.js` stands for it
_IMPORT = re.compile(r'^import \{([^}]*)\} from "([^"]+)";\n', re.MULTILINE)
_RENAMED = re.compile(r"\s+as\s+")
_EXPORT = re.compile(
    r"^export (?:async )?(?:function\*? (\w+)|class (\w+)|const (\w+)|const \[([^\]]+)\])", re.MULTILINE
)


def modules() -> dict[str, str]:
    """The text of every module of the page by its name; those of the viewer are the workstation's own."""
    found = {path.name: path.read_text(encoding="utf-8") for path in sorted(OURS.glob("*.js"))}
    found |= {name: (SHARED / name).read_text(encoding="utf-8") for name in SHARED_MODULES}
    return found


def joined(texts: Mapping[str, str]) -> str:
    """One script that does what these modules do.

    Raises:
        ConfigError: A module imports what is not among them, or exports in a way that is not known here.
    """
    needs = {name: {_name(where) for _, where in _IMPORT.findall(text)} for name, text in texts.items()}
    unknown = sorted(set().union(*needs.values()) - set(texts))
    left = [
        name for name, text in texts.items() if re.search(r"^(import|export) ", _plain(text), re.MULTILINE)
    ]
    if unknown or left:
        raise ConfigError(
            where="scripts of the page",
            expected="modules that can be joined",
            found=", ".join([*unknown, *left]),
            remedy="install nephroscope again",
        )
    order = TopologicalSorter(needs).static_order()
    return '"use strict";\n' + "\n".join(_wrapped(name, texts[name]) for name in order)


def _name(where: str) -> str:
    """The module that an import means."""
    return "local.js" if where == SERVER else where.rpartition("/")[2]


def _variable(name: str) -> str:
    return "$" + re.sub(r"\W", "_", name.removesuffix(".js"))


def _plain(text: str) -> str:
    """A module without its imports and the word export."""
    return _EXPORT.sub(lambda match: match[0].removeprefix("export "), _IMPORT.sub("", text))


def _wrapped(name: str, text: str) -> str:
    given = []
    for match in _EXPORT.finditer(text):
        single = next(filter(None, match.groups()[:3]), None)
        given += [single] if single else [part.strip() for part in match[4].split(",")]
    taken = [
        f"const {{{_RENAMED.sub(': ', names)}}} = {_variable(_name(where))};"
        for names, where in _IMPORT.findall(text)
    ]
    head = "\n".join(" ".join(line.split()) for line in taken)
    return f"const {_variable(name)} = (() => {{\n{head}\n{_plain(text)}\nreturn {{ {', '.join(given)} }};\n}})();"
