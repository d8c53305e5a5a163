"""The PACS at an address, in the protocol that it speaks."""

from nephroscope.exchange.address import DicomNode, Line
from nephroscope.exchange.peer import Peer


def connect(line: Line, move_port: int | None = None, move_host: str = "") -> Peer:
    """The PACS; nothing is sent yet.

    Args:
        line: How to reach it.
        move_port: Of ours, for C-MOVE; None for C-GET or WADO.
        move_host: As in `DicomPeer`.
    """
    if isinstance(line.address, DicomNode):
        from nephroscope.exchange.dimse import DicomPeer

        return DicomPeer(line, move_port, move_host)
    from nephroscope.exchange.dicomweb import WebPeer

    return WebPeer(line)
