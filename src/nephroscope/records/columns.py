"""What the columns of a label table are called here, and whose headers of the user's stand for them: checked, out."""

from collections.abc import Mapping
from typing import Any

from nephroscope.errors import ConfigError

LABEL_COLUMNS = (
    *("case_id", "patient_id", "subtype", "subtype_reader2", "sex", "age_years"),
    *("birth_date", "scan_date", "surgery_date", "size_cm", "size_mm", "side", "phase", "site_id", "cohort"),
    *("file", "slice_index", "spacing", "row_mm", "col_mm"),
    *("roi", "tumor_label", "tumor_name", "organs", "exclude", "exclusion_reason", "synthetic"),
)


def check_columns(values: Any) -> Mapping[str, str]:
    """The table ``[columns]`` of study.toml: our name = header in the user's label table.

    Raises:
        ConfigError: It is no table, a name is not ours, a header is no text, or one header stands for two names.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(
            where="study.toml, columns",
            expected='a table such as [columns] with subtype = "Histologie"',
            found=repr(values),
            remedy="correct it",
        )
    owners: dict[str, str] = {}
    for name, header in values.items():
        if name not in LABEL_COLUMNS:
            raise ConfigError(
                where=f"study.toml, columns.{name}",
                expected=f"one of {', '.join(LABEL_COLUMNS)}",
                found=repr(name),
                remedy="write our name on the left and the header of your table on the right",
            )
        if not isinstance(header, str) or not header.strip():
            raise ConfigError(
                where=f"study.toml, columns.{name}",
                expected="the header of a column of your label table",
                found=repr(header),
                remedy="correct it, or remove the line",
            )
        other = owners.setdefault(header.strip().casefold(), name)
        if other != name:
            raise ConfigError(
                where=f"study.toml, columns.{name}",
                expected="a header of its own",
                found=f"{header!r}, which stands for {other} too",
                remedy="remove one of the two lines",
            )
    return dict(values)
