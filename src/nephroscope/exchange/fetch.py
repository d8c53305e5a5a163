"""Series from a PACS into a folder that `import dicom` reads, each proven whole by what the PACS lists."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nephroscope.base.errors import PacsError
from nephroscope.exchange.peer import Peer, Query, RemoteSeries, header_of, write_received

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FetchedSeries:
    """A series that was fetched.

    Attributes:
        n_there: Objects that the PACS lists, or counts where it counts more.
        n_here: Those of them that are in the folder.
        error: Why some are missing; also where the PACS lists none at all.
    """

    series: RemoteSeries
    n_there: int
    n_here: int
    error: str = ""

    @property
    def is_whole(self) -> bool:
        """True when all that the PACS has of it is here."""
        return not self.error and self.n_here == self.n_there > 0


def find_series(peer: Peer, query: Query) -> list[RemoteSeries]:
    """The series that match.

    Raises:
        PacsError: The query asks for everything, or the PACS does not answer it, or answers another.
    """
    if query.is_open:
        raise PacsError(
            where="query",
            expected="a patient, study, series, accession number or date",
            found="none: everything in the PACS would match",
            remedy="say which, such as --patient-id",
        )
    found = peer.series(query)
    if others := sum(not _is_asked_for(one, query) for one in found):
        raise PacsError(
            where="query",
            expected="series of the patient, study and series that were asked for",
            found=f"{others} of {len(found)} of another: the PACS does not search by this",
            remedy="ask by --study or --series, or by another field that it knows",
        )
    return sorted(found, key=lambda one: (one.date, one.study_uid, one.series_uid))


def _is_asked_for(one: RemoteSeries, query: Query) -> bool:
    """False where a PACS answers of another patient, study or series, as one that ignores a field does."""
    pairs = ((one.study_uid, query.study_uid), (one.series_uid, query.series_uid))
    wild = any(mark in query.patient_id for mark in "*?\\")
    same_patient = wild or one.patient_id.casefold() == query.patient_id.strip().casefold()
    lists = all(not asked or "\\" in asked or got == asked for got, asked in pairs)
    return lists and (not query.patient_id or not one.patient_id or same_patient)


def fetch_series(peer: Peer, query: Query, folder: Path) -> Iterator[FetchedSeries]:
    """Fetch the series that match into ``folder/SERIES/SOP.dcm``; what is there already is not fetched again.

    Raises:
        PacsError: The query asks for everything, or the PACS does not answer it.
    """
    for one in find_series(peer, query):
        there = peer.instances(one.study_uid, one.series_uid)
        missing, error = there - _here(folder, one), ""
        if missing:
            try:
                peer.fetch(one, partial(_keep, folder=folder, wanted=one))
            except PacsError as refused:
                error = refused.found
            missing = there - _here(folder, one)
            error = error or ("the PACS did not give all that it lists" if missing else "")
        n_there = max(len(there), one.n_images or 0)
        if not error and n_there > len(there):
            error = f"the PACS counts {n_there} images and lists {len(there)}"
        error = error or ("" if there else "the PACS lists no image of it")
        yield FetchedSeries(series=one, n_there=n_there, n_here=len(there) - len(missing), error=error)


def _keep(content: bytes, folder: Path, wanted: RemoteSeries) -> bool:
    """Keep an object of the series that was asked for; False for any other, which is dropped."""
    header = header_of(content)
    if (
        header is None
        or header.series_uid != wanted.series_uid
        or wanted.study_uid not in ("", header.study_uid)
    ):
        LOG.warning("series %s: an object of another series came and was dropped", wanted.series_uid)
        return False
    return write_received(content, folder) is not None


def _here(folder: Path, one: RemoteSeries) -> set[str]:
    return {path.stem for path in (folder / one.series_uid).glob("*.dcm")}
