"""The study folder: where its files are, and study.toml.

No verbs: those are in `nephroscope.facade`.
"""

import contextlib
import inspect
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nephroscope.base.documents import from_mapping, read_object
from nephroscope.base.errors import ConfigError, StudyError
from nephroscope.base.files import Seen, finish_replacing, save_text
from nephroscope.base.limits import MOST_TOML_BYTES, check_nesting
from nephroscope.base.lock import writing
from nephroscope.records.report_config import ReportConfig
from nephroscope.records.settings import (
    CohortConfig,
    ComparisonConfig,
    EvaluationConfig,
    RoiConfig,
    Settings,
    SliceSpec,
    SplitConfig,
    TrainConfig,
    check_columns,
)
from nephroscope.study.format_1 import rewrite_format_1

FORMAT, RUN_FORMAT = 2, 1
RUNS, SEGMENTERS = "runs", "segmenters"
WORKSTATION = "workstation"  # folder of what was drawn and answered in the browser
OF_THE_SYSTEM = ("desktop.ini", "thumbs.db", "icon\r")
DIVISION = (
    "split"  # study.toml and splits.json, which are replaced together when the patients are divided otherwise
)
_HEADER = """\
# A nephroscope study. Every setting is here with its default; research use only, not a medical device.
# Names end in their unit. `nephroscope check` reads this file and names each mistake.
"""


@dataclass(frozen=True)
class StudyFolder:
    """Paths of a study; nothing is read or written when it is made.

    Attributes:
        root: The folder.
        runs_in: Where its runs are: ``runs``, or ``segmenters`` for networks that draw.
    """

    root: Path
    runs_in: str = RUNS

    @property
    def segmenters(self) -> "StudyFolder":
        """The same study with its networks that draw as its runs."""
        return replace(self, runs_in=SEGMENTERS)

    @property
    def toml(self) -> Path:
        """Settings."""
        return self.root / "study.toml"

    @property
    def cohort_csv(self) -> Path:
        """One row per tumor."""
        return self.root / "cohort.csv"

    @property
    def slices(self) -> Path:
        """Folder of slices.npy, slices.csv and spec.json."""
        return self.root / "slices"

    @property
    def splits(self) -> Path:
        """Who is in which fold."""
        return self.root / "splits.json"

    @property
    def check(self) -> Path:
        """The page of `check`: a picture of every case."""
        return self.root / "check"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.root / "report"

    def run(self, name: str) -> Path:
        """Folder of one run.

        Raises:
            ConfigError: The name is not a plain folder name.
        """
        if not name or name != Path(name).name or name.startswith("."):
            raise ConfigError(
                where="run name",
                expected="a plain name without folders",
                found=repr(name),
                remedy="use letters, digits, '-' and '_'",
            )
        return self.root / self.runs_in / name

    def runs(self) -> list[Path]:
        """Run folders, oldest first, by what they recorded themselves; a complete one holds run.json."""
        made = [path.parent for path in (self.root / self.runs_in).glob("*/config.json")]
        return sorted(made, key=_when)

    def new_run(self, name: str, numbered: bool) -> Path:
        """Folder for a new run; ``numbered`` gives it the next free number when the name is taken."""
        path = self.run(name)
        number = 2
        other = self.segmenters if self.runs_in == RUNS else replace(self, runs_in=RUNS)
        while numbered and (_is_begun(path) or _is_begun(other.run(path.name))):
            path = self.run(f"{name}-{number}")
            number += 1
        for taken in (other.run(path.name), path):
            if _is_begun(taken):
                lost = not (taken / "config.json").exists()
                what = "a complete one" if (taken / "run.json").exists() else "an interrupted one"
                remedy = "remove its folder" if lost else "continue with --resume"
                raise StudyError(
                    where=f"run {name}",
                    expected="a new run",
                    found="one without config.json" if lost else f"{what} in {taken.parent.name}",
                    remedy=f"choose another --name, or {remedy}",
                )
        return path

    def interrupted_run(self, name: str | None) -> Path:
        """Folder of the named run, or of the last one that was interrupted."""
        runs = [path for path in self.runs() if name is None or path.name == name]
        left = [path for path in runs if not (path / "run.json").exists()]
        if name is not None and runs and not left:
            return runs[-1]
        if not left:
            raise StudyError(
                where="train --resume",
                expected=f"an interrupted run{f' named {name}' if name else ''}",
                found=f"none ({len(runs)} complete)",
                remedy="train without --resume",
            )
        return left[-1]

    def complete_run(self, name: str | None = None) -> Path:
        """Folder of a complete run; the last one where none is named."""
        complete = [path for path in self.runs() if (path / "run.json").exists()]
        chosen = [path for path in complete if name is None or path.name == name]
        if not chosen and self.runs_in == RUNS:
            self._refuse_segmenter(name)
        if not chosen:
            known = ", ".join(path.name for path in complete) or "none"
            raise StudyError(
                where=f"run {name or ''}".strip(),
                expected="a complete run",
                found=f"complete runs: {known}",
                remedy="run `nephroscope train`, or continue with `nephroscope train --resume`",
            )
        return chosen[-1]

    def _refuse_segmenter(self, name: str | None) -> None:
        """Refuse a network that draws where one that tells subtypes apart is wanted."""
        drawing = [path.name for path in self.segmenters.runs() if name is None or path.name == name]
        if drawing:
            raise StudyError(
                where=f"run {name or ''}".strip(),
                expected="a complete run of a network that tells subtypes apart",
                found=f"a network that draws: {', '.join(drawing)}",
                remedy=f"train one, or use `nephroscope evaluate` or `export` with --run {drawing[-1]}",
            )


def _is_begun(run: Path) -> bool:
    """True when a training has begun there: config.json is written first, before any fold."""
    return (run / "config.json").exists() or (run / "run.json").exists() or any(run.glob("fold-*"))


def _when(run: Path) -> tuple[str, int, str]:
    """When a run was finished, or else begun, as it says itself, so that a copied study has the same last run."""
    changed = (run / "config.json").stat().st_mtime_ns
    for name, key in (("run.json", "finished"), ("environment.json", "started")):
        with contextlib.suppress(StudyError):
            said = read_object(run / name, RUN_FORMAT).get(key)
            if isinstance(said, str):
                return said, changed, run.name
    return datetime.fromtimestamp(changed / 1e9, UTC).isoformat(), changed, run.name


def create_study(root: Path, settings: Settings) -> StudyFolder:
    """Make a new study folder with its study.toml.

    Raises:
        StudyError: The folder already holds a study, or other files.
    """
    folder = StudyFolder(root)
    _check_empty(root)
    with writing(root, "new"):
        _check_empty(root)
        save_text(folder.toml, settings_as_toml(settings))
    return folder


def is_empty(root: Path) -> bool:
    """True for a folder in which a study may be made, and for none.

    Hidden files, those of the system and those of a workstation that serves the folder do not count.
    """
    if not root.is_dir():
        return not root.exists()
    names = (path.name for path in root.iterdir())
    return all(name.startswith(".") or name == WORKSTATION or name.lower() in OF_THE_SYSTEM for name in names)


def _check_empty(root: Path) -> None:
    if not is_empty(root):
        raise StudyError(
            where=f"folder {root.name}",
            expected="a new or empty folder",
            found="a study" if (root / "study.toml").exists() else "other files",
            remedy="choose another folder; nothing was changed",
        )


def open_study(root: Path) -> tuple[StudyFolder, Settings]:
    """Find a study and read its settings; one of format 1 is rewritten first.

    Raises:
        StudyError: There is no study.toml, or it is of a newer format.
        ConfigError: A setting is unknown, of another type or out of range.
    """
    folder = StudyFolder(root)
    finish_replacing(root, DIVISION)
    if not folder.toml.is_file():
        raise StudyError(
            where=f"folder {root.name or root}",
            expected="a study (a folder with study.toml)",
            found="no study.toml",
            remedy="make one with `nephroscope new`, or correct the path",
        )
    content = _toml(folder.toml)
    if content.get("format") == 1 and type(content["format"]) is int:
        _settings({**content, "format": FORMAT})  # whatever is wrong in it is said first
        with writing(root, "conversion to format 2"):
            if _toml(folder.toml).get("format") == 1:
                rewrite_format_1(root)
        content = _toml(folder.toml)
    return folder, _settings(content)


def _toml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_TOML_BYTES:
            raise ValueError(f"more than {MOST_TOML_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8")
        check_nesting(text)
        return tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(
            where="study.toml", expected="valid TOML", found=str(error), remedy="correct that line"
        ) from error


def _settings(content: Mapping[str, object]) -> Settings:
    number = content.get("format")
    if type(number) is not int or number != FORMAT:
        raise StudyError(
            where="study.toml",
            expected=f"format = {FORMAT}",
            found=f"format = {number!r}",
            remedy="update nephroscope if the study is newer; else restore the line",
        )
    known = {"format": None} | {f.name: f for f in fields(Settings)}
    for name in content:
        if name not in known:
            raise ConfigError(
                where=f"study.toml, {name}",
                expected=f"one of {', '.join(known)}",
                found=repr(name),
                remedy="correct the name, or remove it",
            )
    subtypes = content.get("subtypes")
    if not isinstance(subtypes, list) or not all(isinstance(name, str) for name in subtypes):
        raise ConfigError(
            where="study.toml, subtypes",
            expected='a list such as ["PRCC", "ChRCC"]',
            found=repr(subtypes),
            remedy="correct it",
        )
    kinds = {
        "cohort": CohortConfig,
        "roi": RoiConfig,
        "slices": SliceSpec,
        "split": SplitConfig,
        "training": TrainConfig,
        "evaluation": EvaluationConfig,
        "comparison": ComparisonConfig,
        "report": ReportConfig,
    }
    try:
        parts: dict[str, Any] = {
            name: from_mapping(kind, content.get(name, {}), name) for name, kind in kinds.items()
        }
        parts["columns"] = check_columns(content.get("columns", {}))
        return Settings(subtypes=tuple(subtypes), positive=str(content.get("positive")), **parts)
    except ConfigError as error:
        where = f"study.toml, {error.where.removeprefix('study.toml, ')}"
        raise error.as_kind(ConfigError, where) from error


def settings_as_toml(settings: Settings) -> str:
    """study.toml as text, each table introduced by what it decides, each setting followed by what it does."""
    import tomlkit

    document = tomlkit.document()
    document["format"] = FORMAT
    subtypes, positive = tomlkit.item(list(settings.subtypes)), tomlkit.item(settings.positive)
    document.add("subtypes", subtypes.comment("To tell apart, in output order."))
    document.add("positive", positive.comment("The one that sensitivity, threshold and AUC are about."))
    for name, comment in TABLES.items():
        table = tomlkit.table()
        table.comment(comment)
        values = settings.columns if name == "columns" else asdict(getattr(settings, name))
        words = setting_words(getattr(settings, name))
        for key, value in values.items():
            item = tomlkit.item(list(value) if isinstance(value, tuple) else value)
            table.add(key, item.comment(words[key]) if key in words else item)
        document[name] = table
    return _HEADER + tomlkit.dumps(document)


def change_settings(folder: StudyFolder, table: str, values: Mapping[str, object]) -> Settings:
    """Write some settings into study.toml, keeping the user's comments and order.

    Raises:
        ConfigError: A new value is not allowed; the file is then unchanged.
        StudyError: Somebody saved the file in this moment.
    """
    text, settings, seen = changed_settings(folder, table, values)
    save_text(folder.toml, text, seen)
    return settings


def changed_settings(
    folder: StudyFolder, table: str, values: Mapping[str, object]
) -> tuple[str, Settings, Seen]:
    """study.toml with some settings changed: its text, what that says, and the file as it was read.

    Raises:
        ConfigError: A new value is not allowed.
    """
    import tomlkit

    seen = Seen.of(folder.toml)
    document = tomlkit.parse(folder.toml.read_text(encoding="utf-8"))
    part: Any = document.setdefault(table, tomlkit.table())
    for key, value in values.items():
        part[key] = value
    text = tomlkit.dumps(document)
    return text, _settings(tomllib.loads(text)), seen


TABLES = {
    "columns": 'headers of your label table, where ours are not found, such as subtype = "Histologie"',
    "cohort": "which series of a case is used",
    "roi": "which ROI of a case is used",
    "slices": "what a network sees of a tumor",
    "split": "how patients are divided",
    "training": "how a network is trained",
    "evaluation": "how predictions become calls and figures",
    "comparison": "the main question, written down before any result is seen",
    "report": "who made the study: the head of its pages",
}

_ENTRY = re.compile(r"    (\w+(?:, \w+)*): (.+)")


def setting_words(record: object) -> dict[str, str]:
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
