"""Find image files and masks, and the label of each image: from its name or from a label table."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.base.identifiers import clean_name, is_no_name, near_names
from nephroscope.base.tables import names
from nephroscope.intake.labels.rows import LabelRow
from nephroscope.intake.labels.values import parse_age, sex_parser
from nephroscope.records import Finding, Sex, warning

SUFFIXES = (".png", ".jpg", ".jpeg")
EXAMPLES = "case012_M_63_PRCC_slice07.jpg, Fall12_w_58J_ChRCC_Schicht3.png or 病例12_男_63_PRCC_层07.png"
# Parts separated by _ - or space: case, sex, age, subtype and, if there are several, the slice.
_LETTER = r"[^\W\d_]"
_SLICE_WORDS = (
    "slice|image|img|im|s|schicht|bild|coupe|corte|imagen|fetta|immagine|strato|层面|切片|图像|层|图|第"
)
DEFAULT_PATTERN = (
    rf"(?:^|/)(?P<case>{_LETTER}*[_\- ]?\d+)"
    rf"[_\- ](?P<sex>{_LETTER}+)"
    rf"[_\- ](?P<age>\d{{1,3}})(?:y|yo|j|jahre|a|ans|anos|años|anni|岁)?"
    rf"[_\- ](?P<subtype>{_LETTER}(?:{_LETTER}|[_\- ])*?)"
    rf"(?:[_\- ]+(?:{_SLICE_WORDS})?[_\- ]*(?P<slice>\d+)[层张]?)?"
    r"\.[A-Za-z]+$"
)


def find_image_files(source: Path, masks: Path | None) -> dict[str, Path]:
    """Images below the source (without those of the masks), by their path relative to it."""
    if not source.is_dir():
        raise CohortError(
            where=source.name, expected="a folder of images", found="no folder", remedy="check the path"
        )
    other = masks.resolve() if masks else None
    everything = [p for p in sorted(source.rglob("*")) if p.is_file() and not p.name.startswith(".")]
    files = {
        path.relative_to(source).as_posix(): path
        for path in everything
        if path.suffix.lower() in SUFFIXES and not (other and path.is_relative_to(other))
    }
    if not files:
        kinds = Counter(path.suffix.lower() or "no suffix" for path in everything)
        listed = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(5))
        raise CohortError(
            where=f"folder {source.name}",
            expected=f"slice images ({', '.join(SUFFIXES)})",
            found=f"only other files ({listed})" if listed else "an empty folder",
            remedy="check the path; for DICOM or NIfTI use `nephroscope import dicom` or `import nifti`",
        )
    return files


def rows_of_names(files: dict[str, Path], pattern: str) -> tuple[list[LabelRow], list[Finding]]:
    """Labels parsed from file names, and a finding about names that do not match."""
    try:
        expression = re.compile(pattern, re.IGNORECASE if pattern == DEFAULT_PATTERN else 0)
    except re.error as error:
        raise _bad_pattern(f"{pattern!r} ({error})") from error
    if not {"case", "subtype"} <= expression.groupindex.keys():
        raise _bad_pattern(f"{pattern!r} with the groups {', '.join(expression.groupindex) or 'none'}")
    matches = {file: expression.search(clean_name(file)) for file in files}
    sexes = [m["sex"] or "" for m in matches.values() if m and "sex" in expression.groupindex]
    sex_of = sex_parser(sexes)
    rows, silent = [], []
    for file, match in matches.items():
        row = _row_of_name(file, match, sex_of)
        if row:
            rows.append(row)
        else:
            silent.append(file)
    if not rows:
        raise CohortError(
            where="image file names",
            expected=f"names such as {EXAMPLES}"
            if pattern == DEFAULT_PATTERN
            else "names that match --pattern",
            found=f"none among {len(files)}, such as {silent[0]!r}",
            remedy="give --pattern for these names, or --labels with a table",
        )
    findings = []
    if silent:
        text = f"{len(silent)} file names do not match the pattern and were left out: {names(silent)}"
        findings.append(warning("image-unlabelled", text))
    return rows, findings


def _row_of_name(
    file: str, match: re.Match[str] | None, sex_of: Callable[[str], Sex | None]
) -> LabelRow | None:
    if not match:
        return None
    said = {name: text for name, text in match.groupdict().items() if text}
    try:
        sex, age = sex_of(said.get("sex", "")), parse_age(said.get("age", ""))
        index = int(said["slice"]) if "slice" in said else None
        case, subtype = clean_name(said["case"]), said["subtype"]
        if is_no_name(case):
            return None
    except (ValueError, KeyError):
        return None
    return LabelRow(
        row=0,
        file=file,
        case_id=case,
        patient_id=said.get("patient"),
        subtype=subtype,
        sex=sex,
        age_years=age,
        slice_index=index,
    )


def rows_of_labels(
    labels: list[LabelRow], files: dict[str, Path], source: Path
) -> tuple[list[LabelRow], list[Finding]]:
    """Label rows with their file as a key of ``files`` (None: missing), and findings about missing files."""
    if not any(label.file for label in labels):
        raise CohortError(
            where="label table",
            expected="a column named file, with the image of each row",
            found="none, or an empty one",
            remedy='add it, with one row per image, or map its title in study.toml: [columns] file = "Bild"',
        )
    by_name: dict[str, list[str]] = defaultdict(list)
    for key in files:
        by_name[clean_name(Path(key).name)].append(key)
    whole = {clean_name(key): key for key in files}
    rows: list[LabelRow] = []
    gone: list[str] = []
    findings: list[Finding] = []
    for label in labels:
        place = _find_file(label.file or "", whole, by_name)
        if place is None:
            gone.append(label.file or f"row {label.row}")
        rows.append(replace(label, file=place))
    if len(gone) == len(labels):
        others = f"{names(files, 2)}{_hint(gone, files)}"
        raise CohortError(
            where=f"folder {source.name}",
            expected="the images named in the label table",
            found=f"none of {len(gone)}, such as {gone[0]!r}, but other images: {others}",
            remedy="check the folder and the column file",
        )
    if gone:
        verb = "image does" if len(gone) == 1 else "images do"
        text = f"{len(gone)} labelled {verb} not exist: {names(gone)}{_hint(gone, files)}"
        findings.append(warning("image-missing", text))
    unlabelled = files.keys() - {row.file for row in rows}
    if unlabelled:
        verb, left = ("image has", "was") if len(unlabelled) == 1 else ("images have", "were")
        text = f"{len(unlabelled)} {verb} no label and {left} left out: {names(unlabelled)}"
        findings.append(warning("image-unlabelled", text))
    twice = [row for row, n in Counter(replace(row, row=0) for row in rows if row.file).items() if n > 1]
    if twice:
        verb = "image has" if len(twice) == 1 else "images have"
        text = f"{len(twice)} {verb} the same label row twice: {names(row.file or '' for row in twice)}"
        findings.append(warning("label-repeated", text))
    return rows, findings


def _hint(gone: list[str], files: dict[str, Path]) -> str:
    """The first image that a name in the table may mean."""
    stems = {Path(name).with_suffix("").name: name for name in files}
    near = near_names((Path(name).with_suffix("").name for name in gone), stems)
    return next((f"; {name}: did you mean {Path(stems[twin]).name}?" for name, twin in near.items()), "")


def _find_file(name: str, whole: dict[str, str], by_name: dict[str, list[str]]) -> str | None:
    """The image of a label row: by its path below the source, otherwise by its name alone."""
    name = clean_name(name.replace("\\", "/").removeprefix("./"))
    if name in whole:
        return whole[name]
    found = by_name.get(Path(name).name, [])
    if len(found) > 1:
        raise CohortError(
            where=f"image {Path(name).name}",
            expected="one file of this name below the folder",
            found=names(found),
            remedy="give a folder that holds only the images, and --masks for the masks",
        )
    return found[0] if found else None


def find_mask_files(folder: Path) -> dict[str, list[Path]]:
    """Masks by their path below the folder and by their name, both without suffix. Only PNG: JPEG blurs labels."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.resolve().rglob("*.png")):
        key = path.relative_to(folder.resolve()).with_suffix("").as_posix()
        for name in {clean_name(key), clean_name(path.stem)}:
            found[name].append(path)
    if not found:
        raise CohortError(
            where=f"mask folder {folder.name}",
            expected="masks as .png with the names of the images",
            found="no .png file" if folder.is_dir() else "no such folder",
            remedy="check --masks",
        )
    return found


def mask_of(file: str, masks: dict[str, list[Path]] | None) -> Path | None:
    """The mask with the name of the image ``file``, or None.

    Raises:
        CohortError: Several masks have this name.
    """
    if masks is None:
        return None
    path = Path(clean_name(file))
    found = masks.get(path.with_suffix("").as_posix()) or masks.get(path.stem) or []
    if len(found) > 1:
        raise CohortError(
            where=f"mask of {path.name}",
            expected="one mask with this name",
            found=f"{len(found)}",
            remedy="give each mask the name and subfolder of its image",
        )
    return found[0] if found else None


def _bad_pattern(found: str) -> ConfigError:
    return ConfigError(
        where="--pattern",
        expected="a regular expression with the named groups (?P<case>...) and (?P<subtype>...)",
        found=found,
        remedy=f"correct it, or leave it out for names such as {EXAMPLES}",
    )
