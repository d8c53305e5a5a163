"""A PACS by DICOMweb: STOW, QIDO, WADO."""

import io
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import pydicom
import requests
from dicomweb_client import DICOMwebClient

from nephroscope.exchange.address import Line, WebNode
from nephroscope.exchange.peer import Keep, Query, RemoteSeries, StoredObject, series_of, text_in, unreachable
from nephroscope.imaging.dicom.files import DICOM_DAMAGE, quiet

for _name in ("dicomweb_client", "urllib3", "requests"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # their messages quote addresses with identifiers
SECONDS = (10, 120)  # to connect, to answer
AS_STORED = (("application/dicom", "*"),)  # otherwise a PACS that cannot decode JPEG 2000 answers 500
Got = TypeVar("Got")


class WebPeer:
    """A PACS at a URL.

    User and password are read from the file .netrc, by the host's name.
    """

    def __init__(self, line: Line) -> None:
        if not isinstance(line.address, WebNode):
            raise TypeError("a DICOMweb service")
        session = requests.Session()
        session.trust_env = (
            False  # no proxy that the environment names: what is sent goes to this address alone
        )
        session.max_redirects = 0
        session.auth = requests.utils.get_netrc_auth(line.address.url)
        if line.tls_ca is not None:
            session.verify = str(line.tls_ca)
        if line.tls_cert is not None:
            session.cert = str(line.tls_cert)
        self.node = line.address
        self.client = DICOMwebClient(self.node.url, session=session, timeout=SECONDS)
        self.client.set_http_retry_params(retry=False)

    def store(self, objects: Sequence[StoredObject]) -> dict[str, str]:
        """See `Peer.store`."""
        return {one.sop_uid: self._store(one) for one in objects}

    def _store(self, one: StoredObject) -> str:
        try:
            with quiet():
                image = pydicom.dcmread(one.path, force=True)
                answer = self.client.store_instances([image], study_instance_uid=one.study_uid)
        except requests.RequestException as error:
            if error.response is not None:
                return _why(error)
            raise unreachable(self.node, _why(error)) from error
        except DICOM_DAMAGE:
            return "the file or the answer cannot be read"
        failed = answer.get("FailedSOPSequence") or []
        return f"status {int(failed[0].get('FailureReason', 0)):04X}" if failed else ""

    def instances(self, study_uid: str, series_uid: str) -> set[str]:
        """See `Peer.instances`."""
        answers = self._asked(
            lambda: self.client.search_for_instances(study_uid, series_uid, get_remaining=True)
        )
        return {text_in(pydicom.Dataset.from_json(one), "SOPInstanceUID") for one in answers} - {""}

    def series(self, query: Query) -> list[RemoteSeries]:
        """See `Peer.series`."""
        filters = {
            "PatientID": query.patient_id,
            "StudyInstanceUID": query.study_uid,
            "AccessionNumber": query.accession,
            "StudyDate": query.date,
            "SeriesInstanceUID": query.series_uid,
        }
        asked = {name: value for name, value in filters.items() if value}
        fields = ["PatientID", "StudyDate", "SeriesDescription", "NumberOfSeriesRelatedInstances"]
        answers = self._asked(
            lambda: self.client.search_for_series(search_filters=asked, fields=fields, get_remaining=True)
        )
        found = [series_of(one, one, query) for one in map(pydicom.Dataset.from_json, answers)]
        return [one for one in found if not query.modalities or one.modality in query.modalities]

    def fetch(self, series: RemoteSeries, keep: Keep) -> None:
        """See `Peer.fetch`."""
        for uid in sorted(self.instances(series.study_uid, series.series_uid)):
            where = (series.study_uid, series.series_uid, uid)
            image = self._asked(partial(self.client.retrieve_instance, *where, media_types=AS_STORED))
            content = io.BytesIO()
            with quiet():
                image.save_as(content, enforce_file_format=True)
            keep(content.getvalue())

    def _asked(self, ask: Callable[[], Got]) -> Got:
        """What the PACS answers.

        Raises:
            PacsError: It cannot be reached, or answers something else.
        """
        try:
            with quiet():
                return ask()
        except requests.RequestException as error:
            raise unreachable(self.node, _why(error)) from error
        except DICOM_DAMAGE as error:
            raise unreachable(self.node, "an answer that cannot be read") from error


def _why(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, requests.exceptions.SSLError):
        return "a certificate that is not trusted"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    return "no connection"
