"""A program that draws, as the user names it: a preset or a command; and who is the author of what it draws."""

import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from nephroscope.base.errors import ConfigError
from nephroscope.base.files import digest_of, file_digest
from nephroscope.base.limits import parse_json
from nephroscope.base.text import shell_line
from nephroscope.records.settings import check_within
from nephroscope.segmenters.bundle import read_drawing_bundle
from nephroscope.segmenters.presets import OWN, PRESETS, Preset

PLACES = ("image", "output", "image_folder", "output_folder", "model", "box")
FOLDS = "{folds}"  # of an nnU-Net folder: a word for each
SHOWN_DIGITS = 8
MOST_JSON_BYTES = 2**20
Box = tuple[int, int, int, int, int, int]  # first and last slice, row and column, on the grid of the image


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program that draws.

    Attributes:
        given: As the user named it, with its tumor label; a case that it drew is not drawn again.
        command: Program and arguments with their places, such as {image}.
        name, version: Of the author ``model:NAME@VERSION``, where the program itself says none.
        labels: Names of the values that it writes, where they are known before.
        tumor_label: Value of the tumor, where the user said it; 0 otherwise.
        model: File, folder or address of its weights.
        weights: SHA-256 of that file, or a digest of that folder; empty where there is none.
        environment: Further variables.
        organs_only: True where it draws no tumor.
        limit_s: Longest time for one image.
    """

    given: str
    command: tuple[str, ...]
    name: str
    version: str
    labels: Mapping[int, str] = field(default_factory=dict)
    tumor_label: int = 0
    model: str = ""
    weights: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    organs_only: bool = False
    limit_s: float = 3600.0

    def filled(self, places: Mapping[str, str]) -> tuple[str, ...]:
        """The command with its places filled; a path with blanks stays one argument."""
        return tuple(_filled(word, places) for word in self.command)


def author_of(name: str, version: str) -> str:
    """``model:NAME@VERSION``, with what an author may not contain, or nobody can see, replaced by a hyphen."""
    seen = ("".join(one if one.isprintable() else "-" for one in part.strip()) for part in (name, version))
    parts = [re.sub(r"[\s:@,;|]+", "-", part)[:60].strip("-") or "unknown" for part in seen]
    return f"model:{parts[0]}@{parts[1]}"


def tool_of(
    given: str,
    model: str = "",
    tumor_label: int = 0,
    limit_s: float = Tool.limit_s,
    sha256: str = "",
    box: Box | None = None,
) -> Tool:
    """The program that a user names.

    Args:
        given: Name of a preset, the folder of a bundle that draws, or a command with {image} and {output}.
        model: Weights of a preset: file, folder or address.
        tumor_label: Value of the tumor in what a command writes; 0: its JSON or the only value says it.
        limit_s: Longest time for one image.
        sha256: Digest that the weights must have; empty: any.
        box: Around the tumor, for a program that asks for one.

    Raises:
        ConfigError: There is no such preset, the command lacks a place for image or output, or the weights are
            missing or others than ``sha256`` says.
        BundleError: The bundle is damaged, or tells subtypes apart.
    """
    check_within("--limit-s", limit_s, 1, 7 * 86400)
    check_within("--tumor-label", tumor_label, 0, 65535)
    told = f"--tumor-label {tumor_label}" if tumor_label else ""  # another label, another tumor
    if _is_file(str(Path(given) / "bundle.json")):
        return _bundle_tool(Path(given), (model, tumor_label, box), limit_s, sha256)
    preset = PRESETS.get(given.strip())
    if preset is None and not re.search(r"[\s{]", given.strip()):
        raise _refusal(
            f"one of {', '.join(PRESETS)}, a bundle that draws, or a command with {{image}} and {{output}}",
            repr(given),
        )
    if preset is None:
        command, name, version = _parsed(given)
        return Tool(
            given=" ".join(filter(None, (given, told))),
            command=command,
            name=name,
            version=version,
            tumor_label=tumor_label,
            limit_s=limit_s,
        )
    weights = _check_model(given.strip(), preset, model, sha256)
    if "{box}" in preset.command and box is None:
        raise _refusal("--box, which a person drew around the tumor", "none", "give it: six numbers")
    boxed = {"box": ",".join(map(str, box or ())), "model": model}
    return Tool(
        given=" ".join(filter(None, (given.strip(), weights or model, boxed["box"], told))),
        command=tuple(_filled(word, boxed) for word in with_folds(preset.command, Path(model))),
        name=given.strip(),
        version=weights[:SHOWN_DIGITS] or "unknown",
        labels=preset.labels or _labels_of(preset, Path(model)),
        tumor_label=tumor_label,
        model=model,
        weights=weights,
        environment={name: _filled(value, boxed) for name, value in preset.environment.items()},
        organs_only=preset.organs_only,
        limit_s=limit_s,
    )


def with_folds(command: Sequence[str], folder: Path | None = None) -> list[str]:
    """A command with the folds of an nnU-Net model folder, which by itself looks for five; without a folder those.

    Raises:
        ConfigError: The folder holds no fold, or its dataset.json says that it takes other images than one CT.
    """
    if FOLDS not in command:
        return [*command]
    folds = ["0", "1", "2", "3", "4"]
    if folder is not None:
        folds = sorted(path.name.removeprefix("fold_") for path in folder.glob("fold_*") if path.is_dir())
        _check_dataset(folder)
        if not folds:
            raise _refusal(
                "a trained nnU-Net folder with fold_0 or fold_all",
                f"none in {folder.name}",
                "give that folder",
            )
    at = command.index(FOLDS)
    return [*command[:at], *folds, *command[at + 1 :]]


def _check_dataset(folder: Path) -> None:
    """Refuse an nnU-Net model that takes several images of a case, or files of another kind."""
    found = _read_json(folder / "dataset.json")
    channels = found.get("channel_names", found.get("modality", {"0": "CT"}))
    ending = found.get("file_ending", ".nii.gz")
    if len(channels if isinstance(channels, dict) else {"": channels}) != 1 or ending != ".nii.gz":
        raise _refusal(
            "an nnU-Net model that takes one CT as .nii.gz",
            f"in its dataset.json the channels {channels} and the files {ending}",
            "use another model, or a command of your own that makes what it takes",
        )


def _bundle_tool(folder: Path, others: tuple[str, int, Box | None], limit_s: float, sha256: str) -> Tool:
    """Our own program with a bundle that draws."""
    about = read_drawing_bundle(folder)
    if others != ("", 0, None):
        raise _refusal("a bundle alone", "--model, --tumor-label or --box with it", "leave them out")
    if sha256 and not about.digest.startswith(sha256.strip().lower()):
        raise _refusal(f"the digest {sha256}", about.digest, "get the bundle again, or correct --sha256")
    return Tool(
        given=f"{about.name}@{about.version}",
        command=(*OWN, "nephroscope.segmenters.learned", "{image}", "{output}", "{model}"),
        name=about.name,
        version=about.version,
        labels=dict(enumerate(about.labels, start=1)),
        model=str(folder),
        weights=about.digest,
        organs_only="tumor" not in about.labels,
        limit_s=limit_s,
    )


def check_program(tool: Tool) -> None:
    """Refuse a program that is not installed, before any image is read.

    Raises:
        ConfigError: There is none.
    """
    if shutil.which(tool.command[0]) is None:
        raise _refusal(
            "a program that is installed", repr(tool.command[0]), "install it, or give its whole path"
        )


def _refusal(expected: str, found: str, remedy: str = "see nephroscope segment --help") -> ConfigError:
    return ConfigError(where="--with", expected=expected, found=found, remedy=remedy)


def shown_line(
    command: Sequence[str], environment: Mapping[str, str], image: Path, model: str, box: str
) -> str:
    """A command as a person can run it on one image, with the variables that it needs in front."""
    places = {
        "image": str(image),
        "image_folder": str(image.parent),
        "output": "drawn/image.nii.gz",
        "output_folder": "drawn",
        "model": model or "MODEL",
        "box": box or "0,9,0,99,0,99",
    }
    variables = [f"{name}={shell_line(_filled(value, places))}" for name, value in environment.items()]
    return " ".join([*variables, shell_line(*(_filled(word, places) for word in command))])


def _filled(word: str, places: Mapping[str, str]) -> str:
    """In one pass, so that a place in what was filled in stays as it is."""
    return re.sub(r"\{(\w+)\}", lambda found: places.get(found[1], found[0]), word)


def _parsed(given: str) -> tuple[tuple[str, ...], str, str]:
    """Words of a command; name of its script or program, and a digest of those of its words that are files."""
    try:
        words = shlex.split(given, posix=os.name != "nt")
    except ValueError as error:
        raise _refusal("a command", f"one that ends within quotes ({error})", "correct it") from error
    if os.name == "nt":
        words = [word[1:-1] if len(word) > 1 and word[0] == word[-1] == '"' else word for word in words]
    used = set(re.findall(r"\{(\w+)\}", " ".join(words)))
    if not used & {"image", "image_folder"} or not used & {"output", "output_folder"}:
        raise _refusal(
            "a command with {image} and {output}", repr(given), "write both where the paths belong"
        )
    if unknown := used - set(PLACES[:4]):
        raise _refusal(
            "only the places {image}, {output}, {image_folder} and {output_folder}", f"{{{min(unknown)}}}"
        )
    # The program runs in a scratch folder: files named relative to this one are made whole. A link stays one: the
    # Python of a virtual environment is a link, and finds its packages by it.
    words = [str(Path(word).absolute()) if _is_file(word) else word for word in words]
    program = shutil.which(words[0])
    files = [Path(word) for word in words if _is_file(word)]
    name = (files[-1] if files else Path(words[0])).stem
    digests = [file_digest(path) for path in ([Path(program)] if program and not files else files)]
    version = hashlib.sha256("".join(digests).encode()).hexdigest()[:SHOWN_DIGITS] if digests else "unknown"
    return tuple(words), name, version


def _is_file(word: str) -> bool:
    try:
        return "{" not in word and Path(word).is_file()
    except (OSError, ValueError):
        return False


def _check_model(name: str, preset: Preset, model: str, sha256: str) -> str:
    """Digest of the weights of a preset; empty for an address."""
    path, expected = Path(model), f"--model with {preset.model} of {preset.title}"
    if (
        not model
        or (preset.model == "file" and not path.is_file())
        or (preset.model == "folder" and not path.is_dir())
    ):
        found = f"none at {path.name}" if model else "nothing"
        raise ConfigError(
            where=f"--with {name}", expected=expected, found=found, remedy=f"get it: {preset.weights}"
        )
    if preset.model == "address":
        if urlsplit(model).scheme not in ("http", "https"):
            raise ConfigError(
                where=f"--with {name}", expected=expected, found=repr(model), remedy="give http://..."
            )
        return ""
    digest = file_digest(path) if preset.model == "file" else _folder_digest(path)
    if sha256 and digest != sha256.strip().lower():
        raise ConfigError(
            where=f"--model {path.name}",
            expected=f"the digest {sha256}",
            found=digest,
            remedy="get the weights again, or correct --sha256",
        )
    return digest


def _folder_digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    listed = [[path.relative_to(folder).as_posix(), file_digest(path)] for path in files]
    return hashlib.sha256(digest_of(listed).encode()).hexdigest()


def _labels_of(preset: Preset, folder: Path) -> dict[int, str]:
    """Names of the values of an nnU-Net or MONAI model, from its dataset.json or metadata.json; empty without one."""
    for path in (folder / "dataset.json", folder / "configs" / "metadata.json"):
        found: object = _read_json(path) if preset.model == "folder" else {}
        if isinstance(found, dict) and isinstance(found.get("labels"), dict):
            return named_labels(found["labels"])
        for key in ("network_data_format", "outputs", "pred", "channel_def"):
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, dict):
            return named_labels(found)
    return {}


def _read_json(path: Path) -> dict[str, object]:
    """A JSON object; empty where there is none."""
    if not path.is_file() or path.stat().st_size > MOST_JSON_BYTES:
        return {}
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def named_labels(listed: Mapping[str, object]) -> dict[int, str]:
    """Names by value, from {"tumor": 2}, {"2": "tumor"}, or the regions {"kidney": [1, 2], "tumor": 2} of nnU-Net.

    A value in several regions has the name of the smallest.
    """
    sizes: dict[int, tuple[int, str]] = {}
    for key, held in listed.items():
        plain = held if isinstance(held, list) else [held]
        pairs = [(key, value) for value in plain]
        if re.fullmatch(r"\s*[0-9]{1,9}\s*", key) and isinstance(held, str):
            pairs = [(held, int(key))]
        for name, value in pairs:
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                sizes[value] = min(sizes.get(value, (len(plain), name)), (len(plain), name))
    return {value: name for value, (_, name) in sizes.items()}


def is_label(key: str, value: object) -> bool:
    """True for an entry that `named_labels` understands: a whole number or several by name, or a name by number."""
    if isinstance(value, str):
        return re.fullmatch(r"\s*[0-9]{1,9}\s*", key) is not None
    numbers = value if isinstance(value, list) else [value]
    return all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in numbers)
