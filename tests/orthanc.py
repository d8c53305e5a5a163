"""A real PACS for tests: Debian's Orthanc on loopback, killed and started again on the same ports and data."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
PROGRAM = shutil.which("Orthanc") or ("/usr/sbin/Orthanc" if Path("/usr/sbin/Orthanc").exists() else None)
MISSING = (
    None
    if PROGRAM and PLUGIN.exists()
    else "no Orthanc with DICOMweb: apt-get install orthanc orthanc-dicomweb"
)
SECONDS_TO_START = 60


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Orthanc:
    """``aet``, ``port`` and ``web_port``; data in a folder."""

    def __init__(self, folder: Path, **more):
        self.folder, self.port, self.web_port, self.our_port = folder, free_port(), free_port(), free_port()
        self.process = None
        folder.mkdir(parents=True)
        settings = {
            "Name": "test",
            "StorageDirectory": str(folder / "data"),
            "IndexDirectory": str(folder / "data"),
            "TemporaryDirectory": str(folder),
            "Plugins": [str(PLUGIN)],
            "DicomAet": "ARCHIVE",
            "DicomPort": self.port,
            "DicomCheckCalledAet": True,
            "DicomModalities": {"us": ["NEPHROSCOPE", "127.0.0.1", self.our_port]},
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowMove": True,
            "HttpPort": self.web_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "OverwriteInstances": False,
        }
        (folder / "settings.json").write_text(json.dumps(settings | more))

    @property
    def node(self):
        return f"ARCHIVE@127.0.0.1:{self.port}"

    @property
    def web(self):
        return f"http://127.0.0.1:{self.web_port}/dicom-web"

    def start(self):
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen([PROGRAM, self.folder / "settings.json"], stdout=log, stderr=log)
        log.close()
        end = time.monotonic() + SECONDS_TO_START
        while True:
            try:
                self.ask("system")
                socket.create_connection(
                    ("127.0.0.1", self.port), timeout=5
                ).close()  # opened after that of HTTP
                return self
            except OSError:
                assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
                assert time.monotonic() < end, "Orthanc did not start"
                time.sleep(0.1)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ask(self, path, data=None):
        url = f"http://127.0.0.1:{self.web_port}/{path}"
        with urllib.request.urlopen(url, data=data, timeout=30) as answer:
            content = answer.read()
        return json.loads(content) if content[:1] in b"[{" else content

    def sop_uids(self):
        """SOP Instance UIDs of everything that it keeps, as often as it keeps them."""
        return [one["MainDicomTags"]["SOPInstanceUID"] for one in self.ask("instances?expand")]
