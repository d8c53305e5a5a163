"""Tables of features by case: values with NaN where not known, why they are not, and a cache on disk."""

import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nephroscope.base.errors import CohortError
from nephroscope.base.files import load_sealed, save_sealed

Floats = npt.NDArray[np.float64]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureTable:
    """Features of the cases of a study.

    Attributes:
        case_ids: Row by row.
        names: Column by column, with units.
        values: (n, F); NaN where a value is not known. What is not finite is taken as not known.
        notes: case_id to the reason why a row is not whole.
    """

    case_ids: tuple[str, ...]
    names: tuple[str, ...]
    values: Floats
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = np.asarray(self.values, np.float64).reshape(len(self.case_ids), len(self.names))
        object.__setattr__(self, "values", np.where(np.isfinite(values), values, np.nan))

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {case_id: row for row, case_id in enumerate(self.case_ids)}

    def rows(self, case_ids: Sequence[str]) -> Floats:
        """Values (n, F) of these cases.

        Raises:
            CohortError: The table has no such case.
        """
        unknown = [case_id for case_id in case_ids if case_id not in self._row_of]
        if unknown:
            raise CohortError(
                where=f"case {unknown[0]}",
                expected="a case of the study",
                found="no features of a case with that name",
                remedy="use a case_id from cohort.csv",
            )
        return self.values[[self._row_of[case_id] for case_id in case_ids]]

    def column(self, name: str) -> Floats:
        """One column, (n,)."""
        return self.values[:, self.names.index(name)]

    def only(self, names: Sequence[str]) -> "FeatureTable":
        """The table with these columns alone."""
        columns = [self.names.index(name) for name in names]
        return FeatureTable(
            case_ids=self.case_ids, names=tuple(names), values=self.values[:, columns], notes=self.notes
        )

    def joined(self, other: "FeatureTable") -> "FeatureTable":
        """Both tables' columns, of this one's cases."""
        notes = {
            case_id: "; ".join(
                dict.fromkeys(filter(None, (self.notes.get(case_id), other.notes.get(case_id))))
            )
            for case_id in self.case_ids
            if case_id in self.notes or case_id in other.notes
        }
        values = np.hstack([self.values, other.rows(self.case_ids)])
        return FeatureTable(
            case_ids=self.case_ids, names=(*self.names, *other.names), values=values, notes=notes
        )

    @property
    def empty(self) -> bool:
        """True when not one value is known."""
        return not bool(np.isfinite(self.values).any())


def cached_table(folder: Path, name: str, digest: str, make: Callable[[], FeatureTable]) -> FeatureTable:
    """The table in ``folder`` if it was made from what ``digest`` says, else made now and kept.

    A damaged file is made again. Tables of the same name with another digest are removed.
    """
    path = folder / f"{name}-{digest}.npz"
    table = _load(path) if path.is_file() else None
    if table is None:
        table = make()
        _save(table, path)
        for old in folder.glob(f"{name}-{'[0-9a-f]' * 16}.npz"):
            if old != path:
                old.unlink(missing_ok=True)
    return table


def _save(table: FeatureTable, path: Path) -> None:
    about = json.dumps({"names": table.names, "case_ids": table.case_ids, "notes": dict(table.notes)})
    file = io.BytesIO()
    np.savez_compressed(file, values=table.values, about=np.array(about))
    save_sealed(path, file.getvalue())


def _load(path: Path) -> FeatureTable | None:
    content = load_sealed(path)
    if content is None:
        logger.warning("%s is damaged, or of an older version, and is made again", path.name)
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        about = json.loads(str(held["about"]))
        return FeatureTable(
            case_ids=tuple(about["case_ids"]),
            names=tuple(about["names"]),
            values=held["values"],
            notes=about["notes"],
        )
