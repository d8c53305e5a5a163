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
        n_there: Objects that the PACS lists.
        n_here: Those of them that are in the folder.
        error: Why some are missing.
    """

    series: RemoteSeries
    n_there: int
    n_here: int
    error: str = ""


def find_series(peer: Peer, query: Query) -> list[RemoteSeries]:
    """The series that match.

    Raises:
        PacsError: The query asks for everything, or the PACS does not answer.
    """
    if query.is_open:
        raise PacsError(
            where="query",
            expected="a patient, study, series, accession number or date",
            found="none: everything in the PACS would match",
            remedy="say which, such as --patient-id",
        )
    return sorted(peer.series(query), key=lambda one: (one.date, one.study_uid, one.series_uid))


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
        n_there = len(there)
        yield FetchedSeries(series=one, n_there=n_there, n_here=n_there - len(missing), error=error)


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
