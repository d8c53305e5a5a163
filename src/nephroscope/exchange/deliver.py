"""Send what waits in a queue until its destination, asked back, has it."""

import time
from collections import defaultdict
from collections.abc import Sequence

from nephroscope.base.errors import PacsError
from nephroscope.exchange.outbox import Outbox, Sending
from nephroscope.exchange.peer import Peer

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
BATCH = 200  # objects sent before the destination is asked


def deliver_once(outbox: Outbox, peer: Peer, destination: str) -> str:
    """Try once to bring everything that waits for a destination there; returns why something still waits.

    What is there already, perhaps because a former try was killed before it could be noted, is not sent again.
    """
    waiting = outbox.waiting(destination)
    why = ""
    for start in range(0, len(waiting), BATCH):
        why = _deliver(outbox, peer, waiting[start : start + BATCH]) or why
    return why


def deliver(outbox: Outbox, peer: Peer, destination: str, patience_s: float) -> str:
    """Try again until nothing waits any more, or patience ends; returns why something still waits, or nothing."""
    end, wait_s = time.monotonic() + patience_s, FIRST_WAIT_S
    while why := deliver_once(outbox, peer, destination):
        if time.monotonic() + wait_s > end:
            return why
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
    return ""


def _deliver(outbox: Outbox, peer: Peer, sendings: Sequence[Sending]) -> str:
    try:
        here = _there(peer, sendings)
        outbox.confirm(here)
        missing = [one for one in sendings if one not in here]
        if not missing:
            return ""
        said = peer.store([one.object for one in missing])
        here = _there(peer, missing)
        outbox.confirm(here)
    except PacsError as error:
        why = error.found
        for one in sendings:
            outbox.failed(one, why)
        return why
    why = ""
    for one in missing:
        if one not in here:
            why = said.get(one.object.sop_uid) or "it was taken, but the PACS does not find it"
            outbox.failed(one, why)
    return why


def _there(peer: Peer, sendings: Sequence[Sending]) -> list[Sending]:
    """Those that the destination says it has."""
    by_series: dict[tuple[str, str], list[Sending]] = defaultdict(list)
    for one in sendings:
        by_series[one.object.study_uid, one.object.series_uid].append(one)
    here: list[Sending] = []
    for series, members in by_series.items():
        known = peer.instances(*series)
        here += [one for one in members if one.object.sop_uid in known]
    return here
