"""Where a PACS is: ``AET@HOST:PORT`` for DICOM's own protocol, a URL for DICOMweb."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from nephroscope.base.errors import PacsError

OUR_AE = "NEPHROSCOPE"
_NODE = re.compile(r"(?P<ae>[^@]+)@(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")


@dataclass(frozen=True, kw_only=True)
class DicomNode:
    """A program that speaks DICOM's own protocol."""

    ae: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.ae}@{host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class WebNode:
    """A DICOMweb service, by the URL below which ``/studies`` lies."""

    url: str

    def __str__(self) -> str:
        return self.url


Address = DicomNode | WebNode


@dataclass(frozen=True, kw_only=True)
class Line:
    """How to reach a PACS.

    Attributes:
        our_ae: The AE title by which we call ourselves.
        tls_ca: PEM file of the authority that signed the PACS's certificate; with it DICOM's protocol runs over TLS.
        tls_cert: PEM file with our certificate and its key, where the PACS asks for one.
    """

    address: Address
    our_ae: str = OUR_AE
    tls_ca: Path | None = None
    tls_cert: Path | None = None


def read_ae(text: str) -> str:
    """An AE title: 1 to 16 characters, no backslash or control character (PS3.5 6.2).

    Raises:
        PacsError: It is none.
    """
    ae = text.strip(" ")
    if not 1 <= len(ae) <= 16 or not ae.isascii() or not ae.isprintable() or "\\" in ae:
        raise PacsError(
            where="AE title",
            expected="1 to 16 letters, digits or signs",
            found=f"{len(ae)} characters" if ae.isprintable() else "control characters",
            remedy="use the AE title that the PACS knows",
        )
    return ae


def read_node(text: str) -> DicomNode:
    """``AET@HOST:PORT``.

    Raises:
        PacsError: It is none.
    """
    parts = _NODE.fullmatch(text.strip())
    if parts is None or not 1 <= int(parts["port"]) <= 65535:
        raise PacsError(
            where="address of a PACS",
            expected="AET@HOST:PORT, such as ARCHIVE@pacs.example.org:104",
            found=repr(text),
            remedy="name AE title, host and port of the destination",
        )
    return DicomNode(ae=read_ae(parts["ae"]), host=parts["host"].strip("[]"), port=int(parts["port"]))


def read_url(text: str) -> WebNode:
    """The URL of a DICOMweb service.

    Raises:
        PacsError: It is none, or it holds a password.
    """
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise PacsError(
            where="address of a DICOMweb service",
            expected="a URL below which /studies lies, such as https://pacs.example.org/dicom-web",
            found=repr(text) if not parts.password else "another one",
            remedy="give the URL without query",
        )
    if parts.username or parts.password:
        raise PacsError(
            where="address of a DICOMweb service",
            expected="a URL without user and password",
            found="one with them",
            remedy="put them into the file .netrc of your home folder, which is read",
        )
    return WebNode(url=text.strip().rstrip("/"))


def named_address(node: str | None, url: str | None, options: str) -> Address:
    """The one address that was given.

    Raises:
        PacsError: None was given, or both.
    """
    if (node is None) == (url is None):
        raise PacsError(
            where=options,
            expected="one named PACS",
            found="none" if node is None else "two",
            remedy=f"give one of {options}",
        )
    return read_node(node) if node is not None else read_url(url or "")
