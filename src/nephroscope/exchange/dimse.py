"""A PACS by DICOM's own protocol: C-STORE, C-FIND, C-GET, or C-MOVE to a port of ours."""

import contextlib
import logging
import socket
import ssl
from collections import defaultdict
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from nephroscope.base.errors import PacsError
from nephroscope.exchange.address import DicomNode, Line
from nephroscope.exchange.peer import (
    ANSWER_CLASSES,
    CT_CLASSES,
    ROI_CLASSES,
    Keep,
    Query,
    RemoteSeries,
    StoredObject,
    series_of,
    text_in,
    unreachable,
)
from nephroscope.imaging.dicom.files import DICOM_DAMAGE, quiet

logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # its messages quote values of the objects
SECONDS_TO_CONNECT, SECONDS_TO_ANSWER = 10, 120
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
PLAIN = [EXPLICIT, IMPLICIT]
COMPRESSED = [
    *(f"1.2.840.10008.1.2.4.{tail}" for tail in ("50", "51", "57", "70", "80", "81", "90", "91")),
    "1.2.840.10008.1.2.5",
]
MOST_CONTEXTS = 120
SUCCESS, FULL, NOT_OURS, PENDING = 0x0000, 0xA700, 0xA900, (0xFF00, 0xFF01)
FAILURES = {0xA7: "out of resources", 0xA9: "the object does not fit its class", 0xC0: "cannot understand"}
MOST_STUDIES = 500


class DicomPeer:
    """A PACS at ``AET@HOST:PORT``.

    Args:
        line: How to reach it; its address is a `DicomNode`.
        move_port: Port of ours to which it sends after C-MOVE; None fetches by C-GET, on its own line.
        move_host: Address of this computer on which that port is open; empty: the one from which the PACS is reached.

    Raises:
        PacsError: Over TLS, a port without a certificate of ours.
    """

    def __init__(self, line: Line, move_port: int | None = None, move_host: str = "") -> None:
        if not isinstance(line.address, DicomNode):
            raise TypeError("a DICOM node")
        self.line, self.node, self.move_port, self.move_host = line, line.address, move_port, move_host
        if move_port is not None and line.tls_ca is not None and line.tls_cert is None:
            raise PacsError(
                where="--move-port with --tls-ca",
                expected="--tls-cert too, for what the PACS sends",
                found="no certificate of ours",
                remedy="give --tls-cert FILE, or leave out --move-port",
            )

    def store(self, objects: Sequence[StoredObject]) -> dict[str, str]:
        """See `Peer.store`."""
        said: dict[str, str] = {}
        for batch in _by_context(objects):
            wanted = {(one.sop_class, one.syntax) for one in batch}
            contexts = [
                build_context(cls, PLAIN if syntax in PLAIN else [syntax]) for cls, syntax in sorted(wanted)
            ]
            with self._associated(contexts) as association:
                for one in batch:
                    said[one.sop_uid] = _store(association, one)
        return said

    def instances(self, study_uid: str, series_uid: str) -> set[str]:
        """See `Peer.instances`."""
        wanted = _identifier("IMAGE", StudyInstanceUID=study_uid, SeriesInstanceUID=series_uid)
        wanted.SOPInstanceUID = ""
        return {text_in(one, "SOPInstanceUID") for one in self._found(wanted)} - {""}

    def series(self, query: Query) -> list[RemoteSeries]:
        """See `Peer.series`."""
        studies = _identifier(
            "STUDY",
            PatientID=query.patient_id,
            StudyInstanceUID=query.study_uid,
            AccessionNumber=query.accession,
            StudyDate=query.date,
        )
        found: list[RemoteSeries] = []
        by_itself = query.series_uid and not query.study_uid  # not every PACS allows this
        answers = [Dataset()] if by_itself else self._found(studies)
        if len(answers) > MOST_STUDIES:
            raise PacsError(
                where=f"PACS {self.node}",
                expected=f"a query that at most {MOST_STUDIES} studies match",
                found=f"{len(answers)} studies",
                remedy="ask for a patient, or for fewer days",
            )
        for study in answers:
            wanted = _identifier(
                "SERIES",
                StudyInstanceUID=text_in(study, "StudyInstanceUID"),
                SeriesInstanceUID=query.series_uid,
                Modality="",
                SeriesDescription="",
                NumberOfSeriesRelatedInstances="",
            )
            found += [series_of(one, study, query) for one in self._found(wanted)]
        return [one for one in found if not query.modalities or one.modality in query.modalities]

    def fetch(self, series: RemoteSeries, keep: Keep) -> None:
        """See `Peer.fetch`."""
        wanted = _identifier("SERIES", StudyInstanceUID=series.study_uid, SeriesInstanceUID=series.series_uid)
        if self.move_port is None:
            self._get(wanted, keep)
        else:
            self._move(wanted, keep, self.move_port)

    def _get(self, wanted: Dataset, keep: Keep) -> None:
        classes = (*CT_CLASSES, *ROI_CLASSES, *ANSWER_CLASSES)
        contexts = [build_context(StudyRootQueryRetrieveInformationModelGet)]
        contexts += [build_context(one, PLAIN) for one in classes]
        contexts += [build_context(one, [syntax]) for one in CT_CLASSES for syntax in COMPRESSED]
        contexts += [build_context(one, [COMPRESSED[-1]]) for one in ROI_CLASSES[:2]]
        roles = [build_role(one, scp_role=True) for one in classes]
        handlers = [(evt.EVT_C_STORE, _keeping, [keep])]
        with self._associated(contexts, roles, handlers) as association:
            self._check(association.send_c_get(wanted, StudyRootQueryRetrieveInformationModelGet))

    def _move(self, wanted: Dataset, keep: Keep, port: int) -> None:
        ours = AE(ae_title=self.line.our_ae)
        ours.require_called_aet, ours.require_calling_aet = True, [self.node.ae]
        for one in (*CT_CLASSES, *ROI_CLASSES, *ANSWER_CLASSES):
            ours.add_supported_context(one, [*COMPRESSED, *PLAIN])
        handlers: Any = [(evt.EVT_C_STORE, _keeping, [keep])]
        server = serve(ours, (self.move_host or _address_towards(self.node), port), handlers, self.line)
        try:
            contexts = [build_context(StudyRootQueryRetrieveInformationModelMove)]
            with self._associated(contexts) as association:
                model = StudyRootQueryRetrieveInformationModelMove
                self._check(association.send_c_move(wanted, self.line.our_ae, model))
        finally:
            server.shutdown()

    def _check(self, answers: Any) -> None:
        """Refuse unless the last answer is a success."""
        status = None
        for answer, _ in answers:
            status = answer.get("Status")
        if status != SUCCESS:
            said = "none" if status is None else f"status {status:04X}"
            raise unreachable(self.node, f"{said} to the request for a series")

    def _found(self, wanted: Dataset) -> list[Dataset]:
        contexts = [build_context(StudyRootQueryRetrieveInformationModelFind)]
        found = []
        with self._associated(contexts) as association, quiet():
            model = StudyRootQueryRetrieveInformationModelFind
            status = None
            for answer, identifier in association.send_c_find(wanted, model):
                status = answer.get("Status")
                if status in PENDING and identifier is not None:
                    found.append(identifier)
        if status != SUCCESS:
            said = "no answer" if status is None else f"status {status:04X}"
            raise unreachable(self.node, f"{said} to a query")
        return found

    @contextlib.contextmanager
    def _associated(self, contexts: Any, roles: Any = None, handlers: Any = None) -> Iterator[Any]:
        """An association, released at the end.

        Raises:
            PacsError: The PACS cannot be reached, or refuses us.
        """
        ours = AE(ae_title=self.line.our_ae)
        ours.connection_timeout = ours.acse_timeout = SECONDS_TO_CONNECT
        ours.dimse_timeout = ours.network_timeout = SECONDS_TO_ANSWER
        association = ours.associate(
            self.node.host,
            self.node.port,
            contexts=contexts,
            ae_title=self.node.ae,
            ext_neg=roles or [],
            evt_handlers=handlers or [],
            tls_args=self._tls(),
        )
        if not association.is_established:
            refused = association.is_rejected
            raise unreachable(
                self.node, f"that it refuses {self.line.our_ae}" if refused else "no connection"
            )
        try:
            yield association
        finally:
            if association.is_established:
                association.release()

    def _tls(self) -> Any:
        if self.line.tls_ca is None:
            return None
        context = ssl.create_default_context(cafile=str(self.line.tls_ca))
        if self.line.tls_cert is not None:
            context.load_cert_chain(str(self.line.tls_cert))
        return context, self.node.host


def _by_context(objects: Sequence[StoredObject]) -> list[list[StoredObject]]:
    """Objects in groups that one association can carry."""
    kinds: dict[tuple[str, str], list[StoredObject]] = defaultdict(list)
    for one in objects:
        kinds[one.sop_class, one.syntax].append(one)
    groups: list[list[StoredObject]] = []
    for number, members in enumerate(kinds.values()):
        if number % MOST_CONTEXTS == 0:
            groups.append([])
        groups[-1] += members
    return groups


def _store(association: Any, one: StoredObject) -> str:
    """Why an object was not taken, or the empty string."""
    try:
        with quiet():
            status = association.send_c_store(one.path).get("Status")
    except ValueError:
        return "the PACS does not take this kind of object in this transfer syntax"
    except RuntimeError:
        return "the connection was lost"
    except DICOM_DAMAGE:
        return "the file cannot be read"
    if status is None:
        return "no answer"
    if status == SUCCESS or status >> 8 == 0xB0:  # 0xB0..: taken, with a remark
        return ""
    return f"status {status:04X}, {FAILURES.get(status >> 8, 'refused')}"


def _keeping(event: Any, keep: Keep) -> int:
    """Answer of a C-STORE: success only once the object is on the disk."""
    try:
        return SUCCESS if keep(event.encoded_dataset()) else NOT_OURS
    except OSError:
        return FULL


def serve(ours: AE, place: tuple[str, int], handlers: Any, line: Line) -> Any:
    """Listen at an address and port; over TLS where the line has a certificate of ours and an authority.

    Raises:
        PacsError: The port is taken.
    """
    tls = _server_tls(line)
    try:
        return ours.start_server(place, block=False, evt_handlers=handlers, ssl_context=tls)
    except OSError as error:
        raise PacsError(
            where=f"{place[0]}:{place[1]}",
            expected="an address of this computer and a free port",
            found=error.strerror or "one that cannot be used",
            remedy="choose another port, or end the program that uses it",
        ) from error


def _server_tls(line: Line) -> ssl.SSLContext | None:
    """Where there are a certificate of ours and an authority: only programs with a certificate of it may connect."""
    if line.tls_ca is None or line.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(line.tls_ca))
    context.load_cert_chain(str(line.tls_cert))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _address_towards(node: DicomNode) -> str:
    """The address of this computer from which a PACS is reached: only that network hears the port. Nothing is sent.

    Raises:
        PacsError: There is no way to it.
    """
    try:
        found = socket.getaddrinfo(node.host, node.port, type=socket.SOCK_DGRAM)
        family, kind, _, _, place = min(found, key=lambda one: one[0] != socket.AF_INET)
        with socket.socket(family, kind) as probe:
            probe.connect(place)
            ours = ip_address(probe.getsockname()[0].partition("%")[0])
        return "127.0.0.1" if ours.is_loopback else str(ours)
    except OSError as error:
        raise unreachable(node, "no way to it in the network") from error


def _identifier(level: str, **values: str) -> Dataset:
    made = Dataset()
    made.QueryRetrieveLevel = level
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made
