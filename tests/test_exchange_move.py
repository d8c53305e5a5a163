"""What comes to the port of a C-MOVE: objects of the series that was asked for, over TLS with a certificate."""

import gc
import ssl
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pydicom
import pytest
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import CTImageStorage, StudyRootQueryRetrieveInformationModelMove

from nephroscope.base.errors import PacsError
from nephroscope.exchange import dimse
from nephroscope.exchange.address import Line, read_node
from nephroscope.exchange.connect import connect
from nephroscope.exchange.fetch import _keep, fetch_series, find_series
from nephroscope.exchange.peer import Query, RemoteSeries
from orthanc import free_port
from phantoms import dicom_slices, write_slices
from test_exchange_listen import OPENSSL, certificate

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", autouse=True)
def _no_sockets_for_the_next_file():
    """Once a file, whose own tests ignore them: each collection looks at all that the tests have imported."""
    yield
    gc.collect()


def remote(image):
    """The series of an image, as a PACS lists it."""
    return RemoteSeries(
        study_uid=image.StudyInstanceUID,
        series_uid=image.SeriesInstanceUID,
        patient_id="P1",
        date="",
        modality="CT",
        description="",
        n_images=None,
    )


def strangers(images):
    """One of the images as one of another series, and as one of another study."""
    made = []
    for keyword in ("SeriesInstanceUID", "StudyInstanceUID"):
        one = pydicom.dcmread(images[0].filename)
        setattr(one, keyword, "1.2.9")
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"1.2.{len(made)}"
        made.append(one)
    return made


@pytest.fixture
def images(tmp_path):
    write_slices(dicom_slices(), tmp_path / "ct")
    return [pydicom.dcmread(path) for path in sorted((tmp_path / "ct").iterdir())]


def content_of(image, path):
    image.save_as(path)
    return path.read_bytes()


def test_only_objects_of_the_series_that_is_fetched_are_kept(images, tmp_path, caplog):
    class Pacs:
        def series(self, query):
            return [remote(images[0])]

        def instances(self, study_uid, series_uid):
            return {one.SOPInstanceUID for one in images}

        def fetch(self, series, keep):
            given = [*strangers(images), *images]
            assert [keep(content_of(one, tmp_path / "one")) for one in given] == [False] * 2 + [True] * len(
                images
            )
            assert not keep(b"no DICOM")

    (found,) = fetch_series(Pacs(), Query(patient_id="P1"), tmp_path / "out")
    assert (found.n_here, found.n_there) == (len(images), len(images))
    assert sorted(path.stem for path in (tmp_path / "out").rglob("*.dcm")) == sorted(
        one.SOPInstanceUID for one in images
    )
    assert [one.args for one in caplog.records] == [(images[0].SeriesInstanceUID,)] * 3


def test_a_series_of_which_a_pacs_lists_less_than_it_counts_is_not_whole(images, tmp_path):
    """A PACS that answers at most so many objects, or does not search for single ones."""

    class Pacs:
        def __init__(self, counted, listed):
            self.counted, self.listed = counted, listed

        def series(self, query):
            return [replace(remote(images[0]), n_images=self.counted)]

        def instances(self, study_uid, series_uid):
            return {one.SOPInstanceUID for one in images[: self.listed]}

        def fetch(self, series, keep):
            for one in images[: self.listed]:
                keep(content_of(one, tmp_path / "one"))

    n, query = len(images), Query(patient_id="P1")
    for counted, listed, whole in (
        (n, n, True),
        (None, n, True),
        (n, n - 1, False),
        (n, 0, False),
        (0, 0, False),
    ):
        (found,) = fetch_series(Pacs(counted, listed), query, tmp_path / f"{counted}-{listed}")
        assert (found.n_there, found.n_here) == (max(counted or 0, listed), listed)
        assert (found.is_whole, found.error == "") == (whole, whole)


@pytest.mark.parametrize(
    "query",
    [Query(patient_id="P2"), Query(study_uid="1.2.7"), Query(patient_id="P1", series_uid="1.2.7")],
)
def test_series_of_another_patient_than_asked_for_are_refused(images, query):
    """A PACS that ignores a field answers with everything it has."""

    class Pacs:
        def series(self, query):
            return [remote(images[0])]

    with pytest.raises(PacsError, match="1 of 1 of another"):
        find_series(Pacs(), query)
    for fits in (Query(patient_id="p1 "), Query(patient_id="P*"), Query(date="20240131")):
        assert len(find_series(Pacs(), fits)) == 1


@contextmanager
def archive(images, our_port, heard_by=None, sends_by=None):
    """A PACS that sends these images to our port when it is asked to move anything; gives its address.

    Over TLS where it is given the context by which it hears, and that by which it sends.
    """
    port, ours = free_port(), AE(ae_title="ARCHIVE")
    ours.add_supported_context(StudyRootQueryRetrieveInformationModelMove)

    def move(event):
        line = {"contexts": [build_context(CTImageStorage)]}
        yield ("127.0.0.1", our_port, line if sends_by is None else line | {"tls_args": (sends_by, None)})
        yield len(images)
        for one in images:
            yield 0xFF00, one

    server = ours.start_server(
        ("127.0.0.1", port),
        block=False,
        evt_handlers=[(evt.EVT_C_MOVE, move)],
        ssl_context=heard_by,
    )
    try:
        yield read_node(f"ARCHIVE@127.0.0.1:{port}")
    finally:
        server.shutdown()


def fetched(line, port, images, folder):
    """Names of what is kept when the series of the first image is fetched."""
    keep = partial(_keep, folder=folder, wanted=remote(images[0]))
    try:
        connect(line, port).fetch(remote(images[0]), keep)
    finally:
        kept = sorted(path.stem for path in folder.rglob("*.dcm"))
    return kept


def test_a_pacs_that_sends_more_than_was_asked_for_is_told(images, tmp_path):
    port = free_port()
    told = pytest.raises(PacsError, match="status B000")  # moved, but for some
    with archive([*images, *strangers(images)], port) as node, told:
        fetched(Line(address=node), port, images, tmp_path / "out")
    assert sorted(path.stem for path in (tmp_path / "out").rglob("*.dcm")) == sorted(
        one.SOPInstanceUID for one in images
    )


def test_a_port_of_ours_that_is_taken_is_refused(images, tmp_path):
    with archive(images, 1) as node, pytest.raises(PacsError, match="a free port"):
        fetched(Line(address=node), node.port, images, tmp_path / "out")


@pytest.mark.parametrize(
    ("host", "move_host", "heard_on"),
    [
        ("localhost", "", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("pacs.invalid", "192.0.2.7", "192.0.2.7"),
    ],
)
def test_the_port_is_open_on_one_address(images, monkeypatch, host, move_host, heard_on):
    def serve(_ours, place, *_):
        raise PacsError(where=place[0], expected="a", found="b", remedy="c")

    monkeypatch.setattr(dimse, "serve", serve)
    line = Line(address=read_node(f"ARCHIVE@{host}:104"))
    with pytest.raises(PacsError) as error:
        connect(line, 11113, move_host).fetch(remote(images[0]), lambda _: True)
    assert error.value.where == heard_on


def test_without_a_way_to_the_pacs_no_port_is_opened(images, monkeypatch):
    def nowhere(*_, **__):
        raise OSError("no such host")

    monkeypatch.setattr(dimse.socket, "getaddrinfo", nowhere)
    line = Line(address=read_node("ARCHIVE@pacs.invalid:104"))
    with pytest.raises(PacsError, match="no way to it"):
        connect(line, 11113).fetch(remote(images[0]), lambda _: True)


@pytest.fixture
def certificates(tmp_path):
    """Folder with an authority, and certificates of both sides."""
    if OPENSSL is None:
        pytest.skip("no openssl: install openssl with apt-get")
    certificate(tmp_path, "authority")
    signed = ["-CA", tmp_path / "authority.crt", "-CAkey", tmp_path / "authority.key"]
    for name in ("ours", "theirs"):
        certificate(tmp_path, name, *signed, "-addext", "basicConstraints=critical,CA:FALSE")
    return tmp_path


def test_with_certificates_the_port_speaks_tls_only(images, tmp_path, certificates):
    ca, theirs = certificates / "authority.crt", certificates / "theirs.pem"
    server, client = (
        ssl.create_default_context(purpose, cafile=str(ca))
        for purpose in (ssl.Purpose.CLIENT_AUTH, ssl.Purpose.SERVER_AUTH)
    )
    client.check_hostname = False
    server.load_cert_chain(str(theirs))
    client.load_cert_chain(str(theirs))
    port = free_port()
    with archive(images, port, server, client) as node:
        line = Line(address=node, tls_ca=ca, tls_cert=certificates / "ours.pem")
        assert fetched(line, port, images, tmp_path / "out") == sorted(one.SOPInstanceUID for one in images)
    refused = pytest.raises(PacsError, match="status")
    with archive(images, port, server) as node, refused:  # it sends without TLS
        fetched(replace(line, address=node), port, images, tmp_path / "plain")
    assert not list((tmp_path / "plain").rglob("*.dcm"))


def test_a_port_without_a_certificate_is_not_opened_where_tls_was_asked_for(tmp_path):
    line = Line(address=read_node("ARCHIVE@127.0.0.1:1"), tls_ca=tmp_path / "ca.crt")
    with pytest.raises(PacsError) as error:
        connect(line, 11113)
    assert (error.value.code, error.value.where) == ("pacs", "--move-port with --tls-ca")
    connect(line)  # by C-GET
