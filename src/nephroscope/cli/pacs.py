"""The commands send, pacs and listen."""

import logging
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from nephroscope.base.errors import PacsError
from nephroscope.base.files import make_folder
from nephroscope.cli.command import Command, Outcome, PartName, PathOption, Switch, TextOption, table
from nephroscope.exchange.address import OUR_AE, Line, named_address, read_ae, read_node
from nephroscope.records import counted_noun

Files = Annotated[
    tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES", help_behavior_hint="")
]
LOG = logging.getLogger(__name__)
STEP_S = 0.5  # between looks at what came
SOME = 3  # exit code: done for some, not for others


@dataclass(frozen=True, kw_only=True)
class PacsCommand(Command):
    """A command that talks to a PACS."""

    ae: str = OUR_AE
    """AE title by which this program calls itself; the PACS may have to know it."""
    tls_ca: PathOption = None
    """PEM file of the authority that signed the certificate of the PACS; AET@HOST:PORT is then reached over TLS."""
    tls_cert: PathOption = None
    """PEM file with our certificate and its key, where the PACS asks for one."""

    def line(self, node: str | None, url: str | None, options: str) -> Line:
        """How to reach the PACS that was named."""
        for path in (self.tls_ca, self.tls_cert):
            if path is not None and not path.is_file():
                raise PacsError(
                    where="--tls-ca and --tls-cert",
                    expected="PEM files",
                    found="no such file",
                    remedy="check the path",
                )
        address = named_address(node, url, options)
        return Line(address=address, our_ae=read_ae(self.ae), tls_ca=self.tls_ca, tls_cert=self.tls_cert)


@dataclass(frozen=True, kw_only=True)
class Send(PacsCommand):
    """Send DICOM objects to a named PACS; it counts as done when the PACS, asked back, has them.

    Example: nephroscope send answer.dcm roi.dcm --to ARCHIVE@pacs.example.org:104
    """

    files: Files = ()
    """DICOM files, or folders of them; may be left out with --queue, to go on with what waits there."""
    to: TextOption = None
    """Destination by DICOM's own protocol, AET@HOST:PORT."""
    stow: TextOption = None
    """Destination by DICOMweb: the URL below which /studies lies."""
    queue: PathOption = None
    """Folder of a queue: what is not confirmed stays there, also after a kill, and goes on with the next send."""
    patience_s: float = 30.0
    """Seconds to try again for, where the PACS does not answer or does not take everything."""

    def run(self) -> Outcome:
        """Send them."""
        from nephroscope.exchange.connect import connect
        from nephroscope.exchange.deliver import deliver
        from nephroscope.exchange.outbox import Outbox
        from nephroscope.exchange.peer import objects_below

        line = self.line(self.to, self.stow, "--to, --stow")
        objects = objects_below(self.files)
        if not objects and self.queue is None:
            raise PacsError(
                where="nephroscope send",
                expected="DICOM objects to send",
                found="none",
                remedy="name files, or folders of them",
            )
        destination = str(line.address)
        with tempfile.TemporaryDirectory() as name:
            outbox = Outbox(self.queue or Path(name))
            outbox.put(objects, destination)
            meant = {one.sop_uid for one in objects} or {
                one.object.sop_uid for one in outbox.waiting(destination)
            }
            why = deliver(outbox, connect(line), destination, self.patience_s)
            said = [one for one in outbox.all(destination) if one.object.sop_uid in meant]
        return _sent(destination, said, why, kept=self.queue is not None)


def _sent(destination: str, said: list[Any], why: str, kept: bool) -> Outcome:
    rows = [
        {
            "sop_uid": one.object.sop_uid,
            "series_uid": one.object.series_uid,
            "state": one.state,
            "tries": one.tries,
            "error": one.error,
        }
        for one in said
    ]
    n_there = sum(one.state == "confirmed" for one in said)
    data = {"destination": destination, "confirmed": n_there, "objects": rows}
    text = f"{destination} has {n_there} of {counted_noun(len(rows), 'object')}"
    rest = "they wait in the queue" if kept else "send them again"
    warning = "" if n_there == len(rows) else f"{len(rows) - n_there} not confirmed ({why}); {rest}"
    return Outcome(data=data, text=text, warning=warning, exit_code=SOME if warning else 0)


@dataclass(frozen=True, kw_only=True)
class AskPacs(PacsCommand):
    """A question to a PACS."""

    from_: Annotated[
        TextOption, tyro.conf.arg(name="from", metavar="AET@HOST:PORT", help_behavior_hint="")
    ] = None
    """The PACS by DICOM's own protocol."""
    web: TextOption = None
    """The PACS by DICOMweb: the URL below which /studies lies."""
    patient_id: str = ""
    """PatientID."""
    study: str = ""
    """Study Instance UID."""
    series: str = ""
    """Series Instance UID; give its study too where the PACS insists on it."""
    accession: str = ""
    """Accession number."""
    date: str = ""
    """Date of the study: 20240131, or 20240101-20240131."""
    modality: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")] = (
        "CT",
        "SEG",
        "RTSTRUCT",
    )
    """Kinds of series; by default CT and ROIs."""

    def asked(self) -> Any:
        """The query."""
        from nephroscope.exchange.peer import Query

        return Query(
            patient_id=self.patient_id,
            study_uid=self.study,
            series_uid=self.series,
            accession=self.accession,
            date=self.date,
            modalities=self.modality,
        )


@dataclass(frozen=True, kw_only=True)
class FindSeries(AskPacs):
    """List series in a PACS, without names and dates of birth.

    Example: nephroscope pacs find --from ARCHIVE@pacs.example.org:104 --patient-id P0815
    """

    def run(self) -> Outcome:
        """Ask."""
        from nephroscope.exchange.connect import connect
        from nephroscope.exchange.fetch import find_series

        line = self.line(self.from_, self.web, "--from, --web")
        found = find_series(connect(line), self.asked())
        rows = [
            (
                one.date,
                one.modality,
                "?" if one.n_images is None else one.n_images,
                one.description,
                one.series_uid,
            )
            for one in found
        ]
        text = table(rows, ("date", "kind", "images", "description", "series")) if rows else "no such series"
        return Outcome(data={"series": [asdict(one) for one in found]}, text=text)


@dataclass(frozen=True, kw_only=True)
class GetSeries(AskPacs):
    """Fetch series from a PACS into a folder that `import dicom` reads; what is there already is not fetched again.

    Example: nephroscope pacs get --from ARCHIVE@pacs.example.org:104 --patient-id P0815 --out export/
    """

    out: Path
    """Folder to write into: SERIES/SOP.dcm."""
    move_port: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    """Port of this computer to which the PACS sends (C-MOVE), where it knows our AE title; by default C-GET."""
    move_host: PartName = ""
    """With --move-port: address of this computer to listen on; by default the one from which the PACS is reached."""

    def run(self) -> Outcome:
        """Fetch them."""
        from nephroscope.exchange.connect import connect
        from nephroscope.exchange.fetch import fetch_series

        line = self.line(self.from_, self.web, "--from, --web")
        found = list(fetch_series(connect(line, self.move_port, self.move_host), self.asked(), self.out))
        rows = [
            asdict(one.series) | {"n_there": one.n_there, "n_here": one.n_here, "error": one.error}
            for one in found
        ]
        whole = sum(one.is_whole for one in found)
        text = f"{whole} of {len(found)} series are whole in {self.out.name}"
        missing = [
            f"series {one.series.series_uid}: {one.n_here} of {one.n_there} ({one.error})"
            for one in found
            if not one.is_whole
        ]
        return Outcome(
            data={"series": rows}, text=text, warning="\n".join(missing), exit_code=SOME if missing else 0
        )


@dataclass(frozen=True, kw_only=True)
class Listen(PacsCommand):
    """Wait for CT series with their SEG or RTSTRUCT, and send the answers to one named PACS as structured reports.

    Only this computer is listened to, and only the AE title of that PACS, unless told otherwise.

    Example: nephroscope listen my-bundle --port 11112 --answer-to ARCHIVE@pacs.example.org:104 --host 192.0.2.7
    """

    bundle: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BUNDLE")]
    """Bundle folder."""
    answer_to: Annotated[str, tyro.conf.arg(metavar="AET@HOST:PORT", help_behavior_hint="")]
    """Where the answers go."""
    port: int = 11112
    """Port to listen on."""
    host: str = "127.0.0.1"
    """Address of this computer to listen on; 127.0.0.1 hears only programs on this computer."""
    allow: Annotated[tuple[str, ...], tyro.conf.arg(metavar="AET ...", help_behavior_hint="")] = ()
    """AE titles that may send; by default that of --answer-to."""
    folder: Path = Path("nephroscope-listen")
    """Folder of what came and of what waits to be sent; holds data of patients."""
    sc: Switch = False
    """Send a picture with the answer in words too (secondary capture)."""
    quiet_s: float = 10.0
    """A series is taken for whole when its ROI came and nothing more did for so many seconds."""
    keep_hours: float = 24.0
    """What came is removed after so many hours."""
    most_gb: float = 20.0
    """Most that is kept of what came; more is not taken until older series are removed."""

    def run(self) -> Outcome:
        """Listen until interrupted."""
        from nephroscope.base.lock import writing
        from nephroscope.exchange.inbox import Limits
        from nephroscope.exchange.listener import Listener, Listening
        from nephroscope.facade.listen import answering

        line = self.line(self.answer_to, None, "--answer-to")
        allowed = tuple(map(read_ae, self.allow)) or (read_node(self.answer_to).ae,)
        limits = Limits(
            most_bytes=int(self.most_gb * 2**30), quiet_s=self.quiet_s, keep_s=self.keep_hours * 3600
        )
        how = Listening(
            folder=self.folder, host=self.host, port=self.port, allowed=allowed, answers=line, limits=limits
        )
        answer = answering(self.bundle, self.sc)
        make_folder(self.folder)
        with writing(self.folder, "listen"):
            listener = Listener(how, answer)
            listener.start()
            senders = ", ".join(allowed)
            LOG.info("listening as %s on %s:%d; taken from %s", self.ae, self.host, self.port, senders)
            LOG.info("answers go to %s. Research use only; not a medical device.", self.answer_to)
            try:
                while True:
                    listener.step()
                    time.sleep(STEP_S)
            finally:
                listener.stop()


@dataclass(frozen=True, kw_only=True)
class ReadReport(Command):
    """Read the answer in a structured report of nephroscope; with --json it is the one that predict printed.

    Example: nephroscope pacs read answer.dcm --json
    """

    report: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SR")]
    """The report, as `predict --sr` wrote it or a PACS gave it back."""

    def run(self) -> Outcome:
        """Read it."""
        from nephroscope.cli.clinic import prediction_text
        from nephroscope.exchange.read_sr import read_answer

        found = read_answer(self.report)
        return Outcome(data=found, text=prediction_text(found))


PACS = {"find": FindSeries, "get": GetSeries, "read": ReadReport}
