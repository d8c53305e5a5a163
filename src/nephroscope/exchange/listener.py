"""Series and ROIs come in, answers go out to the one named PACS; whoever is not on the list is refused.

The listener keeps everything in a folder: what came, what was answered, and what still has to be sent. Ended at any
moment and started again it goes on, and nothing is sent twice.
"""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification

from nephroscope.base.errors import NephroscopeError, PacsError
from nephroscope.exchange.address import Line
from nephroscope.exchange.connect import connect
from nephroscope.exchange.deliver import deliver_once
from nephroscope.exchange.dimse import COMPRESSED, PLAIN, SECONDS_TO_ANSWER, serve
from nephroscope.exchange.inbox import FULL, Inbox, Limits, ReceivedCase, reason_of
from nephroscope.exchange.outbox import Outbox
from nephroscope.exchange.peer import CT_CLASSES, ROI_CLASSES, Peer, objects_below

LOG = logging.getLogger(__name__)
ANSWERS = "answers"  # folder of what is being made, by ROI
MOST_ASSOCIATIONS = 4
ASK_S = 10.0  # between questions whether more of a series is to come
LONGEST_WAIT_S = 60.0
SWEEP_S = 600.0
Answering = Callable[[ReceivedCase, Path], None]  # writes the objects of the answer into a folder


@dataclass(frozen=True, kw_only=True)
class Listening:
    """How to listen.

    Attributes:
        folder: Of inbox and queue.
        host: Address of this computer to be heard on.
        allowed: AE titles that may send.
        answers: Where answers go; ``our_ae`` is also the title by which we are called.
    """

    folder: Path
    host: str
    port: int
    allowed: tuple[str, ...]
    answers: Line
    limits: Limits = field(default_factory=Limits)


class Listener:
    """Takes series and answers them.

    Args:
        how: Address, list of senders, limits.
        answer: Makes the answer of a case.

    Raises:
        PacsError: The folder is damaged.
    """

    def __init__(self, how: Listening, answer: Answering) -> None:
        self.how, self.answer = how, answer
        self.inbox = Inbox(how.folder, how.limits)
        self.outbox = Outbox(how.folder / "queue")
        self.destination = str(how.answers.address)
        self.peer: Peer = connect(how.answers)
        self._server: Any = None
        self._next_try = self._next_sweep = 0.0
        self._next_ask: dict[str, float] = {}
        self._wait_s = 1.0

    def start(self) -> None:
        """Begin to listen.

        Raises:
            PacsError: The port is taken.
        """
        ours = AE(ae_title=self.how.answers.our_ae)
        ours.require_called_aet, ours.require_calling_aet = True, list(self.how.allowed)
        ours.maximum_associations = MOST_ASSOCIATIONS
        ours.network_timeout = ours.dimse_timeout = SECONDS_TO_ANSWER
        ours.add_supported_context(Verification)
        for one in (*CT_CLASSES, *ROI_CLASSES):
            ours.add_supported_context(one, [*COMPRESSED, *PLAIN])
        handlers: Any = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_PDU_RECV, self._too_large),
        ]
        self._server = serve(ours, (self.how.host, self.how.port), handlers, self.how.answers)

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def step(self) -> None:
        """Answer what is whole, and send what waits."""
        now = time.monotonic()
        if now >= self._next_sweep:
            for series in self.inbox.sweep():
                LOG.warning("series %s: removed, it never became whole", series)
            self._clear_left_answers()
            self._next_sweep = now + SWEEP_S
        for case in self.inbox.ready():
            self._answer(case)
        if self.outbox.waiting(self.destination) and now >= self._next_try:
            why = deliver_once(self.outbox, self.peer, self.destination)
            if why:
                LOG.warning("%s: %s; trying again in %d s", self.destination, why, self._wait_s)
            self._next_try = time.monotonic() + (self._wait_s if why else 0.0)
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S) if why else 1.0

    def _answer(self, case: ReceivedCase) -> None:
        if self._is_ours(case) or not self._all_came(case):
            return
        folder = self.how.folder / ANSWERS / case.roi_uid
        shutil.rmtree(folder, ignore_errors=True)  # of a try that a kill ended
        if not self.inbox.trying(case):
            return
        try:
            self.answer(case, folder)
        except NephroscopeError as error:
            self.inbox.refused(case, reason_of(error))
            LOG.warning("series %s: refused: %s", case.series_uid, reason_of(error))
            shutil.rmtree(folder, ignore_errors=True)
            return
        made = objects_below([folder])
        self.outbox.put(made, self.destination)
        self.inbox.answered(case)
        self._next_ask.pop(case.roi_uid, None)
        shutil.rmtree(folder, ignore_errors=True)
        LOG.info("series %s: answered", case.series_uid)

    def _clear_left_answers(self) -> None:
        """Remove what a kill left of answers to cases that are over, or gone."""
        waiting = {one.roi_uid for one in self.inbox.cases() if one.state == "waiting"}
        for folder in (self.how.folder / ANSWERS).glob("*"):
            if folder.name not in waiting:
                shutil.rmtree(folder, ignore_errors=True)

    def _is_ours(self, case: ReceivedCase) -> bool:
        """True for a SEG that we sent to the PACS, and that it sends on to us."""
        sent = {one.object.sop_uid for one in self.outbox.all()}
        if case.roi_uid in sent:
            self.inbox.answered(case)
        return case.roi_uid in sent

    def _all_came(self, case: ReceivedCase) -> bool:
        """False while the PACS lists more images of the series than came; True also where it lists none."""
        now = time.monotonic()
        if now < self._next_ask.get(case.roi_uid, 0.0):
            return False
        self._next_ask[case.roi_uid] = now + ASK_S
        roi = objects_below([case.roi])[0]
        try:
            there = self.peer.instances(roi.study_uid, case.series_uid)
        except PacsError:
            return True  # it cannot be asked now; what the ROI names is here
        return there <= case.here

    def _too_large(self, event: Any) -> None:
        """End an association whose object is larger than any, before it is all in memory."""
        message = event.assoc.dimse.message
        if message is not None and message.data_set.tell() > self.how.limits.most_object_bytes:
            LOG.warning("an object of more than %d bytes was refused", self.how.limits.most_object_bytes)
            event.assoc.abort()

    def _store(self, event: Any) -> int:
        try:
            return self.inbox.keep(event.encoded_dataset())
        except OSError:
            return FULL
