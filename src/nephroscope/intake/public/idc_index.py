"""Read CT and SEG series of collections from the packaged index of the Imaging Data Commons.

Without network: one parquet file of the extra ``public``, of which a few columns and rows are read.
"""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nephroscope.base.errors import ConfigError
from nephroscope.base.version import install_line
from nephroscope.intake.labels.values import parse_age, parse_sex
from nephroscope.records import Sex

COLLECTIONS = {  # with their subtype; for c4kc_kits only the KiTS table has it
    "tcga_kirp": "papillary",
    "tcga_kich": "chromophobe",
    "tcga_kirc": "clear cell",
    "cptac_ccrcc": "clear cell",
    "c4kc_kits": "",
}
OWN = "collection"
MASKS = {"rcc-aid": "rcc_aid", "bamf": "bamf_aimi_annotations", OWN: ""}  # analysis_result_id of each source
COLUMNS = {
    "collection_id": "collection",
    "PatientID": "patient_id",
    "StudyInstanceUID": "study_uid",
    "SeriesInstanceUID": "series_uid",
    "Modality": "modality",
    "StudyDate": "study_date",
    "StudyDescription": "study_description",
    "SeriesDescription": "description",
    "SeriesNumber": "number",
    "instanceCount": "n_files",
    "series_size_MB": "size_mb",
    "license_short_name": "licence",
    "source_DOI": "doi",
    "analysis_result_id": "analysis_result_id",
    "PatientSex": "sex",
    "PatientAge": "age_years",
}
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class IdcSeries:
    """One series of the index.

    Attributes:
        size_mb: Size in 10^6 bytes, as in the index: exactly the sum of its files.
        study_date: ISO date, shifted by the collection for privacy.
        source: Source of a SEG: rcc-aid, bamf or collection; otherwise empty.
    """

    collection: str
    patient_id: str
    study_uid: str
    series_uid: str
    modality: str
    study_date: str = ""
    study_description: str = ""
    description: str = ""
    number: str = ""
    n_files: int
    size_mb: float
    licence: str
    doi: str
    source: str = ""
    sex: Sex | None = None
    age_years: float | None = None


def read_index(collections: Sequence[str], file: Path | None = None) -> list[IdcSeries]:
    """CT series of the collections and SEG series drawn on them, in the order of their UIDs.

    Args:
        collections: Names as in the Commons, such as tcga_kirp.
        file: Parquet file to read instead of that of the package.

    Raises:
        ConfigError: The subtype of a collection is not known, or the extra ``public`` is not installed.
    """
    unknown = sorted(set(collections) - COLLECTIONS.keys())
    if unknown or not collections:
        raise ConfigError(
            where="import idc --collections",
            expected=f"one or more of {', '.join(COLLECTIONS)}",
            found=", ".join(unknown) or "none",
            remedy="other collections have no known subtype: download them and use `nephroscope import dicom`",
        )
    rows = _rows(
        file or _packaged("idc_index.parquet"),
        list(COLUMNS),
        [("collection_id", "in", list(collections)), ("Modality", "in", ["CT", "SEG"])],
    )
    series = [_series(row) for row in rows]
    return sorted((one for one in series if one), key=lambda one: one.series_uid)


def index_version() -> str:
    """Name and version of the packaged index; the first number is the release of the Commons."""
    try:
        return f"idc-index-data {version('idc-index-data')}"
    except PackageNotFoundError:
        return "idc-index-data not installed"


def citations_of(dois: Iterable[str]) -> dict[str, str]:
    """The citation in the Commons for each DOI, or the address of the DOI without one."""
    request = sorted(set(dois))
    texts: dict[str, str] = {}
    for row in _rows(_packaged("analysis_results_index.parquet"), ["source_DOI", "citation"], None):
        texts[str(row["source_DOI"]).lower()] = row["citation"] or ""
    for row in _rows(_packaged("collections_index.parquet"), ["sources"], None):
        for source in row["sources"] or []:
            texts[str(source["source_doi"]).lower()] = source["citation"] or ""
    return {doi: _plain_text(texts.get(doi.lower(), "")) or f"https://doi.org/{doi}" for doi in request}


def _packaged(name: str) -> Path:
    spec = find_spec("idc_index_data")
    path = Path(spec.origin).parent / name if spec and spec.origin else None
    if path is None or not path.is_file() or find_spec("pyarrow") is None:
        raise ConfigError(
            where="installation",
            expected="the extra 'public' for `nephroscope import idc`",
            found=f"no {name} of idc-index-data" if find_spec("pyarrow") else "no pyarrow",
            remedy=install_line("public"),
        )
    return path


def _rows(path: Path, columns: list[str], filters: Any) -> list[dict[str, Any]]:
    from pyarrow import parquet

    rows: list[dict[str, Any]] = parquet.read_table(path, columns=columns, filters=filters).to_pylist()
    return rows


def _series(row: dict[str, Any]) -> IdcSeries | None:
    """One row as a record; None for a SEG of another source, or for names that are not valid folder names."""
    values = {ours: row[theirs] for theirs, ours in COLUMNS.items()}
    result = values.pop("analysis_result_id") or ""
    source = next((name for name, known in MASKS.items() if known == result), None)
    if values["modality"] == "SEG" and source is None:
        return None
    if not all(
        PLAIN_NAME.fullmatch(str(values[name])) for name in ("patient_id", "series_uid", "collection")
    ):
        return None
    for name in ("study_date", "study_description", "description", "number", "licence", "doi"):
        values[name] = str(values[name] or "").strip()
    values["sex"] = _lenient(parse_sex, values["sex"])
    values["age_years"] = _lenient(parse_age, values["age_years"])
    return IdcSeries(**values, source=(source or "") if values["modality"] == "SEG" else "")


def _lenient(parse: Any, text: object) -> Any:
    try:
        return parse(str(text or ""))
    except ValueError:
        return None


def _plain_text(text: str) -> str:
    """A citation without HTML and line breaks."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", text)).split())
